"""Checks the connections around a node against the extension's messages."""

import re
from typing import Any

from .agent import agents_of, flush_of, line_for
from .findings import Findings, nearest
from .model import KINDS, RTC_ADDON, Graph
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
    wiring = _Wiring(graph, name, found)
    if not wiring.wires and not found.errors:
        found.errors.append(
            f"{graph.connections_path}: the graph has none, so no message "
            f"reaches {name}. Wire pcm_frame and tts_audio_end of the TTS and "
            "flush of the agent to it"
        )
        return found
    wiring.check_ends()
    wiring.check_names(api)
    if graph.elsewhere:
        found.warnings.append(
            f"{graph.nodes_path}: not on this machine, and so not followed: "
            f"{', '.join(graph.elsewhere)}. Whether pcm_frame, tts_audio_end "
            f"and flush reach {name} through it was not checked"
        )
    else:
        wiring.check_arrivals()
        wiring.check_flush()
    wiring.check_speech()
    wiring.check_fallback()
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


class _Wiring:
    """The connections around the node `name`, and the findings about them."""

    def __init__(self, graph: Graph, name: str, found: Findings) -> None:
        self.graph = graph
        self.name = name
        self.found = found
        self.wires = graph.wires()
        self.arriving = [
            wire
            for wire in self.wires
            if wire.dest == name and wire.source != name
        ]

    def check_ends(self) -> None:
        """Report messages that come from or go to no node."""
        graph = self.graph
        by_addon = {
            end["addon"]
            for flow in graph.flows()
            for end, _ in flow.ends()
            if isinstance(end.get("addon"), str)
        }
        ends: dict[tuple[str, str], str] = {}
        for wire in self.wires:
            for way, end in (
                ("comes from", wire.source),
                ("goes to", wire.dest),
            ):
                if not graph.has_node(end):
                    said = f"{wire.message} {way}"
                    ends.setdefault((wire.path, end), said)
        for (path, end), said in ends.items():
            known = [
                node.addon if end in by_addon else node.name
                for node in graph.extensions
            ]
            self.found.errors.append(
                f"{path}: {said} {end or 'a node without a name'}, which is "
                "not a node of this graph"
                + (nearest(end, known) or f": {', '.join(known)}")
            )

    def check_names(self, api: Any) -> None:
        """Report messages that the extension neither takes nor sends."""
        name, found = self.name, self.found
        own = [wire for wire in self.wires if name in (wire.source, wire.dest)]
        for kind, message, path, is_incoming in dict.fromkeys(
            (wire.kind, wire.message, wire.path, wire.dest == name)
            for wire in own
            if wire.message != "*"
        ):
            known = _declared(api, "_in" if is_incoming else "_out")
            if not is_incoming:
                # Which of these it sends is judged with the fallback.
                known |= {_VOICE, _FLUSH}
            if (kind, message) in known:
                continue
            does = "receive" if is_incoming else "send"
            kinds = [one for one, other in known if other == message]
            names = [other for one, other in known if one == kind]
            near = nearest(message, names, cutoff=0.8)
            text = f"{path}: {name} does not {does} the {kind} {message}"
            if kinds:
                found.errors.append(f"{text}; {message} is of kind {kinds[0]}")
            elif near:
                found.errors.append(f"{text}{near}")
            else:
                found.warnings.append(f"{text}; the connection has no effect")

    def check_arrivals(self) -> None:
        """Report speech, and ends of speech, that do not arrive."""
        name, path = self.name, self.graph.connections_path
        if not self._arrives(*_VOICE):
            self.found.errors.append(
                f"{path}: pcm_frame is not wired to {name}, so "
                "the avatar gets nothing to say. Wire the audio_frame "
                "pcm_frame of the TTS to it"
            )
        if not self._arrives("data", "tts_audio_end", "finalize"):
            self.found.warnings.append(
                f"{path}: tts_audio_end is not wired to {name}: "
                "an utterance ends only after end_of_speech_timeout_ms without "
                "audio. Wire the data tts_audio_end of the TTS to it"
            )
        elif not self._arrives("data", "tts_audio_start", "finalize"):
            self.found.notes.append(
                f"{path}: tts_audio_start is not wired to "
                f"{name}: a pause within an answer may be taken for its end, "
                "and a late frame of an interrupted answer for the next one. "
                "Wire the data tts_audio_start of the TTS to it"
            )

    def _arrives(self, kind: str, *messages: str) -> bool:
        return any(wire.carries(kind, *messages) for wire in self.arriving)

    def check_speech(self) -> None:
        """Report speech from the wrong side, and speech that is heard
        twice."""
        graph, name = self.graph, self.name
        errors = self.found.errors
        voices = [wire for wire in self.wires if wire.carries(*_VOICE)]
        for wire in voices:
            if wire.source == wire.dest == name:
                errors.append(
                    f"{wire.path}: {name} takes pcm_frame from itself. Remove "
                    "the connection"
                )
            elif wire.source == name and self._hears_user(wire.dest):
                errors.append(
                    f"{wire.path}: pcm_frame of {name} goes to {wire.dest}, "
                    "which listens to the user: the agent would hear itself. "
                    "Remove the connection"
                )
        for wire in voices:
            if wire not in self.arriving:
                continue
            if graph.named(wire.source).addon in USER_AUDIO_ADDONS:
                errors.append(
                    f"{wire.path}: {name} takes pcm_frame from {wire.source}: "
                    "that is the user's voice. Take it from the TTS"
                )
                continue
            for other in voices:
                if other.source == wire.source and (
                    graph.named(other.dest).addon == RTC_ADDON
                ):
                    errors.append(
                        f"{other.path}: pcm_frame of {other.source} goes to "
                        f"{other.dest} as well as to {name}, so every word is "
                        "audible twice. Remove the connection to "
                        f"{other.dest}"
                    )

    def _hears_user(self, name: str) -> bool:
        """Return whether a node takes the user's voice, for speech
        recognition for example; an RTC node plays its input."""
        addon = self.graph.named(name).addon
        if addon == RTC_ADDON:
            return False
        if addon in USER_AUDIO_ADDONS or _RECOGNITION.search(f"{name} {addon}"):
            return True
        return any(
            wire.dest == name
            and wire.carries(*_VOICE)
            and self.graph.named(wire.source).addon in USER_AUDIO_ADDONS
            for wire in self.wires
        )

    def check_flush(self) -> None:
        """Report that no flush reaches the avatar, by a wire or by its
        name."""
        graph, name = self.graph, self.name
        wired = {wire.source for wire in self.arriving if wire.carries(*_FLUSH)}
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
            self.found.warnings.append(
                f"{graph.connections_path}: flush is not wired to {name}: the "
                "avatar keeps speaking when the user interrupts, unless the "
                "agent sends flush to this node by its name. Wire the cmd "
                "flush of the agent to it"
            )
            return
        agent = next((agent for agent in past if agent in wired), past[0])
        flush = agents[agent]
        how = (
            f"flush reaches {name} only by the connection from {agent}"
            if wired
            else f"flush is not wired to {name}"
        )
        self.found.warnings.append(
            f"{graph.connections_path}: {how}, and {flush.where} sends flush "
            f"to {' and '.join(sorted(flush.receivers))} by name, bypassing "
            "the connections: the avatar would keep speaking when the user "
            f"interrupts. {line_for(graph.named(agent).addon, name)}. "
            "An agent that sends flush without a receiver needs no change"
        )

    def check_fallback(self) -> None:
        """Note the missing connections of the voice in place of the avatar."""
        graph, name = self.graph, self.name
        rtc_nodes = graph.made_by(RTC_ADDON)
        if not rtc_nodes:
            return
        missing = [
            " ".join(message)
            for message in (_VOICE, _FLUSH)
            if not any(
                wire.source == name
                and wire.dest in rtc_nodes
                and wire.carries(*message)
                for wire in self.wires
            )
        ]
        rtc = rtc_nodes[0]
        if missing:
            self.found.notes.append(
                f"{graph.connections_path}: while the avatar cannot speak, the "
                "agent is silent. To hear the agent then, wire the "
                f"{' and the '.join(missing)} of {name} to {rtc}"
            )
        elif graph.property_of(rtc).get("publish_audio") is False:
            self.found.notes.append(
                f"{graph.connections_path}: the voice in place of the avatar "
                f"goes to {rtc}, whose publish_audio is false; nobody would "
                "hear it"
            )


def _declared(api: Any, direction: str) -> set[tuple[str, str]]:
    """Return (kind, name) of the messages in a manifest's `api`."""
    return {
        (kind, str(entry.get("name")))
        for kind in KINDS
        for entry in objects((api or {}).get(kind + direction))
    }
