"""Checks a node against the nodes beside it: RTC, TTS, other avatars."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .channel import avatars_beside, channel_of, rtc_nodes_in, uid_of
from .findings import Findings
from .model import Graph, Node
from .resolve import (
    Resolved,
    expand,
    shell_variable_of,
    taken_literally,
    with_source,
)
from .tree import Tree, joined, leaves
from .wiring import RTC_ADDON

_RATE_KEY = re.compile("sampl(e|ing)rate(hz|hertz)?$")
"""How a rate's key ends, in small letters and without underscores."""
_FORMAT_KEY = re.compile("format|encoding")
_CHANNEL_PATHS = ("channel", "params.agora_channel")
_PCM = re.compile("pcm|raw|riff|linear|s16")
_RATE = re.compile(r"(?<!\d)(\d{4,5})(?!\d)")
_RATE_IN_KHZ = re.compile(r"(\d{1,2}(?:\.\d+)?)khz")


def check_neighbors(
    node: Node,
    resolved: Resolved,
    sample_rate: Any,
    package_dir: Path,
    environ: Mapping[str, str],
) -> Findings:
    """Return what does not fit between `node` and the rest of its graph.

    `sample_rate` is the avatar's, in Hz; without a number no rate is
    compared. `package_dir` is as in `resolve`.
    """
    graph = node.graph
    assert graph is not None
    found = Findings()
    if "channel" not in node.property:
        found.warnings.append(
            "channel: the node has no such property of its own. TEN's agent "
            "server puts a session's channel only into nodes that have it; "
            'add "channel": ""'
        )
    _check_rtc_nodes(graph, resolved, environ, found)
    if isinstance(sample_rate, int):
        _check_rates(graph, node.name, sample_rate, environ, found)
    _check_avatars(node, resolved, package_dir, environ, found)
    _check_variables(graph, node.name, environ, found)
    return found


def _check_rtc_nodes(
    graph: Graph,
    resolved: Resolved,
    environ: Mapping[str, str],
    found: Findings,
) -> None:
    """Compare the avatar with the RTC nodes that join its channel."""
    rtc_nodes = {
        name: expand(graph.property_of(name), environ, {})
        for name in graph.made_by(RTC_ADDON)
    }
    for rtc, properties in rtc_nodes.items():
        for key in ("app_id", "app_certificate", "channel"):
            if name := shell_variable_of(properties.get(key)):
                text = taken_literally(properties.pop(key), name)
                found.errors.append(f"{rtc}.{key}: {text}")
    channel = channel_of(resolved)
    if not resolved.problems.keys().isdisjoint(_CHANNEL_PATHS):
        channel = None
    beside = rtc_nodes_in(channel, rtc_nodes)
    if rtc_nodes and not beside:
        others = " and ".join(
            f"{rtc} joins {properties['channel']!r}"
            for rtc, properties in rtc_nodes.items()
        )
        text = (
            f"{resolved.given.path('agora_channel')}: the avatar joins "
            f"{channel!r} and {others}; user and avatar meet only in the same "
            "channel"
        )
        found.errors.append(with_source(text, resolved))
    for rtc in beside or rtc_nodes:
        _check_rtc(rtc, rtc_nodes[rtc], resolved, found)


def _check_rtc(
    rtc: str, properties: Tree, resolved: Resolved, found: Findings
) -> None:
    """Compare uid and project with those of the RTC node."""
    uid, uid_path = _uid(resolved), resolved.given.path("agora_uid")
    for key in ("stream_id", "remote_stream_id"):
        if uid and uid_of(properties.get(key)) == uid:
            found.errors.append(
                f"{uid_path}: {uid} is also the {key} of {rtc}; every "
                "participant of a channel needs its own uid"
            )
    app_id = properties.get("app_id")
    own_app_id = resolved.given.params.get("agora_appid")
    app_id_path = resolved.given.path("agora_appid")
    if (
        app_id
        and own_app_id
        and app_id != own_app_id
        and app_id_path not in resolved.problems
    ):
        found.errors.append(
            f"{app_id_path}: not the app_id of {rtc}; "
            "user and avatar meet only within one Agora project"
        )


def _check_rates(
    graph: Graph,
    name: str,
    sample_rate: int,
    environ: Mapping[str, str],
    found: Findings,
) -> None:
    sources = {
        wire.source
        for wire in graph.wires()
        if wire.dest == name and wire.carries("audio_frame", "pcm_frame")
    }
    for source in sorted(sources):
        properties = expand(graph.property_of(source), environ, {})
        rates = dict(_rates(properties, source))
        if rates and sample_rate not in rates.values():
            path, rate = next(iter(rates.items()))
            found.errors.append(
                f"params.sample_rate: {sample_rate} Hz, and {source} sends "
                f"{rate} Hz ({path}); the avatar refuses frames of another "
                "rate. Set both to the same rate"
            )


def _rates(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """Yield path and rate of each output rate in a TTS's properties."""
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        inner, name = joined(path, key), key.lower()
        if name.startswith(("input", "asr")):
            continue  # of a model that listens, too
        if _RATE_KEY.search(name.replace("_", "")):
            if re.fullmatch("[0-9]{4,6}", str(item)):
                yield inner, int(item)
        elif isinstance(item, str) and _FORMAT_KEY.search(name):
            if rate := _rate_in(item.lower()):
                yield inner, rate
        else:
            yield from _rates(item, inner)


def _rate_in(audio_format: str) -> int | None:
    """Return the rate in a name such as pcm_24000 or raw-24khz-16bit."""
    if not _PCM.search(audio_format):
        return None
    if found := _RATE_IN_KHZ.search(audio_format):
        return round(float(found.group(1)) * 1000)
    found = _RATE.search(audio_format)
    return int(found.group(1)) if found else None


def _check_avatars(
    node: Node,
    resolved: Resolved,
    package_dir: Path,
    environ: Mapping[str, str],
    found: Findings,
) -> None:
    uid = _uid(resolved)
    for other, theirs in avatars_beside(node, resolved, package_dir, environ):
        if uid and theirs == uid:
            found.errors.append(
                f"{resolved.given.path('agora_uid')}: {uid} is also that of "
                f"the avatar {other} in the same channel; every participant "
                "needs its own uid"
            )


def _check_variables(
    graph: Graph, name: str, environ: Mapping[str, str], found: Findings
) -> None:
    """Report what the other nodes lack, and what TEN will not fill in."""
    unset: dict[str, str] = {}
    for node in graph.nodes:
        if node.get("name") != name:
            expand(node.get("property"), environ, unset, str(node.get("name")))
    for variable in sorted(set(unset.values())):
        path = next(at for at, name in unset.items() if name == variable)
        found.errors.append(
            f"{path}: the environment variable {variable} is not set, and "
            "the placeholder has no default: TEN ends the whole process "
            "before the agent starts"
        )
    known = (name, *graph.made_by(RTC_ADDON))
    for node in graph.nodes:
        if node.get("name") in known:
            continue
        for path, value in leaves(node.get("property"), str(node.get("name"))):
            if variable := shell_variable_of(value):
                found.warnings.append(
                    f"{path}: {taken_literally(value, variable)}"
                )


def _uid(resolved: Resolved) -> str:
    return uid_of(resolved.given.params.get("agora_uid", ""))
