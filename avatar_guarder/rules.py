"""Every rule that an avatar is held to: the one registry.

A rule's tests carry `@pytest.mark.rule(<name>)`; its mutant has its name in
mutants/honest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .avatar import Avatar

PLAYBACK = ("data_out/avatar_audio_start", "data_out/avatar_audio_end")


@dataclass(frozen=True)
class Rule:
    """What an avatar must do."""

    name: str
    sentence: str
    why: str
    tier: Literal[1, 2] = 1
    """1: TEN's messages alone; 2: with a vendor that records."""
    declares: tuple[str, ...] = ()
    """Applies where the manifest's api has all of these."""
    case: str = "basic"
    """Applies where there is this configuration."""
    configured: bool = False
    """Applies only to an avatar with a complete configuration: without one it
    fails before it can keep the rule."""
    slow: bool = False
    """Takes most of a minute, of waiting."""

    def inapplicable(self, avatar: Avatar) -> str:
        """Return why the rule does not apply, "" where it does."""
        if self.tier == 2 and avatar.make_vendor is None:
            return "needs a recording vendor"
        for message in self.declares:
            if not avatar.declares(message):
                return f"the manifest does not declare {message}"
        if self.configured and not avatar.is_configured:
            return "needs a configuration: --config DIR"
        if not avatar.has_case(self.case):
            return f"no property_{self.case}.json"
        return ""


