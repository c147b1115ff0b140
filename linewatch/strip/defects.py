"""Defects over the seams: what several cameras tell of one defect becomes one defect, with one id and one life.

Parts of two neighbours are one defect when their outlines touch within the seam's tolerance, near to the strip that
both see, and when they are of one class or both have outlines of their own, as in `decision.defects.tracks`.

Where a defect lies and how large it is: each pixel counts for the camera that answers for it, so what two cameras see
counts once. A part of which its own camera answers for no pixel counts only where no other part does: the largest of
them, then that of the first camera. What a defect is, and how probably: by the camera that has seen it best, that is,
of those that saw (nearly) all of it the one that finds it most probable. Where none saw all of it, all count, each by
its pixels.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from linewatch.contracts.probability import log_odds, probability_of
from linewatch.contracts.verdict import Defect, DefectEvent, DefectState, Extent, RunMask, StripBox, Verdict
from linewatch.decision.defects.attributes import CLASSES_TOLD
from linewatch.decision.grading.severity import GradingRules, severities_of
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.moments import Moments
from linewatch.geometry.runs import near, union
from linewatch.strip.raster import NO_RUNS, Seam, StripLayout, View, within

_NAMES_KEPT = 4_096
_SLIPS_KEPT = 9
_NEARLY_ALL = 0.9
"""Share of a defect's pixels that a camera must have seen to judge it alone."""
_JUDGED = "defect_class", "confidence", "class_scores", "peak", "probability", "contrast", "evidence"

EdgesMm = tuple[float | None, float | None]
"""Where the strip's left and right edges are seen; None: not seen."""


@dataclass(slots=True, eq=False)
class Part:
    """What one camera tells of one defect.

    defect: as told last, in the strip's positions. whole, owned: of all its masks, and of what its camera answers for,
    in lines and columns of the strip. fresh: runs that were not published yet. near_seam: a neighbour may see it, too.
    """

    view: View
    defect: Defect
    number: int
    open: bool = True
    whole: Moments = field(default_factory=Moments)
    owned: Moments = field(default_factory=Moments)
    fresh: list[np.ndarray] = field(default_factory=list)
    near_seam: bool = False


@dataclass(slots=True, eq=False)
class Joined:
    """One defect of the strip.

    ordinal: of the joined frame that told it first; None: not told yet. changed: a part of it is not as it was told.
    moved: one of its cameras has opened or updated it since. dropped: what was told as defects of their own, which
    close with this one.
    """

    id: str
    parts: list[Part]
    ordinal: int | None = None
    changed: bool = True
    moved: bool = True
    shown: Defect | None = None
    dropped: list[Defect] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return any(part.open for part in self.parts)

    @property
    def number(self) -> int:
        return self.parts[0].number


@dataclass(frozen=True, slots=True)
class Moment:
    """The place of a joined frame in the coil. settled_mm: before it nothing more is told of by any camera."""

    ordinal: int
    begin_mm: float
    settled_mm: float


class Slip:
    """By how much the right one of two neighbours counts further along than the left one.

    Measured by defects that both have seen whole, and followed as the median of the newest ones, within a bound.
    """

    def __init__(self, max_mm: float) -> None:
        self._max_mm = max_mm
        self._newest: deque[float] = deque(maxlen=_SLIPS_KEPT)

    def add(self, mm: float) -> None:
        """Add the difference that one defect shows."""
        self._newest.append(mm)

    @property
    def mm(self) -> float:
        """The present difference."""
        found = median(self._newest) if self._newest else 0.0
        return max(-self._max_mm, min(self._max_mm, found))


