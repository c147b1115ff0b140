"""Comparison of two records, A and B, of the same strip: what both found, what one alone found, and by which class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.contracts.verdict import Quality
from linewatch.geometry import stretches
from linewatch.geometry.outlines import UM_PER_MM, Outlines
from linewatch.review.against_truth import TOLERANCE_MM, TruthScores, score_against_truth
from linewatch.review.pairing import FoundDefect, Group, OutlinedDefects, pair_up
from linewatch.review.strips import StripFindings, StripKey
from linewatch.simulation.truth import CoilTruth

KINDS = ("lost", "new", "reclassified", "resized")
SIZE_TOLERANCE = 0.5
"""A matched defect counts as resized when its larger area exceeds the smaller one by more than this share."""


@dataclass(frozen=True, slots=True)
class ComparedDefect:
    """One physical defect of `strip` as A and B have it; the first of each is the pair, the others are pieces of it."""

    strip: StripKey
    a: tuple[FoundDefect, ...]
    b: tuple[FoundDefect, ...]

    @property
    def area_mm2(self) -> float:
        """The larger of the two areas."""
        return max(sum(one.area_mm2 for one in side) for side in (self.a, self.b))

    @property
    def reclassified(self) -> bool:
        """Whether both found it, and some piece is not of the class that the other side has there."""
        return bool(_misnamed(self.a, self.b) or _misnamed(self.b, self.a))

    def resized(self, tolerance: float) -> bool:
        """Whether both found it, by one class, with areas that differ by more than `tolerance` of the smaller one."""
        small, large = sorted(sum(one.area_mm2 for one in side) for side in (self.a, self.b))
        return bool(self.a and self.b) and not self.reclassified and large > (1 + tolerance) * small


@dataclass(slots=True)
class ClassCounts:
    """Counts of defects of one class, or of all. in_a = alike + lost + to_other; in_b = alike + new + from_other.

    to_other: defects of A that B matches by another class; from_other: defects of B that A has by another class.
    """

    in_a: int = 0
    in_b: int = 0
    lost: int = 0
    new: int = 0
    to_other: int = 0
    from_other: int = 0
    resized: int = 0


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """What one of the two records covers. left_out: its defects on strip that is not compared.

    strips: names. unfinished: those of them whose end is not known. engines: for each task, the inspected mm by engine
    identity.
    """

    strips: tuple[str, ...]
    unfinished: tuple[str, ...]
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    inspected_share: float  # of the area
    defects: int
    left_out: int
    engines: dict[Task, dict[str, float]]

    @property
    def mixed(self) -> tuple[Task, ...]:
        """Tasks that more than one engine did: the figures then belong to no single engine."""
        return tuple(task for task, served in self.engines.items() if len(served) > 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result. Only strip that both inspected is compared: a defect counts when at least half of it lies there.

    compared: the stretches that are compared, by strip. only_a_mm, only_b_mm: the length that one alone inspected.
    defects: all that count, matched or found by one alone.
    """

    a: ComparedSide
    b: ComparedSide
    compared: dict[StripKey, np.ndarray]
    compared_mm: float
    only_a_mm: float
    only_b_mm: float
    defects: tuple[ComparedDefect, ...]
    size_tolerance: float
    by_class: dict[str, ClassCounts]
    total: ClassCounts = field(default_factory=ClassCounts)

    @property
    def lost(self) -> tuple[ComparedDefect, ...]:
        """Defects of A that B lacks, largest first, as the three below."""
        return _largest_first(one for one in self.defects if not one.b)

    @property
    def new(self) -> tuple[ComparedDefect, ...]:
        return _largest_first(one for one in self.defects if not one.a)

    @property
    def reclassified(self) -> tuple[ComparedDefect, ...]:
        return _largest_first(one for one in self.defects if one.reclassified)

    @property
    def resized(self) -> tuple[ComparedDefect, ...]:
        return _largest_first(one for one in self.defects if one.resized(self.size_tolerance))

    @property
    def matched(self) -> int:
        """How many physical defects both found."""
        return sum(bool(one.a and one.b) for one in self.defects)

    @property
    def split(self) -> int:
        """How many matched defects have more pieces in B than in A."""
        return sum(len(one.b) > len(one.a) > 0 for one in self.defects)

    @property
    def merged(self) -> int:
        """How many matched defects have fewer pieces in B than in A."""
        return sum(len(one.a) > len(one.b) > 0 for one in self.defects)

    def share(self, count: int) -> float:
        """Return the count as a share of A's defects (of one defect where A has none)."""
        return count / max(self.total.in_a, 1)


