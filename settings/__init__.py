"""The node's properties: where they stand, their types, bounds, defaults."""

from .params import Params as Params
