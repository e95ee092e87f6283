"""The TEN side: turns messages into calls and answers commands.

TEN ends the whole worker when anything escapes a handler, whatever its class:
hence `except BaseException` in each of them and nowhere else. It runs each in
a task of its own: what must stay in order is done before the first await.
"""

import asyncio
import contextlib
import functools
import json
from collections import deque
from typing import Optional, Union

from ten_runtime import (
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)

from . import config, token
from .avatar import Avatar, Plan
from .clock import Clock, SystemClock, wait_until
from .messages import payloads
from .messages.downstream import Downstream
from .messages.dump import Dump
from .messages.outbox import TenOutbox
from .session import sdk
from .session.errors import Failure, clean_id
from .session.link import OpenSession, Session, lifetime_of
from .settings.params import AUTO
from .speech import BYTES_PER_SAMPLE, Limits, Speech, Turn

KEY_POINT = "key_point"
"""TEN's log category of the line that holds the configuration."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 8000, 192000
"""Where the configuration names no rate. At one of a few Hz, a piece of audio
would have no samples."""

MAX_INPUT_ERRORS = 10
INPUT_ERRORS_WITHIN_S = 60.0
"""No more errors than this about bad input: frames come by the hundred."""

DUMP_CLOSE_S = 0.3
"""How long a stop waits for the last audio to be written."""

REASON_INTERRUPTED = 2
"""The `reason` of a tts_audio_end whose speech was cut."""

NO_TURN_ID = -1
"""What TEN's own nodes send where they know no turn."""


