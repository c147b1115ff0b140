"""The course of a strip under a camera: forward, to a stop, back and forward again; and the encoder's counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.config.line import EncoderSettings
from linewatch.simulation.encoder import SpeedProfile


class Turn(Settings):
    """A reversal: the strip stops with `at_m` under the camera, stands, runs back by `back_m`, and comes again."""

    at_m: float = Field(gt=0)
    back_m: float = Field(default=0.0, ge=0, description="0: it only stops")
    pause_s: float = Field(default=0.0, ge=0, le=3600, description="how long it stands each time")


@dataclass(frozen=True, slots=True)
class Stretch:
    """`rows` lines of the camera that show the strip's lines from `first_line` on; if `back`, the last line first."""

    first_line: int
    rows: int
    back: bool


@dataclass(frozen=True, slots=True)
class Course:
    """The lines that the encoder triggers over a strip. turns: (line, lines back, pause in s), ascending."""

    total_lines: int
    turns: tuple[tuple[int, int, float], ...] = ()

    @classmethod
    def of(cls, turns: Sequence[Turn], total_lines: int, mm_per_line: float) -> Self:
        """Return the course with these turns, without those beyond the strip's end; none runs back beyond its head."""
        in_lines = []
        for turn in sorted(turns, key=lambda turn: turn.at_m):
            at = round(turn.at_m * 1000 / mm_per_line)
            if at < total_lines:
                in_lines.append((at, min(at, round(turn.back_m * 1000 / mm_per_line)), turn.pause_s))
        return cls(total_lines, tuple(in_lines))

    @property
    def rows(self) -> int:
        """The number of lines that the camera takes in all, including strip that comes again."""
        return self.total_lines + 2 * sum(back for _, back, _ in self.turns)

    def stretches(self, first_row: int, rows: int) -> Iterator[Stretch]:
        """Yield the stretches of strip that the rows [first_row, first_row + rows) show."""
        at, stop = 0, first_row + rows
        for begin, end in self._legs():
            length = abs(end - begin)
            low, high = max(first_row, at) - at, min(stop, at + length) - at
            if low < high:
                back = end < begin
                yield Stretch(begin - high if back else begin + low, high - low, back)
            at += length

    def edge(self, row: float) -> float:
        """Return the strip's line that is under the camera when so many rows have been taken."""
        for begin, end in self._legs():
            length = abs(end - begin)
            if row <= length:
                return begin + row if end >= begin else begin - row
            row -= length
        return self.total_lines

    def elapsed_s(self, row: float, profile: SpeedProfile, mm_per_line: float) -> float:
        """Return the time after which so many rows have been taken, at the profile's speed, with pauses."""
        paused, at = 0.0, 0
        line = 0
        for turn, back, pause_s in self.turns:
            at += turn - line
            paused += pause_s * (row > at) + pause_s * (back > 0 and row > at + back)
            at, line = at + back, turn - back
        return profile.elapsed_s(row * mm_per_line) + paused

    def _legs(self) -> Iterator[tuple[int, int]]:
        line = 0
        for turn, back, _ in self.turns:
            yield line, turn
            yield turn, turn - back
            line = turn - back
        yield line, self.total_lines


def counter(encoder: EncoderSettings, edge: float, frame_lines: int) -> int:
    """Return the encoder's counter there. It rolls over within the second frame."""
    counts = round(edge * encoder.counts_per_line)
    turn, ahead = 1 << encoder.bits, round(1.5 * frame_lines * encoder.counts_per_line)
    return (turn - ahead + counts) % turn if encoder.counts_up else (ahead - counts) % turn
