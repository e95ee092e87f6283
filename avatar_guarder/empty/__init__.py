"""An extension that does nothing: the measure of what a runtime prints."""

from . import addon as addon
