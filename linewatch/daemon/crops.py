"""Pictures of defects: cut from a frame while its pixels are held, and encoded as PNG between the outlet's messages.

A defect has one picture, made when it closes, of the frame that shows most of it. Everything is bounded: cutouts from
one frame, bytes held for open defects, closed defects that wait. Beyond that a defect has no picture, and is counted.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import cv2
import numpy as np

from linewatch.config.crops import CropSettings
from linewatch.contracts.alarm import AlarmNotice
from linewatch.contracts.crop import Crop, CropWindow
from linewatch.contracts.frame import Frame
from linewatch.contracts.verdict import (
    CoilNotice,
    CoilState,
    Decided,
    Defect,
    DefectEvent,
    DefectState,
    RunMask,
    Verdict,
)
from linewatch.geometry.runs import area_px
from linewatch.geometry.strip import StripScale

PER_FRAME: Final = 8
"""Cutouts from one frame: that many copies, of some ten microseconds each, fit the decision's budget."""
HELD_BYTES: Final = 16 << 20
"""Held for open defects: which of its cutouts is the best is known when a defect closes."""
WAITING: Final = 64
"""Closed defects that wait for their picture; beyond that, the least severe is dropped."""

PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


@dataclass(frozen=True, slots=True, eq=False)
class _Cutout:
    """A defect as one frame shows it. pixels: (lines, columns) uint8. area_px: of its mask."""

    pixels: np.ndarray
    window: CropWindow
    ordinal: int
    captured_ns: int
    area_px: int


@dataclass(frozen=True, slots=True, eq=False)
class _ClosedDefect:
    defect: Defect
    coil_ordinal: int | None
    coil_epoch: int | None
    cutout: _Cutout


class DefectCrops:
    """`follow` is for the decision's thread, `make` for the outlet's; any thread may read the counts."""

    def __init__(self, settings: CropSettings, passage: tuple[int, int] | None = None) -> None:
        """passage: of the coil that goes on over a restart, as in `Sequencer`."""
        self._settings = settings
        self._coil_epoch: int | None = passage[0] if passage else None
        self._coil_ordinal: int | None = passage[1] if passage else None
        self._best: dict[str, _Cutout] = {}  # of open defects
        self._held_bytes = 0
        self._lock = threading.Lock()
        self._waiting: list[_ClosedDefect] = []
        self._every_ns = int(1e9 / settings.max_per_s)
        self._next_ns = 0
        self.made = 0
        self.not_made = 0
        """Closed defects without a picture."""

    @property
    def waiting(self) -> int:
        """Closed defects that wait for their picture."""
        return len(self._waiting)

    def follow(self, frame: Frame | None, decided: Sequence[Decided]) -> None:
        """Cut a frame's defects out before its pixels may change. frame: None at the end of the source."""
        for item in decided:
            if isinstance(item, AlarmNotice):
                continue
            if isinstance(item, CoilNotice) and item.state is CoilState.STARTED:
                self._coil_ordinal = 0 if self._coil_ordinal is None else self._coil_ordinal + 1
                self._coil_epoch = None
            if isinstance(item, Verdict) and frame is not None and frame.pixels is not None:
                self._cut(frame, frame.pixels, item.defects)
            closed = [event for event in item.defects if event.state is DefectState.CLOSED]
            for event in closed:
                if event.merged_into is not None and (cutout := self._release(event.defect.id)) is not None:
                    self._hold(event.merged_into, cutout)
            for event in closed:
                if event.merged_into is None:
                    self._wait(event.defect)
            if isinstance(item, CoilNotice):  # a defect is of one coil
                self._best.clear()
                self._held_bytes = 0

    def make(self, now_ns: int, *, hurry: bool = False) -> Crop | None:
        """Make the next picture, the worst defect's first. None: none waits, or, without `hurry`, it is too early."""
        if now_ns < self._next_ns and not hurry:
            return None
        with self._lock:
            if not self._waiting:
                return None
            closed = max(self._waiting, key=_badness)
            self._waiting.remove(closed)
        self._next_ns = now_ns + self._every_ns
        self.made += 1
        cutout = closed.cutout
        scale = min(1.0, self._settings.max_px / max(cutout.pixels.shape))
        pixels = cutout.pixels
        if scale < 1.0:
            lines, columns = (max(1, round(length * scale)) for length in pixels.shape)
            pixels = cv2.resize(pixels, (columns, lines), interpolation=cv2.INTER_AREA)
        _, png = cv2.imencode(".png", pixels, PNG)
        return Crop(
            closed.defect,
            closed.coil_ordinal,
            closed.coil_epoch,
            cutout.ordinal,
            cutout.captured_ns,
            cutout.window,
            scale,
            png.tobytes(),
        )

    def _cut(self, frame: Frame, pixels: np.ndarray, events: Sequence[DefectEvent]) -> None:
        shown = [event for event in events if event.mask is not None and len(event.mask.runs)]
        if len(shown) > PER_FRAME:
            shown.sort(key=lambda event: (event.defect.id in self._best, *(-bad for bad in _worth(event.defect))))
        for event in shown[:PER_FRAME]:
            assert event.mask is not None
            before, shown_px = self._best.get(event.defect.id), area_px(event.mask.runs)
            if before is None or shown_px > before.area_px:
                self._hold(event.defect.id, self._cutout(frame, pixels, event.mask, shown_px))

    def _cutout(self, frame: Frame, pixels: np.ndarray, mask: RunMask, shown_px: int) -> _Cutout:
        margin, (line, start, stop) = self._settings.margin_mm, mask.runs.T
        first = mask.first_line - frame.first_line
        around_lines, around_px = ceil(margin / frame.mm_per_line), ceil(margin / frame.mm_per_px)
        top = max(0, first + int(line[0]) - around_lines)
        bottom = min(frame.valid_lines, first + int(line[-1]) + 1 + around_lines)
        left, right = max(0, int(start.min()) - around_px), min(pixels.shape[1], int(stop.max()) + around_px)
        box = StripScale.of(frame).box(left, right, top, bottom)
        window = CropWindow(frame.first_line + top, bottom - top, left, right - left, box)
        return _Cutout(pixels[top:bottom, left:right].copy(), window, frame.ordinal, frame.captured_ns, shown_px)

    def _hold(self, name: str, cutout: _Cutout) -> None:
        before = self._best.get(name)
        if not cutout.pixels.size or (before is not None and before.area_px >= cutout.area_px):
            return
        freed = 0 if before is None else before.pixels.nbytes
        if self._held_bytes - freed + cutout.pixels.nbytes <= HELD_BYTES:
            self._best[name] = cutout
            self._held_bytes += cutout.pixels.nbytes - freed

    def _release(self, name: str) -> _Cutout | None:
        cutout = self._best.pop(name, None)
        if cutout is not None:
            self._held_bytes -= cutout.pixels.nbytes
        return cutout

    def _wait(self, defect: Defect) -> None:
        cutout = self._release(defect.id)
        if cutout is None:
            self.not_made += 1
            return
        with self._lock:
            self._waiting.append(_ClosedDefect(defect, self._coil_ordinal, self._coil_epoch, cutout))
            if len(self._waiting) > WAITING:
                self._waiting.remove(min(self._waiting, key=_badness))
                self.not_made += 1


def _worth(defect: Defect) -> tuple[float, float]:
    return defect.severity or 0, defect.area_mm2


def _badness(closed: _ClosedDefect) -> tuple[float, float]:
    return _worth(closed.defect)
