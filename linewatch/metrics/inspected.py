"""Metrics of an inspect network on outlined frames: its screen plane, its outlines, and the pieces that it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.metrics.masks import MaskAreas
from linewatch.metrics.tiles import TileTruth, steel_columns, tile_scores
from linewatch.metrics.windows import WindowScores

FOUND = 0.5
"""A true piece is found when the defect plane reaches this in one of its cells."""
SURE_PX = 64
"""Smaller pieces do not count."""


@dataclass(frozen=True)
class InspectScores:
    """What the maps of n frames say, beside the truth; entries of one frame carry its number.

    windows: the tiles, scored by the screen plane as a screen's are. dice: float64 (n,), of the defect plane at the
    engine's threshold and at pixels; nan for frames free of defects. found: bool (pieces,), of each true piece;
    of_frame: (pieces,), the frame that shows it.
    """

    windows: WindowScores
    dice: NDArray[np.float64]
    found: NDArray[np.bool_]
    of_frame: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        frames: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]],
        cell_px: int,
        threshold: float,
    ) -> InspectScores:
        """From gray and mask, uint8 (lines, width), and maps, float32 (2 + classes, rows, columns), of each frame."""
        scores, truths, areas, found, of_frame = [], [], [], [], []
        for number, (gray, mask, maps) in enumerate(frames):
            steel = steel_columns(gray)
            scores.append(tile_scores(maps[0], cell_px, steel))
            truths.append(TileTruth.of(mask, steel))
            defect = maps[1].repeat(cell_px, 0).repeat(cell_px, 1)
            areas.append(MaskAreas.of(defect[None], mask[None] > 0, threshold))
            count, pieces, boxes, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
            for piece in range(1, count):
                if boxes[piece, cv2.CC_STAT_AREA] >= SURE_PX:
                    found.append(bool(defect[pieces == piece].max() >= FOUND))
                    of_frame.append(number)
        dice = MaskAreas.joined(areas).image_dice()
        return cls(WindowScores.of_tiles(scores, truths), dice, np.array(found, bool), np.array(of_frame, np.intp))

    def mean_dice(self, frames: NDArray[np.intp]) -> float | None:
        """Return the mean Dice of the frames at these indices, None without a defective one."""
        dice = self.dice[frames]
        return None if np.isnan(dice).all() else float(np.nanmean(dice))
