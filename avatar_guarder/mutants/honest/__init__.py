"""The least that keeps every rule; its vendor is vendors/toy.py."""

from . import addon as addon
