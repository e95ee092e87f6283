"""Speech on the board: the service's requests, and the voice's."""

from ..motion_server import Connection, Request
from .board import Board, Entry
from .utterance import Outcome, Utterance
from .words import Line

VOICE = 0
"""Stands in the place of a connection's number."""


class SpeechOnBoard:
    """One line per utterance, with its waveform; its sound goes to pages."""

    def __init__(self, board: Board) -> None:
        self._board = board
        # Connection number and request id -> its line.
        self._lines: dict[tuple[int, str], tuple[Entry, Utterance]] = {}
        self.cut_off: int | None = None
        """Number of the utterance that a lost connection has cut off, while
        its answer has not ended."""

    @property
    def is_voice(self) -> bool:
        """Whether the voice says something."""
        return any(number == VOICE for number, _ in self._lines)

    def take(
        self, connection: Connection, request: Request, audio: bytes
    ) -> None:
        """Take audio that the service has received.

        Audio still read from a connection that has ended is not heard.
        """
        config = connection.config
        if connection.closed_s is not None or config is None:
            return
        key = connection.number, request.req_id
        if key not in self._lines:
            is_pcm = config.audio_format == "pcm_s16le"
            self._open(*key, request.opened_s, config.sample_rate, is_pcm)
        self._hear(key, audio, request.last_audio_s)

    def take_voice(
        self, turn: str, audio: bytes, sample_rate: int, now_s: float
    ) -> None:
        """Take a frame that went to the voice; `sample_rate` in Hz."""
        key = VOICE, turn
        if key not in self._lines:
            self.end_voice("ended", now_s)
            self._open(*key, now_s, sample_rate)
        self._hear(key, audio, now_s)

    def finish(
        self, connection: int, req_id: str, outcome: Outcome
    ) -> Utterance | None:
        """Note the outcome of an utterance, and return it."""
        entry, utterance = self._lines.get((connection, req_id), (None, None))
        if entry is not None and utterance is not None:
            utterance.finish(outcome)
            self._board.show_entry(entry)
        return utterance

    def end_voice(self, outcome: Outcome, now_s: float) -> None:
        """Note the end of the voice's speech."""
        for key in self._keys(VOICE):
            self.finish(*key, outcome)
            _, utterance = self._lines.pop(key)
            speech = self._board.session.speech
            speech["voiceMs"] += round(utterance.heard_ms(now_s))

    def end_connection(self, connection: int, now_s: float) -> None:
        """Note the audio that the end of a connection has cut off."""
        for key in self._keys(connection):
            _, utterance = self._lines[key]
            if utterance.is_playing(now_s):
                self.finish(*key, "lost")
                if self.cut_off is None:
                    self.cut_off = utterance.number
            del self._lines[key]

    def _keys(self, connection: int) -> list[tuple[int, str]]:
        return [key for key in self._lines if key[0] == connection]

    def _open(
        self,
        connection: int,
        req_id: str,
        now_s: float,
        sample_rate: int,
        is_pcm: bool = True,
    ) -> None:
        counts = self._board.session.counts
        counts["utterances"] += 1
        number = int(counts["utterances"])
        utterance = Utterance(number, connection, sample_rate, is_pcm)
        title = f"Utterance {number}"
        if self.cut_off is not None:
            title += f", the rest of {self.cut_off}"
            self.cut_off = None
        raw = f"request {req_id}" if connection else f"turn {req_id}"
        line = Line("speech", title, raw=raw)
        entry = self._board.add("client", line, now_s, utterance)
        self._lines[connection, req_id] = entry, utterance
        self._board.show_session()

    def _hear(self, key: tuple[int, str], audio: bytes, now_s: float) -> None:
        entry, utterance = self._lines[key]
        heard = utterance.hear(audio, now_s)
        counts = self._board.session.counts
        counts["audioMs"] += len(heard.pcm) * 500 / utterance.sample_rate
        if heard.gap is not None:
            counts["gaps"] += 1
            title = f"Gap of {heard.gap.length_s:.2f} s"
            detail = (
                f"in utterance {utterance.number}: its audio came slower "
                "than real time"
            )
            self._board.add("client", Line("gap", title, detail), now_s)
            self._board.show_entry(entry)
            self._board.show_session()
        if heard.pcm:
            self._board.play(utterance, heard.peaks, heard.pcm)
