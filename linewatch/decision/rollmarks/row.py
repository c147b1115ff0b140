"""One roll mark while it is followed: its sums, its newest marks, and how it grows by one mark."""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from linewatch.config.roll import RollSettings
from linewatch.contracts.verdict import Defect, RollMark, RollMarkState
from linewatch.decision.rollmarks.chains import log_nfa
from linewatch.decision.rollmarks.suspects import suspects

KEPT_MARKS: Final = 16
LEAST_MM: Final = 1e-3
_SETTLED_MARKS: Final = 8
_SAME_SIZE: Final = 1.0  # ln of a size ratio: a mark may be found in part, or joined with a neighbour


@dataclass(frozen=True, slots=True)
class Mark:
    """One defect of a row. slot: the turn since the row's first mark."""

    slot: int
    x_mm: float
    y_mm: float
    defect: Defect


@dataclass(frozen=True, slots=True, eq=False)
class RollMarkRow:
    """A roll mark that is being followed. newest: its last KEPT_MARKS marks; other figures cover its whole life.

    called: one of its marks was called. Until then the row is not published, because texture may recur as well.
    x_mm: mean place across of its newest marks.
    """

    id: str
    pitch_mm: float
    error_mm: float
    seen: int
    first_mm: float
    across_mm: tuple[float, float]
    classes: tuple[tuple[str, int], ...]
    log_p: float
    log_tests: float
    newest: tuple[Mark, ...]
    called: bool
    x_mm: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "x_mm", sum(mark.x_mm for mark in self.newest) / len(self.newest))

    @property
    def last(self) -> Mark:
        return self.newest[-1]


def middle(interval: tuple[float, float]) -> float:
    """Return the middle of an interval."""
    return (interval[0] + interval[1]) / 2


def length_mm(defect: Defect) -> float:
    """Return the length of a defect along the strip."""
    return defect.box.along_mm[1] - defect.box.along_mm[0]


def _width_mm(defect: Defect) -> float:
    return defect.box.across_mm[1] - defect.box.across_mm[0]


def alike(one: Defect, other: Defect) -> bool:
    """Return whether two defects are of about the same size, as two marks of one roll are."""
    return (
        abs(math.log(max(length_mm(one), LEAST_MM) / max(length_mm(other), LEAST_MM))) <= _SAME_SIZE
        and abs(math.log(max(_width_mm(one), LEAST_MM) / max(_width_mm(other), LEAST_MM))) <= _SAME_SIZE
    )


def grown(row: RollMarkRow, defect: Defect) -> RollMarkRow:
    """Return the row with one more mark, or the row itself if the defect is another piece of its newest mark."""
    y_mm = middle(defect.box.along_mm)
    slots = round((y_mm - row.last.y_mm) / row.pitch_mm)
    if slots < 1:
        return row
    mark = Mark(row.last.slot + slots, middle(defect.box.across_mm), y_mm, defect)
    classes = Counter(dict(row.classes))
    classes[defect.defect_class] += 1
    return _coarsened(
        fitted(
            replace(
                row,
                seen=row.seen + 1,
                across_mm=hull(row.across_mm, defect.box.across_mm),
                classes=tuple(sorted(classes.items())),
                newest=(*row.newest, mark)[-KEPT_MARKS:],
                called=row.called or not defect.tentative,
            )
        )
    )


def _coarsened(row: RollMarkRow) -> RollMarkRow:
    """Return the row with a multiple of its pitch if all of its newest marks lie on that multiple."""
    newest = row.newest[-_SETTLED_MARKS:]
    begin = newest[0].slot
    divisor = math.gcd(*(mark.slot - begin for mark in newest))
    if len(newest) < _SETTLED_MARKS or divisor < 2:
        return row
    newest = tuple(replace(mark, slot=(mark.slot - begin) // divisor + begin // divisor) for mark in newest)
    return fitted(replace(row, seen=min(row.seen, newest[-1].slot + 1), newest=newest))


def hull(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the shortest interval that contains both."""
    return min(one[0], other[0]), max(one[1], other[1])


def fitted(row: RollMarkRow) -> RollMarkRow:
    """Return the row with the pitch of its newest marks, by least squares, and the standard error of the pitch."""
    slots = np.array([mark.slot for mark in row.newest], np.float64)
    y_mm = np.array([mark.y_mm for mark in row.newest])
    slots -= slots.mean()
    spread = float(slots @ slots)
    pitch_mm = float(slots @ (y_mm - y_mm.mean())) / spread
    residual = y_mm - y_mm.mean() - pitch_mm * slots
    error_mm = math.sqrt(float(residual @ residual) / max(1, len(y_mm) - 2) / spread)
    return replace(row, pitch_mm=pitch_mm, error_mm=error_mm)


def event_of(row: RollMarkRow, state: RollMarkState, rolls: tuple[RollSettings, ...]) -> RollMark:
    """Return the roll mark as it is published, with the rolls that may have caused it."""
    last = row.last.defect
    due = row.last.slot + 1
    return RollMark(
        id=row.id,
        state=state,
        coil=last.coil,
        side=last.side,
        camera=last.camera,
        defect_class=max(row.classes, key=lambda one: (one[1], one[0]))[0],
        pitch_mm=row.pitch_mm,
        pitch_error_mm=row.error_mm,
        confidence=max(0.0, 1 - 10 ** min(0.0, log_nfa(due, row.seen, row.log_p, row.log_tests))),
        marks=row.seen,
        marks_due=due,
        across_mm=row.across_mm,
        along_mm=(row.first_mm, last.box.along_mm[1]),
        defect_ids=tuple(mark.defect.id for mark in row.newest),
        suspects=suspects(row.pitch_mm, row.error_mm, rolls),
    )
