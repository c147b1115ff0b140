"""Two records of the same strip beside one another: what both found, what only one did, what each calls it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.geometry import stretches
from linewatch.geometry.outlines import UM_PER_MM, Outlines
from linewatch.review.against_truth import TOLERANCE_MM, Judgement, judge
from linewatch.review.pairing import FoundDefect, Group, Record, pair_up
from linewatch.review.strips import StripFindings, StripKey
from linewatch.simulation.truth import CoilTruth

KINDS = ("lost", "new", "reclassified", "resized")
SIZE_TOLERANCE = 0.5
"""A matched defect changed in size when the larger area is so much more than the smaller one."""


@dataclass(frozen=True, slots=True)
class Told:
    """One physical defect of `strip` as A and B tell it; the first of each is the pair, the others are pieces of it."""

    strip: StripKey
    a: tuple[FoundDefect, ...]
    b: tuple[FoundDefect, ...]

    @property
    def area_mm2(self) -> float:
        """The larger one."""
        return max(sum(one.area_mm2 for one in side) for side in (self.a, self.b))

    @property
    def reclassified(self) -> bool:
        """Both tell of it, and some piece is not of the class that the other side has there."""
        return bool(_misnamed(self.a, self.b) or _misnamed(self.b, self.a))

    def resized(self, tolerance: float) -> bool:
        """Both tell of it, by one class, and the areas differ by more than `tolerance` of the smaller one."""
        small, large = sorted(sum(one.area_mm2 for one in side) for side in (self.a, self.b))
        return bool(self.a and self.b) and not self.reclassified and large > (1 + tolerance) * small


@dataclass(slots=True)
class ClassCounts:
    """Defects of one class, or of all. in_a = alike + lost + to_other; in_b counts likewise, with new and from_other.

    to_other: of A's, those that B matches by another class; from_other: of B's, those that A has by another class.
    """

    in_a: int = 0
    in_b: int = 0
    lost: int = 0
    new: int = 0
    to_other: int = 0
    from_other: int = 0
    resized: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two looked at, in mm, and by what. left_out: its defects on strip that is not compared.

    strips: by name. unfinished: those of them whose end is not known. engines: of each task, mm by engine identity.
    """

    strips: tuple[str, ...]
    unfinished: tuple[str, ...]
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    defects: int
    left_out: int
    engines: dict[Task, dict[str, float]]

    @property
    def mixed(self) -> tuple[Task, ...]:
        """Tasks that more than one engine did: its figures are no engine's own."""
        return tuple(task for task, served in self.engines.items() if len(served) > 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Only strip that both inspected is compared: a defect counts when at least half of it lies there.

    told: all that counts, lone or matched. compared: of each strip, the stretches of it. only_a_mm, only_b_mm: what one
    alone inspected.
    """

    a: Side
    b: Side
    compared: dict[StripKey, np.ndarray]
    compared_mm: float
    only_a_mm: float
    only_b_mm: float
    told: tuple[Told, ...]
    size_tolerance: float
    by_class: dict[str, ClassCounts]
    total: ClassCounts = field(default_factory=ClassCounts)

    @property
    def lost(self) -> tuple[Told, ...]:
        """A's that B has not, largest first; so are those below."""
        return _largest_first(one for one in self.told if not one.b)

    @property
    def new(self) -> tuple[Told, ...]:
        return _largest_first(one for one in self.told if not one.a)

    @property
    def reclassified(self) -> tuple[Told, ...]:
        return _largest_first(one for one in self.told if one.reclassified)

    @property
    def resized(self) -> tuple[Told, ...]:
        return _largest_first(one for one in self.told if one.resized(self.size_tolerance))

    @property
    def matched(self) -> int:
        """Physical defects that both tell of."""
        return sum(bool(one.a and one.b) for one in self.told)

    @property
    def split(self) -> int:
        """Matched ones that have more pieces in B than in A."""
        return sum(len(one.b) > len(one.a) > 0 for one in self.told)

    @property
    def merged(self) -> int:
        """Matched ones that have fewer pieces in B than in A."""
        return sum(len(one.a) > len(one.b) > 0 for one in self.told)

    def share(self, count: int) -> float:
        """Of A's defects (of one, where it has none)."""
        return count / max(self.total.in_a, 1)


def compare(
    a: Sequence[StripFindings],
    b: Sequence[StripFindings],
    *,
    tolerance_mm: float = TOLERANCE_MM,
    size_tolerance: float = SIZE_TOLERANCE,
) -> Comparison:
    """Match strip by strip, by coil, side, camera and passage. `compare(b, a)` says the same the other way round.

    tolerance_mm: outlines this far beside one another still are one defect. Raises ConfigError when there is no strip
    that both inspected: no difference would mean nothing then.
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
    told: list[Told] = []
    for key in sorted(compared):
        told.extend(_told(ours[key], theirs[key], compared[key], tolerance_mm))
    by_class: dict[str, ClassCounts] = {}
    for one in told:
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
        told=tuple(told),
        size_tolerance=size_tolerance,
        by_class=by_class,
        total=_sum(by_class.values()),
    )


def judge_both(comparison: Comparison, truth: CoilTruth) -> tuple[Judgement, Judgement]:
    """Both against the truth, on the strip that is compared. Raises ConfigError when the truth is of another coil."""
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
    here = [one for one in comparison.told if one.strip == keys[0]]
    return judge([defect.box for one in here for defect in one.a], truth), judge(
        [defect.box for one in here for defect in one.b], truth
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to which B may take A's place: shares of A's defects; None: not asked."""

    lost: float | None = None
    new: float | None = None
    reclassified: float | None = None

    def broken(self, comparison: Comparison) -> tuple[str, ...]:
        """What goes beyond a limit, in words."""
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


def as_json(comparison: Comparison, judgements: tuple[Judgement, Judgement] | None) -> dict[str, Any]:
    """The account and every difference, for programs; lengths in mm."""

    def of(told: Told) -> dict[str, Any]:
        sides = {name: [asdict(one) for one in side] for name, side in (("a", told.a), ("b", told.b))}
        return {"strip": str(told.strip), **sides}

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
        if judgements is None
        else {
            name: {"recall": one.recall, "precision": one.precision, **asdict(one)}
            for name, one in zip("ab", judgements, strict=True)
        },
    }


