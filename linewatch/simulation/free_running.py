"""A simulated camera over a rendered strip that takes rows at a constant rate, whatever the strip does."""

from collections.abc import Callable, Sequence

import numpy as np

from linewatch.contracts.ports import Clock
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.course import Course, counter
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.window import SeenStrip

_STEP_ROWS = 32  # times are computed for every 32nd row of the course, and interpolated in between


class FreeRunningSimulator(SimulatorCamera):
    """Gives grabs of `frame_lines` rows at `[line] line_rate_hz`, with the encoder's counter before and behind each."""

    def __init__(
        self,
        strip: SeenStrip,
        profile: SpeedProfile,
        clock: Clock,
        coil: str,
        live: bool,
        course: Course,
        weld_lines: Sequence[int] = (),
        began_unix_ns: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(strip, profile, clock, coil, live, course, weld_lines, began_unix_ns)
        pitch, rate_hz = strip.line.mm_per_line, strip.line.line_rate_hz
        steps = {float(row) for row in range(0, course.rows, _STEP_ROWS)} | {float(course.rows)}
        at = 0
        line = 0
        for turn, back, _ in course.turns:  # a pause lies between two rows
            for end in (at + turn - line, at + turn - line + back):
                steps |= {float(end), end + 1e-6} if end < course.rows else set()
            at, line = at + turn - line + back, turn - back
        self._rows = np.array(sorted(steps))
        self._rows_s = np.array([course.elapsed_s(row, profile, pitch) for row in self._rows])
        self._rate_hz = rate_hz
        self._total = int(np.ceil(self._rows_s[-1] * rate_hz / self._frame_lines))
        self.grabs = self._total

    def _lines(self, sequence: int) -> int:
        return self._frame_lines

    def _done_ns(self, sequence: int) -> int:
        return (self._start_ns or 0) + round((sequence + 1) * self._frame_lines / self._rate_hz * 1e9)

    def _edges(self, rows: np.ndarray) -> np.ndarray:
        """Return the strip's lines that are under the camera after so many rows."""
        course_rows = np.interp(rows / self._rate_hz, self._rows_s, self._rows)
        return np.array([self._course.edge(row) for row in course_rows])

    def _shown(self, first_row: int, rows: int) -> np.ndarray:
        middles = self._edges(np.arange(first_row, first_row + rows) + 0.5)
        return np.clip(middles.astype(np.int64), 0, self._strip.total_lines - 1)

    def _image(self, first_row: int, rows: int) -> np.ndarray:
        shown = self._shown(first_row, rows)
        first = int(shown.min())
        return self._strip.lines(first, int(shown.max()) - first + 1)[shown - first]

    def _weld(self, first_row: int, rows: int) -> int | None:
        shown = self._shown(first_row, rows)
        before = int(self._edges(np.array([first_row - 0.5]))[0]) if first_row else 0
        behind = np.append(before, shown)
        for weld in self._weld_lines:
            passed = np.flatnonzero((behind[:-1] < weld) & (behind[1:] >= weld))
            if len(passed):
                return int(passed[0])
        return None

    def _counts(self, first: int, stop: int) -> tuple[int, int | None]:
        encoder = self._strip.line.encoder
        assert encoder is not None
        begin, end = (counter(encoder, edge, self._frame_lines) for edge in self._edges(np.array([first, stop])))
        return begin, end

    def _along_mm(self, first_row: int) -> float:
        return 0.0
