"""The figures of judged frames, each under a stable dotted name (docs/judging.md), with 95 % intervals over groups.

Most are shares of sums over frames: `Ratios` keeps the sums of every frame, so that a resample costs one product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linewatch.evaluation.judging.judged import ANY, InstanceTable, JudgedFrame
from linewatch.metrics.calibration import ReliabilityBin, calibration_error, reliability
from linewatch.metrics.intervals import Metrics, intervals, most_unseen, poisson_interval
from linewatch.metrics.result import Interval
from linewatch.metrics.windows import WindowScores

POINTS = ("told", "called")
"""The two operating points: what is published, and what is not tentative."""
BANDS_MM2 = (0.0, 150.0, 500.0, 2000.0, 10_000.0, math.inf)
PRECISIONS = ("0.60", "0.80")
PASS_RATES = ("0.05", "0.10")
_CURVE_POINTS = 200


def band_of(area_mm2: float) -> str:
    """Return the name of the size band that an area lies in."""
    at = max(1, int(np.searchsorted(BANDS_MM2, area_mm2, "right")))
    return BANDS[at - 1]


BANDS = tuple(
    f"from_{low:.0f}" if math.isinf(high) else f"{low:.0f}_to_{high:.0f}" for low, high in pairwise(BANDS_MM2)
)
"""Names of the size bands, in mm2: `0_to_150` holds areas from 0 to below 150."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Precision and recall of all instances whose probability reaches the threshold."""

    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Figures:
    """counts: what the figures are of. values: by dotted name, None where undefined. intervals: of those that have one.

    curve: precision and recall over the probability of all instances. reliability: bins of told ones, of equal count.
    """

    counts: dict[str, float]
    values: dict[str, float | None]
    intervals: dict[str, Interval] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()

    def told(self, name: str, digits: int = 2) -> str:
        """Return a figure and its interval as text."""
        value, ends = self.values.get(name), self.intervals.get(name)
        if value is None:
            return "-"
        text = f"{value:,.{digits}f}"
        return text if ends is None else f"{text} ({ends[0]:,.{digits}f} to {ends[1]:,.{digits}f})"


def figures_of(frames: Sequence[JudgedFrame]) -> Figures:
    """Return all figures of at least one frame. The same frames give the same figures."""
    ratios = Ratios.of(frames)
    ranked = _Ranked.of(frames)
    everything = np.arange(len(frames))
    groups = [frame.group for frame in frames]

    def figures(rows: NDArray[np.intp]) -> Metrics:
        return {**ratios.values(rows), **ranked.values(rows)}

    values = dict(figures(everything))
    ends = intervals(figures, groups)
    for name, value in values.items():
        exact = _exact(ratios, name, value, ends.get(name))
        if exact is not None:
            ends[name] = exact
        elif name in ends and ends[name][0] == ends[name][1]:
            del ends[name]
    told = ranked.table.told
    return Figures(
        _counts(frames),
        values,
        ends,
        tuple(ranked.curve()),
        tuple(reliability(ranked.table.probability[told], ranked.table.right[told])),
    )


def _exact(ratios: Ratios, name: str, value: float | None, found: Interval | None) -> Interval | None:
    """Return the exact one-sided bound where the bootstrap is blind, since no frame shows the event; else None."""
    if value is None or (found is not None and found[0] < found[1]):
        return None
    if name.endswith("false_per_1000_m2") and value == 0.0:
        area_m2 = ratios.whole(name)
        return 0.0, 1000 * poisson_interval(0)[1] / area_m2
    if name.rpartition(".")[2] in _SHARES and value in (0.0, 1.0):
        unseen = most_unseen(ratios.groups_with(name))
        return (1 - unseen, 1.0) if value else (0.0, unseen)
    return None


_SHARES = ("recall", "precision", "right_class", "clean_frames_touched")


@dataclass(frozen=True)
class Ratios:
    """Sums of every frame. part, whole: float64 (frames, metrics). groups: the group of each frame, (frames,)."""

    names: tuple[str, ...]
    part: NDArray[np.float64]
    whole_of: NDArray[np.float64]
    groups: NDArray[np.intp]

    @classmethod
    def of(cls, frames: Sequence[JudgedFrame]) -> Ratios:
        """Gather the sums of all frames."""
        rows = [dict(_sums(frame)) for frame in frames]
        names = tuple(dict.fromkeys(name for row in rows for name in row))
        both = np.array([[row.get(name, (0.0, 0.0)) for name in names] for row in rows], np.float64)
        groups = np.unique([frame.group for frame in frames], return_inverse=True)[1]
        return cls(names, both[..., 0], both[..., 1], groups)

    def values(self, rows: NDArray[np.intp]) -> dict[str, float | None]:
        """Return the metrics of the frames at `rows`, which may repeat."""
        weights = np.bincount(rows, minlength=len(self.part)).astype(np.float64)
        parts, wholes = weights @ self.part, weights @ self.whole_of
        return {
            name: float(part / whole) if whole else None
            for name, part, whole in zip(self.names, parts, wholes, strict=True)
        }

    def whole(self, name: str) -> float:
        """Return what the metric is a share of, per 1,000 m2 in m2."""
        scale = 1000.0 if name.endswith("per_1000_m2") else 1.0
        return float(self.whole_of[:, self.names.index(name)].sum()) * scale

    def groups_with(self, name: str) -> int:
        """Return how many groups the metric is of."""
        return len(np.unique(self.groups[self.whole_of[:, self.names.index(name)] > 0]))


