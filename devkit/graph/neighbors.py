"""The nodes beside an avatar, RTC, TTS, other avatars, and their checks."""

import re
from collections.abc import Iterator
from typing import Any

from .findings import Findings
from .model import RTC_ADDON
from .product import params, properties
from .rates import rates_of
from .resolve import (
    Resolved,
    expand,
    resolve,
    shell_variable_of,
    taken_literally,
    uid_of,
    with_source,
)
from .tree import Tree, leaves

_CREDENTIAL = re.compile(r"(key|token|secret|app_?id|certificate)[^.]*$")
_CHANNEL_PATHS = ("channel", "params.agora_channel")


def avatars_beside(resolved: Resolved) -> Iterator[Resolved]:
    """Yield each other avatar in the channel of a node's avatar."""
    node, graph = resolved.node, resolved.node.graph
    assert graph is not None
    for other in graph.extensions:
        if other.addon == node.addon and other.name != node.name:
            theirs = resolve(other, resolved.environ)
            if theirs.channel == resolved.channel:
                yield theirs


def rtc_nodes_beside(resolved: Resolved) -> dict[str, Tree]:
    """Return the properties of the graph's RTC nodes by name, filled in."""
    graph = resolved.node.graph
    if graph is None:
        return {}
    return {
        node.name: expand(node.property, resolved.environ, {})
        for node in graph.extensions
        if node.addon == RTC_ADDON
    }


def rtc_nodes_in(channel: Any, rtc_nodes: dict[str, Tree]) -> list[str]:
    """Return the RTC nodes that join `channel`, or else those that may.

    Without a channel an RTC node, or the avatar, gets one when a session
    starts.
    """
    if not channel:
        return list(rtc_nodes)
    joined = {name: node.get("channel") for name, node in rtc_nodes.items()}
    return [name for name in joined if joined[name] == channel] or [
        name for name in joined if not joined[name]
    ]


def check_neighbors(resolved: Resolved, rates_hz: tuple[int, ...]) -> Findings:
    """Return the findings about a node and the rest of its graph.

    `rates_hz` are those that the avatar takes; without one no rate is
    compared.
    """
    found = Findings()
    if "channel" not in resolved.node.property:
        found.warnings.append(
            "channel: the node has no such property of its own. TEN's agent "
            "server puts a session's channel only into nodes that have it; "
            'add "channel": ""'
        )
    _check_rtc_nodes(resolved, found)
    if rates_hz:
        _check_rates(resolved, rates_hz, found)
    for other in avatars_beside(resolved):
        if resolved.uid and other.uid == resolved.uid:
            found.errors.append(
                f"{resolved.given.path('agora_uid')}: {other.uid} is also "
                f"that of the avatar {other.node.name} in the same channel; "
                "every participant needs its own uid"
            )
    _check_other_nodes(resolved, found)
    return found


def _check_rtc_nodes(resolved: Resolved, found: Findings) -> None:
    """Compare the avatar with the RTC nodes that join its channel."""
    rtc_nodes = rtc_nodes_beside(resolved)
    for rtc, given in rtc_nodes.items():
        for key in ("app_id", "app_certificate", "channel"):
            if key != "channel" and properties.is_example(given.get(key)):
                text = properties.EXAMPLE
            elif name := shell_variable_of(given.get(key)):
                text = taken_literally(given[key], name)
            else:
                continue
            del given[key]
            found.errors.append(f"{rtc}.{key}: {text}")
    channel = resolved.channel
    if not resolved.problems.keys().isdisjoint(_CHANNEL_PATHS):
        channel = None
    beside = rtc_nodes_in(channel, rtc_nodes)
    if rtc_nodes and not beside:
        others = " and ".join(
            f"{rtc} joins {given['channel']!r}"
            for rtc, given in rtc_nodes.items()
        )
        text = (
            f"{resolved.given.path('agora_channel')}: the avatar joins "
            f"{channel!r} and {others}; "
        )
        if "channel" in resolved.node.property:
            text += (
                "TEN's agent server puts each session's channel into all of "
                "them, and without it user and avatar do not meet. --channel "
                "NAME checks what it starts"
            )
            found.notes.append(with_source(text, resolved))
        else:
            text += "user and avatar meet only in the same channel"
            found.errors.append(with_source(text, resolved))
    for rtc in beside or rtc_nodes:
        _check_rtc(rtc, rtc_nodes[rtc], resolved, found)


def _check_rtc(
    rtc: str, given: Tree, resolved: Resolved, found: Findings
) -> None:
    """Compare uid and project with those of the RTC node."""
    path, uid = resolved.given.path, resolved.uid
    for key in ("stream_id", "remote_stream_id"):
        if uid and uid_of(given.get(key)) == uid:
            found.errors.append(
                f"{path('agora_uid')}: {uid} is also the {key} of {rtc}; every "
                "participant of a channel needs its own uid"
            )
    app_id = given.get("app_id")
    own_app_id = resolved.given.params.get("agora_appid")
    is_known = path("agora_appid") not in resolved.problems
    if app_id and own_app_id and app_id != own_app_id and is_known:
        found.errors.append(
            f"{path('agora_appid')}: not the app_id of {rtc}; "
            "user and avatar meet only within one Agora project"
        )


def _check_rates(
    resolved: Resolved, rates_hz: tuple[int, ...], found: Findings
) -> None:
    """Compare the rates of the TTS with `rates_hz`, those of the avatar."""
    graph = resolved.node.graph
    assert graph is not None
    audio_format = str(resolved.given.params.get("audio_format"))
    known_hz = params.RATES_HZ.get(audio_format, params.RATES_HZ["pcm_s16le"])
    sources = {
        wire.source
        for wire in graph.wires()
        if wire.dest == resolved.node.name
        and wire.carries("audio_frame", "pcm_frame")
    }
    for source in sorted(sources):
        sent = rates_of(graph, source, resolved.environ)
        if not sent or set(sent.values()) & set(rates_hz):
            continue
        path, rate = next(iter(sent.items()))
        if rate in known_hz:
            advice = "Set both to the same rate, or params.sample_rate to auto"
        else:
            listed = ", ".join(map(str, known_hz))
            advice = f"Have {source} send one of {listed} Hz"
        found.errors.append(
            f"params.sample_rate: {', '.join(map(str, rates_hz))} Hz, and "
            f"{source} sends {rate} Hz ({path}); the avatar refuses frames of "
            f"another rate. {advice}"
        )


def _check_other_nodes(resolved: Resolved, found: Findings) -> None:
    """Report unset variables and unusable values of the other nodes."""
    graph = resolved.node.graph
    assert graph is not None
    unset: dict[str, str] = {}
    for node in graph.extensions:
        if node.name == resolved.node.name:
            continue
        filled = expand(node.property, resolved.environ, unset, node.name)
        if node.addon == RTC_ADDON:
            continue
        for path, value in leaves(node.property, node.name):
            if variable := shell_variable_of(value):
                text = taken_literally(value, variable)
                found.warnings.append(f"{path}: {text}")
        for path, value in leaves(filled, node.name):
            is_secret = _CREDENTIAL.search(path.lower())
            if is_secret and properties.is_example(value):
                found.warnings.append(f"{path}: {properties.EXAMPLE}")
    paths: dict[str, str] = {}
    for path, variable in unset.items():
        paths.setdefault(variable, path)
    for variable, path in sorted(paths.items()):
        found.errors.append(
            f"{path}: the environment variable {variable} is not set, and "
            "the placeholder has no default: TEN ends the whole process "
            "before the agent starts"
        )
