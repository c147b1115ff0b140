"""The masks of the newest frames, from which the outlines over a camera's picture are drawn."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np

from linewatch.wire.decode import columns_from
from linewatch.wire.schema import DefectMessage, FrameMessage

FRAMES_KEPT: Final = 256
MOST_RUNS: Final = 20_000
"""Of one frame; a mask beyond it is drawn as its box."""
REACH_MM: Final = 2_000.0
"""So much later along than its steel a joined strip may tell a mask: once a neighbouring camera cannot see it, too."""


@dataclass(slots=True)
class _Frame:
    told: FrameMessage
    defects: list[tuple[DefectMessage, np.ndarray]] = field(default_factory=list)
    runs: int = 0


class FrameMasks:
    """Filled by the follower's thread; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, _Frame] = OrderedDict()  # by their ordinals

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._frames.clear()

    def begin_frame(self, frame: FrameMessage) -> None:
        """Expect the masks of a frame."""
        with self._lock:
            self._frames[frame.ordinal] = _Frame(frame)
            while len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)

    def add(self, defect: DefectMessage) -> None:
        """Take a defect's mask in its frame."""
        if defect.ordinal is None or defect.mask is None:
            return
        with self._lock:
            frame = self._frames.get(defect.ordinal)
            if frame is not None and frame.runs + len(defect.runs) <= MOST_RUNS:
                frame.defects.append((defect, defect.runs))
                frame.runs += len(defect.runs)

    def outlines(self, side: str, camera: str, ordinal: int) -> list[dict[str, Any]] | None:
        """Return the outlines in a frame, in lines and columns of the camera; None while its verdict is not known.

        Each has id, class, tentative and `rings`: closed lines of [column, line], counted from the frame's first line.
        """
        with self._lock:
            frame = self._frames.get(ordinal)
            if frame is None or (frame.told.side, frame.told.camera) != (side, camera):
                return None
            first_line, defects = frame.told.first_line, list(frame.defects)
        return [
            {
                "id": defect.id,
                "class": defect.defect_class,
                "tentative": defect.tentative,
                "rings": _rings(defect, runs, first_line),
            }
            for defect, runs in defects
        ]

    def outlines_over(self, side: str, along_mm: tuple[float, float]) -> list[dict[str, Any]]:
        """Return the outlines of a side of a joined strip between two places along, in millimetres of the strip.

        They are as those of `outlines`, with closed lines of [across, along]: no camera's picture has the columns of
        the joined record.
        """
        with self._lock:
            near = [
                (frame.told, list(frame.defects))
                for frame in self._frames.values()
                if frame.told.along_mm[1] > along_mm[0] - REACH_MM and frame.told.along_mm[0] < along_mm[1] + REACH_MM
            ]
        return [
            {
                "id": defect.id,
                "class": defect.defect_class,
                "tentative": defect.tentative,
                "rings": [_on_strip(ring, frame) for ring in _rings(defect, runs, frame.first_line)],
            }
            for frame, defects in near
            if frame.columns is not None and frame.lines
            for defect, runs in defects
            if defect.side == side and defect.along_mm[1] > along_mm[0] and defect.along_mm[0] < along_mm[1]
        ]


def _on_strip(ring: list[list[int]], frame: FrameMessage) -> list[list[float]]:
    assert frame.columns is not None
    column, line = np.array(ring, np.float64).T
    across_mm = columns_from(frame.columns).mm(column)
    along_mm = frame.along_mm[0] + line * (frame.along_mm[1] - frame.along_mm[0]) / frame.lines
    rounded: list[list[float]] = np.round(np.column_stack([across_mm, along_mm]), 1).tolist()
    return rounded


def _rings(defect: DefectMessage, runs: np.ndarray, first_line: int) -> list[list[list[int]]]:
    assert defect.mask is not None
    line = runs[:, 0] + defect.mask.first_line - first_line
    if not len(line):
        return []
    top, left = int(line.min()), int(runs[:, 1].min())
    drawn = np.zeros((int(line.max()) - top + 1, int(runs[:, 2].max()) - left), np.uint8)
    for at, start, stop in zip(line - top, runs[:, 1] - left, runs[:, 2] - left, strict=True):
        drawn[at, start:stop] = 255
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    return [np.add(contour.reshape(-1, 2), (left, top)).tolist() for contour in contours]