def compare(
    a: Sequence[StripFindings],
    b: Sequence[StripFindings],
    *,
    tolerance_mm: float = TOLERANCE_MM,
    size_tolerance: float = SIZE_TOLERANCE,
) -> Comparison:
    """Match the records strip by strip, that is by coil, side, camera and passage. Symmetric in A and B.

    tolerance_mm: outlines that lie this far apart still count as one defect. Raises ConfigError when there is no strip
    that both inspected: an empty list of differences would then mean nothing.
    """
    ours, theirs = {strip.key: strip for strip in a}, {strip.key: strip for strip in b}
    compared = {
        key: stretches.shared(strip.inspected, theirs[key].inspected) for key, strip in ours.items() if key in theirs
    }
    compared_mm = sum(map(stretches.length_mm, compared.values()))
    if not compared_mm:
        raise ConfigError(
            f"no strip that both inspected: A has {_named(ours)}, B has {_named(theirs)}; replay the same recording "
            "(its coil's name is the configuration's source.coil, or the recording's own)"
        )
    defects: list[ComparedDefect] = []
    for key in sorted(compared):
        defects.extend(_compared(ours[key], theirs[key], compared[key], tolerance_mm))
    by_class: dict[str, ClassCounts] = {}
    for one in defects:
        _count(one, by_class, size_tolerance)
    by_class = dict(sorted(by_class.items()))
    side_a = _side(a, sum(counts.in_a for counts in by_class.values()))
    side_b = _side(b, sum(counts.in_b for counts in by_class.values()))
    return Comparison(
        a=side_a,
        b=side_b,
        compared=compared,
        compared_mm=compared_mm,
        only_a_mm=max(side_a.inspected_mm - compared_mm, 0.0),
        only_b_mm=max(side_b.inspected_mm - compared_mm, 0.0),
        defects=tuple(defects),
        size_tolerance=size_tolerance,
        by_class=by_class,
        total=_sum(by_class.values()),
    )


