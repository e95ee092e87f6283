"""A TEN extension that plays a WAV file as a TTS would speak it."""

from . import addon as addon
