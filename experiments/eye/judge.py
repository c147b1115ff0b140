"""Metrics by instance, published or called defects against true pieces, with 95 % intervals over groups.

Pairing is the product's (`linewatch.geometry.matching`, 5 mm of tolerance, at the recording's nominal 0.5 x 1 mm), so
figures here stand beside those of docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match
from linewatch.metrics.intervals import Metrics, intervals
from linewatch.training.samples.labelled_frames import CLASSES, HEIGHT, WIDTH, LabelledFrame

MM_PER_PX, MM_PER_LINE, TOLERANCE_MM = 0.5, 1.0, 5.0

Corners = tuple[int, int, int, int]
"""A box [x0, x1) x [y0, y1) in pixels, as (x0, y0, x1, y1)."""


@dataclass(frozen=True)
class Found:
    """A found defect: its box, and its class as an index into CLASSES, or -1 for another class."""

    box: Corners
    class_index: int


@dataclass(frozen=True)
class Judged:
    """One frame. on: bool (found, true), which true pieces each of the found lies on; probability: float64 (found,),
    that it is true, as far as a second stage has told.
    """

    frame: LabelledFrame
    group: int
    found: tuple[Found, ...]
    on: NDArray[np.bool_]
    probability: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which instances lie on a true piece: bool (found,)."""
        return np.asarray(self.on.any(1))

    def believed(self, probability: NDArray[np.float64]) -> Judged:
        """Return the frame with these probabilities."""
        return replace(self, probability=probability)

    def at(self, threshold: float) -> Judged:
        """Return the frame with only the instances that reach the threshold."""
        kept = self.probability >= threshold
        found = tuple(one for one, keep in zip(self.found, kept, strict=True) if keep)
        return replace(self, found=found, on=self.on[kept], probability=self.probability[kept])


def judge(frame: LabelledFrame, group: int, found: Sequence[Found]) -> Judged:
    """Return which of `found` are right in this frame."""
    truth = [(piece.x0, piece.y0, piece.x1, piece.y1) for piece in frame.pieces]
    pairs = match(_strip(one.box for one in found), _strip(truth), tolerance_mm=TOLERANCE_MM).pairs
    on = np.zeros((len(found), len(truth)), bool)
    for pair in pairs:
        on[pair.found, pair.true] = True
    return Judged(frame, group, tuple(found), on, np.ones(len(found)))


def _strip(boxes: Iterable[Corners]) -> list[StripBox]:
    return [
        StripBox((x0 * MM_PER_PX, x1 * MM_PER_PX), (y0 * MM_PER_LINE, y1 * MM_PER_LINE)) for x0, y0, x1, y1 in boxes
    ]


_COUNTS = ("true", "hit", "class_hit", "found", "right", "clean", "false_on_clean", "clean_touched")


def _counts(one: Judged) -> list[int]:
    of_class = np.array([found.class_index for found in one.found], int)[:, None]
    pieces = np.array([piece.class_index for piece in one.frame.pieces], int)[None, :]
    clean = one.frame.clean and not one.frame.doubtful
    return [
        len(one.frame.pieces),
        int(one.on.any(0).sum()),
        int((one.on & (of_class == pieces)).any(0).sum()),
        0 if one.frame.doubtful else len(one.found),
        0 if one.frame.doubtful else int(one.right.sum()),
        int(clean),
        len(one.found) if clean else 0,
        int(clean and len(one.found) > 0),
    ]


@dataclass(frozen=True)
class Score:
    """Metrics of some frames at one operating point, each with its interval (None: too few to tell). Frames whose clean
    label is doubtful count for nothing.
    """

    counts: dict[str, int]
    figures: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]

    def told(self, name: str) -> str:
        """Return a metric and its interval as text."""
        value = self.figures[name]
        low, high = self.intervals.get(name, (float("nan"),) * 2)
        return "-" if value is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def score(judged: Sequence[Judged]) -> Score:
    """Return recall and precision of instances, and two further metrics.

    right_class: share of the pieces hit that have an instance of their own class on them. false_per_clean_frame:
    instances.
    """
    table = np.array([_counts(one) for one in judged], np.int64).reshape(-1, len(_COUNTS))

    def figures(rows: NDArray[np.intp]) -> Metrics:
        sums = dict(zip(_COUNTS, table[rows].sum(0).tolist(), strict=True))
        return {
            "recall": _share(sums["hit"], sums["true"]),
            "precision": _share(sums["right"], sums["found"]),
            "right_class": _share(sums["class_hit"], sums["hit"]),
            "false_per_clean_frame": _share(sums["false_on_clean"], sums["clean"]),
            "clean_frames_touched": _share(sums["clean_touched"], sums["clean"]),
        }

    everything = np.arange(len(table))
    sums = dict(zip(_COUNTS, table.sum(0).tolist(), strict=True))
    return Score(sums, dict(figures(everything)), intervals(figures, [one.group for one in judged]))


def ground_shared(judged: Sequence[Judged]) -> tuple[float, float, float]:
    """Return how coarse the found boxes are, which `match` ignores.

    The result is the share of the area in found boxes, the share in true boxes, and their intersection over union.
    """
    found, true, both = 0, 0, 0
    for one in judged:
        here, there = (
            _ground(each.box for each in one.found),
            _ground((piece.x0, piece.y0, piece.x1, piece.y1) for piece in one.frame.pieces),
        )
        found, true, both = found + int(here.sum()), true + int(there.sum()), both + int((here & there).sum())
    ground = len(judged) * HEIGHT * WIDTH
    return found / ground, true / ground, both / max(found + true - both, 1)


def _ground(boxes: Iterable[Corners]) -> NDArray[np.bool_]:
    ground = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        ground[y0:y1, x0:x1] = True
    return ground


def recall_by_class(judged: Sequence[Judged]) -> dict[str, tuple[int, int]]:
    """Return, for each class, the number of true pieces that are hit and of all true pieces."""
    hit = np.concatenate([one.on.any(0) for one in judged])
    of_class = np.array([piece.class_index for one in judged for piece in one.frame.pieces])
    return {name: (int(hit[of_class == k].sum()), int((of_class == k).sum())) for k, name in enumerate(CLASSES)}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def precision_and_recall(judged: Sequence[Judged]) -> tuple[NDArray[np.float64], ...]:
    """(thresholds, precisions, recalls), float64 of one length: at every probability that occurs, from the highest."""
    kept = [one for one in judged if not one.frame.doubtful]
    probability = np.concatenate([one.probability for one in kept])
    right = np.concatenate([one.right for one in kept])
    best = [np.where(one.on, one.probability[:, None], -1.0).max(0, initial=-1.0) for one in kept if one.frame.pieces]
    pieces = np.sort(np.concatenate(best))
    thresholds = np.unique(probability)[::-1]
    found = np.searchsorted(np.sort(-probability), -thresholds, "right")
    rightly = np.searchsorted(np.sort(-probability[right]), -thresholds, "right")
    hit = len(pieces) - np.searchsorted(pieces, thresholds, "left")
    return thresholds, rightly / found, hit / len(pieces)


def threshold_at_precision(judged: Sequence[Judged], least: float) -> float:
    """Return the lowest threshold at which precision is at least `least`; infinity where there is none."""
    thresholds, precisions, _ = precision_and_recall(judged)
    good = np.flatnonzero(precisions >= least)
    return float(thresholds[good[-1]]) if len(good) else float("inf")
