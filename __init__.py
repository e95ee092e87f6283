"""A TEN extension that gives a voice agent a Spatius avatar."""

from . import addon as addon
