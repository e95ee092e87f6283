"""The node's properties: their places, types, bounds, defaults."""

from .params import Params as Params