_RULES = [
    # Tier 1: life
    Rule(
        "starts_without_vendor",
        "With the vendor unreachable the avatar starts, and a stop requested "
        "at once takes at most 2 s.",
        "A start that waits for the network holds up the whole graph, and one "
        "that raises ends the worker.",
    ),
    Rule(
        "stops_in_time",
        "A stop during speech, with the vendor unreachable, takes at most 5 s.",
        "The runtime sets no limit: a stop that hangs keeps the worker.",
    ),
    Rule(
        "instances_are_independent",
        "Two avatars in one process do not disturb each other: when one "
        "stops, the other goes on.",
        "A state that instances share, in a class or in a file, ends the "
        "conversations of others.",
    ),
    # Tier 1: configuration
    Rule(
        "reports_missing_params",
        "Empty params lead to one `error` with code -1000 that names one of "
        "them.",
        "The first start of every user fails like this; silence costs hours.",
        case="empty",
    ),
    Rule(
        "reports_invalid_params",
        "A wrong value leads to one `error` with code -1000 that names it.",
        "Otherwise the vendor's refusal comes much later, in other words.",
        case="invalid",
    ),
    Rule(
        "reports_outages_sparingly",
        "With the vendor unreachable there is an `error` with code 1000 "
        "within 5 s, at most 3 in the 2 s after it, and none with -1000.",
        "An operator must learn of an outage, but not once for each attempt; "
        "and nothing that the avatar recovers from is fatal.",
        configured=True,
    ),
    Rule(
        "shapes_errors",
        "An `error` has id, module, code, message and vendor_info with "
        "vendor, code and message.",
        "Agents branch on these fields and show them to operators.",
        declares=("data_out/error",),
        case="empty",
    ),
    Rule(
        "shapes_connection_status",
        "`connection_status_changed` has id, module, vendor_info, current "
        "and last, and reports changes only.",
        "TEN's speech extensions report it so; operators watch all alike.",
        declares=("data_out/connection_status_changed",),
        configured=True,
    ),
    # Tier 1: commands
    Rule(
        "answers_unknown_commands",
        "A command that the avatar does not know gets a result.",
        "Without one the node that sent it waits for minutes.",
    ),
    Rule(
        "answers_flush_while_connecting",
        "`flush` is answered within 100 ms while there is no connection.",
        "The agent waits for the result before it starts its next answer.",
    ),
    Rule(
        "answers_flush_when_failed",
        "`flush` is answered within 100 ms by an avatar that has failed for "
        "good.",
        "The agent goes on without the avatar, and must not wait for it.",
        case="empty",
    ),
    Rule(
        "answers_many_flushes",
        "Of 50 flushes sent at once each gets its result, all within 1 s.",
        "Agents flush on every interim result of speech recognition.",
    ),
    Rule(
        "passes_flush_on",
        "`flush` goes on downstream, and its result does not wait for that.",
        "What plays downstream of the avatar must stop, too.",
        declares=("cmd_out/flush",),
    ),
    # Tier 1: messages of other nodes
    Rule(
        "survives_foreign_formats",
        "Frames of another rate, width or number of channels do not end the "
        "worker.",
        "Whatever escapes a handler ends the process and the conversation.",
    ),
    Rule(
        "survives_odd_frames",
        "Frames without a buffer, of one byte, of an odd number of bytes and "
        "of 10 s do not end the worker.",
        "Speech synthesis cuts its output where it likes.",
    ),
    Rule(
        "survives_foreign_metadata",
        "Metadata of any form does not end the worker: text, lists, numbers, "
        "or ids of unusual types.",
        "Metadata comes from other nodes, and passes the runtime unchecked.",
    ),
    Rule(
        "survives_huge_integers",
        "Integers above 2**63 - 1 in metadata and data do not end the worker.",
        "The runtime aborts the process when such a message is read as JSON.",
    ),
    Rule(
        "survives_unknown_data",
        "Data of unknown names, and known ones with missing or mistyped "
        "fields, do not end the worker.",
        "Graphs are wired by hand, and TTS extensions differ.",
    ),
    Rule(
        "reports_bad_frames_sparingly",
        "500 frames of a wrong rate lead to at most 20 errors.",
        "Frames come by the hundred a second; so would the errors.",
    ),
    # Tier 1: secrets and costs
    Rule(
        "keeps_secrets_out_of_messages",
        "No part of a secret of 8 characters or more is in any message.",
        "Messages reach clients, logs and other vendors.",
    ),
    Rule(
        "keeps_secrets_out_of_logs",
        "No part of a secret of 8 characters or more is printed or logged.",
        "Logs are kept for long and read by many.",
    ),
    Rule(
        "logs_little_without_vendor",
        "Speech that cannot be sent leads to at most 5 log lines for each "
        "second of it.",
        "An outage of the vendor must not fill the disk.",
    ),
    Rule(
        "bounds_memory_without_vendor",
        "Of 10 minutes of speech that cannot be sent at most half is kept in "
        "memory.",
        "An outage of the vendor must not end the worker.",
    ),
    Rule(
        "dumps_received_audio",
        "With `dump` set a file in `dump_path` holds the received audio byte "
        "for byte.",
        "A dump that differs from the input proves nothing.",
        declares=("property/dump", "property/dump_path"),
        configured=True,
    ),
    # Tier 1: the voice without the avatar
    Rule(
        "speaks_when_misconfigured",
        "An avatar that was never configured right sends the speech out as "
        "pcm_frame, unchanged.",
        "The listener must hear the agent, with or without a face.",
        declares=("audio_frame_out/pcm_frame",),
        case="empty",
    ),
    Rule(
        "speaks_when_unreachable",
        "With the vendor unreachable speech comes out as pcm_frame within "
        "4 s, unchanged.",
        "The listener must hear the agent, with or without a face.",
        declares=("audio_frame_out/pcm_frame",),
    ),
    # Tier 2: speech
    Rule(
        "sends_speech_unchanged",
        "The vendor receives an utterance byte for byte.",
        "A lost or doubled frame is a click; a lost word is worse.",
        tier=2,
    ),
    Rule(
        "keeps_early_speech",
        "Speech that comes before the connection is made is not lost.",
        "The greeting is the first thing that an agent says.",
        tier=2,
    ),
    Rule(
        "joins_odd_frames",
        "Frames with an odd number of bytes arrive as one unbroken stream of "
        "samples.",
        "One byte too many turns all that follows into noise.",
        tier=2,
    ),
    Rule(
        "ends_each_utterance_once",
        "Each utterance has exactly one end at the vendor, also where "
        "`tts_audio_end` comes twice.",
        "Without an end a vendor holds back the last movements; a second one "
        "ends the next utterance.",
        tier=2,
    ),
    Rule(
        "ends_on_finalize",
        "`finalize` ends an utterance as `tts_audio_end` does.",
        "Newer graphs send the one, older ones the other.",
        tier=2,
        declares=("data_in/finalize",),
    ),
    Rule(
        "sends_no_empty_utterance",
        "An end of speech without audio reaches no vendor.",
        "TTS extensions end requests that had no audio, too.",
        tier=2,
    ),
    # Tier 2: barge-in
    Rule(
        "interrupts_once",
        "Several flushes during speech lead to one interrupt.",
        "Agents flush several times for each barge-in; a second interrupt "
        "can hit the next answer.",
        tier=2,
    ),
    Rule(
        "interrupts_nothing_when_idle",
        "A flush with nothing to interrupt sends no interrupt.",
        "Most flushes come while nobody speaks.",
        tier=2,
    ),
    Rule(
        "interrupts_on_cut_speech",
        "A `tts_audio_end` with reason 2 interrupts the open utterance.",
        "It says that the speech was cut: what was sent must not play on.",
        tier=2,
    ),
    Rule(
        "drops_stale_speech",
        "Frames of the flushed turn that come after the flush are dropped.",
        "The TTS needs a moment to stop; the avatar must not resume.",
        tier=2,
    ),
    Rule(
        "keeps_the_next_answer",
        "The turn that follows a flush arrives whole.",
        "Dropping too much cuts off the first word of the answer.",
        tier=2,
    ),
    # Tier 2: sessions
    Rule(
        "reconnects_after_loss",
        "After a broken connection, an error close and a normal close a new "
        "session takes the next utterance.",
        "Sessions end all the time; conversations must not.",
        tier=2,
    ),
    Rule(
        "keeps_trying_when_refused",
        "A vendor that is overloaded at first is tried again.",
        "Services restart, and refuse connections while they do.",
        tier=2,
    ),
    Rule(
        "gives_up_without_credits",
        "Exhausted credits lead to one `error` with code -1000.",
        "No new attempt can help; somebody has to pay.",
        tier=2,
    ),
    Rule(
        "renews_before_expiry",
        "A session is renewed before it expires, without an error, and the "
        "next utterance arrives whole.",
        "Otherwise long conversations break in the middle of a word.",
        tier=2,
        case="renewal",
        slow=True,
    ),
    Rule(
        "instances_do_not_mix",
        "Two avatars in one process each send their own speech, whole.",
        "A state that instances share mixes conversations.",
        tier=2,
    ),
    # Tier 2: a vendor that hangs
    Rule(
        "answers_flush_when_connected",
        "`flush` is answered within 100 ms while the avatar speaks.",
        "The agent waits for the result before it starts its next answer.",
        tier=2,
    ),
    Rule(
        "answers_flush_when_stalled",
        "`flush` is answered within 100 ms while the vendor reads nothing.",
        "The agent waits for the result before it starts its next answer.",
        tier=2,
    ),
    Rule(
        "stops_when_stalled",
        "A stop while the vendor reads nothing takes at most 5 s.",
        "The runtime sets no limit: a stop that hangs keeps the worker.",
        tier=2,
    ),
    Rule(
        "stops_while_vendor_hangs",
        "A stop while the vendor does not answer the attempt to connect "
        "takes at most 5 s.",
        "The runtime sets no limit: a stop that hangs keeps the worker.",
        tier=2,
    ),
    Rule(
        "bounds_memory_when_stalled",
        "Of 10 minutes of speech that the vendor does not read at most half "
        "is kept in memory.",
        "A slow vendor must not end the worker.",
        tier=2,
    ),
    # Tier 2: reports
    Rule(
        "logs_little_while_speaking",
        "Speech leads to at most 5 log lines for each second of it.",
        "Lines for each frame cost more than the speech itself.",
        tier=2,
    ),
    Rule(
        "shapes_metrics",
        "`metrics` has id, module, vendor, metadata, and metrics that are "
        "numbers or booleans.",
        "Dashboards read the metrics of all modules alike.",
        tier=2,
        declares=("data_out/metrics",),
    ),
    Rule(
        "pairs_playback_events",
        "Each utterance has one `avatar_audio_start` and one "
        "`avatar_audio_end` with reason 1 and its whole duration.",
        "Agents and user interfaces show with them who speaks.",
        tier=2,
        declares=PLAYBACK,
    ),
    Rule(
        "reports_cut_playback",
        "A flush ends playback with reason 2 and the position that was "
        "reached.",
        "The agent cuts the context to what the user has heard.",
        tier=2,
        declares=PLAYBACK,
    ),
    Rule(
        "ends_playback_after_loss",
        "Each `avatar_audio_start` has one `avatar_audio_end` also where the "
        "connection is lost.",
        "Without it the agent believes that the avatar speaks indefinitely.",
        tier=2,
        declares=PLAYBACK,
    ),
    Rule(
        "speaks_without_credits",
        "Once the credits are exhausted speech comes out as pcm_frame, "
        "unchanged.",
        "The listener must hear the agent, with or without a face.",
        tier=2,
        declares=("audio_frame_out/pcm_frame",),
    ),
    Rule(
        "keeps_voice_silent_when_ready",
        "While the avatar speaks no pcm_frame comes out.",
        "The listener would hear everything twice.",
        tier=2,
        declares=("audio_frame_out/pcm_frame",),
    ),
]

RULES = {rule.name: rule for rule in _RULES}
