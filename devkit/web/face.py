"""The extension with the real service, and the page that shows its avatar."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import package
from ..harness.stage import SentReport, Stage
from ..window.feed import Feed
from ..window.performer import Performer, report_to
from .page import WebPage


@contextlib.contextmanager
def serve_face(
    site: Path,
    settings: Callable[[int | None], dict[str, Any]],
    pcm: bytes,
    *,
    port: int = 0,
    on_report: Callable[[SentReport], None] = lambda _: None,
    node_property: dict[str, Any] | None = None,
) -> Iterator[str]:
    """Start the extension, and serve the page from the folder `site`.

    Yields the page's URL. `settings` is that of `page_settings`, `pcm` the
    agent's speech; `node_property` is merged over property.json. Raises
    OSError.
    """
    feed = Feed()

    def take(report: SentReport) -> None:
        report_to(feed, report)
        on_report(report)

    package.load()
    stage = Stage(None, node_property or {}, take)
    performer = Performer(stage, pcm, feed)
    try:
        with WebPage(site, settings, performer, feed).served(port) as url:
            yield url
    finally:
        performer.leave()
