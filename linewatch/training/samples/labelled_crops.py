"""Random crops of labelled frames, and the targets of the network's heads for each crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.networks.inspect import FrameNetwork
from linewatch.training.samples.blending import Blender
from linewatch.training.samples.frames import KnownImage, jitter, tread_plate
from linewatch.training.samples.labelled_frames import CLASSES, UNKNOWN, WIDTH, LabelledFrame

CROP_PX = 448
CLEAN_SHARE = 0.4
CLASS_SHARES = (0.4, 0.2, 0.2, 0.2)
"""How often a look is for each of CLASSES: torn spots are the smallest and the hardest to see."""
FULL_WEIGHT_CELLS, MOST_WEIGHT = 160, 3.0
"""A piece of fewer outline cells weighs more, by the square root, up to so much."""
_LAID = 1
"""What `Blender` marks a laid defect with; classes stand in its mask as 2 and above."""


@dataclass(frozen=True)
class TrainingCrop:
    """One training picture: gray uint8 (256, CROP_PX); mask uint8 of the same shape, as `LabelledFrame.mask`."""

    gray: NDArray[np.uint8]
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Targets:
    """Targets of each head, float32; -1 where the mask leaves them unknown.

    screen: (rows, columns) of 32 px cells, whether a defect lies in it. outlines: (1 + classes, rows, columns) of 4 px
    cells, the share of each that is defect, of any class and of each class. weight: (rows, columns) of 4 px cells, how
    much each counts: those of a small piece more, so that it is not outweighed by a large one.
    """

    screen: NDArray[np.float32]
    outlines: NDArray[np.float32]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, mask: NDArray[np.uint8]) -> Targets:
        unknown = _share(mask == UNKNOWN, FrameNetwork.OUTLINE_PX) > 0
        of_class = [_share(mask == value, FrameNetwork.OUTLINE_PX) for value in range(1, 1 + len(CLASSES))]
        outlines = np.stack([np.sum(of_class, axis=0), *of_class]).astype(np.float32)
        outlines[:, unknown] = -1
        cell = FrameNetwork.SCREEN_PX
        defect, boxed = _share((mask > 0) & (mask != UNKNOWN), cell), _share(mask == UNKNOWN, cell)
        # A cell that a defect only grazes is neither; nor is one of which a box of an unknown outline has a part.
        screen = np.where(defect >= 0.02, 1.0, np.where((defect > 0) | (boxed > 0), -1.0, 0.0))
        return cls(np.where(boxed >= 0.5, 1.0, screen).astype(np.float32), outlines, _weight(outlines[0] > 0))


def _weight(defect: NDArray[np.bool_]) -> NDArray[np.float32]:
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(defect.astype(np.uint8))
    of_piece = np.clip(np.sqrt(FULL_WEIGHT_CELLS / boxes[:count, cv2.CC_STAT_AREA]), 1.0, MOST_WEIGHT)
    of_piece[0] = 1.0
    return of_piece[labels].astype(np.float32)


def _share(where: NDArray[np.bool_], cell_px: int) -> NDArray[np.float64]:
    rows, columns = where.shape[0] // cell_px, where.shape[1] // cell_px
    return where.reshape(rows, cell_px, columns, cell_px).mean((1, 3))


class CropSampler:
    """An endless source of crops of these frames; the same generator state gives the same crop.

    CLEAN_SHARE are of clean frames, `blended` of all get defects of other frames laid on (each class as often as
    another), and of a defective frame three quarters hold a defect of a class drawn first. A quarter of the clean ones
    is given the raised pattern of tread plate, of which the frames are so few that one group holds them all.
    """

    def __init__(self, frames: Sequence[LabelledFrame], blended: float = 0.35):
        self._known = [(frame.gray(), frame.mask) for frame in frames]
        self._clean = [i for i, frame in enumerate(frames) if frame.clean and not frame.doubtful]
        self._of_class = [[i for i, frame in enumerate(frames) if k in frame.classes] for k in range(len(CLASSES))]
        self._blended = blended
        self._blenders = [
            Blender.of((gray, mask == 1 + k) for gray, mask in self._known if (mask == 1 + k).any())
            for k in range(len(CLASSES))
        ]

    def draw(self, rng: np.random.Generator) -> TrainingCrop:
        if rng.random() < CLEAN_SHARE:
            gray, mask = self._known[int(rng.choice(self._clean))]
            centre = int(rng.integers(WIDTH))
            if rng.random() < 0.25:
                gray = tread_plate(KnownImage(gray, mask), rng).gray
        else:
            of_class = self._of_class[int(rng.choice(len(CLASSES), p=CLASS_SHARES))]
            gray, mask = self._known[int(rng.choice(of_class))]
            columns = np.flatnonzero(mask.any(0))
            centre = int(rng.choice(columns) if rng.random() < 0.75 else rng.integers(WIDTH))
        if rng.random() < self._blended:
            gray, mask = self._laid(gray, mask, rng)
        x = int(np.clip(centre - rng.integers(CROP_PX), 0, WIDTH - CROP_PX))
        seen = jitter(KnownImage(gray[:, x : x + CROP_PX], mask[:, x : x + CROP_PX]), 0.2, 0.4, rng)
        return TrainingCrop(seen.gray, seen.known)

    def _laid(
        self, gray: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        k = int(rng.integers(len(CLASSES)))
        there = np.where(mask > 0, np.minimum(mask, UNKNOWN - 1) + 1, 0).astype(np.uint8)
        gray, laid = self._blenders[k](gray, there, rng)
        return gray, np.where(laid == _LAID, 1 + k, mask).astype(np.uint8)