def score_both(comparison: Comparison, truth: CoilTruth) -> tuple[TruthScores, TruthScores]:
    """Score A and B against the truth on the strip that is compared. Raises ConfigError for another coil's truth."""
    keys = [key for key in comparison.compared if key.coil == truth.coil]
    if len(keys) != 1:
        raise ConfigError(
            f"the truth is of coil {truth.coil}, and {len(keys)} of the strips compared are of it "
            f"({_named(comparison.compared)}); expected one: give the truth of the recording that was replayed"
        )
    ground = comparison.compared[keys[0]]
    boxes = {True: truth.defects, False: truth.pseudo_defects}
    kept = {real: tuple(one for one in those if _mostly_on(ground, one.box.along_mm)) for real, those in boxes.items()}
    truth = truth.model_copy(update={"defects": kept[True], "pseudo_defects": kept[False]})
    here = [one for one in comparison.defects if one.strip == keys[0]]
    return score_against_truth([defect.box for one in here for defect in one.a], truth), score_against_truth(
        [defect.box for one in here for defect in one.b], truth
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits up to which B may replace A, as shares of A's defects; None sets no limit."""

    lost: float | None = None
    new: float | None = None
    reclassified: float | None = None

    def broken(self, comparison: Comparison) -> tuple[str, ...]:
        """Return a sentence for each limit that is exceeded."""
        total = comparison.total
        counts = {
            "lost": (total.lost, self.lost),
            "new": (total.new, self.new),
            "reclassified": (total.to_other, self.reclassified),
        }
        return tuple(
            f"{name}: {count} of A's {total.in_a} defects, {comparison.share(count):.2%}; at most {limit:.2%} allowed"
            for name, (count, limit) in counts.items()
            if limit is not None and comparison.share(count) > limit
        )


def as_json(comparison: Comparison, truth_scores: tuple[TruthScores, TruthScores] | None) -> dict[str, Any]:
    """Return the counts and every difference, for programs; lengths in mm."""

    def of(defect: ComparedDefect) -> dict[str, Any]:
        sides = {name: [asdict(one) for one in side] for name, side in (("a", defect.a), ("b", defect.b))}
        return {"strip": str(defect.strip), **sides}

    total = comparison.total
    return {
        "a": {**asdict(comparison.a), "mixed": comparison.a.mixed},
        "b": {**asdict(comparison.b), "mixed": comparison.b.mixed},
        "compared_mm": comparison.compared_mm,
        "only_a_mm": comparison.only_a_mm,
        "only_b_mm": comparison.only_b_mm,
        "matched": comparison.matched,
        "split": comparison.split,
        "merged": comparison.merged,
        "total": asdict(total),
        "shares": {
            "lost": comparison.share(total.lost),
            "new": comparison.share(total.new),
            "reclassified": comparison.share(total.to_other),
        },
        "by_class": {name: asdict(counts) for name, counts in comparison.by_class.items()},
        **{kind: [of(one) for one in getattr(comparison, kind)] for kind in KINDS},
        "truth": None
        if truth_scores is None
        else {
            name: {"recall": one.recall, "precision": one.precision, **asdict(one)}
            for name, one in zip("ab", truth_scores, strict=True)
        },
    }


def _compared(a: StripFindings, b: StripFindings, ground: np.ndarray, tolerance_mm: float) -> list[ComparedDefect]:
    groups = pair_up(OutlinedDefects(a.defects, a.outlines), OutlinedDefects(b.defects, b.outlines), tolerance_mm)
    on_a, on_b = _ground_of(a.outlines, ground), _ground_of(b.outlines, ground)

    def counts(group: Group) -> bool:
        on_ground, in_all = (sum(on_a[i][k] for i in group.a) + sum(on_b[j][k] for j in group.b) for k in range(2))
        return 2 * on_ground >= in_all

    return [
        ComparedDefect(a.key, tuple(a.defects[i] for i in group.a), tuple(b.defects[j] for j in group.b))
        for group in groups
        if counts(group)
    ]


def _ground_of(outlines: Outlines, ground: np.ndarray) -> list[list[float]]:
    """Return for each outline its area on that ground, and its whole area."""
    begin_mm, end_mm = outlines.rungs[:, 0] / UM_PER_MM, outlines.rungs[:, 1] / UM_PER_MM
    width = outlines.rungs[:, 3] - outlines.rungs[:, 2]
    areas = np.zeros((outlines.count, 2))
    np.add.at(areas[:, 0], outlines.of, width * stretches.covered_mm(ground, begin_mm, end_mm))
    np.add.at(areas[:, 1], outlines.of, width * (end_mm - begin_mm))
    areas_list: list[list[float]] = areas.tolist()
    return areas_list


def _mostly_on(ground: np.ndarray, along_mm: tuple[float, float]) -> bool:
    covered = stretches.covered_mm(ground, *(np.array([mm]) for mm in along_mm))
    return bool(2 * covered[0] >= along_mm[1] - along_mm[0])


def _misnamed(these: tuple[FoundDefect, ...], those: tuple[FoundDefect, ...]) -> list[FoundDefect]:
    """Return those of `these` whose class is not that of the pair in `those`; none when `those` is empty."""
    return [one for one in these if those and one.defect_class != those[0].defect_class]


def _count(one: ComparedDefect, by_class: dict[str, ClassCounts], size_tolerance: float) -> None:
    def of(defect: FoundDefect) -> ClassCounts:
        return by_class.setdefault(defect.defect_class, ClassCounts())

    for defect in one.a:
        of(defect).in_a += 1
        of(defect).lost += not one.b
    for defect in one.b:
        of(defect).in_b += 1
        of(defect).new += not one.a
    for defect in _misnamed(one.a, one.b):
        of(defect).to_other += 1
    for defect in _misnamed(one.b, one.a):
        of(defect).from_other += 1
    if one.resized(size_tolerance):
        of(one.a[0]).resized += 1


def _sum(counts: Iterable[ClassCounts]) -> ClassCounts:
    total = ClassCounts()
    for one in counts:
        for name in ClassCounts.__slots__:
            setattr(total, name, getattr(total, name) + getattr(one, name))
    return total


def _side(strips: Sequence[StripFindings], counted: int) -> ComparedSide:
    engines: dict[Task, Counter[str]] = {}
    for strip in strips:
        for task, served in strip.engines.items():
            engines.setdefault(task, Counter()).update(served)  # mm are counted, too
    found = sum(len(strip.defects) for strip in strips)
    return ComparedSide(
        strips=tuple(str(strip.key) for strip in strips),
        unfinished=tuple(str(strip.key) for strip in strips if not strip.record.complete),
        inspected_mm=sum(stretches.length_mm(strip.inspected) for strip in strips),
        degraded_mm=sum(stretches.length_mm(strip.degraded) for strip in strips),
        missed_mm=sum(stretches.length_mm(strip.missed) for strip in strips),
        inspected_share=sum(strip.record.area_shares[Quality.INSPECTED] * strip.record.length_mm for strip in strips)
        / max(sum(strip.record.length_mm for strip in strips), 1e-9),
        defects=found,
        left_out=found - counted,
        engines={task: dict(engines[task]) for task in Task if task in engines},
    )


def _largest_first(those: Iterable[ComparedDefect]) -> tuple[ComparedDefect, ...]:
    return tuple(sorted(those, key=lambda one: (-one.area_mm2, one.strip, (one.a or one.b)[0].id)))


def _named(strips: Iterable[StripKey]) -> str:
    return ", ".join(map(str, strips)) or "none"
