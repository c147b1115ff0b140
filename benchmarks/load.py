"""What is inspected while we measure: frames that lie in memory, so that making them costs the service nothing."""

import os
from pathlib import Path
from threading import Event
from typing import Self

import numpy as np

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Clock
from linewatch.geometry.grid import tile_grid
from linewatch.pictures.reading import read_gray
from linewatch.service_settings import ServiceSettings
from linewatch.simulation.strip import SimulatedStrip

BUFFER_GRABS = 16
"""Grabs that wait in a live camera's transfer buffers before the oldest is overwritten: 0.2 s, 6.5 MB."""

TILE_PX, OVERLAP_PX = 256, 16
DEFECTIVE_PX = 64  # of a tile, for it to count as defective


class MemoryCamera:
    """`frames` over and over, `grabs` in all, as one coil.

    rate_hz: of frames; live, waits for nobody and loses what is read too late. None: as fast as it is read.
    """

    def __init__(
        self, frames: list[np.ndarray], grabs: int, line: LineSettings, clock: Clock, rate_hz: float | None = None
    ) -> None:
        self.live = rate_hz is not None
        self.serial = ""
        self.grabs: int | None = grabs
        self._frames, self._total, self._line, self._clock = frames, grabs, line, clock
        self._period_ns = 1e9 / rate_hz if rate_hz else 0.0
        self._next = 0
        self._start_ns: int | None = None
        self._stopped = Event()

    def read(self) -> Grab | None:
        now_ns = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        if self.live:
            while self._next + BUFFER_GRABS < self._total and self._done_ns(self._next + BUFFER_GRABS) <= now_ns:
                self._next += 1
        if self._stopped.is_set() or self._next >= self._total:
            return None
        sequence, self._next = self._next, self._next + 1
        captured_ns = self._done_ns(sequence) if self.live else now_ns
        if self.live and not self._clock.wait_until_ns(captured_ns, self._stopped):
            return None
        lines, mm_per_line = self._line.frame_lines, self._line.mm_per_line
        return Grab(
            image=self._frames[sequence % len(self._frames)],
            coil="BENCH",
            sequence=sequence,
            first_line=sequence * lines,
            lines=lines,
            encoder_count=sequence * lines,
            along_mm=sequence * lines * mm_per_line,
            mm_per_line=mm_per_line,
            captured_ns=captured_ns,
        )

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _done_ns(self, sequence: int) -> int:
        return (self._start_ns or 0) + round((sequence + 1) * self._period_ns)


def simulated_frames(count: int, defects_per_m: float, line: LineSettings) -> tuple[list[np.ndarray], float]:
    """Frames of a rendered strip, and the share of their tiles that are defective by its truth."""
    length_m = count * line.frame_lines * line.mm_per_line / 1000
    strip = SimulatedStrip(7, length_m, defects_per_m, line)
    tiles = tile_grid(line.frame_lines, line.width_px, TILE_PX, TILE_PX, OVERLAP_PX)
    frames, defective = [], 0
    for number in range(count):
        first = number * line.frame_lines
        frames.append(strip.lines(first, line.frame_lines))
        mask = strip.mask(first, line.frame_lines) > 0
        defective += sum(int(mask[t.y : t.y + t.lines, t.x : t.x + t.width].sum()) >= DEFECTIVE_PX for t in tiles)
    return frames, defective / (count * len(tiles))


def real_frames(line: LineSettings) -> list[np.ndarray]:
    """The labelled Severstal frames under LINEWATCH_DATA, in order of their names; empty where there are none."""
    root = os.environ.get("LINEWATCH_DATA")
    paths = sorted(Path(root).glob("severstal/images/*.jpg")) if root else []
    read = (read_gray(path) for path in paths)
    return [image for image in read if image.shape == (line.frame_lines, line.width_px)]


def in_folder(settings: ServiceSettings, folder: Path) -> tuple[ServiceSettings, str, str]:
    """Return the settings with the journal and the sockets in a folder, and the service's publish and serve."""
    publish, serve = f"ipc://{folder}/pub", f"ipc://{folder}/rep"
    moved = {
        "journal": settings.journal.model_copy(update={"dir": folder / "journal"}),
        "wire": settings.wire.model_copy(
            update={"publish": publish, "serve": serve, "commands": f"ipc://{folder}/commands"}
        ),
    }
    return settings.model_copy(update=moved), publish, serve