class SpatiusAvatarExtension(AsyncExtension):
    """One node of a graph: speech in, an avatar in an Agora channel."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.clock: Clock = SystemClock()
        """To be set before `on_init`, if at all."""
        self._name = name
        self._failure: Optional[Failure] = None  # of the configuration
        self.avatar: Optional[Avatar] = None
        """None before `on_init`."""
        self._rates_hz: tuple[int, ...] = ()  # expected, any if empty
        self._dump_path: Optional[str] = None  # None for no dump
        self._dump: Optional[Dump] = None
        self._outbox: Optional[TenOutbox] = None
        self._downstream: Optional[Downstream] = None
        self._turn: Optional[Turn] = None  # of the latest frame
        # Of the latest frame: rate, bytes per sample, channels.
        self._layout: Optional[tuple[int, int, int]] = None
        self._is_refused = False  # what looks like that
        self._input_errors: deque[float] = deque(maxlen=MAX_INPUT_ERRORS)
        self._unknown: set[str] = set()  # names already warned of

    # Lifecycle

    async def on_init(self, ten_env: AsyncTenEnv) -> None:
        """Read the configuration. Messages may come from here on."""
        self._outbox = TenOutbox(ten_env)
        self._downstream = Downstream(ten_env)
        try:
            await self._read_config(ten_env)
        except config.ConfigError as error:
            self._fail(error.problems)
        except BaseException as error:  # nothing may end the worker
            self._fail([f"the configuration cannot be read: {error!r}"])

    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        """Begin to connect, or say why it cannot be."""
        outbox = self._outbox
        if outbox is None:
            return
        try:
            outbox.open()
            if self.avatar is None:
                return
            if self._failure is not None:
                self.avatar.fail(self._failure)
            else:
                self.avatar.start()
        except BaseException as error:
            outbox.log("error", f"on_start failed: {error!r}")

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        """Leave the channel, within 4 s."""
        try:
            if self.avatar is not None:
                await self.avatar.stop()
            self._dump_path = None  # frames still come, of any rate
            if self._dump is not None:
                await self._close_dump(self._dump)
            if self._downstream is not None:
                self._downstream.close()
            if self._outbox is not None:
                await self._outbox.drain(self.clock)
        except BaseException as error:
            ten_env.log_error(f"on_stop failed: {type(error).__name__}")

    # Messages

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        """Take a pcm_frame's audio."""
        try:
            if self.avatar is not None:
                self._take_frame(self.avatar, audio_frame)
        except BaseException as error:
            self._report_input_error(f"a pcm_frame cannot be read ({error!r})")

    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        """Take what the TTS says about its requests."""
        try:
            if self.avatar is not None:
                self._take_data(self.avatar, data)
        except BaseException as error:
            self._report_input_error(
                f"a data message cannot be read ({error!r})"
            )

    async def on_cmd(self, ten_env: AsyncTenEnv, cmd: Cmd) -> None:
        """Answer `flush` at once, and any other command with an error."""
        try:
            problem = self._take_cmd(cmd.get_name())
        except BaseException as error:
            problem = "the command cannot be taken"
            self._report_input_error(f"a command cannot be taken ({error!r})")
        try:
            status = StatusCode.ERROR if problem else StatusCode.OK
            result = CmdResult.create(status, cmd)
            if problem:
                result.set_property_string("detail", problem)
            await ten_env.return_result(result)
        except BaseException as error:
            self._report_input_error(
                f"a command cannot be answered ({error!r})"
            )

    # Internals

    async def _read_config(self, ten_env: AsyncTenEnv) -> None:
        """Make the avatar; raises `ConfigError`."""
        outbox = self._outbox
        assert outbox is not None
        text, error = await ten_env.get_property_to_json("")
        if error is not None:
            raise config.ConfigError(
                [f"the properties cannot be read: {error.error_message()}"]
            )
        settings = config.load(json.loads(text or "{}"), self.clock.epoch())
        params = settings.params
        outbox.add_permanent_secrets(settings.secrets())
        summary = json.dumps(settings.summary(), ensure_ascii=False)
        outbox.log("info", f"config: {summary}", KEY_POINT)
        for warning in settings.warnings:
            outbox.log("warn", warning)
        problem = sdk.problem(
            params.audio_format == "ogg_opus", bool(params.extra_params)
        )
        if problem:
            raise config.ConfigError([problem])
        outbox.log("info", f"using {sdk.package()}")
        self._rates_hz = params.rates_hz
        if settings.dump:
            self._dump_path = settings.dump_path
            if params.sample_rate != AUTO:
                self._begin_dump(params.sample_rate)
        self._make_avatar(
            limits_of(params),
            sdk.opener(params, self.clock, outbox.add_secrets),
            plan_of(settings),
        )

    def _make_avatar(
        self, limits: Limits, open_session: OpenSession, plan: Plan
    ) -> None:
        assert self._outbox is not None and self._downstream is not None
        self.avatar = Avatar(
            speech=Speech(limits=limits),
            open_session=open_session,
            outbox=self._outbox,
            voice=self._downstream,
            plan=plan,
            clock=self.clock,
        )

    def _fail(self, problems: list[str]) -> None:
        """The configuration cannot be used: only the voice can speak."""
        self._failure = Failure(
            "; ".join(problems),
            fatal=True,
            code="invalidConfiguration",
            phase="configuration",
        )
        self._make_avatar(Limits(), _no_session, Plan(lifetime_of(30)))

    def _begin_dump(self, sample_rate: int) -> Dump:
        """Return the dump of the frames that come from here on."""
        assert self._dump_path is not None
        loop = asyncio.get_running_loop()

        def report(problem: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(self._report_input_error, problem)

        if self._dump is not None:
            self._dump.close()
        self._dump = Dump(self._dump_path, self._name, sample_rate, report)
        return self._dump

    async def _close_dump(self, dump: Dump) -> None:
        """Have the last audio written, as far as the disk is quick."""
        loop = asyncio.get_running_loop()
        closed = loop.create_future()

        def on_closed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(closed.set_result, None)

        dump.close(on_closed)
        deadline = self.clock.monotonic() + DUMP_CLOSE_S
        await wait_until(self.clock, deadline, closed)

    def _take_cmd(self, name: str) -> str:
        """Return what is wrong with a command, "" if it was carried out."""
        if name != "flush":
            return f"unknown command {name!r}: this extension knows flush"
        if self.avatar is not None:
            self.avatar.flush()
        if self._downstream is not None:
            self._downstream.flush()
        return ""

    def _take_frame(self, avatar: Avatar, frame: AudioFrame) -> None:
        if frame.get_name() != "pcm_frame":
            self._warn_unknown(f"audio frame {frame.get_name()!r}")
            return
        rate = frame.get_sample_rate()
        layout = (
            rate,
            frame.get_bytes_per_sample(),
            frame.get_number_of_channels(),
        )
        if layout != self._layout:
            self._check_layout(*layout)
        if self._is_refused:
            return
        try:
            pcm = bytes(frame.get_buf())
        except SystemError:  # it was never given a buffer
            return
        if not pcm:
            return
        if self._dump_path is not None:
            dump = self._dump
            if dump is None or dump.sample_rate != rate:
                dump = self._begin_dump(rate)
            dump.write(pcm)
        self._turn = _turn_of(frame)
        avatar.speak(pcm, self._turn, rate)

    def _check_layout(self, rate: int, width: int, channels: int) -> None:
        """Accept what the frames look like from here on, or say why not."""
        self._layout = rate, width, channels
        is_rate_right = rate in self._rates_hz
        rates = ", ".join(map(str, self._rates_hz))
        if not self._rates_hz:
            is_rate_right = LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ
            rates = f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
        self._is_refused = (
            width != BYTES_PER_SAMPLE or channels != 1 or not is_rate_right
        )
        if not self._is_refused:
            return
        layout = "mono" if channels == 1 else f"{channels} channels"
        came = f"{rate} Hz, {layout}, {8 * width} bit"
        advice = "Have the TTS send signed 16-bit mono PCM"
        if not is_rate_right:
            advice = (
                "Set params.sample_rate to the rate of the TTS or to "
                '"auto", or the TTS to this one'
            )
        self._report_input_error(
            f"pcm_frames of {came} are refused: expected {rates} Hz, mono, "
            f"{8 * BYTES_PER_SAMPLE} bit. {advice}. Nothing is resampled."
        )

    def _take_data(self, avatar: Avatar, data: Data) -> None:
        name = data.get_name()
        if name == "trigger_connect":
            avatar.connect()
            return
        if name not in ("tts_audio_start", "tts_audio_end", "finalize"):
            self._warn_unknown(f"data {name!r}")
            return
        turn = _turn_of(data)
        request_id, _ = data.get_property_string("request_id")
        request_id = clean_id(request_id)
        if name == "tts_audio_start":
            avatar.speech_starts(turn, request_id)
            return
        reason, _ = data.get_property_int("reason")
        is_cut = name == "tts_audio_end" and reason == REASON_INTERRUPTED
        is_flush = avatar.speech_ends(turn, is_cut, request_id)
        if is_flush and self._downstream is not None:
            # The voice may have been handed seconds of it already.
            self._downstream.flush()

    def _warn_unknown(self, what: str) -> None:
        if what not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(what)
            if self._outbox is not None:
                self._outbox.log("warn", f"unknown {what} is not used")

    def _report_input_error(self, problem: str) -> None:
        """Send a non-fatal error of the extension's own; not too many."""
        now = self.clock.monotonic()
        if len(self._input_errors) == self._input_errors.maxlen and (
            now - self._input_errors[0] < INPUT_ERRORS_WITHIN_S
        ):
            return
        self._input_errors.append(now)
        if self._outbox is not None:
            self._outbox.send(
                "error",
                payloads.error(payloads.NON_FATAL, problem, turn=self._turn),
            )
            self._outbox.log("warn", problem)


def _turn_of(message: Union[AudioFrame, Data]) -> Optional[Turn]:
    """Return the turn that a message's metadata names, None if none.

    With typed getters only: TEN's core ends the process when it is asked for
    the JSON of a message that holds an integer above 2**63 - 1 or an object
    with the same key twice, and other nodes may send both.
    """
    turn_id: Union[int, str]
    turn_id, error = message.get_property_int("metadata.turn_id")
    if error is not None:
        turn_id, _ = message.get_property_string("metadata.turn_id")
        if not turn_id:
            return None
    elif turn_id == NO_TURN_ID:
        return None
    session, _ = message.get_property_string("metadata.session_id")
    return _turn(session or None, turn_id)


# One object for one turn: that frames belong together is then quick to see.
_turn = functools.lru_cache(maxsize=8)(Turn)


def limits_of(params: config.Params) -> Limits:
    """Return the limits of speech that are configured."""
    is_opus = params.audio_format == "ogg_opus"
    return Limits(
        max_buffered_s=params.max_buffered_speech_s,
        end_timeout_s=params.end_of_speech_timeout_ms / 1000,
        first_message_ms=sdk.OPUS_FRAME_MS if is_opus else 0,
        resume_rewind_s=params.resume_rewind_ms / 1000,
        resume_within_s=params.resume_within_s,
    )


def plan_of(settings: config.Config) -> Plan:
    """Return when to make sessions, as configured."""
    params = settings.params
    given = params.agora_token
    facts = token.read(given.get_secret_value()) if given else None
    rate = params.sample_rate
    return Plan(
        lifetime=lifetime_of(
            params.session_expire_minutes, facts and facts.expires_at_s
        ),
        sample_rate=None if rate == AUTO else rate,
        fallback_after_s=params.fallback_after_ms / 1000,
        idle_disconnect_s=params.idle_disconnect_s,
        auto_connect=settings.auto_connect,
    )


def _no_session(events: object, sample_rate_hz: int) -> Session:
    raise AssertionError("there is no configuration to open a session with")
