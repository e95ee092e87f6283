"""What is reported, and in which shape."""

import asyncio
from typing import Any

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor

FATAL, NON_FATAL = -1000, 1000
MAX_ERRORS = 3
STATUSES = ("connecting", "connected", "disconnected")


def check_fatal_error(avatar: Avatar, case: str, names: list[str]) -> None:
    """Hold the avatar to one fatal error that holds one of `names`."""

    async def script(graph: Graph) -> None:
        await graph.until(
            lambda: graph.errors(FATAL), f"no error {FATAL} came", 3
        )
        count = await graph.until_quiet(lambda: len(graph.errors(FATAL)))
        if count != 1:
            raise Broken(f"{count} errors {FATAL} came")
        message = str(graph.errors(FATAL)[0].get("message"))
        if not any(name in message for name in names):
            raise Broken(
                f"the error names none of {', '.join(sorted(names))}: "
                f"{message[:80]}"
            )

    avatar.play(script, case)


@pytest.mark.rule("reports_missing_params")
def test_missing_params(avatar: Avatar) -> None:
    names = {*avatar.case("empty")["params"], *avatar.base.get("params", {})}
    check_fatal_error(avatar, "empty", list(names) or ["params"])


@pytest.mark.rule("reports_invalid_params")
def test_invalid_params(avatar: Avatar) -> None:
    right = avatar.case("basic")["params"]
    wrong = avatar.case("invalid")["params"]
    names = [name for name in wrong if wrong[name] != right.get(name)]
    check_fatal_error(avatar, "invalid", names)


@pytest.mark.rule("reports_outages_sparingly")
def test_outage(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(
            lambda: graph.errors(NON_FATAL), f"no error {NON_FATAL} came"
        )
        await asyncio.sleep(2)  # some attempts, whose errors would come
        count = len(graph.errors(NON_FATAL))
        if count > MAX_ERRORS:
            raise Broken(f"{count} errors {NON_FATAL} came in 2 s")
        if graph.errors(FATAL):
            raise Broken(f"an error {FATAL} came")

    avatar.play(script)


def check_texts(payload: dict[str, Any], *names: str) -> None:
    """Hold each of `names` to a text in `payload`."""
    for name in names:
        if not isinstance(payload.get(name), str):
            raise Broken(f"{name} is no text: {payload.get(name)!r}")


def check_vendor_info(payload: dict[str, Any]) -> None:
    info = payload.get("vendor_info")
    if not isinstance(info, dict) or not info.get("vendor"):
        raise Broken(f"vendor_info names no vendor: {info!r}")


@pytest.mark.rule("shapes_errors")
def test_error(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(lambda: graph.sent("error"), "no error came", 3)
        for error in graph.sent("error"):
            check_texts(error, "id", "module", "message")
            check_vendor_info(error)
            check_texts(error["vendor_info"], "vendor", "code", "message")
            if not error["module"] or not error["message"]:
                raise Broken("module or message is empty")
            if not isinstance(error.get("code"), int):
                raise Broken(f"code is no integer: {error.get('code')!r}")

    avatar.play(script, "empty")


@pytest.mark.rule("shapes_connection_status")
def test_connection_status(avatar: Avatar) -> None:
    name = "connection_status_changed"

    async def script(graph: Graph) -> None:
        await graph.until(lambda: graph.sent(name), f"no {name} came", 5)
        for status in graph.sent(name):
            check_texts(status, "id", "module", "current", "last")
            check_vendor_info(status)
            if status["current"] not in STATUSES:
                raise Broken(f"current is {status['current']!r}")
            if status["current"] == status["last"]:
                raise Broken(f"no change: {status['current']!r} twice")

    avatar.play(script)


@pytest.mark.rule("shapes_metrics")
def test_metrics(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        await graph.utter(speech(200, graph.rate_hz))
        await graph.until(vendor.ends, "the vendor has no end")
        await graph.until(lambda: graph.sent("metrics"), "no metrics came")
        await graph.until_quiet(lambda: len(graph.messages))
        for metrics in graph.sent("metrics"):
            check_texts(metrics, "id", "module", "vendor")
            values = metrics.get("metrics")
            if not isinstance(values, dict) or not values:
                raise Broken(f"metrics holds no values: {values!r}")
            for name, value in values.items():
                if not isinstance(value, (int, float)):
                    raise Broken(f"{name} is no number: {value!r}")
            if not isinstance(metrics.get("metadata"), dict):
                raise Broken("metadata is no object")

    avatar.play(script)
