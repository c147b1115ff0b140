"""The screen's figure of merit: recall on defective tiles against the share of clean on-steel tiles it passes.

A tile is *defective* when its mask holds at least one defect pixel, *clean* when it holds none and at least a
quarter of it is steel. What is neither (off the steel, or of a frame whose defects are not drawn) does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TILE_PX = 256
TILE_STEP_PX = 224
STEEL_SHARE = 0.25
DARK = 12
"""Gray level below which the median of a column is taken for the dark beside the strip."""


def steel_columns(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(width,) True where the column of `image` (lines, width) shows steel."""
    return np.median(image, axis=0) > DARK


def tile_starts(width: int) -> range:
    """First column of every tile of a frame `width` px wide."""
    return range(0, width - TILE_PX + 1, TILE_STEP_PX)


def tile_scores(cells: NDArray[np.floating], cell_px: int, steel: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(tiles,) the highest of the cells (rows, columns) that overlap each tile and touch the strip, or 0."""
    columns = np.where(steel.reshape(cells.shape[1], cell_px).any(1), cells.max(0), 0.0)
    return np.array([columns[x // cell_px : -(-(x + TILE_PX) // cell_px)].max() for x in tile_starts(len(steel))])


@dataclass(frozen=True)
class TileTruth:
    """What is known of a frame's tiles, one entry per tile."""

    defect_px: NDArray[np.int64]
    steel_share: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[np.generic], steel: NDArray[np.bool_]) -> TileTruth:
        """From a defect mask (lines, width), nonzero on defects, and the columns that show steel."""
        starts = tile_starts(len(steel))
        return cls(
            np.array([np.count_nonzero(mask[:, x : x + TILE_PX]) for x in starts]),
            np.array([steel[x : x + TILE_PX].mean() for x in starts]),
        )


@dataclass(frozen=True)
class Merit:
    """Scores of defective and of clean tiles, each with the frame that it lies on (frames are what is resampled)."""

    defective: NDArray[np.float64]
    defective_frame: NDArray[np.int64]
    clean: NDArray[np.float64]
    clean_frame: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Sequence[NDArray[np.float64]], truths: Sequence[TileTruth], least_px: int = 1) -> Merit:
        """Gather tiles of frames; a tile with fewer than `least_px` defect pixels, but some, is left out."""
        score, frame = np.concatenate(scores), np.repeat(np.arange(len(scores)), [len(s) for s in scores])
        pixels = np.concatenate([t.defect_px for t in truths])
        steel = np.concatenate([t.steel_share for t in truths])
        bad, good = pixels >= least_px, (pixels == 0) & (steel >= STEEL_SHARE)
        return cls(score[bad], frame[bad], score[good], frame[good])

    def threshold(self, pass_rate: float) -> float:
        """The lowest threshold that passes (score >= threshold) at most `pass_rate` of the clean tiles."""
        falling = np.sort(self.clean)[::-1]
        allowed = int(pass_rate * len(falling) + 1e-9)
        return float(np.nextafter(falling[allowed], np.inf)) if allowed < len(falling) else 0.0

    def recall(self, threshold: float) -> float:
        """Share of the defective tiles at or above `threshold`."""
        return float(np.mean(self.defective >= threshold))

    def pass_rate(self, threshold: float) -> float:
        """Share of the clean tiles at or above `threshold`."""
        return float(np.mean(self.clean >= threshold))

    def recall_at(self, pass_rate: float) -> float:
        """Recall at the lowest threshold that passes at most `pass_rate` of the clean tiles."""
        return self.recall(self.threshold(pass_rate))

    def auc(self) -> float:
        """Probability that a defective tile scores above a clean one, ties counting half (Mann-Whitney)."""
        rising = np.sort(self.clean)
        below = np.searchsorted(rising, self.defective, "left") + np.searchsorted(rising, self.defective, "right")
        return float(below.mean() / (2 * len(rising)))

    def resampled(self, rng: np.random.Generator) -> Merit:
        """One bootstrap draw over whole frames: tiles of a frame are alike, so they go together."""
        frames = np.union1d(self.defective_frame, self.clean_frame)
        drawn = rng.choice(frames, len(frames))
        bad = np.concatenate([np.flatnonzero(self.defective_frame == f) for f in drawn])
        good = np.concatenate([np.flatnonzero(self.clean_frame == f) for f in drawn])
        return Merit(self.defective[bad], self.defective_frame[bad], self.clean[good], self.clean_frame[good])

    def interval(self, pass_rate: float, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
        """95 % bootstrap interval over frames of `recall_at(pass_rate)`."""
        rng = np.random.default_rng(seed)
        recalls: list[float] = []
        while len(recalls) < draws:
            drawn = self.resampled(rng)
            if len(drawn.defective) and len(drawn.clean):
                recalls.append(drawn.recall_at(pass_rate))
        return float(np.percentile(recalls, 2.5)), float(np.percentile(recalls, 97.5))


def plot(curves: dict[str, Merit], path: Path, threshold: float | None = None) -> None:
    """Draw recall against pass rate of each named curve; a dot marks `threshold` on each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot(
        xlabel="clean on-steel tiles passed", ylabel="recall on defective tiles", xlim=(0, 0.5), ylim=(0.4, 1.01)
    )
    rates = np.linspace(0, 1, 401)
    for name, merit in curves.items():
        label = f"{name}: {merit.recall_at(0.1):.3f} at 10 %, AUC {merit.auc():.3f}"
        line = axes.step(rates, [merit.recall_at(r) for r in rates], where="post", label=label)[0]
        if threshold is not None:
            axes.plot(merit.pass_rate(threshold), merit.recall(threshold), "o", color=line.get_color())
    axes.axvline(0.1, color="0.7", lw=0.8)
    axes.axhline(0.9, color="0.7", lw=0.8)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=100)
