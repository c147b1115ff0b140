"""Coil records as the strips that a comparison matches: physical defects with outlines, coverage and engines."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from linewatch.contracts.errors import JournalError
from linewatch.contracts.manifest import CASCADE, Task
from linewatch.contracts.probability import log_odds, probability_of
from linewatch.contracts.verdict import Quality
from linewatch.geometry.outlines import UM_PER_MM, Outlines, rungs_of
from linewatch.history.spans import stretches_of
from linewatch.review.coil_record import CoilRecord
from linewatch.review.defect_table import Defects
from linewatch.review.pairing import FoundDefect, hull

_TIMING = re.compile(rb'"timing":\{[^}]*\}')


class StripKey(NamedTuple):
    """Names one passage of one side of a coil under one camera. passage: 0, then 1 where a file has that coil again."""

    coil: str
    side: str
    camera: str
    passage: int

    def __str__(self) -> str:
        again = f" (passage {self.passage + 1})" if self.passage else ""
        return f"{self.coil} {self.side} {self.camera}{again}"


@dataclass(frozen=True, slots=True)
class StripFindings:
    """The findings on one strip, from a record with all masks.

    defects: one per physical defect, by position; a defect that was closed in parts is one, of the class with the
    largest area. outlines: theirs, in the same order. owner: for each defect of the record, its id in `defects`.
    inspected, degraded, missed: stretches in mm. engines: for each task, the mm that each engine identity looked at.
    """

    key: StripKey
    record: CoilRecord
    defects: tuple[FoundDefect, ...]
    outlines: Outlines
    owner: tuple[str, ...]
    inspected: np.ndarray
    degraded: np.ndarray
    missed: np.ndarray
    engines: dict[Task, dict[str, float]]


def strips_of(records: Iterable[CoilRecord]) -> tuple[StripFindings, ...]:
    """Return the strips of the records, in the same order."""
    records = tuple(records)
    alone = frozenset(engine for record in records for engine in _inspected_alone(record))
    passages: Counter[tuple[str, str, str]] = Counter()
    strips = []
    for record in records:
        name = (record.coil, record.side, record.camera)
        strips.append(_strip(StripKey(*name, passages[name]), record, alone))
        passages[name] += 1
    return tuple(strips)


def same_verdicts(one: Path, other: Path) -> bool:
    """Return whether two verdict files agree in all bytes but the timing. Raises JournalError for an unreadable one."""
    try:
        with one.open("rb") as ours, other.open("rb") as theirs:
            return all(
                line == like or _TIMING.sub(b"", line or b"") == _TIMING.sub(b"", like or b"")
                for line, like in zip_longest(ours, theirs)
            )
    except OSError as error:
        raise JournalError(f"cannot read {error.filename}: {error.strerror}; expected a verdict file") from error


def _inspected_alone(record: CoilRecord) -> set[str]:
    """Return the engines that did all the work on a strip: a cascade finds no defect without its classifier.

    On a strip without defects nothing tells an inspect engine from a screen that passed no tile.
    """
    if not len(record.defects["id"]) or any(use.place > 0 for use in record.engines):
        return set()
    return {use.engine for use in record.engines}


def _strip(key: StripKey, record: CoilRecord, alone: frozenset[str]) -> StripFindings:
    owner = _owners(record.defects)
    parts: dict[str, list[FoundDefect]] = {}
    for one, root in zip(record.defects, owner, strict=True):
        found = FoundDefect(one.id, one.defect_class, one.confidence, one.probability, one.area_mm2, one.box)
        parts.setdefault(root, []).append(found)
    wholes = {root: _as_one(root, those) for root, those in parts.items()}
    order = sorted(wholes, key=lambda root: (wholes[root].box.along_mm, wholes[root].box.across_mm, root))
    place = {root: number for number, root in enumerate(order)}
    engines: dict[Task, dict[str, float]] = {}
    for use in record.engines:
        if use.place < len(CASCADE):  # a frame names its engines in this order, or the one that inspects alone
            task = Task.INSPECT if use.engine in alone else CASCADE[use.place]
            engines.setdefault(task, {})[use.engine] = use.length_mm
    return StripFindings(
        key=key,
        record=record,
        defects=tuple(wholes[root] for root in order),
        outlines=_outlines(record, np.array([place[root] for root in owner], np.int64), len(order)),
        owner=owner,
        inspected=stretches_of(record.spans, Quality.INSPECTED),
        degraded=stretches_of(record.spans, Quality.DEGRADED),
        missed=stretches_of(record.spans, Quality.MISSED),
        engines=engines,
    )


def _owners(defects: Defects) -> tuple[str, ...]:
    """Return for each defect the first of its parts; a ring of parts, which no service reports, ends anywhere."""
    part_of = {name: first for name, first in zip(defects["id"], defects["part_of"], strict=True) if first is not None}

    def root(name: str) -> str:
        seen = {name}
        while (first := part_of.get(name)) is not None and first not in seen:
            seen.add(first)
            name = first
        return name

    return tuple(root(name) for name in defects["id"])


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
        probability=_together(parts),
        area_mm2=sum(part.area_mm2 for part in parts),
        box=hull(parts),
    )


def _together(parts: list[FoundDefect]) -> float:
    """Return the probability of a defect that was closed in parts: their log-odds averaged by area, as over frames."""
    parts_odds = log_odds(np.array([part.probability for part in parts]))
    area_mm2 = np.maximum([part.area_mm2 for part in parts], 1e-9)
    return float(probability_of(np.average(parts_odds, weights=area_mm2)))


def _outlines(record: CoilRecord, whole: np.ndarray, count: int) -> Outlines:
    """Return the outlines of all whole defects. whole: for each defect of the record, its whole's place among them.

    A mask fills the box of its defect, which gives its lines and columns their place in mm. Where a mask is missing, or
    a part of it, the box is the outline.
    """
    defects = record.defects
    boxes_um = np.rint(np.hstack([defects["along_mm"], defects["across_mm"]]) * UM_PER_MM).astype(np.int64)
    boxes_um[:, 1::2] = np.maximum(boxes_um[:, 1::2], boxes_um[:, 0::2] + 1)
    parts = [() if name in record.mask_dropped else record.masks.get(name, ()) for name in defects["id"]]
    masked = np.array([bool(those) for those in parts], bool)
    of, rungs = np.flatnonzero(~masked), boxes_um[~masked]
    if masked.any():
        whose, ladders = _ladders(parts, boxes_um)
        of, rungs = np.concatenate([of, whose]), np.concatenate([rungs, ladders])
    of = whole[of]
    order = np.argsort(of, kind="stable")
    return Outlines(count, of[order], rungs[order])


def _ladders(parts: Sequence[Sequence[np.ndarray]], boxes_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks as rungs (see `geometry.outlines`), part by part, scaled to the boxes of their defects."""
    flat = [part for those in parts for part in those]
    part = np.repeat(np.arange(len(flat)), [len(one) for one in flat])
    of_part = np.repeat(np.arange(len(parts)), [len(those) for those in parts])
    runs, of = np.concatenate(flat).astype(np.int64), of_part[part]
    first, left = np.full((2, len(parts)), np.iinfo(np.int64).max)
    last, right = np.full((2, len(parts)), np.iinfo(np.int64).min)
    np.minimum.at(first, of, runs[:, 0])
    np.maximum.at(last, of, runs[:, 0])
    np.minimum.at(left, of, runs[:, 1])
    np.maximum.at(right, of, runs[:, 2])
    boxes = boxes_um[of]
    line_mm = (boxes[:, 1] - boxes[:, 0]) / (last + 1 - first)[of] / UM_PER_MM
    along_mm = boxes[:, 0] / UM_PER_MM + (runs[:, 0] - first[of]) * line_mm
    whose, rungs = rungs_of(along_mm, runs, part, line_mm)
    whose = of_part[whose]
    boxes = boxes_um[whose]
    um_per_px = (boxes[:, 3] - boxes[:, 2]) / (right - left)[whose]
    for column in (2, 3):
        rungs[:, column] = np.rint(boxes[:, 2] + (rungs[:, column] - left[whose]) * um_per_px)
    rungs[:, 3] = np.maximum(rungs[:, 3], rungs[:, 2] + 1)
    return whose, rungs
