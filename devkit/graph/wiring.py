"""Checks the connections around a node against the extension's messages."""

import re
from typing import Any

from .agent import agents_of, flush_of, line_for
from .findings import Findings, nearest
from .model import KINDS, RTC_ADDON, Graph, Wire
from .shape import check_shape
from .tree import objects

USER_AUDIO_ADDONS = (RTC_ADDON, "streamid_adapter")
"""Their pcm_frame is the user's own voice."""

_RECOGNITION = re.compile(r"(?<![a-z])(asr|stt|vad)(?![a-z])")
"""In the name of a node or an addon that listens to the user."""

_VOICE, _FLUSH = ("audio_frame", "pcm_frame"), ("cmd", "flush")
_JOINED, _LEFT = ("cmd", "on_user_joined"), ("cmd", "on_user_left")


def check_wiring(graph: Graph, name: str, api: Any) -> Findings:
    """Return the findings about the connections of the node `name`.

    `api` is that of the extension's manifest.json.
    """
    found = check_shape(graph)
    if not name:
        return found  # which has that already
    wires = graph.wires()
    if not wires and not found.errors:
        found.errors.append(
            f"{graph.connections_path}: the graph has none, so no message "
            f"reaches {name}. Wire pcm_frame and tts_audio_end of the TTS and "
            "flush of the agent to it"
        )
        return found
    _check_ends(graph, wires, found)
    _check_names(graph, name, wires, api, found)
    arriving = [
        wire for wire in wires if wire.dest == name and wire.source != name
    ]
    if graph.elsewhere:
        found.warnings.append(
            f"{graph.nodes_path}: not on this machine, and so not followed: "
            f"{', '.join(graph.elsewhere)}. Whether pcm_frame, tts_audio_end "
            f"and flush reach {name} through it was not checked"
        )
    else:
        _check_arrivals(graph, name, arriving, found)
        _check_flush(graph, name, arriving, found)
    _check_speech(graph, name, wires, arriving, found)
    _check_fallback(graph, name, wires, found)
    return found


def presence(graph: Graph, name: str) -> str:
    """Return whether the avatar `name` hears who is in the channel."""
    reports = [
        message
        for message in (_JOINED, _LEFT)
        for wire in graph.wires()
        if wire.dest == name and wire.carries(*message)
    ]
    if _JOINED in reports and _LEFT in reports:
        return (
            "is watched: an avatar that is not in its channel 10 s after its "
            "session is ready is an error notJoined, and the voice speaks"
        )
    return (
        "is not watched (optional): wire the cmds on_user_joined and "
        f"on_user_left of {RTC_ADDON} to {name}, and an avatar that does not "
        "join its channel is an error notJoined instead of silence"
    )


def _check_ends(graph: Graph, wires: list[Wire], found: Findings) -> None:
    names = [str(node.get("name")) for node in graph.nodes]
    addons = [str(node.get("addon")) for node in graph.nodes]
    by_addon = {
        end["addon"]
        for flow in graph.flows()
        for end, _ in flow.ends()
        if isinstance(end.get("addon"), str)
    }
    seen = set()
    for wire in wires:
        for end in (wire.source, wire.dest):
            if graph.has_node(end) or (wire.path, end) in seen:
                continue
            seen.add((wire.path, end))
            way = "comes from" if end == wire.source else "goes to"
            known = addons if end in by_addon else names
            found.errors.append(
                f"{wire.path}: {wire.message} {way} "
                f"{end or 'a node without a name'}, which is not a node of "
                "this graph" + (nearest(end, known) or f": {', '.join(known)}")
            )


def _check_names(
    graph: Graph, name: str, wires: list[Wire], api: Any, found: Findings
) -> None:
    """Report messages that the extension neither takes nor sends."""
    seen = set()
    for wire in wires:
        if name not in (wire.source, wire.dest) or wire.message == "*":
            continue
        is_incoming = wire.dest == name
        declared = _declared(api, "_in" if is_incoming else "_out")
        key = (wire.kind, wire.message)
        # Which of these the avatar sends is judged with the fallback.
        known = declared if is_incoming else declared | {_VOICE, _FLUSH}
        if key in known or (key, wire.path) in seen:
            continue
        seen.add((key, wire.path))
        does = "receive" if is_incoming else "send"
        kinds = [kind for kind, message in known if message == wire.message]
        names = [message for kind, message in known if kind == wire.kind]
        near = nearest(wire.message, names, cutoff=0.8)
        text = (
            f"{wire.path}: {name} does not {does} the {wire.kind} "
            f"{wire.message}"
        )
        if kinds:
            found.errors.append(f"{text}; {wire.message} is of kind {kinds[0]}")
        elif near:
            found.errors.append(f"{text}{near}")
        else:
            found.warnings.append(f"{text}; the connection has no effect")


def _check_arrivals(
    graph: Graph, name: str, arriving: list[Wire], found: Findings
) -> None:
    if not any(wire.carries(*_VOICE) for wire in arriving):
        found.errors.append(
            f"{graph.connections_path}: pcm_frame is not wired to {name}, so "
            "the avatar gets nothing to say. Wire the audio_frame pcm_frame of "
            "the TTS to it"
        )
    data = [wire for wire in arriving if wire.kind == "data"]
    if not any(
        wire.carries("data", "tts_audio_end", "finalize") for wire in data
    ):
        found.warnings.append(
            f"{graph.connections_path}: tts_audio_end is not wired to {name}: "
            "an utterance ends only after end_of_speech_timeout_ms without "
            "audio. Wire the data tts_audio_end of the TTS to it"
        )
    elif not any(
        wire.carries("data", "tts_audio_start", "finalize") for wire in data
    ):
        found.notes.append(
            f"{graph.connections_path}: tts_audio_start is not wired to "
            f"{name}: a pause within an answer may be taken for its end, and "
            "a late frame of an interrupted answer for the next one. Wire the "
            "data tts_audio_start of the TTS to it"
        )


