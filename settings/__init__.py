"""The node's properties: their places, types, bounds, defaults."""

from .names import unknown_region
from .params import Params, Settings
from .properties import Given, read

__all__ = ["Given", "Params", "Settings", "read", "unknown_region"]
