#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Every rule that an avatar is held to: the one registry.

A rule's tests carry `@pytest.mark.rule(<name>)`; its mutant has its name in
mutants/honest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .cases import FILES

if TYPE_CHECKING:
    from .avatar import Avatar

PLAYBACK = ("data_out/avatar_audio_start", "data_out/avatar_audio_end")
LOADS = ("loads",)
STARTS = ("starts",)
LIVES = ("lives_without_vendor",)
BEFORE_DOWNSTREAM = ("answers_flush_before_downstream",)
FLUSH = ("lives_without_vendor", "answers_flush")
FAILS = ("lives_when_misconfigured",)
MEETS = ("lives_with_vendor",)
SENDS = ("sends_speech_unchanged",)
ENDS = ("sends_speech_unchanged", "ends_each_utterance")
CUTS = ("answers_flush", "interrupts_speech")


@dataclass(frozen=True)
class Rule:
    """One requirement for an avatar."""

    name: str
    sentence: str
    why: str
    tier: Literal[1, 2] = 1
    """1: TEN's messages alone; 2: with a vendor that records."""
    needs: tuple[str, ...] = LIVES
    """Rules without which this one cannot be tested."""
    after: tuple[str, ...] = ()
    """Rules whose verdicts its test takes into account."""
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
            return "needs a recording vendor: --vendor NAME"
        for message in self.declares:
            if not avatar.declares(message):
                return f"the manifest does not declare {message}"
        if self.configured and not avatar.is_configured:
            return "needs a configuration: --config DIR"
        if not avatar.has_case(self.case):
            return f"no {FILES[self.case][0]}"
        return ""