class StripDefects:
    """The open defects of one coil."""

    def __init__(self, layout: StripLayout, name: str) -> None:
        """name: stands for the camera in the record."""
        self._layout = layout
        self._name = name
        self._parts: dict[tuple[int, str], Part] = {}
        self._of: dict[int, Joined] = {}  # by the number of a part
        self._next = 0
        self._recent: dict[tuple[int, int], list[tuple[Part, np.ndarray]]] = {
            (at, view): [] for at, seam in enumerate(layout.seams) for view in seam.views
        }
        self._slips = [Slip(layout.max_slip_mm) for _ in layout.seams]
        self._names: OrderedDict[str, str] = OrderedDict()  # of parts that closed, for those that name them

    def take(self, view: View, verdict: Verdict | None, event: DefectEvent) -> None:
        """Take a step in the life of one camera's defect. verdict: that it came with; None: with the coil's end."""
        key = view.index, event.defect.id
        part = self._parts.get(key)
        defect = view.moved(event.defect, self._name)
        if part is None:
            part = self._begin(key, view, defect)
        part.defect, part.open = defect, event.state is not DefectState.CLOSED
        joined = self._of[part.number]
        joined.changed = True
        joined.moved |= part.open
        if event.mask is not None and len(event.mask.runs) and verdict is not None:
            self._show(part, self._layout.runs(view, verdict, event.mask))
        if event.merged_into is not None and (into := self._parts.get((view.index, event.merged_into))) is not None:
            self._fold(part, into)

    def _begin(self, key: tuple[int, str], view: View, defect: Defect) -> Part:
        part = Part(view, defect, self._next)
        self._next += 1
        self._parts[key] = part
        self._of[part.number] = Joined(key[1], [part])
        return part

    def _show(self, part: Part, runs: np.ndarray) -> None:
        if not len(runs):
            return
        part.fresh.append(runs)
        whole = Moments.of(runs)
        inside = within(runs, part.view.owned_px)
        part.whole += whole
        part.owned += whole if inside is runs else Moments.of(inside)
        for at in part.view.seams:
            left, right = self._layout.seams[at].zone_px
            zone = runs[(runs[:, 1] < right) & (runs[:, 2] > left)]
            if len(zone):
                part.near_seam = True
                self._recent[at, part.view.index].append((part, zone))

    def _fold(self, part: Part, into: Part) -> None:
        """Take note that the camera has found two of its defects to be one, which `into` tells from now on."""
        if part is into:
            return
        into.whole, into.owned = into.whole + part.whole, into.owned + part.owned
        into.fresh += part.fresh
        into.near_seam |= part.near_seam
        for index, recent in self._recent.items():
            self._recent[index] = [(into if known is part else known, runs) for known, runs in recent]
        one, other = self._of[part.number], self._of[into.number]
        joined = one if one is other else self._join(one, other)
        joined.parts = [known for known in joined.parts if known is not part]
        joined.changed = joined.moved = True
        self._names[part.defect.id] = joined.id
        del self._of[part.number]
        self._drop_part(part)

    def _drop_part(self, part: Part) -> None:
        key = part.view.index, part.defect.id
        if self._parts.get(key) is part:
            del self._parts[key]

    def _join(self, one: Joined, other: Joined) -> Joined:
        """Make one defect of two: the one that was told first, or else begun first, goes on."""
        known = [joined for joined in (one, other) if joined.ordinal is not None]
        first, second = sorted((one, other), key=lambda joined: (joined.ordinal is None, joined.ordinal, joined.number))
        first.parts = sorted((*first.parts, *second.parts), key=lambda part: part.number)
        first.dropped += second.dropped
        if len(known) == 2 and second.shown is not None:
            first.dropped.append(second.shown)
        first.changed = first.moved = True
        for part in second.parts:
            self._of[part.number] = first
        return first

    def tell(
        self, moment: Moment, edges: dict[str, EdgesMm], rules: DecisionRules, graded_by: GradingRules | None
    ) -> tuple[DefectEvent, ...]:
        """Return the steps of the strip's defects by all that was taken since the last call, oldest defect first."""
        for at, seam in enumerate(self._layout.seams):
            self._match(at, seam)
        events: list[DefectEvent] = []
        everyone = {id(joined): joined for joined in self._of.values()}.values()
        for joined in sorted(everyone, key=lambda one: one.number):
            events += self._steps(joined, moment, edges, rules, graded_by)
        self._forget(moment)
        return tuple(events)

    def close_all(
        self, edges: dict[str, EdgesMm], rules: DecisionRules, graded_by: GradingRules | None
    ) -> tuple[DefectEvent, ...]:
        """Close every defect: the coil has ended."""
        for part in self._parts.values():
            part.open = False
        return self.tell(Moment(-1, -math.inf, math.inf), edges, rules, graded_by)

    @property
    def slips_mm(self) -> tuple[tuple[Seam, float], ...]:
        """Return by how much the right neighbour of each seam counts further along now."""
        return tuple((seam, slip.mm) for seam, slip in zip(self._layout.seams, self._slips, strict=True))

    def _match(self, at: int, seam: Seam) -> None:
        shift = np.array([round(self._slips[at].mm / self._layout.mm_per_line), 0, 0], np.int32)
        left, right = (self._recent[at, view] for view in seam.views)
        for part, runs in left:
            for other, runs_there in right:
                if self._of[part.number] is self._of[other.number] or not _compatible(part.defect, other.defect):
                    continue
                layout = self._layout
                if near(runs, runs_there - shift, layout.reach_px, layout.reach_lines).any():
                    self._join(self._of[part.number], self._of[other.number])

    def _steps(
        self,
        joined: Joined,
        moment: Moment,
        edges: dict[str, EdgesMm],
        rules: DecisionRules,
        graded_by: GradingRules | None,
    ) -> list[DefectEvent]:
        events: list[DefectEvent] = []
        if joined.changed:
            mask = self._mask(joined)
            defect = self._figures(joined, edges, rules, graded_by)
            state = DefectState.OPENED if joined.ordinal is None else DefectState.UPDATED
            if joined.ordinal is None:
                joined.ordinal = moment.ordinal
            if joined.moved or mask is not None:
                events.append(DefectEvent(state, defect, mask))
            joined.shown, joined.changed, joined.moved = defect, False, False
            events += [DefectEvent(DefectState.CLOSED, one, None, merged_into=joined.id) for one in joined.dropped]
            joined.dropped = []
        if self._is_over(joined, moment) and joined.shown is not None:
            largest_first = sorted(joined.parts, key=lambda part: (-part.whole.count, part.number))
            names = tuple(part.defect.id for part in largest_first)
            events.append(DefectEvent(DefectState.CLOSED, joined.shown, None, parts=names))
            self._measure_slip(joined)
            for part in joined.parts:
                self._names[part.defect.id] = joined.id
                self._drop_part(part)
                del self._of[part.number]
            while len(self._names) > _NAMES_KEPT:
                self._names.popitem(last=False)
        return events

    def _measure_slip(self, joined: Joined) -> None:
        """Compare where two neighbours saw a defect that both saw whole."""
        if len(joined.parts) != 2:
            return
        by_view = {part.view.index: part for part in joined.parts}
        for slip, seam in zip(self._slips, self._layout.seams, strict=True):
            if set(seam.views) == by_view.keys():
                left, right = (by_view[view] for view in seam.views)
                inner_mm = self._layout.reach_px * self._layout.mm_per_px
                low_mm, high_mm = seam.overlap_mm[0] + inner_mm, seam.overlap_mm[1] - inner_mm
                boxes = left.defect.box, right.defect.box
                if all(low_mm < box.across_mm[0] and box.across_mm[1] < high_mm for box in boxes):
                    one_mm, other_mm = (sum(box.along_mm) / 2 for box in boxes)
                    slip.add(other_mm - one_mm)

    def _is_over(self, joined: Joined, moment: Moment) -> bool:
        """Whether nothing more can come of a defect. It stays open where the alarms of the frame must see it."""
        if joined.open:
            return False
        end_mm = max(part.defect.box.along_mm[1] for part in joined.parts)
        reach_mm = self._reach_mm
        if any(part.near_seam for part in joined.parts) and end_mm + reach_mm > moment.settled_mm:
            return False
        return joined.ordinal != moment.ordinal or end_mm > moment.begin_mm

    def _mask(self, joined: Joined) -> RunMask | None:
        several = len({part.view.index for part in joined.parts}) > 1 and _counted(joined.parts)[0].owned.count > 0
        runs = [
            cut
            for part in joined.parts
            for fresh in part.fresh
            if len(cut := within(fresh, part.view.owned_px) if several else fresh)
        ]
        for part in joined.parts:
            part.fresh = []
        if not runs:
            return None
        whole = union((*runs, NO_RUNS))
        first = int(whole[0, 0])
        return RunMask(first, whole - np.array([first, 0, 0], np.int32))

    @property
    def _reach_mm(self) -> float:
        """How far apart along two cameras may see a defect."""
        return self._layout.reach_lines * self._layout.mm_per_line + self._layout.max_slip_mm

    def _forget(self, moment: Moment) -> None:
        """Forget the outlines that no neighbour can touch any more."""
        for index, recent in self._recent.items():
            if recent:
                least = (moment.settled_mm - self._reach_mm) / self._layout.mm_per_line
                self._recent[index] = [
                    (part, runs) for part, runs in recent if runs[-1, 0] >= least and part.number in self._of
                ]

    def _figures(
        self, joined: Joined, edges: dict[str, EdgesMm], rules: DecisionRules, graded_by: GradingRules | None
    ) -> Defect:
        counted = _counted(joined.parts)
        defect = counted[0].defect
        if len(counted) > 1:
            defect = self._combined(counted, rules)
        before = next((part.defect.part_of for part in joined.parts if part.defect.part_of is not None), None)
        part_of = None if before is None else self._name_of(counted[0].view, before)
        tentative = all(part.defect.tentative for part in counted)
        if (best := _best_seen(joined.parts)) is not None:
            defect = replace(defect, **{name: getattr(best.defect, name) for name in _JUDGED})
            tentative = best.defect.tentative
        if rules.call_probability >= 0:
            tentative = defect.probability < rules.call_probability
        view = joined.parts[0].view
        defect = replace(
            defect,
            id=joined.id,
            tentative=tentative,
            part_of=None if part_of == joined.id else part_of,
            edge_mm=_edge_mm(defect.box.across_mm, edges[view.side]) if view.seams else defect.edge_mm,
        )
        return replace(defect, severity=severities_of([defect], graded_by)[0]) if graded_by is not None else defect

    def _name_of(self, view: View, name: str) -> str:
        part = self._parts.get((view.index, name))
        return self._of[part.number].id if part is not None else self._names.get(name, name)

    def _combined(self, parts: Sequence[Part], rules: DecisionRules) -> Defect:
        """Return the figures of parts of several cameras, each weighing as many pixels as its camera answers for."""
        moments = sum((part.owned for part in parts), Moments())
        defects = [part.defect for part in parts]
        weights = np.array([part.owned.count for part in parts], np.float64)
        weights /= weights.sum()
        scores: dict[str, float] = {}
        for one, weight in zip(defects, weights.tolist(), strict=True):
            for name, score in (dict(one.class_scores) | {one.defect_class: one.confidence}).items():
                scores[name] = scores.get(name, 0.0) + weight * score
        told = sorted({one.defect_class for one in defects})
        called = [name for name in told if name not in rules.pseudo_classes] or told
        name = max(called, key=lambda one: scores[one])
        ranked = sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:CLASSES_TOLD]
        odds = log_odds(np.array([one.probability for one in defects]))
        spread = moments.spread(self._layout.mm_per_px, self._layout.mm_per_line)
        contrasts = [
            (weight, one.contrast)
            for weight, one in zip(weights.tolist(), defects, strict=True)
            if one.contrast is not None
        ]
        largest = defects[int(weights.argmax())]
        return replace(
            defects[0],
            defect_class=name,
            confidence=min(1.0, scores[name]),
            peak=max(one.peak for one in defects),
            probability=float(probability_of(np.array([float((odds * weights).sum())]))[0]),
            box=StripBox.hull(one.box for one in defects),
            area_mm2=moments.count * self._layout.mm_per_px * self._layout.mm_per_line,
            extent=Extent.MASK if all(one.extent is Extent.MASK for one in defects) else Extent.TILE,
            frames=max(one.frames for one in defects),
            class_scores=tuple((one, min(1.0, score)) for one, score in ranked),
            length_mm=spread.length_mm,
            width_mm=spread.width_mm,
            orientation_deg=spread.orientation_deg,
            contrast=sum(w * c for w, c in contrasts) / sum(w for w, _ in contrasts) if contrasts else None,
            evidence=largest.evidence,
        )