def _told(a: StripFindings, b: StripFindings, ground: np.ndarray, tolerance_mm: float) -> list[Told]:
    groups = pair_up(Record(a.defects, a.outlines), Record(b.defects, b.outlines), tolerance_mm)
    on_a, on_b = _ground_of(a.outlines, ground), _ground_of(b.outlines, ground)

    def counts(group: Group) -> bool:
        on_ground, in_all = (sum(on_a[i][k] for i in group.a) + sum(on_b[j][k] for j in group.b) for k in range(2))
        return 2 * on_ground >= in_all

    return [
        Told(a.key, tuple(a.defects[i] for i in group.a), tuple(b.defects[j] for j in group.b))
        for group in groups
        if counts(group)
    ]


def _ground_of(outlines: Outlines, ground: np.ndarray) -> list[list[float]]:
    """Of each outline the area on that ground, and in all."""
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
    """Of these, the ones that are not of the class of those' pair; none when there are no others."""
    return [one for one in these if those and one.defect_class != those[0].defect_class]


def _count(one: Told, by_class: dict[str, ClassCounts], size_tolerance: float) -> None:
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


def _side(strips: Sequence[StripFindings], counted: int) -> Side:
    engines: dict[Task, Counter[str]] = {}
    for strip in strips:
        for task, served in strip.engines.items():
            engines.setdefault(task, Counter()).update(served)  # mm are counted, too
    found = sum(len(strip.defects) for strip in strips)
    return Side(
        strips=tuple(str(strip.key) for strip in strips),
        unfinished=tuple(str(strip.key) for strip in strips if not strip.record.complete),
        inspected_mm=sum(stretches.length_mm(strip.inspected) for strip in strips),
        degraded_mm=sum(stretches.length_mm(strip.degraded) for strip in strips),
        missed_mm=sum(stretches.length_mm(strip.missed) for strip in strips),
        defects=found,
        left_out=found - counted,
        engines={task: dict(engines[task]) for task in Task if task in engines},
    )


def _largest_first(those: Iterable[Told]) -> tuple[Told, ...]:
    return tuple(sorted(those, key=lambda one: (-one.area_mm2, one.strip, (one.a or one.b)[0].id)))


def _named(strips: Iterable[StripKey]) -> str:
    return ", ".join(map(str, strips)) or "none"
