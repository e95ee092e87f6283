"""Serves examples/web-client with an agent behind it: `bin/demo --web`."""

from .build import CLIENT, BuildError, build
from .configuration import Unusable, page_settings, variables
from .face import serve_face

__all__ = [
    "CLIENT",
    "BuildError",
    "Unusable",
    "build",
    "page_settings",
    "serve_face",
    "variables",
]
