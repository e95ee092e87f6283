"""The TEN side: turns messages into calls, answers commands, sends reports.

TEN ends the whole worker when anything escapes a handler, whatever its class:
hence `except BaseException` in each of them and nowhere else. It runs each in
a task of its own: what must stay in order is done before the first await.
"""

import asyncio
import contextlib
import json
from collections import deque
from typing import Any, Optional

from ten_runtime import (
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)

from . import config, reports, token
from .avatar import Avatar, LogLevel, lifetime_of
from .clock import Clock, SystemClock
from .dump import Dump
from .redact import Redactor
from .session import sdk
from .speech.queue import BYTES_PER_SAMPLE, Speech, Turn

KEY_POINT = "key_point"
"""TEN's log category of the line that holds the configuration."""

MAX_COMPLAINTS = 10
COMPLAINTS_WITHIN_S = 60.0
"""No more errors than this about bad input: frames come by the hundred."""

# Values of a report that nobody outside had a hand in, or that must go back
# as they came.
_PLAIN = frozenset(
    ("module", "vendor", "state", "phase", "session_id", "turn_id")
)

DUMP_CLOSE_S = 0.3
"""How long a stop waits for the last audio to be written."""

REASON_INTERRUPTED = 2
"""The `reason` of a tts_audio_end whose speech was cut."""