_RULES = [
    # The baseline: each defect in it has this one verdict, and the rules that
    # need it are not testable.
    Rule(
        "loads",
        "The package is imported, and registers its addon.",
        "An app does not start with an addon that fails.",
        needs=(),
    ),
    Rule(
        "starts",
        "on_start returns within 10 s and raises nothing.",
        "An exception that escapes on_start ends the worker.",
        needs=LOADS,
    ),
    Rule(
        "lives_without_vendor",
        "Without its vendor the avatar lives through an idle second and"
        " takes a plain frame.",
        "An exception that escapes a handler ends the process and the "
        "conversation.",
        needs=STARTS,
    ),
    Rule(
        "lives_when_misconfigured",
        "Without the properties that it requires the avatar starts, "
        "lives through an idle second and takes a plain frame.",
        "The rest of the graph works without the avatar, unless it ends"
        " the process.",
        needs=LOADS,
        case="missing",
    ),
    Rule(
        "answers_flush",
        "`flush` is answered.",
        "The agent waits for the result before it starts its next answer.",
        needs=STARTS,
    ),
    Rule(
        "lives_with_vendor",
        "With its vendor the avatar opens a session, takes a plain "
        "utterance and sends it.",
        "An avatar that cannot do this can do nothing else.",
        tier=2,
        needs=LOADS,
    ),
    # Tier 1: life
    Rule(
        "starts_without_vendor",
        "With a vendor that refuses the connection, and with one that "
        "never answers, on_start returns within 2 s.",
        "A start that waits for the network holds up the whole graph.",
        needs=STARTS,
    ),
    Rule(
        "stops_in_time",
        "A stop during speech, with the vendor unreachable, takes at most 5 s.",
        "The runtime sets no limit: a stop that hangs keeps the worker.",
    ),
    Rule(
        "instances_are_independent",
        "Two avatars in one process do not disturb each other: when one"
        " stops, the other goes on.",
        "A state that instances share, in a class or in a file, ends "
        "the conversations of others.",
        needs=FLUSH,
    ),
    Rule(
        "keeps_the_loop_free",
        "While the vendor does not answer, the event loop never stands "
        "still for half a second.",
        "All extensions of a process share one loop: speech "
        "recognition, the LLM and TTS stand still, too.",
        needs=LOADS,
    ),
    Rule(
        "pauses_between_attempts",
        "A vendor that ends each connection at once is not called more "
        "than 20 times in 3 s.",
        "Attempts without a pause overload the service that is to recover.",
    ),
    # Tier 1: configuration
    Rule(
        "reports_missing_params",
        "Without the required properties there is one `error` with code"
        " -1012 or -1000 that names one of them.",
        "The first start of every user fails like this; silence costs hours.",
        needs=FAILS,
        case="missing",
    ),
    Rule(
        "reports_invalid_params",
        "A wrong value leads to one `error` with code -1012 or -1000 "
        "that names it.",
        "Otherwise the vendor's refusal comes much later, in other words.",
        needs=LOADS,
        case="wrong_value",
    ),
    Rule(
        "reports_outages_sparingly",
        "With the vendor unreachable there is an `error` with code 1000"
        " within 5 s, at most 3 in the 2 s after it, and none that is "
        "fatal.",
        "An operator must learn of an outage, but not once for each "
        "attempt; and nothing that the avatar recovers from is fatal.",
        configured=True,
    ),
    Rule(
        "reports_each_attempt",
        "With the vendor unreachable `connection_status_changed` "
        "reports within 8 s two attempts: `connecting`, `disconnected`,"
        " `connecting`.",
        "TEN's guarders ask it of every module that connects to a vendor.",
        declares=("data_out/connection_status_changed",),
        configured=True,
    ),
    Rule(
        "shapes_errors",
        "An `error` has id, module, code, message, vendor_info with "
        "vendor, code and message, and metadata whose vendor_metadata "
        "is an object.",
        "Agents branch on these fields and show them to operators.",
        needs=("lives_when_misconfigured", "reports_missing_params"),
        declares=("data_out/error",),
        case="missing",
    ),
    Rule(
        "shapes_connection_status",
        "`connection_status_changed` has id, module, vendor_info, "
        "current and last, and reports changes only.",
        "TEN's speech extensions report it so; operators watch all alike.",
        declares=("data_out/connection_status_changed",),
        configured=True,
    ),
    # Tier 1: commands
    Rule(
        "answers_unknown_commands",
        "A command that the avatar does not know is answered with OK.",
        "TEN's own extensions do so; a node that gets no result waits "
        "for minutes.",
        needs=STARTS,
    ),
    Rule(
        "answers_flush_while_connecting",
        "`flush` is answered within 100 ms while there is no connection.",
        "The agent waits for the result before it starts its next answer.",
        needs=FLUSH,
        after=BEFORE_DOWNSTREAM,
    ),
    Rule(
        "answers_flush_when_failed",
        "`flush` is answered within 100 ms by an avatar that has failed"
        " for good.",
        "The agent goes on without the avatar, and must not wait for it.",
        needs=("lives_when_misconfigured", "answers_flush"),
        case="missing",
        after=BEFORE_DOWNSTREAM,
    ),
    Rule(
        "answers_many_flushes",
        "Of 50 flushes sent at once each gets its result, all within 1 s.",
        "Agents flush on every interim result of speech recognition.",
        needs=FLUSH,
        after=BEFORE_DOWNSTREAM,
    ),
    Rule(
        "passes_flush_on",
        "`flush` goes on downstream.",
        "Audio that plays downstream of the avatar must stop, too.",
        needs=FLUSH,
    ),
    Rule(
        "answers_flush_before_downstream",
        "The result of `flush` does not wait for the node downstream, "
        "which may be silent.",
        "A node that does not answer would hold up every next answer of"
        " the agent.",
        needs=("lives_without_vendor", "answers_flush", "passes_flush_on"),
    ),
    # Tier 1: messages of other nodes; with the vendor as well, if there is one
    Rule(
        "survives_foreign_formats",
        "Frames of another rate, width or number of channels do not end"
        " the worker, nor the speech that follows.",
        "An exception that escapes a handler ends the process and the "
        "conversation.",
        after=MEETS,
    ),
    Rule(
        "survives_odd_frames",
        "Frames without a buffer, of one byte, of an odd number of "
        "bytes and of 10 s do not end the worker, nor the speech that "
        "follows.",
        "Speech synthesis cuts its output where it likes.",
        after=MEETS,
    ),
    Rule(
        "survives_foreign_metadata",
        "Metadata of any form does not end the worker: text, lists, "
        "numbers, or ids of unusual types.",
        "Metadata comes from other nodes, and passes the runtime unchecked.",
        after=MEETS,
    ),
    Rule(
        "survives_huge_integers",
        "Integers above 2**63 - 1 in metadata and data do not end the worker.",
        "The runtime aborts the process when such a message is read as JSON.",
        after=MEETS,
    ),
    Rule(
        "survives_unknown_data",
        "Data of unknown names, and known ones with missing or mistyped"
        " fields, do not end the worker.",
        "Graphs are wired by hand, and TTS extensions differ.",
        after=MEETS,
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
        "Speech that cannot be sent leads to at most 5 log lines for "
        "each second of it.",
        "An outage of the vendor must not fill the disk.",
    ),
    Rule(
        "bounds_memory_without_vendor",
        "Of 10 minutes of speech that cannot be sent at most half is "
        "kept in memory.",
        "An outage of the vendor must not end the worker.",
    ),
    Rule(
        "dumps_received_audio",
        "With `dump` set a file in `dump_path` holds the received audio"
        " byte for byte.",
        "A dump that differs from the input proves nothing.",
        declares=("property/dump", "property/dump_path"),
        configured=True,
    ),
    # Tier 1: the voice without the avatar
    Rule(
        "speaks_when_misconfigured",
        "An avatar that was never configured right sends the speech out"
        " as pcm_frame, unchanged.",
        "The listener must hear the agent, with or without a face.",
        needs=FAILS,
        declares=("audio_frame_out/pcm_frame",),
        case="missing",
    ),
    Rule(
        "speaks_when_unreachable",
        "With the vendor unreachable speech comes out as pcm_frame "
        "within 4 s, unchanged.",
        "The listener must hear the agent, with or without a face.",
        declares=("audio_frame_out/pcm_frame",),
    ),
    Rule(
        "silences_the_voice",
        "After a flush no pcm_frame of the flushed turn comes out, and "
        "those of the next turn do.",
        "A voice that goes on cannot be interrupted.",
        needs=(
            "answers_flush",
            "speaks_when_unreachable",
            "drops_stale_speech",
        ),
        declares=("audio_frame_out/pcm_frame",),
    ),
    # Tier 2: speech
    Rule(
        "sends_speech_unchanged",
        "The vendor receives an utterance byte for byte; from an avatar"
        " that resamples it, whole and in order.",
        "A lost or doubled frame is a click; a lost word is worse.",
        tier=2,
        needs=MEETS,
    ),
    Rule(
        "keeps_early_speech",
        "Speech that comes before the connection is made is not lost.",
        "The greeting is the first thing that an agent says.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "sends_speech_at_once",
        "Of speech that comes in real time the first reaches the vendor"
        " within 500 ms.",
        "Time for which speech is held back is added to the delay of "
        "every answer.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "takes_long_speech",
        "90 s of speech that come at once arrive whole.",
        "A TTS is many times faster than the listener.",
        tier=2,
        needs=SENDS,
        slow=True,
    ),
    Rule(
        "joins_odd_frames",
        "Frames with an odd number of bytes arrive as one unbroken "
        "stream of samples.",
        "One byte too many turns all that follows into noise.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "speaks_without_metadata",
        "Frames without metadata, start or end arrive whole.",
        "Realtime models send them so.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "speaks_through_a_proxy",
        "With HTTP_PROXY and HTTPS_PROXY set speech arrives whole, "
        "through the proxy or past it.",
        "Many workers reach the internet only so.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "reports_wrong_rate",
        "Frames of another rate than the configured one are resampled, "
        "or refused with an error or a log line that names the rate.",
        "Spoken as they are they sound an octave off; if they are "
        "dropped silently, the cause cannot be found.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "recovers_from_a_rate_change",
        "After a request of another rate the next one of the configured"
        " rate arrives whole.",
        "A graph may change its TTS between two requests.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "ends_each_utterance",
        "Each utterance has an end at the vendor.",
        "Without an end a vendor holds back the last movements.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "ends_each_utterance_once",
        "Each utterance has exactly one end at the vendor, also where "
        "the end of speech comes twice.",
        "A second one ends the next utterance.",
        tier=2,
        needs=ENDS,
    ),
    Rule(
        "ends_behind_speech",
        "The end of an utterance reaches the vendor behind all of its audio.",
        "Audio behind the end is an utterance of its own, which nothing ends.",
        tier=2,
        needs=ENDS,
    ),
    Rule(
        "ends_on_finalize",
        "`finalize` ends an utterance as `tts_audio_end` does.",
        "Newer graphs send the one, older ones the other.",
        tier=2,
        needs=ENDS,
        declares=("data_in/finalize",),
    ),
    Rule(
        "ignores_late_ends",
        "A late end of another request does not end the utterance that "
        "is spoken.",
        "The end of a cut request can come while the next one speaks.",
        tier=2,
        needs=ENDS,
        declares=("data_in/tts_audio_end",),
    ),
    Rule(
        "sends_no_empty_utterance",
        "An end of speech without audio reaches no vendor.",
        "TTS extensions end requests that had no audio, too.",
        tier=2,
        needs=("ends_each_utterance_once",),
    ),
    # Tier 2: barge-in
    Rule(
        "interrupts_speech",
        "A flush during speech leads to an interrupt.",
        "Otherwise the speech that was sent plays on.",
        tier=2,
        needs=("lives_with_vendor", "answers_flush"),
    ),
    Rule(
        "interrupts_once",
        "Several flushes during speech lead to one interrupt.",
        "Agents flush several times for each barge-in; a second "
        "interrupt can hit the next answer.",
        tier=2,
        needs=("interrupts_speech", "interrupts_nothing_when_idle"),
    ),
    Rule(
        "interrupts_after_the_end",
        "A flush while an utterance is heard whose end was sent leads "
        "to an interrupt.",
        "A TTS is done long before the listener: the usual barge-in.",
        tier=2,
        needs=CUTS,
    ),
    Rule(
        "interrupts_nothing_when_idle",
        "A flush with nothing to interrupt sends no interrupt.",
        "Most flushes come during silence.",
        tier=2,
        needs=("lives_with_vendor", "answers_flush"),
    ),
    Rule(
        "interrupts_on_cut_speech",
        "A `tts_audio_end` with reason 2 interrupts the open utterance.",
        "It says that the speech was cut: the part that was sent must "
        "not play on.",
        tier=2,
        needs=CUTS,
        declares=("data_in/tts_audio_end",),
    ),
    Rule(
        "drops_stale_speech",
        "Frames of the flushed turn that come after the flush are dropped.",
        "The TTS needs a moment to stop; the avatar must not resume.",
        tier=2,
        needs=("sends_speech_unchanged", "answers_flush"),
    ),
    Rule(
        "keeps_the_next_answer",
        "The turn that follows a flush arrives whole.",
        "Dropping too much cuts off the first word of the answer.",
        tier=2,
        needs=("sends_speech_unchanged", "answers_flush"),
    ),
    Rule(
        "speaks_a_flushed_turn_again",
        "A new request of the flushed turn arrives whole.",
        "An interim result flushes, and the answer goes on under the "
        "same turn.",
        tier=2,
        needs=("keeps_the_next_answer",),
    ),
    # Tier 2: sessions
    Rule(
        "reconnects_after_loss",
        "After a broken connection, an error close and a normal close a"
        " new session takes the next utterance.",
        "Sessions end all the time; conversations must not.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "keeps_trying_when_refused",
        "A vendor that is overloaded at first is tried again.",
        "Services restart, and refuse connections while they do.",
        tier=2,
        needs=SENDS,
    ),
    Rule(
        "gives_up_without_credits",
        "Exhausted credits lead to one `error` with code -1000.",
        "No new attempt can help; somebody has to pay.",
        tier=2,
        needs=MEETS,
    ),
    Rule(
        "reports_wrong_credentials",
        "Credentials that the vendor refuses lead to an `error` with "
        "code -1000 or -1012.",
        "No new attempt can help; somebody has to configure it.",
        tier=2,
        needs=MEETS,
        case="invalid",
    ),
    Rule(
        "renews_before_expiry",
        "A session is renewed before it expires, without an error, and "
        "the next utterance arrives whole.",
        "Otherwise long conversations break in the middle of a word.",
        tier=2,
        needs=MEETS,
        case="renewal",
        slow=True,
    ),
    Rule(
        "renews_without_losing_speech",
        "Speech that goes on while a session is renewed arrives whole.",
        "A renewal falls into the middle of a word sooner or later.",
        tier=2,
        needs=MEETS,
        case="renewal",
        slow=True,
    ),
    Rule(
        "instances_do_not_mix",
        "Two avatars in one process each send their own speech, whole.",
        "A state that instances share mixes conversations.",
        tier=2,
        needs=("ends_behind_speech", "workers_do_not_share"),
    ),
    Rule(
        "workers_do_not_share",
        "A second worker on the same machine ends no session of the first.",
        "Ids that are kept in a file belong to the wrong worker.",
        tier=2,
        needs=SENDS,
    ),
    # Tier 2: a vendor that hangs
    Rule(
        "answers_flush_when_connected",
        "`flush` is answered within 100 ms while the avatar speaks.",
        "The agent waits for the result before it starts its next answer.",
        tier=2,
        needs=("lives_with_vendor", "answers_flush"),
        after=BEFORE_DOWNSTREAM,
    ),
    Rule(
        "answers_flush_when_stalled",
        "`flush` is answered within 100 ms while the vendor reads nothing.",
        "The agent waits for the result before it starts its next answer.",
        tier=2,
        needs=("lives_with_vendor", "answers_flush"),
        after=BEFORE_DOWNSTREAM,
    ),
    Rule(
        "stops_when_stalled",
        "A stop while the vendor reads nothing takes at most 5 s.",
        "The runtime sets no limit: a stop that hangs keeps the worker.",
        tier=2,
        needs=("lives_with_vendor", "stops_in_time"),
    ),
    Rule(
        "stops_while_vendor_hangs",
        "A stop while the vendor does not answer the attempt to connect"
        " takes at most 5 s.",
        "The runtime sets no limit: a stop that hangs keeps the worker.",
        tier=2,
        needs=("keeps_the_loop_free", "stops_in_time"),
    ),
    Rule(
        "bounds_memory_when_stalled",
        "Of 10 minutes of speech that the vendor does not read at most "
        "half is kept in memory.",
        "A slow vendor must not end the worker.",
        tier=2,
        needs=("lives_with_vendor", "bounds_memory_without_vendor"),
    ),
    # Tier 2: reports
    Rule(
        "logs_little_while_speaking",
        "Speech leads to at most 5 log lines for each second of it.",
        "Lines for each frame cost more than the speech itself.",
        tier=2,
        needs=("lives_with_vendor", "logs_little_without_vendor"),
    ),
    Rule(
        "keeps_tokens_out_of_logs",
        "No part of a token that was signed or issued for the session "
        "is printed or logged.",
        "A reader of the log can open sessions with it.",
        tier=2,
        needs=MEETS,
    ),
    Rule(
        "keeps_secrets_out_of_vendor_errors",
        "A fatal error of the vendor shows no secret, in messages and logs.",
        "Errors quote the request that failed, and its key.",
        tier=2,
        needs=("lives_with_vendor", "keeps_secrets_out_of_messages"),
        after=("keeps_secrets_out_of_logs", "keeps_tokens_out_of_logs"),
    ),
    Rule(
        "shapes_metrics",
        "`metrics` has id, module, vendor, metadata, and metrics that "
        "are numbers or booleans.",
        "Dashboards read the metrics of all modules alike.",
        tier=2,
        needs=MEETS,
        declares=("data_out/metrics",),
    ),
    Rule(
        "pairs_playback_events",
        "Each utterance has one `avatar_audio_start` and one "
        "`avatar_audio_end` with reason 1 and its whole duration.",
        "Agents and user interfaces show with them who speaks.",
        tier=2,
        needs=MEETS,
        declares=PLAYBACK,
    ),
    Rule(
        "reports_cut_playback",
        "A flush ends playback with reason 2 and the position that was "
        "reached.",
        "The agent cuts the context to the part that the user has heard.",
        tier=2,
        needs=("pairs_playback_events", "answers_flush"),
        declares=PLAYBACK,
    ),
    Rule(
        "ends_playback_after_loss",
        "Each `avatar_audio_start` has one `avatar_audio_end` also "
        "where the connection is lost.",
        "Without it the agent believes that the avatar speaks indefinitely.",
        tier=2,
        needs=("pairs_playback_events",),
        declares=PLAYBACK,
    ),
    Rule(
        "speaks_without_credits",
        "Once the credits are exhausted speech comes out as pcm_frame, "
        "unchanged.",
        "The listener must hear the agent, with or without a face.",
        tier=2,
        needs=("speaks_when_unreachable", "gives_up_without_credits"),
        declares=("audio_frame_out/pcm_frame",),
    ),
    Rule(
        "keeps_voice_silent_when_ready",
        "While the avatar speaks no pcm_frame comes out.",
        "The listener would hear everything twice.",
        tier=2,
        needs=MEETS,
        declares=("audio_frame_out/pcm_frame",),
    ),
]

RULES = {rule.name: rule for rule in _RULES}