Sums = dict[str, tuple[float, float]]


def _sums(frame: JudgedFrame) -> Sums:
    """Return, for each metric that the frame tells something of, its part and its whole."""
    sums: Sums = {"coverage.inspected_share": (frame.inspected_m2, frame.strip_m2)}
    for point in POINTS:
        sums.update({f"{point}.{name}": pair for name, pair in _point(frame, point).items()})
    for one in frame.instances:
        if one.told:
            _add(sums, "probability.brier", (one.probability - one.right) ** 2, 1)
    return sums


def _point(frame: JudgedFrame, point: str) -> Sums:
    sums: Sums = {}
    kept = [one for one in frame.instances if getattr(one, point)]
    hit = {number for one in kept for number in one.on}
    named = {number for one in kept for number in one.on if frame.pieces[number].defect_class == one.defect_class}
    for number, piece in enumerate(frame.pieces):
        for name in ("recall", f"by_class.{piece.defect_class}.recall", f"by_size.{band_of(piece.area_mm2)}.recall"):
            _add(sums, name, number in hit, 1)
        if number in hit:
            _add(sums, "right_class", number in named, 1)
    for one in kept:
        _add(sums, "precision", one.right, 1)
        _add(sums, f"by_class.{one.defect_class}.precision", one.right_class, 1)
        _add(sums, f"by_size.{band_of(one.area_mm2)}.precision", one.right, 1)
    if frame.clean:
        sums["false_per_clean_frame"] = len(kept), 1
        sums["clean_frames_touched"] = bool(kept), 1
        sums["false_per_1000_m2"] = len(kept), frame.inspected_m2 / 1000
    if frame.outlined:
        for name, (both, found, true) in frame.areas_px.get(point, {}).items():
            if true:  # the mean is over the frames that show the class
                prefix = "" if name == ANY else f"by_class.{name}."
                _add(sums, f"{prefix}dice", 2 * both / (found + true), 1)
                _add(sums, f"{prefix}iou", both / (found + true - both), 1)
    return sums


def _add(sums: Sums, name: str, part: float, whole: float) -> None:
    before = sums.get(name, (0.0, 0.0))
    sums[name] = before[0] + float(part), before[1] + float(whole)


def _counts(frames: Sequence[JudgedFrame]) -> dict[str, float]:
    clean = [frame for frame in frames if frame.clean]
    pieces = [piece for frame in frames for piece in frame.pieces]
    counts: dict[str, float] = {
        "frames": len(frames),
        "defective_frames": len(frames) - len(clean),
        "clean_frames": len(clean),
        "groups": len({frame.group for frame in frames}),
        "strip_m2": sum(frame.strip_m2 for frame in frames),
        "inspected_m2": sum(frame.inspected_m2 for frame in frames),
        "clean_inspected_m2": sum(frame.inspected_m2 for frame in clean),
        "frames_not_inspected": sum(frame.inspected_m2 == 0 for frame in frames),
        "pieces_in_frames_not_inspected": sum(len(frame.pieces) for frame in frames if frame.inspected_m2 == 0),
        "pieces": len(pieces),
        "instances": sum(len(frame.instances) for frame in frames),
        "screened_tiles": sum(len(frame.tiles) for frame in frames),
        "defective_tiles": sum(bad for frame in frames for _, bad in frame.tiles),
    }
    causes = sorted({cause for frame in frames for cause in frame.uninspected_m2})
    counts |= {f"uninspected_m2.{one}": sum(each.uninspected_m2.get(one, 0.0) for each in frames) for one in causes}
    counts |= _counted("pieces.by_class", [piece.defect_class for piece in pieces])
    counts |= _counted("pieces.by_size", [band_of(piece.area_mm2) for piece in pieces])
    for point in POINTS:
        kept = [(frame, one) for frame in frames for one in frame.instances if getattr(one, point)]
        hit = {(frame.name, number) for frame, one in kept for number in one.on}
        counts[f"{point}.instances"] = len(kept)
        counts[f"{point}.right"] = sum(one.right for _, one in kept)
        counts[f"{point}.pieces_hit"] = len(hit)
        counts[f"{point}.false_on_clean"] = sum(frame.clean for frame, _ in kept)
        counts |= _counted(f"{point}.by_class", [one.defect_class for _, one in kept])
        counts |= _counted(f"{point}.by_size", [band_of(one.area_mm2) for _, one in kept])
    return counts


