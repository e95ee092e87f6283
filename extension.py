"""The TEN side: turns messages into calls and answers commands.

TEN ends the whole worker when anything escapes a handler, whatever its class:
hence `except BaseException` in each of them and nowhere else. It runs each in
a task of its own: the order of messages is kept up to the first await.
"""

import asyncio
import contextlib
import json
from collections import deque
from typing import Any, Optional, Union

from ten_runtime import (
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)

from . import config
from .avatar import STOP_BUDGET, Avatar, Plan
from .clock import Clock, SystemClock, wait_until
from .messages import (
    Connect,
    Downstream,
    Dump,
    Frame,
    Inbox,
    Outbox,
    Refused,
    SpeechEnd,
    SpeechStart,
    Unknown,
    payloads,
    redact,
)
from .session import Failure, OpenSession, opener, sdk
from .settings import Params
from .speech import Limits, Speech

KEY_POINT = "key_point"
"""TEN's log category of the line that holds the configuration."""

MAX_INPUT_ERRORS = 10
INPUT_ERRORS_WITHIN_S = 60.0
"""No more errors than this about bad input: frames come by the hundred."""


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
        self._inbox = Inbox()
        self._dump_path: Optional[str] = None  # None for no dump
        self._dump: Optional[Dump] = None
        self._outbox: Optional[Outbox] = None
        self._downstream: Optional[Downstream] = None
        self._input_errors: deque[float] = deque(maxlen=MAX_INPUT_ERRORS)

    # Lifecycle

    async def on_init(self, ten_env: AsyncTenEnv) -> None:
        """Read the configuration. Messages may come from here on."""
        self._outbox = Outbox(ten_env)
        self._downstream = Downstream(ten_env)
        try:
            await self._read_config(ten_env)
        except config.ConfigError as error:
            self._fail(error.problems)
        except BaseException as error:  # nothing may end the worker
            self._fail(
                [f"the configuration cannot be read: {redact.defect(error)}"]
            )

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
            outbox.log("error", f"on_start failed: {redact.defect(error)}")

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        """Leave the channel, within the `STOP_BUDGET`."""
        try:
            budget = STOP_BUDGET
            deadline_at = self.clock.monotonic() + sum(budget)
            deadline_at -= budget.reports_s
            if self.avatar is not None:
                await self.avatar.stop(deadline_at - budget.dump_s)
            self._dump_path = None  # frames still come, of any rate
            if self._dump is not None:
                now = self.clock.monotonic()
                await self._close_dump(
                    self._dump, min(deadline_at, now + budget.dump_s)
                )
            if self._downstream is not None:
                self._downstream.close()
            if self._outbox is not None:
                now = self.clock.monotonic()
                await self._outbox.drain(self.clock, now + budget.reports_s)
        except BaseException as error:
            if self._outbox is not None:
                self._outbox.log(
                    "error", f"on_stop failed: {redact.defect(error)}"
                )

    # Messages

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        """Take a pcm_frame's audio."""
        try:
            if self.avatar is None:
                return
            frame = self._inbox.frame(audio_frame)
            if isinstance(frame, Frame):
                if self._dump_path is not None:
                    self._write_dump(frame)
                pcm, sample_rate, turn = frame
                await self.avatar.speak(pcm, turn, sample_rate)
            elif frame is not None:
                self._take_unusable(frame)
        except BaseException as error:
            self._report_input_error(
                f"a pcm_frame cannot be read ({redact.defect(error)})"
            )

    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        """Take the TTS's messages about its requests."""
        try:
            if self.avatar is not None:
                self._take_data(self.avatar, data)
        except BaseException as error:
            self._report_input_error(
                f"a data message cannot be read ({redact.defect(error)})"
            )

    async def on_cmd(self, ten_env: AsyncTenEnv, cmd: Cmd) -> None:
        """Answer `flush` at once; any other command is answered OK, too, as
        TEN's base classes do, with a `detail` that names it."""
        status, detail, is_flush = StatusCode.OK, "", False
        try:
            name = cmd.get_name()
            is_flush = name == "flush"
            if is_flush:
                self._inbox.flush()
            if is_flush and self.avatar is not None:
                self.avatar.flush()
            if is_flush and self._downstream is not None:
                self._downstream.flush()
            user = self._inbox.user(name, cmd)
            if user is not None:
                self._take_user(*user)
            elif not is_flush:
                detail = f"unknown command {name!r}: this extension knows flush"
                self._log_unknown(self._inbox.command(name))
        except BaseException as error:
            status, detail = StatusCode.ERROR, "the command cannot be taken"
            self._report_input_error(
                f"a command cannot be taken ({redact.defect(error)})"
            )
        try:
            result = CmdResult.create(status, cmd)
            if detail:
                result.set_property_string("detail", detail)
            await ten_env.return_result(result)
        except BaseException as error:
            self._report_input_error(
                f"a command cannot be answered ({redact.defect(error)})"
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
        self._inbox = Inbox(params.rates_hz)
        if settings.dump:
            self._dump_path = settings.dump_path
            if params.rate_hz is not None:
                self._begin_dump(params.rate_hz)
        self._make_avatar(
            limits_of(params),
            opener.opener(params, self.clock, outbox.add_secrets),
            Plan.of(params, settings.auto_connect),
            vendor_metadata_of(params),
            params.agora_uid,
        )

    def _make_avatar(
        self,
        limits: Limits,
        open_session: OpenSession,
        plan: Plan,
        vendor_metadata: payloads.VendorMetadata,
        uid: int = 0,
    ) -> None:
        assert self._outbox is not None and self._downstream is not None
        self.avatar = Avatar(
            speech=Speech(limits=limits),
            open_session=open_session,
            outbox=self._outbox,
            voice=self._downstream,
            plan=plan,
            clock=self.clock,
            vendor_metadata=vendor_metadata,
            uid=uid,
        )

    def _fail(self, problems: list[str]) -> None:
        """The configuration cannot be used: only the voice can speak."""
        self._failure = Failure(
            "; ".join(problems),
            fatal=True,
            is_configuration=True,
            code="invalidConfiguration",
            phase="configuration",
        )
        self._make_avatar(
            Limits(),
            _no_session,
            Plan(),
            {"name": payloads.VENDOR},
        )

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

    async def _close_dump(self, dump: Dump, deadline_at: float) -> None:
        """Have the last audio written, as far as the disk is quick."""
        loop = asyncio.get_running_loop()
        closed = loop.create_future()

        def on_closed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(closed.set_result, None)

        dump.close(on_closed)
        await wait_until(self.clock, deadline_at, closed)

    def _take_unusable(self, frame: Union[Refused, Unknown]) -> None:
        if isinstance(frame, Refused):
            self._report_input_error(frame.problem)
        else:
            self._log_unknown(frame)

    def _write_dump(self, frame: Frame) -> None:
        dump = self._dump
        if dump is None or dump.sample_rate != frame.sample_rate:
            dump = self._begin_dump(frame.sample_rate)
        dump.write(frame.pcm)

    def _take_data(self, avatar: Avatar, message: Data) -> None:
        data = self._inbox.data(message)
        if isinstance(data, SpeechStart):
            avatar.speech_starts(data.turn, data.request_id)
        elif isinstance(data, SpeechEnd):
            is_flush = avatar.speech_ends(
                data.turn, data.is_cut, data.request_id
            )
            if is_flush and self._downstream is not None:
                # The voice may have been handed seconds of it already.
                self._downstream.flush()
        elif isinstance(data, Connect):
            avatar.connect()
        else:
            self._log_unknown(data)

    def _take_user(self, uid: str, has_joined: bool) -> None:
        if self.avatar is None or not uid:
            return
        if has_joined:
            self.avatar.user_joined(uid)
        else:
            self.avatar.user_left(uid)

    def _log_unknown(self, unknown: Optional[Unknown]) -> None:
        if unknown is not None and self._outbox is not None:
            self._outbox.log("warn", f"unknown {unknown.name} is not used")

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
                payloads.error(
                    payloads.NON_FATAL, problem, turn=self._inbox.turn
                ),
            )
            self._outbox.log("warn", problem)


def limits_of(params: Params) -> Limits:
    """Return the limits of speech that are configured."""
    is_opus = params.audio_format == "ogg_opus"
    return Limits(
        max_buffered_s=params.max_buffered_speech_s,
        end_timeout_s=params.end_of_speech_timeout_ms / 1000,
        first_message_ms=sdk.OPUS_FRAME_MS if is_opus else 0,
        resume_rewind_s=params.resume_rewind_ms / 1000,
        resume_within_s=params.resume_within_s,
        prebuffer_ms=params.prebuffer_ms,
        one_request_at_a_time=params.one_request_at_a_time,
    )


def vendor_metadata_of(params: Params) -> payloads.VendorMetadata:
    """Return the facts about vendor and avatar that reports contain."""
    return payloads.known(
        {
            "name": payloads.VENDOR,
            "region": params.region or "",
            "avatar_id": params.spatius_avatar_id,
            "app_id": params.spatius_app_id,
        }
    )


def _no_session(wake: object, sample_rate_hz: int) -> Any:
    raise AssertionError("there is no configuration to open a session with")