def _check_speech(
    graph: Graph,
    name: str,
    wires: list[Wire],
    arriving: list[Wire],
    found: Findings,
) -> None:
    """Report speech from the wrong side, and speech that is heard twice."""
    for wire in wires:
        if wire.source == wire.dest == name and wire.carries(*_VOICE):
            found.errors.append(
                f"{wire.path}: {name} takes pcm_frame from itself. Remove the "
                "connection"
            )
        if (
            wire.source == name != wire.dest
            and wire.carries(*_VOICE)
            and _hears_user(graph, wires, wire.dest)
        ):
            found.errors.append(
                f"{wire.path}: pcm_frame of {name} goes to {wire.dest}, which "
                "listens to the user: the agent would hear itself. Remove the "
                "connection"
            )
    for wire in arriving:
        if not wire.carries(*_VOICE):
            continue
        addon = graph.named(wire.source).get("addon")
        if addon in USER_AUDIO_ADDONS:
            found.errors.append(
                f"{wire.path}: {name} takes pcm_frame from {wire.source}: "
                "that is the user's voice. Take it from the TTS"
            )
            continue
        for other in wires:
            if (
                other.source == wire.source
                and other.dest in graph.made_by(RTC_ADDON)
                and other.carries(*_VOICE)
            ):
                found.errors.append(
                    f"{other.path}: pcm_frame of {other.source} goes to "
                    f"{other.dest} as well as to {name}, so every word is "
                    f"audible twice. Remove the connection to {other.dest}"
                )


def _check_flush(
    graph: Graph, name: str, arriving: list[Wire], found: Findings
) -> None:
    """Report that no flush reaches the avatar, by a wire or by its name."""
    wired = {wire.source for wire in arriving if wire.carries(*_FLUSH)}
    agents = {
        agent: flush_of(graph, agent)
        for agent in sorted(wired | set(agents_of(graph)))
        if agent != name
    }
    if any(name in flush.receivers for flush in agents.values()):
        return
    past = [agent for agent in agents if agents[agent].is_past_connections]
    if wired - set(past):
        return
    if not past:
        found.warnings.append(
            f"{graph.connections_path}: flush is not wired to {name}: the "
            "avatar keeps speaking when the user interrupts, unless the agent "
            "sends flush to this node by its name. Wire the cmd flush of the "
            "agent to it"
        )
        return
    agent = next((agent for agent in past if agent in wired), past[0])
    flush = agents[agent]
    how = (
        f"flush reaches {name} only by the connection from {agent}"
        if wired
        else f"flush is not wired to {name}"
    )
    found.warnings.append(
        f"{graph.connections_path}: {how}, and {flush.where} sends flush to "
        f"{' and '.join(sorted(flush.receivers))} by name, bypassing the "
        "connections: the avatar would keep speaking when the user "
        f"interrupts. {line_for(str(graph.named(agent).get('addon')), name)}. "
        "An agent that sends flush without a receiver needs no change"
    )


def _hears_user(graph: Graph, wires: list[Wire], name: str) -> bool:
    """Return whether a node takes the user's voice, for speech recognition
    for example; an RTC node plays its input."""
    addon = str(graph.named(name).get("addon"))
    if addon == RTC_ADDON:
        return False
    if addon in USER_AUDIO_ADDONS or _RECOGNITION.search(f"{name} {addon}"):
        return True
    return any(
        wire.dest == name
        and wire.carries(*_VOICE)
        and graph.named(wire.source).get("addon") in USER_AUDIO_ADDONS
        for wire in wires
    )


def _check_fallback(
    graph: Graph, name: str, wires: list[Wire], found: Findings
) -> None:
    """Note the missing connections of the voice in place of the avatar."""
    rtc_nodes = graph.made_by(RTC_ADDON)
    if not rtc_nodes:
        return
    leaving = [
        wire for wire in wires if wire.source == name and wire.dest in rtc_nodes
    ]
    missing = [
        " ".join(message)
        for message in (_VOICE, _FLUSH)
        if not any(wire.carries(*message) for wire in leaving)
    ]
    rtc = rtc_nodes[0]
    if missing:
        found.notes.append(
            f"{graph.connections_path}: while the avatar cannot speak, the "
            "agent is silent. To hear the agent then, wire the "
            f"{' and the '.join(missing)} of {name} to {rtc}"
        )
    elif graph.property_of(rtc).get("publish_audio") is False:
        found.notes.append(
            f"{graph.connections_path}: the voice in place of the avatar goes "
            f"to {rtc}, whose publish_audio is false; nobody would hear it"
        )


def _declared(api: Any, direction: str) -> set[tuple[str, str]]:
    """Return (kind, name) of the messages in a manifest's `api`."""
    return {
        (kind, str(entry.get("name")))
        for kind in KINDS
        for entry in objects((api or {}).get(kind + direction))
    }
