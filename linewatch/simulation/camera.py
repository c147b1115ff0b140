"""A simulated camera over a rendered strip, with lines triggered by the encoder."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Clock
from linewatch.simulation.course import Course, counter
from linewatch.simulation.encoder import SpeedProfile, encoder_count
from linewatch.simulation.window import SeenStrip

BUFFER_GRABS = 16
"""The number of grabs that a live camera's transfer buffers hold; older ones are overwritten."""


class SimulatorCamera:
    """Gives grabs of a simulated strip, as one coil; the last one is as short as the coil's end requires.

    Live: a grab can be read once its strip has passed by the clock, which starts with the first `read`. A reader that
    is more than `BUFFER_GRABS` late loses the oldest grabs, and `sequence` jumps. Not live: grabs come as fast as they
    are read, and `captured_ns` counts from 0.

    With `[line.encoder]` it gives what such a camera knows: the lines taken on `course`, forward and back, the
    encoder's counter, and `change_line` where a weld passes. The grabs' positions are then only line counts.
    """

    def __init__(
        self,
        strip: SeenStrip,
        profile: SpeedProfile,
        clock: Clock,
        coil: str,
        live: bool,
        course: Course | None = None,
        weld_lines: Sequence[int] = (),
        began_unix_ns: Callable[[], int] | None = None,
    ) -> None:
        """began_unix_ns: tells, at the first read, when the strip began to run; what has passed by then is never given.

        None: it begins then.
        """
        self.live = live
        self._strip = strip
        self._profile = profile
        self._clock = clock
        self._coil = coil
        self._frame_lines = strip.line.frame_lines
        self._course = course or Course(strip.total_lines)
        self._weld_lines = tuple(weld_lines)
        self._total = -(-self._course.rows // self._frame_lines)
        self.grabs: int | None = self._total
        self._next = 0
        self._start_ns: int | None = None
        self._began_unix_ns = began_unix_ns
        self._stopped = threading.Event()

    def read(self) -> Grab | None:
        if self.live:
            self._skip_overwritten()
        if self._stopped.is_set() or self._next >= self._total:
            return None
        sequence, self._next = self._next, self._next + 1
        first_line = sequence * self._frame_lines
        lines = self._lines(sequence)
        image = self._image(first_line, lines)  # before the wait, since rendering takes time
        captured_ns = self._done_ns(sequence)
        if self.live and not self._clock.wait_until_ns(captured_ns, self._stopped):
            return None
        return self._grab(image, sequence, first_line, lines, captured_ns)

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _grab(self, image: np.ndarray, sequence: int, first_row: int, rows: int, captured_ns: int) -> Grab:
        """Return the grab of these camera rows.

        With `[line.encoder]`, `first_line` and `along_mm` only count rows; the encoder's camera replaces them.
        """
        count, stop = self._counts(first_row, first_row + rows)
        return Grab(
            image=image,
            coil=self._coil,
            sequence=sequence,
            first_line=first_row,
            lines=rows,
            encoder_count=count,
            along_mm=self._along_mm(first_row),
            mm_per_line=self._strip.line.mm_per_line,
            captured_ns=captured_ns,
            encoder_stop=stop,
            change_line=self._weld(first_row, rows),
        )

    def _counts(self, first: int, stop: int) -> tuple[int, int | None]:
        """Return the encoder's counter at row `first` and, where the camera latches it, before row `stop`."""
        encoder = self._strip.line.encoder
        if encoder is None:
            return encoder_count(first * self._strip.line.mm_per_line), None
        begin, end = (counter(encoder, self._course.edge(row), self._frame_lines) for row in (first, stop))
        return begin, end

    def _along_mm(self, first_row: int) -> float:
        return first_row * self._strip.line.mm_per_line

    def _image(self, first_row: int, rows: int) -> np.ndarray:
        parts = [
            self._strip.lines(part.first_line, part.rows)[:: -1 if part.back else 1]
            for part in self._course.stretches(first_row, rows)
        ]
        return parts[0] if len(parts) == 1 else np.vstack(parts)

    def _weld(self, first_row: int, rows: int) -> int | None:
        """Return the row of a grab at which a weld passes, in either direction."""
        at = 0
        for part in self._course.stretches(first_row, rows):
            for line in self._weld_lines:
                if part.first_line <= line < part.first_line + part.rows:
                    return at + (part.first_line + part.rows - 1 - line if part.back else line - part.first_line)
            at += part.rows
        return None

    def _lines(self, sequence: int) -> int:
        return min(self._frame_lines, self._course.rows - sequence * self._frame_lines)

    def _done_ns(self, sequence: int) -> int:
        """Return when the last line of that grab has passed."""
        last_line = sequence * self._frame_lines + self._lines(sequence)
        elapsed_s = self._course.elapsed_s(last_line, self._profile, self._strip.line.mm_per_line)
        return (self._start_ns or 0) + round(elapsed_s * 1e9)

    def _skip_overwritten(self) -> None:
        now_ns = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
            if self._began_unix_ns is not None:
                self._start_ns -= time.time_ns() - self._began_unix_ns()
                while self._next < self._total and self._done_ns(self._next) <= now_ns:
                    self._next += 1
        # The last grabs of a coil stay in the buffer until they are read, since nothing overwrites them.
        while self._next + BUFFER_GRABS < self._total and self._done_ns(self._next + BUFFER_GRABS) <= now_ns:
            self._next += 1