def _counted(prefix: str, names: Sequence[str]) -> dict[str, float]:
    order = BANDS if prefix.endswith("by_size") else sorted(set(names))
    return {f"{prefix}.{name}": names.count(name) for name in order}


@dataclass(frozen=True)
class _Ranked:
    """What needs a ranking: the instances by probability, and the tiles by the screen's score.

    best: float64 (pieces,), the highest probability of an instance on each piece; -1 where there is none. The rows of
    each frame are consecutive in all three.
    """

    table: InstanceTable
    best: NDArray[np.float64]
    piece_frame: NDArray[np.int64]
    tiles: WindowScores

    @classmethod
    def of(cls, frames: Sequence[JudgedFrame]) -> _Ranked:
        best = []
        for frame in frames:
            each = np.full(len(frame.pieces), -1.0)
            for one in frame.instances:
                each[list(one.on)] = np.maximum(each[list(one.on)], one.probability)
            best.append(each)
        sizes = [len(each) for each in best]
        tiles = [(score, bad, number) for number, frame in enumerate(frames) for score, bad in frame.tiles]
        scores, bad, where = np.array(tiles, np.float64).reshape(-1, 3).T
        return cls(
            InstanceTable.of(frames),
            np.concatenate([np.zeros(0), *best]),
            np.repeat(np.arange(len(frames)), sizes),
            WindowScores(scores, bad > 0, where.astype(np.int64)),
        )

    def values(self, rows: NDArray[np.intp]) -> dict[str, float | None]:
        """Return the metrics of the frames at `rows`, which may repeat."""
        count = np.bincount(rows, minlength=len(self.table.frames))
        mine = _repeated(self.table.frame, count)
        probability, right, told = self.table.probability[mine], self.table.right[mine], self.table.told[mine]
        found: dict[str, float | None] = {
            "probability.calibration_error": _calibration_error(probability[told], right[told]),
            "probability.calibration_error_of_all": _calibration_error(probability, right),
        }
        _, precision, recall = _curve(probability, right, self.best[_repeated(self.piece_frame, count)])
        for least in PRECISIONS:
            good = np.flatnonzero(precision >= float(least))
            reached = len(good) > 0
            found[f"recall_at_precision.{least}"] = (
                (float(recall[good[-1]]) if reached else 0.0) if len(self.best) else None
            )
        tiles = self.tiles.at(_repeated(self.tiles.groups.astype(np.int64), count))
        for rate in PASS_RATES:
            found[f"screen.recall_at_pass_rate.{rate}"] = tiles.recall_at(float(rate))
        return found

    def curve(self) -> list[CurvePoint]:
        """Return precision and recall over the probability, at no more than some hundred thresholds."""
        thresholds, precision, recall = _curve(self.table.probability, self.table.right, self.best)
        kept = np.unique(np.linspace(0, len(thresholds) - 1, min(_CURVE_POINTS, len(thresholds))).astype(int))
        return [CurvePoint(float(thresholds[i]), float(precision[i]), float(recall[i])) for i in kept]


def _calibration_error(probability: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    return calibration_error(probability, right) if len(right) else None


def _repeated(frame: NDArray[np.int64], count: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the indices of the rows, each as often as its frame is drawn."""
    return np.repeat(np.arange(len(frame)), count[frame])


def _curve(
    probability: NDArray[np.float64], right: NDArray[np.bool_], best: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return thresholds, precision and recall at every probability that occurs, from the highest."""
    thresholds = np.unique(probability)[::-1]
    found = np.searchsorted(np.sort(-probability), -thresholds, "right")
    rightly = np.searchsorted(np.sort(-probability[right]), -thresholds, "right")
    hit = len(best) - np.searchsorted(np.sort(best), thresholds, "left")
    return thresholds, rightly / np.maximum(found, 1), hit / max(len(best), 1)


def as_json(figures: Figures) -> dict[str, Any]:
    """Return the figures as JSON has them; docs/judging.md explains every name."""

    def one(name: str, value: float | None) -> Mapping[str, float | None]:
        low, high = figures.intervals.get(name, (None, None))
        return {"value": value, "low": low, "high": high}

    return {
        "counts": figures.counts,
        "figures": {name: one(name, value) for name, value in sorted(figures.values.items())},
        "curve": [[point.threshold, point.precision, point.recall] for point in figures.curve],
        "reliability": [[each.count, each.probability, each.true_share] for each in figures.reliability],
    }