class SpatiusAvatarExtension(AsyncExtension):
    """One node of a graph: speech in, an avatar in an Agora channel."""

    def __init__(self, name: str, clock: Optional[Clock] = None) -> None:
        super().__init__(name)
        self._name = name
        self._clock = clock or SystemClock()
        self._config: Optional[config.Config] = None
        self._problems: list[str] = []  # with the configuration
        self.avatar: Optional[Avatar] = None
        """None as long as there is no configuration that can be used."""
        self._dump: Optional[Dump] = None
        self._outbox: Optional[_TenOutbox] = None
        # A TTS sends the same metadata with many frames: its text and turn.
        self._metadata = ""
        self._turn: Optional[Turn] = None
        self._reads_values = False
        self._refused_format = ""  # what the frames refused last looked like
        self._complaints: deque[float] = deque(maxlen=MAX_COMPLAINTS)
        self._unknown: set[str] = set()  # names already warned of

    # Lifecycle

    async def on_init(self, ten_env: AsyncTenEnv) -> None:
        """Read the configuration. Messages may come from here on."""
        self._outbox = _TenOutbox(ten_env)
        try:
            await self._read_config(ten_env)
        except BaseException as error:  # nothing may end the worker
            self._problems = [f"the configuration cannot be read: {error!r}"]

    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        """Begin to connect, or say why it cannot be."""
        outbox = self._outbox
        if outbox is None:
            return
        try:
            outbox.open()
            if self.avatar is not None:
                self.avatar.start()
                return
            outbox.send(
                "error",
                reports.error(
                    reports.FATAL,
                    "; ".join(self._problems),
                    vendor_code="invalidConfiguration",
                    phase="configuration",
                ),
            )
            outbox.log("error", "; ".join(self._problems))
            outbox.send(
                "avatar_state",
                reports.state("failed", "", "invalidConfiguration"),
            )
        except BaseException as error:
            outbox.log("error", f"on_start failed: {error!r}")

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        """Leave the channel, within 4 s."""
        try:
            if self.avatar is not None:
                await self.avatar.stop()
            if self._dump is not None:
                await self._close_dump(self._dump)
            if self._outbox is not None:
                await self._outbox.sent()
        except BaseException as error:
            ten_env.log_error(f"on_stop failed: {type(error).__name__}")

    # Messages

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        """Take a pcm_frame's audio."""
        try:
            self._take_frame(audio_frame)
        except BaseException as error:
            self._complain(f"a pcm_frame cannot be read ({error!r})")

    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        """Take what the TTS says about its requests."""
        try:
            self._take_data(data)
        except BaseException as error:
            self._complain(f"a data message cannot be read ({error!r})")

    async def on_cmd(self, ten_env: AsyncTenEnv, cmd: Cmd) -> None:
        """Answer `flush` at once, and any other command with an error."""
        try:
            name = cmd.get_name()
            if name == "flush":
                if self.avatar is not None:
                    self.avatar.flush()
                result = CmdResult.create(StatusCode.OK, cmd)
            else:
                result = CmdResult.create(StatusCode.ERROR, cmd)
                result.set_property_string(
                    "detail",
                    f"unknown command {name!r}: this extension knows flush",
                )
        except BaseException as error:
            self._complain(f"a command cannot be taken ({error!r})")
            result = CmdResult.create(StatusCode.ERROR, cmd)
        try:
            await ten_env.return_result(result)
        except BaseException as error:
            self._complain(f"a command cannot be answered ({error!r})")

    # How it is done

    async def _read_config(self, ten_env: AsyncTenEnv) -> None:
        outbox = self._outbox
        assert outbox is not None
        text, error = await ten_env.get_property_to_json("")
        if error is not None:
            self._problems = [
                f"the properties cannot be read: {error.error_message()}"
            ]
            return
        try:
            settings = config.load(
                json.loads(text or "{}"), self._clock.epoch()
            )
        except config.ConfigError as wrong:
            self._problems = wrong.problems
            return
        params = settings.params
        outbox.keep_secrets_for_good(settings.secrets())
        summary = json.dumps(settings.summary(), ensure_ascii=False)
        outbox.log("info", f"config: {summary}", KEY_POINT)
        for warning in settings.warnings:
            outbox.log("warn", warning)
        ogg_opus = params.audio_format == "ogg_opus"
        problem = sdk.problem(ogg_opus)
        if problem:
            self._problems = [problem]
            return
        outbox.log("info", f"using {sdk.package()}")
        self._config = settings
        self._start_dump()
        given = params.agora_token
        facts = token.read(given.get_secret_value()) if given else None
        self.avatar = Avatar(
            speech=Speech(
                sample_rate=params.sample_rate,
                max_buffered_s=params.max_buffered_speech_s,
                end_timeout_s=params.end_of_speech_timeout_ms / 1000,
                first_message_ms=sdk.OPUS_FRAME_MS if ogg_opus else 0,
            ),
            open_session=self._open_session,
            outbox=outbox,
            lifetime=lifetime_of(
                params.session_expire_minutes, facts and facts.ends_at_s
            ),
            clock=self._clock,
        )

    def _open_session(self, on_failure: Any) -> sdk.Session:
        """Make a session with tokens that are new."""
        assert self._config is not None and self._outbox is not None
        params = self._config.params
        expires_at_s = (
            int(self._clock.epoch()) + params.session_expire_minutes * 60
        )
        agora_token = params.issue_agora_token(expires_at_s)
        self._outbox.keep_secret([agora_token])
        return sdk.Session(params, agora_token, expires_at_s, on_failure)

    def _start_dump(self) -> None:
        assert self._config is not None
        if not self._config.dump:
            return
        loop = asyncio.get_running_loop()

        def complain(problem: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(self._complain, problem)

        self._dump = Dump(
            self._config.dump_path,
            self._name,
            self._config.params.sample_rate,
            complain,
        )

    async def _close_dump(self, dump: Dump) -> None:
        """Have the last audio written, as far as the disk is quick."""
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(closed.set)

        dump.close(tell)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(closed.wait(), DUMP_CLOSE_S)

    def _take_frame(self, frame: AudioFrame) -> None:
        avatar = self.avatar
        if avatar is None:
            return
        if frame.get_name() != "pcm_frame":
            self._warn_unknown(f"audio frame {frame.get_name()!r}")
            return
        assert self._config is not None
        rate = frame.get_sample_rate()
        width = frame.get_bytes_per_sample()
        channels = frame.get_number_of_channels()
        expected_rate = self._config.params.sample_rate
        if rate != expected_rate or width != BYTES_PER_SAMPLE or channels != 1:
            self._refuse_format(rate, width, channels)
            return
        try:
            pcm = bytes(frame.get_buf())
        except SystemError:  # it was never given a buffer
            pcm = b""
        if not pcm:
            return
        self._refused_format = ""
        if self._dump is not None:
            self._dump.write(pcm)
        avatar.speak(pcm, self._turn_of_frame(frame))

    def _turn_of_frame(self, frame: AudioFrame) -> Optional[Turn]:
        turn = self._turn
        if self._reads_values and turn is not None:
            # Once a TTS is known to send the usual two values, they are read
            # by themselves: that takes a tenth of the time of the text.
            turn_id, no_id = frame.get_property_int("metadata.turn_id")
            session, none = frame.get_property_string("metadata.session_id")
            if no_id is None and none is None:
                if turn != (session, turn_id):
                    self._turn = Turn(session, turn_id)
                return self._turn
        text, _ = frame.get_property_to_json("metadata")
        if text != self._metadata or self._reads_values:
            self._turn = turn = _turn_of(_parsed(text))
            self._metadata = text
            self._reads_values = (
                turn is not None
                and type(turn.id) is int
                and isinstance(turn.session, str)
            )
        return self._turn

    def _refuse_format(self, rate: int, width: int, channels: int) -> None:
        """Tell once of frames that are not what the configuration says."""
        came = f"{rate} Hz, {channels} channel(s), {width} bytes per sample"
        if came == self._refused_format:
            return
        self._refused_format = came
        assert self._config is not None
        self._complain(
            f"pcm_frames of {came} are refused: expected "
            f"{self._config.params.sample_rate} Hz, 1 channel(s), "
            f"{BYTES_PER_SAMPLE} bytes per sample (signed 16-bit mono); set "
            "params.sample_rate to the rate of the TTS, or the TTS to this "
            "one. Nothing is resampled."
        )

    def _take_data(self, data: Data) -> None:
        avatar = self.avatar
        if avatar is None:
            return
        name = data.get_name()
        if name not in ("tts_audio_start", "tts_audio_end", "finalize"):
            self._warn_unknown(f"data {name!r}")
            return
        text, _ = data.get_property_to_json(None)
        payload = _parsed(text)
        turn = None
        cut = False
        if isinstance(payload, dict):
            turn = _turn_of(payload.get("metadata"))
            cut = payload.get("reason") == REASON_INTERRUPTED
        if name == "tts_audio_start":
            avatar.speech_starts(turn)
        else:
            avatar.speech_ends(turn, cut and name == "tts_audio_end")

    def _warn_unknown(self, what: str) -> None:
        if what not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(what)
            if self._outbox is not None:
                self._outbox.log("warn", f"unknown {what} is not used")

    def _complain(self, problem: str) -> None:
        """Send a non-fatal error of the extension's own; not too many."""
        now = self._clock.monotonic()
        if len(self._complaints) == self._complaints.maxlen and (
            now - self._complaints[0] < COMPLAINTS_WITHIN_S
        ):
            return
        self._complaints.append(now)
        if self._outbox is not None:
            self._outbox.send(
                "error",
                reports.error(reports.NON_FATAL, problem, turn=self._turn),
            )
            self._outbox.log("warn", problem)


class _TenOutbox:
    """Sends reports through TEN, and keeps secrets out of them.

    It never raises: it is where the handlers turn to when all else fails.
    """

    def __init__(self, ten_env: AsyncTenEnv) -> None:
        self._ten_env = ten_env
        self._redact = Redactor()
        # TEN takes messages from on_start on; till then they are kept here.
        self._kept: list[tuple[str, reports.Payload]] | None = []
        self._sending: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Send what was kept, and all that follows at once."""
        kept, self._kept = self._kept or [], None
        for name, payload in kept:
            self.send(name, payload)

    def send(self, name: str, payload: reports.Payload) -> None:
        if self._kept is not None:
            self._kept.append((name, payload))
            return
        try:
            data = Data.create(name)
            data.set_property_from_json(None, json.dumps(self._clean(payload)))
            # Sending never waits. Tasks start in order, so they send in it.
            task = asyncio.ensure_future(self._ten_env.send_data(data))
        except Exception as error:
            self.log("warn", f"{name} could not be sent: {error!r}")
            return
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def log(self, level: LogLevel, text: str, category: str = "") -> None:
        text = self._clean(text)
        with contextlib.suppress(Exception):
            getattr(self._ten_env, f"log_{level}")(text, category or None)

    def keep_secret(self, secrets: list[str]) -> None:
        for secret in secrets:
            self._redact.add_recent(secret)

    def keep_secrets_for_good(self, secrets: list[str]) -> None:
        for secret in secrets:
            self._redact.add(secret)

    async def sent(self) -> None:
        """Wait until all that was handed in has been sent."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=0.1)

    def _sent(self, task: "asyncio.Task[Any]") -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.log("warn", f"a report was not sent: {task.exception()!r}")

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            # TEN takes no NUL, and nothing that is not UTF-8; what is left
            # out must not part the pieces of a secret.
            text = value.replace("\0", "").encode(errors="ignore").decode()
            return self._redact(text)
        if isinstance(value, dict):
            return {
                name: item if name in _PLAIN else self._clean(item)
                for name, item in value.items()
            }
        return value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _turn_of(metadata: Any) -> Optional[Turn]:
    """Return the turn that a message's metadata names, None if none."""
    if isinstance(metadata, str):
        metadata = _parsed(metadata)
    if not isinstance(metadata, dict):
        return None
    turn_id = metadata.get("turn_id")
    session_id = metadata.get("session_id")
    if not isinstance(turn_id, (int, str)) or turn_id == "":
        return None
    return Turn(
        session_id if isinstance(session_id, (int, str)) else None, turn_id
    )
