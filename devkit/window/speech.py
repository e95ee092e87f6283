"""Speech on the board: the service's requests, and the voice's."""

from ..motion_server import Connection, Request
from .board import Board, Entry
from .utterance import Outcome, Utterance

VOICE = 0
"""Stands in the place of a connection's number."""


class SpeechOnBoard:
    """One line per utterance, with its waveform; its sound goes to pages."""

    def __init__(self, board: Board) -> None:
        self._board = board
        # Connection number and request id -> its line.
        self._lines: dict[tuple[int, str], Entry] = {}
        # Number of the utterance that a lost connection has cut off, while
        # its answer has not ended.
        self._cut_off: int | None = None

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
        if connection.closed_s is not None:
            return
        key = connection.number, request.req_id
        entry = self._lines.get(key)
        if entry is None:
            config = connection.config
            assert config is not None
            entry = self._lines[key] = self._open(
                connection.number,
                request.req_id,
                request.opened_s,
                config.sample_rate,
                is_pcm=config.audio_format == "pcm_s16le",
            )
        self._hear(entry, audio, request.last_audio_s)

    def take_voice(
        self, turn: str, audio: bytes, sample_rate: int, now_s: float
    ) -> None:
        """Take a frame that went to the voice; `sample_rate` in Hz."""
        key = VOICE, turn
        entry = self._lines.get(key)
        if entry is None:
            self.end_voice("ended", now_s)
            entry = self._lines[key] = self._open(
                VOICE, turn, now_s, sample_rate
            )
        self._hear(entry, audio, now_s)

    def finish(
        self, connection: int, req_id: str, outcome: Outcome, now_s: float
    ) -> Utterance | None:
        """Note the outcome of an utterance."""
        entry = self._lines.get((connection, req_id))
        if entry is None or entry.utterance is None:
            return None
        entry.utterance.finish(outcome, now_s)
        self._board.show_entry(entry)
        return entry.utterance

    def end_voice(self, outcome: Outcome, now_s: float) -> None:
        """Note the end of the voice's speech."""
        for key in [key for key in self._lines if key[0] == VOICE]:
            utterance = self.finish(*key, outcome, now_s)
            del self._lines[key]
            if utterance is not None:
                speech = self._board.session.speech
                speech["voiceMs"] += round(utterance.heard_ms(now_s))

    def end_connection(self, connection: int, now_s: float) -> None:
        """Note the audio that the end of a connection has cut off."""
        for key in [key for key in self._lines if key[0] == connection]:
            entry = self._lines.pop(key)
            utterance = entry.utterance
            assert utterance is not None
            if utterance.is_playing(now_s):
                utterance.finish("lost", now_s)
                self._board.show_entry(entry)
                if self._cut_off is None:
                    self._cut_off = utterance.number

    def answer_ended(self) -> None:
        """No audio is left of the part cut off."""
        self._cut_off = None

    def _open(
        self,
        connection: int,
        req_id: str,
        now_s: float,
        sample_rate: int,
        *,
        is_pcm: bool = True,
    ) -> Entry:
        counts = self._board.session.counts
        counts["utterances"] += 1
        utterance = Utterance(
            int(counts["utterances"]),
            connection,
            req_id,
            now_s,
            sample_rate,
            is_pcm,
        )
        title = f"Utterance {utterance.number}"
        if self._cut_off is not None:
            title += f", the rest of {self._cut_off}"
            self._cut_off = None
        entry = self._board.add(
            "speech",
            "client",
            title,
            time_s=now_s,
            utterance=utterance,
            raw=f"request {req_id}" if connection else f"turn {req_id}",
        )
        self._board.show_session()
        return entry

    def _hear(self, entry: Entry, audio: bytes, now_s: float) -> None:
        utterance = entry.utterance
        assert utterance is not None
        heard = utterance.hear(audio, now_s)
        counts = self._board.session.counts
        counts["audioMs"] += len(heard.pcm) * 500 / utterance.sample_rate
        if heard.gap is not None:
            counts["gaps"] += 1
            self._board.add(
                "gap",
                "client",
                f"Gap of {heard.gap.length_s:.2f} s",
                f"in utterance {utterance.number}: its audio came slower "
                "than real time",
                now_s,
            )
            self._board.show_entry(entry)
            self._board.show_session()
        if heard.pcm:
            self._board.play(utterance, heard.peaks, heard.pcm)
