#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Errors, status and metrics, and their shape."""

import asyncio
from typing import Any

import pytest

from avatar_guarder import cases
from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import (
    CONFIGURATION,
    FATAL,
    NON_FATAL,
    Broken,
    Graph,
    Late,
    speech,
)
from avatar_guarder.vendor import Vendor

MAX_ERRORS = 3
STATUSES = ("connecting", "connected", "disconnected")
STATUS = "connection_status_changed"


def check_fatal_error(avatar: Avatar, case: str, names: list[str]) -> None:
    """Hold the avatar to one fatal error that holds one of `names`."""
    codes = (CONFIGURATION, FATAL)

    async def script(graph: Graph) -> None:
        await graph.until_error(*codes)
        count = await graph.until_quiet(lambda: len(graph.errors(*codes)))
        if count != 1:
            raise Broken(f"{count} fatal errors came")
        message = str(graph.errors(*codes)[0].get("message"))
        if not any(name in message for name in names):
            raise Broken(
                f"the error names none of {', '.join(sorted(names))}: "
                f"{message[:80]}"
            )

    avatar.play(script, case)


@pytest.mark.rule("reports_missing_params")
def test_missing_params(avatar: Avatar) -> None:
    check_fatal_error(avatar, "missing", avatar.required())


@pytest.mark.rule("reports_invalid_params")
def test_invalid_params(avatar: Avatar) -> None:
    names = cases.differences(avatar.case("wrong_value"), avatar.case("basic"))
    check_fatal_error(avatar, "wrong_value", names)


@pytest.mark.rule("reports_outages_sparingly", early=True)
async def test_outage(graph: Graph) -> None:
    await graph.until_error(NON_FATAL)
    await asyncio.sleep(2)  # some attempts, whose errors would come
    count = len(graph.errors(NON_FATAL))
    if count > MAX_ERRORS:
        raise Broken(f"{count} errors {NON_FATAL} came in 2 s")
    if graph.errors(FATAL, CONFIGURATION):
        raise Broken("a fatal error came")


def check_texts(payload: dict[str, Any], *names: str) -> None:
    """Hold each of `names` to a text in `payload`."""
    for name in names:
        if not isinstance(payload.get(name), str):
            raise Broken(f"{name} is no text: {payload.get(name)!r}")


def check_vendor_info(payload: dict[str, Any]) -> None:
    info = payload.get("vendor_info")
    if not isinstance(info, dict) or not info.get("vendor"):
        raise Broken(f"vendor_info names no vendor: {info!r}")


def check_vendor_metadata(payload: dict[str, Any]) -> None:
    """Hold metadata.vendor_metadata to be an object."""
    metadata = payload.get("metadata")
    if not isinstance(metadata, dict):
        raise Broken(f"metadata is no object: {metadata!r}")
    details = metadata.get("vendor_metadata")
    if not isinstance(details, dict):
        raise Broken(f"metadata.vendor_metadata is no object: {details!r}")


@pytest.mark.rule("shapes_errors", case="missing", early=True)
async def test_error(graph: Graph) -> None:
    await graph.until(lambda: graph.sent("error"), "no error came", 5)
    for error in graph.sent("error"):
        check_texts(error, "id", "module", "message")
        check_vendor_info(error)
        check_texts(error["vendor_info"], "vendor", "code", "message")
        check_vendor_metadata(error)
        if not error["module"] or not error["message"]:
            raise Broken("module or message is empty")
        if not isinstance(error.get("code"), int):
            raise Broken(f"code is no integer: {error.get('code')!r}")


@pytest.mark.rule("shapes_connection_status", early=True)
async def test_connection_status(graph: Graph) -> None:
    await graph.until(lambda: graph.sent(STATUS), f"no {STATUS} came", 5)
    await asyncio.sleep(1)
    for status in graph.sent(STATUS):
        check_texts(status, "id", "module", "current", "last")
        check_vendor_info(status)
        if status["current"] not in STATUSES:
            raise Broken(f"current is {status['current']!r}")
        if status["current"] == status["last"]:
            raise Broken(f"no change: {status['current']!r} twice")


@pytest.mark.rule("reports_each_attempt")
def test_attempts(avatar: Avatar) -> None:
    def attempts(graph: Graph) -> bool:
        states = [status.get("current") for status in graph.sent(STATUS)]
        if states.count("connecting") < 2:
            return False
        return any(
            pair == ("disconnected", "connecting")
            for pair in zip(states, states[1:])
        )

    async def script(graph: Graph) -> None:
        try:
            await graph.until(lambda: attempts(graph), "no second attempt", 8)
        except Late:
            states = [str(s.get("current")) for s in graph.sent(STATUS)]
            raise Late(
                f"no second attempt was reported within 8 s: "
                f"{', '.join(states) or 'nothing came'}"
            ) from None

    avatar.play(script, early=True)


@pytest.mark.rule("shapes_metrics")
async def test_metrics(graph: Graph, vendor: Vendor) -> None:
    await graph.utter(speech(200, graph.rate_hz))
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