def _counted(parts: Iterable[Part]) -> list[Part]:
    """Return the parts whose figures count, in their order."""
    parts = list(parts)
    if len(parts) == 1:
        return parts
    owned = [part for part in parts if part.owned.count]
    return owned or [max(parts, key=lambda part: (part.whole.count, -part.view.index, -part.number))]


def _best_seen(parts: Sequence[Part]) -> Part | None:
    """Return the part by which a defect is judged that two cameras see; None where none saw all of it."""
    if len({part.view.index for part in parts}) == 1:
        return None
    total = sum(part.owned.count for part in parts) or max(part.whole.count for part in parts)
    seen = [part for part in parts if part.whole.count >= _NEARLY_ALL * total]
    return max(
        seen,
        key=lambda part: (part.defect.probability, part.owned.count, -part.view.index, -part.number),
        default=None,
    )


def _compatible(one: Defect, other: Defect) -> bool:
    return one.extent is other.extent is Extent.MASK or one.defect_class == other.defect_class


def _edge_mm(across_mm: tuple[float, float], edges: EdgesMm) -> float | None:
    left_mm, right_mm = edges
    away = [across_mm[0] - left_mm] if left_mm is not None else []
    away += [right_mm - across_mm[1]] if right_mm is not None else []
    return max(0.0, min(away)) if away else None
