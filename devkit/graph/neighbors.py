"""Checks a node against the nodes beside it: RTC, TTS, other avatars."""

import re
from collections.abc import Mapping

from . import product
from .channel import (
    avatars_beside,
    channel_of,
    rtc_nodes_beside,
    rtc_nodes_in,
    uid_of,
)
from .findings import Findings
from .model import RTC_ADDON, Graph, Node
from .rates import rates_of
from .resolve import (
    Resolved,
    expand,
    shell_variable_of,
    taken_literally,
    with_source,
)
from .tree import Tree, leaves

_CREDENTIAL = re.compile(r"(key|token|secret|app_?id|certificate)[^.]*$")
_CHANNEL_PATHS = ("channel", "params.agora_channel")


def check_neighbors(
    node: Node,
    resolved: Resolved,
    rates_hz: tuple[int, ...],
    environ: Mapping[str, str],
) -> Findings:
    """Return the findings about `node` and the rest of its graph.

    `rates_hz` are those that the avatar takes; without one no rate is
    compared.
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
    _check_rtc_nodes(node, resolved, environ, found)
    _check_rates(node, resolved, rates_hz, environ, found)
    _check_avatars(node, resolved, environ, found)
    _check_variables(graph, node.name, environ, found)
    return found


def _check_rtc_nodes(
    node: Node,
    resolved: Resolved,
    environ: Mapping[str, str],
    found: Findings,
) -> None:
    """Compare the avatar with the RTC nodes that join its channel."""
    rtc_nodes = rtc_nodes_beside(node, environ)
    for rtc, properties in rtc_nodes.items():
        for key in ("app_id", "app_certificate"):
            if product.properties.is_example(properties.get(key)):
                del properties[key]
                found.errors.append(
                    f"{rtc}.{key}: {product.properties.EXAMPLE}"
                )
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
            f"{channel!r} and {others}"
        )
        if "channel" in node.property:
            text += (
                "; TEN's agent server puts each session's channel into all of "
                "them, and without it user and avatar do not meet. --channel "
                "NAME checks what it starts"
            )
            found.notes.append(with_source(text, resolved))
        else:
            text += "; user and avatar meet only in the same channel"
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
    node: Node,
    resolved: Resolved,
    rates_hz: tuple[int, ...],
    environ: Mapping[str, str],
    found: Findings,
) -> None:
    """Compare the rates of the TTS with `rates_hz`, those of the avatar."""
    graph, name = node.graph, node.name
    assert graph is not None
    audio_format = str(resolved.given.params.get("audio_format"))
    known = product.params.RATES_HZ
    known_hz = known.get(audio_format, known["pcm_s16le"])
    sources = {
        wire.source
        for wire in graph.wires()
        if wire.dest == name and wire.carries("audio_frame", "pcm_frame")
    }
    for source in sorted(sources):
        sent = rates_of(graph, source, environ)
        if not sent or not rates_hz or set(sent.values()) & set(rates_hz):
            continue
        path, rate = next(iter(sent.items()))
        wanted = ", ".join(map(str, rates_hz))
        text = (
            f"params.sample_rate: {wanted} Hz, and {source} sends {rate} Hz "
            f"({path}); the avatar refuses frames of another rate. "
        )
        if rate not in known_hz:
            listed = ", ".join(map(str, known_hz))
            text += f"Have {source} send one of {listed} Hz"
        else:
            text += "Set both to the same rate, or params.sample_rate to auto"
        found.errors.append(text)


def _check_avatars(
    node: Node,
    resolved: Resolved,
    environ: Mapping[str, str],
    found: Findings,
) -> None:
    uid = _uid(resolved)
    for other, theirs in avatars_beside(node, resolved, environ):
        if uid and theirs == uid:
            found.errors.append(
                f"{resolved.given.path('agora_uid')}: {uid} is also that of "
                f"the avatar {other} in the same channel; every participant "
                "needs its own uid"
            )


def _check_variables(
    graph: Graph, name: str, environ: Mapping[str, str], found: Findings
) -> None:
    """Report unset variables and unusable values of the other nodes."""
    unset: dict[str, str] = {}
    rtc_nodes = graph.made_by(RTC_ADDON)
    for node in graph.nodes:
        own, given = str(node.get("name")), node.get("property")
        if own == name:
            continue
        filled = expand(given, environ, unset, own)
        if own in rtc_nodes:
            continue
        for path, value in leaves(given, own):
            if variable := shell_variable_of(value):
                text = taken_literally(value, variable)
                found.warnings.append(f"{path}: {text}")
        for path, value in leaves(filled, own):
            if _CREDENTIAL.search(
                path.lower()
            ) and product.properties.is_example(value):
                found.warnings.append(f"{path}: {product.properties.EXAMPLE}")
    for variable in sorted(set(unset.values())):
        path = next(at for at, name in unset.items() if name == variable)
        found.errors.append(
            f"{path}: the environment variable {variable} is not set, and "
            "the placeholder has no default: TEN ends the whole process "
            "before the agent starts"
        )


def _uid(resolved: Resolved) -> str:
    return uid_of(resolved.given.params.get("agora_uid", ""))
