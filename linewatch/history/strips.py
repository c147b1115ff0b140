"""A verdict file as the strips in it: physical defects with outlines, what was looked at, and by which engines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from linewatch.contracts.errors import JournalError
from linewatch.contracts.manifest import Task
from linewatch.contracts.verdict import CoilState, Quality, StripBox
from linewatch.geometry.outlines import UM_PER_MM, Outlines, rungs_of
from linewatch.geometry.stretches import union
from linewatch.history.found import FoundDefect
from linewatch.wire.schema import CoilLine, VerdictLine
from linewatch.wire.verdict_file import read_strip

_TIMING = re.compile(rb'"timing":\{[^}]*\}')


class StripKey(NamedTuple):
    """One passage of one side of a coil below one camera. passage: 0, then 1 where the file has that coil again."""

    coil: str
    side: str
    camera: str
    passage: int

    def __str__(self) -> str:
        again = f" (passage {self.passage + 1})" if self.passage else ""
        return f"{self.coil} {self.side} {self.camera}{again}"


@dataclass(frozen=True, slots=True)
class StripFindings:
    """What a verdict file tells of one strip.

    defects: one per physical defect, by position: those that merged are one, and so are the parts of one that was
    closed for its length (its class is the one with the larger area). One without an end, in a file that was cut short,
    is as it was last told. outlines: theirs, in the same order. members: from other ids that one was told by, to
    its own. inspected, degraded, missed: stretches in mm.
    engines: of each task, the mm that each engine identity looked at.
    """

    key: StripKey
    defects: tuple[FoundDefect, ...]
    outlines: Outlines
    members: dict[str, str]
    inspected: np.ndarray
    degraded: np.ndarray
    missed: np.ndarray
    engines: dict[Task, dict[str, float]]


def read_strips(path: Path) -> tuple[StripFindings, ...]:
    """All strips of a verdict file, in the order in which they came. Raises JournalError when it is none."""
    strips: dict[StripKey, _Strip] = {}
    for key, line in lines_of_strips(path):
        strips.setdefault(key, _Strip(key)).add(line)
    if not strips:
        raise JournalError(f"{path}: holds no verdicts; expected what `linewatch replay --out` writes")
    return tuple(strip.findings() for strip in strips.values())


def lines_of_strips(path: Path) -> Iterator[tuple[StripKey, VerdictLine | CoilLine]]:
    """Every line of a verdict file with the strip that it is about. Raises JournalError as `read_strip` does."""
    passages: dict[tuple[str, str, str], int] = {}
    for line in read_strip(path):
        name = (line.coil, line.side, line.camera)
        if isinstance(line, CoilLine) and line.state is CoilState.STARTED:
            passages[name] = passages.get(name, -1) + 1
        yield StripKey(*name, passages.setdefault(name, 0)), line


def same_verdicts(one: Path, other: Path) -> bool:
    """Whether two verdict files are the same bytes but for the timing. Raises JournalError when one cannot be read."""
    try:
        with one.open("rb") as ours, other.open("rb") as theirs:
            return all(
                line == like or _TIMING.sub(b"", line or b"") == _TIMING.sub(b"", like or b"")
                for line, like in zip_longest(ours, theirs)
            )
    except OSError as error:
        raise JournalError(f"cannot read {error.filename}: {error.strerror}; expected a verdict file") from error


@dataclass(slots=True)
class _Strip:
    """A strip while its lines are read. rungs: (of, rungs in um and columns) of each frame."""

    key: StripKey
    told: dict[str, FoundDefect] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    goes_to: dict[str, str] = field(default_factory=dict)
    rungs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    without_mask: set[str] = field(default_factory=set)
    stretches: dict[Quality, list[tuple[float, float]]] = field(default_factory=lambda: {one: [] for one in Quality})
    engines: dict[Task, dict[str, float]] = field(default_factory=dict)

    def add(self, line: VerdictLine | CoilLine) -> None:
        for event in line.defects:
            self.numbers.setdefault(event.id, len(self.numbers))
            box = StripBox(event.across_mm, event.along_mm)
            self.told[event.id] = FoundDefect(event.id, event.defect_class, event.confidence, event.area_mm2, box)
            if event.merged_into is not None:
                self.absorbed.add(event.id)
            if event.mask_dropped:
                self.without_mask.add(event.id)
            if (into := event.merged_into or event.part_of) is not None and into != event.id:
                self.goes_to[event.id] = into
        if not isinstance(line, VerdictLine):
            return
        self._outline(line)
        for span in line.spans:
            _extend(self.stretches[span.quality], span.along_mm)
            if span.quality is not Quality.MISSED:
                for task, identity in zip(Task, line.engines, strict=False):  # a frame names them in this order
                    served = self.engines.setdefault(task, {})
                    served[identity] = served.get(identity, 0.0) + span.along_mm[1] - span.along_mm[0]

    def _outline(self, line: VerdictLine) -> None:
        masked = [event for event in line.defects if event.mask and event.runs]
        if not masked:
            return
        runs = [np.array(event.runs, np.int64).reshape(-1, 3) for event in masked]
        mm_per_line = (line.along_mm[1] - line.along_mm[0]) / max(line.lines, 1)
        first = [event.mask.first_line - line.first_line for event in masked if event.mask]
        lengths = [len(part) for part in runs]
        stacked = np.concatenate(runs)
        along_mm = line.along_mm[0] + (stacked[:, 0] + np.repeat(first, lengths)) * mm_per_line
        of = np.repeat([self.numbers[event.id] for event in masked], lengths)
        self.rungs.append(rungs_of(along_mm, stacked, of, mm_per_line))

    def findings(self) -> StripFindings:
        members: dict[str, list[FoundDefect]] = {}
        for name, defect in self.told.items():
            parts = members.setdefault(self._root(name), [])
            if name not in self.absorbed:
                parts.append(defect)
        # A survivor that the file does not hold, for it was cut: what merged into it is all that is known.
        for name, defect in self.told.items():
            if not members[self._root(name)]:
                members[self._root(name)].append(defect)
        defects = {root: _as_one(root, parts) for root, parts in members.items()}
        order = sorted(defects, key=lambda root: (defects[root].box.along_mm, defects[root].box.across_mm, root))
        place = {root: number for number, root in enumerate(order)}
        rank = np.array([place[self._root(name)] for name in self.numbers], np.int64)
        boxed = {place[self._root(name)] for name in self.without_mask}
        ordered = tuple(defects[root] for root in order)
        return StripFindings(
            key=self.key,
            defects=ordered,
            outlines=_outlines(ordered, rank, self.rungs, boxed),
            members={name: self._root(name) for name in self.goes_to},
            inspected=_union(self.stretches[Quality.INSPECTED]),
            degraded=_union(self.stretches[Quality.DEGRADED]),
            missed=_union(self.stretches[Quality.MISSED]),
            engines=self.engines,
        )

    def _root(self, name: str) -> str:
        """Where merging and parts lead to; a ring, which no service writes, ends where it closes."""
        seen = {name}
        while (into := self.goes_to.get(name)) is not None and into not in seen:
            seen.add(into)
            name = into
        return name


def _extend(stretches: list[tuple[float, float]], along_mm: tuple[float, float]) -> None:
    """Frames follow one another: what they look at alike is one stretch."""
    if stretches and stretches[-1][1] == along_mm[0]:
        stretches[-1] = (stretches[-1][0], along_mm[1])
    else:
        stretches.append(along_mm)


def _as_one(name: str, parts: list[FoundDefect]) -> FoundDefect:
    if len(parts) == 1 and parts[0].id == name:
        return parts[0]
    area_of: dict[str, float] = {}
    for part in parts:
        area_of[part.defect_class] = area_of.get(part.defect_class, 0.0) + part.area_mm2
    return FoundDefect(
        name,
        defect_class=min(area_of, key=lambda one: (-area_of[one], one)),
        confidence=max(part.confidence for part in parts),
        area_mm2=sum(part.area_mm2 for part in parts),
        box=StripBox(
            (min(part.box.across_mm[0] for part in parts), max(part.box.across_mm[1] for part in parts)),
            (min(part.box.along_mm[0] for part in parts), max(part.box.along_mm[1] for part in parts)),
        ),
    )


def _outlines(
    defects: tuple[FoundDefect, ...], rank: np.ndarray, frames: list[tuple[np.ndarray, np.ndarray]], boxed: set[int]
) -> Outlines:
    """Of all defects, by rank. A mask's columns are laid over the box, which knows where they are in mm."""
    count = len(defects)
    of = np.concatenate([np.empty(0, np.int64), *(rank[one] for one, _ in frames)])
    rungs = np.concatenate([np.empty((0, 4), np.int64), *(of_frame for _, of_frame in frames)])
    kept = ~np.isin(of, list(boxed))
    of, rungs = of[kept], rungs[kept]
    boxes = np.array([(*one.box.along_mm, *one.box.across_mm) for one in defects], np.float64).reshape(-1, 4)
    boxes_um = np.rint(boxes * UM_PER_MM).astype(np.int64)
    boxes_um[:, 1::2] = np.maximum(boxes_um[:, 1::2], boxes_um[:, 0::2] + 1)
    left, right = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(left, of, rungs[:, 2])
    np.maximum.at(right, of, rungs[:, 3])
    um_per_px = (boxes_um[:, 3] - boxes_um[:, 2])[of] / (right - left)[of]
    for column in (2, 3):
        rungs[:, column] = np.rint(boxes_um[of, 2] + (rungs[:, column] - left[of]) * um_per_px)
    rungs[:, 3] = np.maximum(rungs[:, 3], rungs[:, 2] + 1)
    bare = np.setdiff1d(np.arange(count), of)
    of, rungs = np.concatenate([of, bare]), np.concatenate([rungs, boxes_um[bare]])
    order = np.argsort(of, kind="stable")
    return Outlines(count, of[order], rungs[order])


def _union(stretches: list[tuple[float, float]]) -> np.ndarray:
    return union(np.array(stretches, np.float64).reshape(-1, 2))
