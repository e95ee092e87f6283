"""Compares the audio that a listener heard with the agent's speech.

Audio is known by its content: speech in which no two blocks of 10 ms are
alike (`unique_pcm`) tells the origin of every piece, however it was cut.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from .listener import Audible
from .playback import BYTES_PER_SAMPLE

N = TypeVar("N", int, float)

Range = tuple[int, int]
"""Begin and end. Sets of bytes are sorted lists of ranges that do not touch."""

BLOCK_MS = 10
# The bytes that a block is known by.
_KEY_BYTES = 8
# Of times, in samples.
ROUNDING = 1e-3


def unique_pcm(duration_ms: float, rate: int = 24000, seed: int = 0) -> bytes:
    """Make 16-bit mono PCM (noise) of which no two blocks are alike.

    Another seed, other blocks.
    """
    samples = int(duration_ms * rate / 1000)
    return random.Random(seed).randbytes(samples * BYTES_PER_SAMPLE)


@dataclass(frozen=True)
class Hole:
    """Speech that was never audible."""

    turn: str
    begin_ms: float
    end_ms: float


@dataclass(frozen=True)
class Repeat:
    """Speech that was audible again: the rewind of one resumption."""

    turn: str
    # Of the listener's time.
    at_s: float
    # Its beginning within the turn.
    begin_ms: float
    repeated_ms: float


@dataclass(frozen=True)
class Part:
    """Speech that was audible without a pause."""

    turn: str
    begin_ms: float
    end_ms: float
    # Of the listener's time.
    start_s: float


@dataclass(frozen=True)
class Verdict:
    """Speech that the listener missed, or heard twice, at once, or too late."""

    heard_ms: float
    # Without excused losses.
    missing_ms: float
    holes: list[Hole]
    repeats: list[Repeat]
    # Two sources were audible at the same time.
    overlap_ms: float
    # Sentences about speech in the wrong order.
    order: list[str]
    # Audible after its flush.
    stale_ms: float
    # Nothing that was said.
    unknown_ms: float
    # All that was audible, in order of time.
    parts: list[Part] = field(repr=False)

    def heard_by(self, turn: str, at_s: float) -> float:
        """Return how much of a turn had been audible by a time, in
        milliseconds, without repeats."""
        heard: list[tuple[float, float]] = []
        for part in self.parts:
            if part.turn == turn and part.start_s < at_s:
                played_ms = 1000 * (at_s - part.start_s)
                end_ms = min(part.end_ms, part.begin_ms + played_ms)
                _add(heard, part.begin_ms, end_ms)
        return sum(end_ms - begin_ms for begin_ms, end_ms in heard)

    @property
    def longest_repeat_ms(self) -> float:
        """Of any resumption; 0 if there was none."""
        return max((one.repeated_ms for one in self.repeats), default=0.0)

    def violations(
        self, *, max_repeat_ms: float = 0, tolerance_ms: float = 0
    ) -> list[str]:
        """Return one sentence for each violation; empty: all is well.

        `tolerance_ms` is for audio that is missing, overlaps, is stale or
        unknown.
        """
        found = [
            f"{value:.1f} ms {what}"
            for what, value in (
                (f"missing: {self.holes[:5]}", self.missing_ms),
                ("of two sources at once", self.overlap_ms),
                ("audible after a flush", self.stale_ms),
                ("that nobody said", self.unknown_ms),
            )
            if value > tolerance_ms
        ]
        found += [
            f"{one.repeated_ms:.1f} ms repeated: {one}"
            for one in self.repeats
            if one.repeated_ms > max_repeat_ms
        ]
        return found + self.order


@dataclass
class _Turn:
    name: str
    pcm: bytearray = field(default_factory=bytearray)
    flushed_s: float | None = None


@dataclass(frozen=True)
class _Piece:
    """A part of a turn that was audible."""

    player: tuple[str, int]
    # Index of the turn.
    turn: int
    begin: int
    end: int
    start_s: float
    end_s: float
    # Too short to tell its place: it stands in others as well.
    is_guess: bool = False


@dataclass
class _Run:
    """Neighboring pieces of one player, as one resumption makes them."""

    piece: _Piece
    # The first byte that was audible before, None: none was.
    repeats_from: int | None = None
    repeated: int = 0


class Judge:
    """Knows the agent's speech, in order, and the parts that were flushed."""

    def __init__(self, sample_rate: int = 24000) -> None:
        self._sample_rate = sample_rate
        self._bytes_per_ms = sample_rate * BYTES_PER_SAMPLE / 1000
        self._block = sample_rate * BLOCK_MS // 1000 * BYTES_PER_SAMPLE
        self._turns: list[_Turn] = []
        # First bytes of a block -> index of its turn, and its place there.
        self._blocks: dict[bytes, tuple[int, int]] = {}
        self._excused_ms = 0.0

    def said(self, turn: str, pcm: bytes) -> None:
        """Add speech to a turn; a new name begins the next turn."""
        if not self._turns or self._turns[-1].name != turn:
            if any(one.name == turn for one in self._turns):
                raise ValueError(f"turn {turn!r} is not the latest one")
            self._turns.append(_Turn(turn))
        known = self._turns[-1].pcm
        first = len(known) // self._block * self._block
        known += pcm
        index = len(self._turns) - 1
        for at in range(first, len(known) - _KEY_BYTES + 1, self._block):
            key = bytes(known[at : at + _KEY_BYTES])
            self._blocks[key] = (index, at)

    def flushed(self, turn: str, at_s: float) -> None:
        """From `at_s` on, nothing of the turn has to be or may be audible.

        Seconds of the listener's time. Raises KeyError.
        """
        for one in self._turns:
            if one.name == turn:
                one.flushed_s = at_s
                return
        raise KeyError(turn)

    def excuse(self, lost_ms: float) -> None:
        """Allow speech to be missing that was refused or counted as lost."""
        self._excused_ms += lost_ms

    def verdict(
        self, audible: Iterable[Audible], *, flush_grace_ms: float = 0
    ) -> Verdict:
        """Judge audible parts, given in the order of time.

        `flush_grace_ms`: an interrupt takes so long to reach the service.
        """
        played = list(audible)
        pieces, unknown = self._find(played)
        heard: list[list[Range]] = [[] for _ in self._turns]
        runs, order = self._follow(pieces, heard)
        holes = self._holes(heard)
        missing_ms = sum(one.end_ms - one.begin_ms for one in holes)
        return Verdict(
            heard_ms=self._ms(sum(one.end - one.begin for one in pieces)),
            missing_ms=max(0.0, missing_ms - self._excused_ms),
            holes=holes,
            repeats=[
                Repeat(
                    self._turns[run.piece.turn].name,
                    run.piece.start_s,
                    self._ms(run.repeats_from),
                    self._ms(run.repeated),
                )
                for run in runs
                if run.repeats_from is not None
            ],
            overlap_ms=self._overlap_ms(played),
            order=order,
            stale_ms=self._stale_ms(pieces, flush_grace_ms / 1000),
            unknown_ms=self._ms(unknown),
            parts=[
                Part(
                    self._turns[piece.turn].name,
                    self._ms(piece.begin),
                    self._ms(piece.end),
                    piece.start_s,
                )
                for piece in pieces
            ],
        )

    def _ms(self, size: int) -> float:
        return size / self._bytes_per_ms

    # The origin of audio.

    def _find(self, played: list[Audible]) -> tuple[list[_Piece], int]:
        """Return pieces of turns, and the number of unknown bytes."""
        pieces: list[_Piece] = []
        unknown = 0
        # Connection and request -> turn and byte with which it would go on.
        expected: dict[tuple[int, str], tuple[int, int]] = {}
        latest = (0, 0)
        for one in played:
            data, at = one.audio, 0
            stream = (one.connection, one.req_id)
            while at < len(data):
                begin, turn, place, is_guess = self._locate(
                    data, at, expected.get(stream), latest
                )
                unknown += begin - at
                if begin == len(data):
                    break
                size = _common(data, begin, self._turns[turn].pcm, place)
                at = begin + size
                latest = expected[stream] = (turn, place + size)
                pieces.append(
                    _Piece(
                        (one.source, one.connection),
                        turn,
                        place,
                        place + size,
                        one.start_s + self._ms(begin) / 1000,
                        one.start_s + self._ms(at) / 1000,
                        is_guess,
                    )
                )
        return pieces, unknown

    def _locate(
        self,
        data: bytes,
        at: int,
        expected: tuple[int, int] | None,
        latest: tuple[int, int],
    ) -> tuple[int, int, int, bool]:
        """Find the beginning of known audio in `data`, from `at` on.

        `expected` is the place at which this request would go on, `latest`
        the one that speech has come to. Returns its beginning in `data`, its
        turn, its place there, and whether that is a guess; the beginning is
        the end of `data` if there is none.
        """
        left, size = len(data) - at, 0
        if expected is not None:
            size = _common(data, at, self._turns[expected[0]].pcm, expected[1])
            if size >= min(_KEY_BYTES, left):
                return at, *expected, False
        begin, turn, place = self._find_block(data, at)
        if begin == at:
            return at, turn, place, False
        if expected is not None and size:  # a few samples before a gap
            return at, *expected, False
        # Less than a block, from the middle of one: the place next to where
        # speech had come to, since a few samples may stand in many places.
        places = self._occurrences(data[at : at + _KEY_BYTES])
        if not places:
            return begin, turn, place, False
        turn, place = min(
            places,
            key=lambda one: (abs(one[0] - latest[0]), abs(one[1] - latest[1])),
        )
        return at, turn, place, len(places) > 1

    def _find_block(self, data: bytes, at: int) -> tuple[int, int, int]:
        """Find the beginning of a known block in `data`, from `at` on.

        Returns the beginning in `data` of the known audio around it, its turn
        and its place there; the end of `data` if there is none.
        """
        for begin in range(at, len(data) - _KEY_BYTES + 1, BYTES_PER_SAMPLE):
            known = self._blocks.get(data[begin : begin + _KEY_BYTES])
            if known is None:
                continue
            # The first beginning of a block: the piece may begin before it.
            turn, place = known
            pcm = self._turns[turn].pcm
            while (
                begin > at and place > 0 and data[begin - 1] == pcm[place - 1]
            ):
                begin, place = begin - 1, place - 1
            # Whole samples only.
            odd = begin - at & 1
            return begin + odd, turn, place + odd
        return len(data), 0, 0

    def _occurrences(self, data: bytes) -> list[tuple[int, int]]:
        """Return turn and place of all that is equal to `data`."""
        found = []
        for turn, one in enumerate(self._turns):
            place = one.pcm.find(data)
            while place >= 0:
                if not place % BYTES_PER_SAMPLE:
                    found.append((turn, place))
                place = one.pcm.find(data, place + 1)
        return found

    # Violations.

    def _follow(
        self, pieces: list[_Piece], heard: list[list[Range]]
    ) -> tuple[list[_Run], list[str]]:
        """Join pieces to runs, note the heard ranges, and check the order."""
        runs: list[_Run] = []
        open_runs: dict[tuple[str, int], _Run] = {}
        order: list[str] = []
        latest = 0
        for piece in pieces:
            if piece.is_guess:
                continue
            turn = self._turns[piece.turn].name
            run = open_runs.get(piece.player)
            if run is None or (run.piece.turn, run.piece.end) != (
                piece.turn,
                piece.begin,
            ):
                run = open_runs[piece.player] = _Run(piece)
                runs.append(run)
            known = heard[piece.turn]
            again = _overlap(known, piece.begin, piece.end)
            fresh = piece.end - piece.begin - sum(e - b for b, e in again)
            if again:
                if run.repeats_from is None:
                    run.repeats_from = again[0][0]
                run.repeated += sum(e - b for b, e in again)
            # Speech that was audible before may be: resumptions repeat it.
            if fresh and piece.turn < latest:
                order.append(
                    f"{turn} was audible at {piece.start_s:.3f} s, after "
                    f"{self._turns[latest].name}"
                )
            if fresh and known and piece.begin < known[-1][0]:
                order.append(
                    f"{turn}: what begins at {self._ms(piece.begin):.0f} ms "
                    f"was audible after what begins at "
                    f"{self._ms(known[-1][0]):.0f} ms"
                )
            _add(known, piece.begin, piece.end)
            run.piece = _Piece(
                piece.player,
                piece.turn,
                run.piece.begin,
                piece.end,
                run.piece.start_s,
                piece.end_s,
            )
            latest = max(latest, piece.turn)
        for piece in pieces:
            known = heard[piece.turn]
            if piece.is_guess and any(
                piece.begin == end or piece.end == begin for begin, end in known
            ):
                _add(known, piece.begin, piece.end)
        return runs, order

    def _holes(self, heard: list[list[Range]]) -> list[Hole]:
        """Find parts that were never audible, up to the cut of a flush."""
        holes = []
        for turn, known in zip(self._turns, heard):
            size = len(turn.pcm)
            if turn.flushed_s is not None:
                size = known[-1][1] if known else 0
            holes += [
                Hole(turn.name, self._ms(begin), self._ms(end))
                for begin, end in _missing(known, size)
            ]
        return holes

    def _stale_ms(self, pieces: list[_Piece], grace_s: float) -> float:
        stale_s = 0.0
        for piece in pieces:
            flushed_s = self._turns[piece.turn].flushed_s
            if flushed_s is not None:
                since_s = max(piece.start_s, flushed_s + grace_s)
                stale_s += self._whole_samples_s(piece.end_s - since_s)
        return 1000 * stale_s

    def _overlap_ms(self, played: list[Audible]) -> float:
        """Return how long two sources were audible at once."""
        overlap_s = 0.0
        # Player -> when its latest piece ends.
        ends_s: dict[tuple[str, int], float] = {}
        for one in played:
            player = (one.source, one.connection)
            for other, end_s in ends_s.items():
                if other != player:
                    overlap_s += self._whole_samples_s(
                        min(end_s, one.end_s) - one.start_s
                    )
            ends_s[player] = max(one.end_s, ends_s.get(player, one.end_s))
        return 1000 * overlap_s

    def _whole_samples_s(self, duration_s: float) -> float:
        """Return a duration without the part of a sample at its end: one that
        plays at the moment of a cut is heard."""
        samples = duration_s * self._sample_rate
        return math.floor(max(samples + ROUNDING, 0)) / self._sample_rate


