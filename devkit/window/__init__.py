"""A page that shows an avatar: seen, heard, and line by line.

It is served by a Motion Server, beside the service itself.
"""

from .page import Window, page_url

__all__ = ["Window", "page_url"]
