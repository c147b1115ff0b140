"""A camera over a rendered strip."""

import threading
from typing import Self

import numpy as np

from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Clock
from linewatch.simulation.encoder import SpeedProfile, encoder_count
from linewatch.simulation.strip import Strip

BUFFER_GRABS = 16
"""Grabs that wait in a live camera's transfer buffers; an older one is overwritten."""


class SimulatorCamera:
    """Grabs of a `Strip`, one coil, the last one as short as the coil's end makes it.

    Live: a grab can be read when the strip has passed by the clock, from the first `read` on; a reader who is more
    than `BUFFER_GRABS` late loses the oldest, and `sequence` jumps. Not live: as fast as read; `captured_ns` then
    counts from 0.
    """

    def __init__(self, strip: Strip, profile: SpeedProfile, clock: Clock, coil: str, live: bool) -> None:
        self.live = live
        self._strip = strip
        self._profile = profile
        self._clock = clock
        self._coil = coil
        self._frame_lines = strip.line.frame_lines
        self._total = -(-strip.total_lines // self._frame_lines)
        self.grabs: int | None = self._total
        self._next = 0
        self._start_ns: int | None = None
        self._stopped = threading.Event()

    def read(self) -> Grab | None:
        if self.live:
            self._skip_overwritten()
        if self._stopped.is_set() or self._next >= self._total:
            return None
        sequence, self._next = self._next, self._next + 1
        first_line = sequence * self._frame_lines
        lines = self._lines(sequence)
        image = self._strip.lines(first_line, lines)  # before the wait: light takes no time, rendering does
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

    def _grab(self, image: np.ndarray, sequence: int, first_line: int, lines: int, captured_ns: int) -> Grab:
        mm_per_line = self._strip.line.mm_per_line
        return Grab(
            image=image,
            coil=self._coil,
            sequence=sequence,
            first_line=first_line,
            lines=lines,
            encoder_count=encoder_count(first_line * mm_per_line),
            along_mm=first_line * mm_per_line,
            mm_per_line=mm_per_line,
            captured_ns=captured_ns,
        )

    def _lines(self, sequence: int) -> int:
        return min(self._frame_lines, self._strip.total_lines - sequence * self._frame_lines)

    def _done_ns(self, sequence: int) -> int:
        """When the last line of that grab has passed."""
        last_line = sequence * self._frame_lines + self._lines(sequence)
        return (self._start_ns or 0) + round(self._profile.elapsed_s(last_line * self._strip.line.mm_per_line) * 1e9)

    def _skip_overwritten(self) -> None:
        now_ns = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        # The last grabs of the coil stay in the buffer until they are read: nothing comes to overwrite them.
        while self._next + BUFFER_GRABS < self._total and self._done_ns(self._next + BUFFER_GRABS) <= now_ns:
            self._next += 1