def _common(data: bytes, at: int, pcm: bytearray, place: int) -> int:
    """Return the length in bytes of the common beginning, in whole samples."""
    left, right = memoryview(data)[at:], memoryview(pcm)[place:]
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    alike = 0
    while size - alike > 1:
        middle = (alike + size) // 2
        if left[alike:middle] == right[alike:middle]:
            alike = middle
        else:
            size = middle
    return alike - alike % BYTES_PER_SAMPLE


def _add(ranges: list[tuple[N, N]], begin: N, end: N) -> None:
    """Add a range, joined with those that it touches."""
    rest: list[tuple[N, N]] = []
    for one in ranges:
        if one[1] < begin or one[0] > end:
            rest.append(one)
        else:
            begin, end = min(begin, one[0]), max(end, one[1])
    ranges[:] = sorted([*rest, (begin, end)])


def _overlap(ranges: list[Range], begin: int, end: int) -> list[Range]:
    """The parts of a range that are in the set."""
    return [
        (max(begin, one[0]), min(end, one[1]))
        for one in ranges
        if one[0] < end and begin < one[1]
    ]


def _missing(ranges: list[Range], size: int) -> list[Range]:
    """The parts of (0, size) that are not in the set."""
    gaps, at = [], 0
    for begin, end in ranges:
        if begin > at:
            gaps.append((at, min(begin, size)))
        at = max(at, end)
    if at < size:
        gaps.append((at, size))
    return gaps
