"""The masks of the newest frames, from which the outlines over a camera's picture are drawn."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np

from linewatch.wire.schema import DefectMessage, FrameMessage

FRAMES_KEPT: Final = 256
MOST_RUNS: Final = 20_000
"""Of one frame; a mask beyond it is drawn as its box."""


@dataclass(slots=True)
class _Frame:
    first_line: int
    defects: list[tuple[DefectMessage, np.ndarray]] = field(default_factory=list)
    runs: int = 0


class FrameMasks:
    """Filled by the follower's thread; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: OrderedDict[tuple[str, str, int], _Frame] = OrderedDict()

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._frames.clear()

    def begin_frame(self, frame: FrameMessage) -> None:
        """Expect the masks of a frame."""
        with self._lock:
            self._frames[frame.side, frame.camera, frame.ordinal] = _Frame(frame.first_line)
            while len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)

    def add(self, defect: DefectMessage) -> None:
        """Take a defect's mask in its frame."""
        if defect.ordinal is None or defect.mask is None:
            return
        with self._lock:
            frame = self._frames.get((defect.side, defect.camera, defect.ordinal))
            if frame is not None and frame.runs + len(defect.runs) <= MOST_RUNS:
                frame.defects.append((defect, defect.runs))
                frame.runs += len(defect.runs)

    def outlines(self, side: str, camera: str, ordinal: int) -> list[dict[str, Any]] | None:
        """Return the outlines in a frame, in lines and columns of the camera; None while its verdict is not known.

        Each has id, class, tentative and `rings`: closed lines of [column, line], counted from the frame's first line.
        """
        with self._lock:
            frame = self._frames.get((side, camera, ordinal))
            if frame is None:
                return None
            first_line, defects = frame.first_line, list(frame.defects)
        return [
            {
                "id": defect.id,
                "class": defect.defect_class,
                "tentative": defect.tentative,
                "rings": _rings(defect, runs, first_line),
            }
            for defect, runs in defects
        ]


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
