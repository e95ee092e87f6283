"""The extension hosted as TEN hosts it, with a local Motion Server.

Shared by the demo, the window and the tests: an agent's speech goes in as a
TTS sends it, and the result is read from the server's record.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .. import package

# The stage is for machines without TEN; where the real runtime is installed
# its place is still taken by the stand-in, which can run without an App.
sys.path.insert(0, str(package.ROOT / "devkit"))

from ten_runtime import AudioFrame, Cmd, CmdResult, Data, StatusCode
from ten_runtime._host import ExtensionHost

from ..credentials import APP_ID, CERTIFICATE, CREDENTIALS
from ..motion_server import MotionServer
from .messages import audio_frame, tts_data

FRAME_MS = 10


@dataclass
class Said:
    """One utterance as it went in; times are monotonic seconds."""

    turn_id: int
    audio: bytearray = field(default_factory=bytearray)
    frames: list[tuple[float, int]] = field(default_factory=list)
    """When each frame went in, and how many bytes had gone in by then."""


@dataclass(frozen=True)
class SentReport:
    """Data that the extension sent; `time_s` is monotonic."""

    time_s: float
    name: str
    payload: dict[str, Any]


class Stage:
    """The extension and its service; see `open_stage`.

    Without a `server` the service is that of the configuration.
    """

    def __init__(
        self,
        server: MotionServer | None,
        node_property: dict[str, Any],
        on_report: Callable[[SentReport], None],
        *,
        voice_wired: bool = False,
        flush_wired: bool = False,
        on_audio_frame: Callable[[AudioFrame], None] | None = None,
    ) -> None:
        self._server = server
        self.reports: list[SentReport] = []
        self.audio_frames: list[tuple[float, AudioFrame]] = []
        """The audio frames that the extension sent, with monotonic seconds;
        kept where `voice_wired`, unless `on_audio_frame` takes them."""
        self.cmds: list[tuple[float, Cmd]] = []
        """Likewise the commands, where `flush_wired`."""
        self._voice_wired = voice_wired
        self._on_audio_frame = on_audio_frame
        self._flush_wired = flush_wired
        self._node_property = node_property
        self._on_report = on_report
        self._turn_id = 0
        self.start()

    @property
    def server(self) -> MotionServer:
        """The local service."""
        assert self._server is not None, "the service is not a local one"
        return self._server

    def start(self) -> None:
        """Start an extension; after `stop` a new one."""
        self.host = ExtensionHost(
            package.NAME,
            self._node_property,
            on_data=self._take_report,
            on_audio_frame=self._frame_taker(),
            on_cmd=self._take_cmd if self._flush_wired else None,
        )
        self.host.start()

    def stop(self) -> None:
        """Stop the extension, and wait until it is gone."""
        self.host.stop()

    def speak(
        self,
        pcm: bytes,
        *,
        end: bool = True,
        frame_ms: int = FRAME_MS,
        sample_rate: int = 24000,
        speed: float = 1,
        on_progress: Callable[[float], None] = lambda _: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Said:
        """Send `pcm` as a TTS would; blocks until all is sent.

        A TTS is `speed` times as fast as speech. `on_progress` gets the part
        that was sent, 0 to 1; once `is_over` is true nothing more is sent.
        """
        self._turn_id += 1
        said = Said(self._turn_id)
        self.send_data("tts_audio_start", said.turn_id)
        size = sample_rate * frame_ms // 1000 * 2
        due = time.monotonic()
        for at in range(0, len(pcm), size):
            if is_over():
                break
            self.send_frame(pcm[at : at + size], said, sample_rate)
            on_progress(min(1.0, (at + size) / len(pcm)))
            due += frame_ms / 1000 / speed
            time.sleep(max(0.0, due - time.monotonic()))
        if end:
            self.send_data("tts_audio_end", said.turn_id, reason=1)
        return said

    def send_frame(
        self, pcm: bytes, said: Said, sample_rate: int = 24000
    ) -> None:
        """Send one pcm_frame of the utterance `said`."""
        frame = audio_frame(pcm, said.turn_id, sample_rate=sample_rate)
        said.audio += pcm
        said.frames.append((time.monotonic(), len(said.audio)))
        self.host.send_audio_frame(frame)

    def send_data(self, name: str, turn_id: int, **values: Any) -> None:
        """Send a TTS's message about a request."""
        self.host.send_data(tts_data(name, turn_id, **values))

    def flush(self, timeout_s: float = 30.0) -> float:
        """Barge in; return how long the answer took, in seconds.

        Raises RuntimeError where the answer is not OK, TimeoutError.
        """
        asked = time.monotonic()
        result, error = self.host.submit_cmd(Cmd.create("flush")).result(
            timeout_s
        )
        took_s = time.monotonic() - asked
        if result is None or result.get_status_code() != StatusCode.OK:
            raise RuntimeError(f"flush was not answered with OK: {error}")
        return took_s

    def _take_report(self, data: Data) -> None:
        text, _ = data.get_property_to_json(None)
        report = SentReport(time.monotonic(), data.get_name(), json.loads(text))
        self.reports.append(report)
        self._on_report(report)

    def _frame_taker(self) -> Callable[[AudioFrame], None] | None:
        if not self._voice_wired:
            return None
        return self._on_audio_frame or self._take_frame

    def _take_frame(self, frame: AudioFrame) -> None:
        self.audio_frames.append((time.monotonic(), frame))

    def _take_cmd(self, cmd: Cmd) -> None:
        self.cmds.append((time.monotonic(), cmd))
        self.host.return_result(CmdResult.create(StatusCode.OK, cmd))


@contextlib.contextmanager
def open_stage(
    node_property: dict[str, Any] | None = None,
    *,
    on_report: Callable[[SentReport], None] = lambda _: None,
    voice_wired: bool = False,
    flush_wired: bool = False,
    on_audio_frame: Callable[[AudioFrame], None] | None = None,
    **server_options: Any,
) -> Iterator[Stage]:
    """Start a Motion Server and the extension, by its addon and property.json.

    `node_property` is merged over property.json, as a graph node's is.
    `voice_wired` and `flush_wired` connect the extension's audio frames and
    commands; commands are answered with OK. Audio frames are kept, unless
    `on_audio_frame` takes them.
    """
    package.load()
    with (
        _environment(CREDENTIALS),
        MotionServer.in_thread(
            certificates={APP_ID: CERTIFICATE},
            api_keys={CREDENTIALS["SPATIUS_API_KEY"]},
            app_ids={CREDENTIALS["SPATIUS_APP_ID"]},
            avatar_ids={CREDENTIALS["SPATIUS_AVATAR_ID"]},
            **server_options,
        ) as server,
    ):
        tree = dict(node_property or {})
        tree["params"] = {
            "console_endpoint_url": server.console_url,
            "ingress_endpoint_url": server.ingress_url,
            **tree.get("params", {}),
        }
        stage = Stage(
            server,
            tree,
            on_report,
            voice_wired=voice_wired,
            flush_wired=flush_wired,
            on_audio_frame=on_audio_frame,
        )
        try:
            yield stage
        finally:
            stage.stop()


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
