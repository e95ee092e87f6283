"""The action of a button of a page, and the answers of its server."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

Button = Callable[[], Awaitable[str]]
"""Does something and returns a sentence about it. Raises `Refused`."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
}


class Refused(RuntimeError):
    """The button does nothing now; the text says why."""


async def press(request: web.Request, button: Button | None) -> web.Response:
    """Answer the POST of a button with a sentence about it."""
    if request.content_type != "application/json":
        # Any web page could send a form here, but not JSON.
        return web.json_response({"said": "not JSON"}, status=415)
    if button is None:
        return web.json_response({"said": "no such button"}, status=404)
    return await answer(button())


async def answer(work: Awaitable[str]) -> web.Response:
    """Return the sentence of a button, done or refused."""
    try:
        return web.json_response({"said": await work, "done": True})
    except Refused as refused:
        # No error status: browsers log those as faults of the page.
        return web.json_response({"said": str(refused), "done": False})


def file_in(
    folder: Path, name: str, headers: Mapping[str, str] | None = None
) -> web.FileResponse:
    """Return a file of a page. Raises HTTPNotFound, also for one outside."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise web.HTTPNotFound
    kind = _TYPES.get(path.suffix, "application/octet-stream")
    return web.FileResponse(
        path,
        headers={
            "Cache-Control": "no-cache",
            "Content-Type": kind,
            **(headers or {}),
        },
    )
