"""Recognise the roll marks of a coil as the strip goes by: closed defects in, roll marks out.

A row is a series of marks at one pitch. The state holds the recent defects that belong to no row (at most
MAX_REMEMBERED), and for each followed row its sums and its newest marks, so its size does not grow with the coil.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.contracts.verdict import Defect, Extent, RollMark, RollMarkState
from linewatch.decision.rollmarks.chains import MAX_TURNS, NUMBER, Chain, X, Y, find_chains, log_nfa
from linewatch.decision.rollmarks.suspects import suspects

MAX_REMEMBERED: Final = 2048
MAX_ROWS: Final = 64
"""Most rows followed at once. Beyond it, the row with the longest silence ends."""
LOST_AFTER: Final = 20
"""Turns without a mark after which a row ends: the roll was changed, or the mark has worn off."""
KEPT_MARKS: Final = 16
_SETTLED_MARKS: Final = 8
_MAX_DIVISOR: Final = 4  # of a pitch that was first seen as a multiple of the true one
_SAME_SIZE: Final = 1.0  # ln of a size ratio: a mark may be found in part, or joined with a neighbour
_SAME_PITCH: Final = 0.01
_LEAST_MM: Final = 1e-3


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

    @property
    def last(self) -> Mark:
        return self.newest[-1]

    @property
    def x_mm(self) -> float:
        return sum(mark.x_mm for mark in self.newest) / len(self.newest)


@dataclass(frozen=True, slots=True, eq=False)
class Recurrence:
    """The state of one coil. table: float64 (n, 6) as in `chains`, its column NUMBER counting through `defects`."""

    settings: PeriodicSettings
    rolls: tuple[RollSettings, ...]
    begin_mm: float
    table: np.ndarray
    defects: tuple[Defect, ...] = ()  # number `first` on
    first: int = 0
    classes: tuple[str, ...] = ()  # by code
    rows: tuple[RollMarkRow, ...] = ()

    @classmethod
    def initial(cls, begin_mm: float, settings: PeriodicSettings, rolls: tuple[RollSettings, ...]) -> "Recurrence":
        """Return the state where inspection of a coil begins. The coil keeps these settings and rolls."""
        return cls(settings, rolls, begin_mm, np.empty((0, 6)))


def follow_rolls(
    before: Recurrence, closed: Iterable[Defect], along_mm: float
) -> tuple[Recurrence, tuple[RollMark, ...]]:
    """Add defects that have closed; `along_mm` is the end of the inspected strip.

    Defects longer than the shortest pitch are left out, and so are those with a tile as outline: their place within the
    tile is unknown, and tiles themselves lie in rows.

    Return the events of published rows, oldest row first: recognised, updated by further marks, or ended.
    """
    settings, rolls = before.settings, before.rolls
    fresh = sorted(
        (one for one in closed if one.extent is Extent.MASK and _length_mm(one) <= settings.min_pitch_mm),
        key=lambda defect: (defect.box.along_mm, defect.box.across_mm, defect.id),
    )
    if not fresh and not before.rows:
        return before, ()
    rows = list(before.rows)
    touched: dict[str, RollMarkState] = {}
    free = []
    for defect in fresh:
        at = _owner(rows, defect, settings) if rows else None
        if at is None:
            free.append(defect)
        elif (grown := _grow(rows[at], defect)) is not rows[at]:
            rows[at] = grown
            touched[grown.id] = RollMarkState.UPDATED
    after = before
    if free:
        after, added = _remember(before, free, along_mm, settings)
        length_mm = max(along_mm - max(before.begin_mm, along_mm - _memory_mm(settings)), settings.min_pitch_mm)
        expected = tuple(roll.pitch_mm for roll in rolls) + tuple(_about(row.pitch_mm) for row in rows)
        taken: set[int] = set()
        for chain in find_chains(after.table, added, length_mm, settings, expected):
            numbers = after.table[chain.rows, NUMBER].astype(int).tolist()
            if not taken.intersection(numbers):
                taken.update(numbers)
                at, row = _join(rows, _begin(chain, after), settings)
                touched[row.id] = RollMarkState.RECOGNISED if at == len(rows) else RollMarkState.UPDATED
                rows[at : at + 1] = [row]
        after = _forget(after, taken)
    told = {row.id for row in before.rows if row.called}
    touched = {name: state if name in told else RollMarkState.RECOGNISED for name, state in touched.items()}
    ended = {row.id: RollMarkState.ENDED for row in _over(rows, along_mm)}
    states = touched | ended
    events = tuple(_event(row, states[row.id], rolls) for row in rows if row.id in states and row.called)
    return replace(after, rows=tuple(row for row in rows if row.id not in ended)), events


def end_rolls(state: Recurrence) -> tuple[RollMark, ...]:
    """End every row, because the coil has ended."""
    return tuple(_event(row, RollMarkState.ENDED, state.rolls) for row in state.rows if row.called)


def _middle(interval: tuple[float, float]) -> float:
    return (interval[0] + interval[1]) / 2


def _length_mm(defect: Defect) -> float:
    return defect.box.along_mm[1] - defect.box.along_mm[0]


def _width_mm(defect: Defect) -> float:
    return defect.box.across_mm[1] - defect.box.across_mm[0]


def _memory_mm(settings: PeriodicSettings) -> float:
    return MAX_TURNS * settings.max_pitch_mm


def _about(pitch_mm: float) -> tuple[float, float]:
    return pitch_mm * (1 - _SAME_PITCH), pitch_mm * (1 + _SAME_PITCH)


def _tolerance_mm(settings: PeriodicSettings, distance_mm: Any) -> Any:
    """Return how far a mark may lie off its expected place at a distance from another mark; a float or an array."""
    return settings.along_tolerance_mm + settings.pitch_tolerance * distance_mm


def _owner(rows: list[RollMarkRow], defect: Defect, settings: PeriodicSettings) -> int | None:
    """Return the index of the row that this defect continues, the best fitting one; None if there is none."""
    best = None
    x_mm, y_mm = _middle(defect.box.across_mm), _middle(defect.box.along_mm)
    for at, row in enumerate(rows):
        away_mm = y_mm - row.last.y_mm
        slots = round(away_mm / row.pitch_mm)
        off_mm = abs(away_mm - slots * row.pitch_mm)
        fits = (
            slots >= 0
            and abs(x_mm - row.x_mm) <= settings.across_tolerance_mm
            and off_mm <= _tolerance_mm(settings, max(away_mm, row.pitch_mm))
            and _alike(defect, row.last.defect)
        )
        if fits and (best is None or off_mm < best[0]):
            best = off_mm, at
    return None if best is None else best[1]


def _alike(one: Defect, other: Defect) -> bool:
    return (
        abs(math.log(max(_length_mm(one), _LEAST_MM) / max(_length_mm(other), _LEAST_MM))) <= _SAME_SIZE
        and abs(math.log(max(_width_mm(one), _LEAST_MM) / max(_width_mm(other), _LEAST_MM))) <= _SAME_SIZE
    )


def _grow(row: RollMarkRow, defect: Defect) -> RollMarkRow:
    """Return the row with one more mark, or the row itself if the defect is another piece of its newest mark."""
    y_mm = _middle(defect.box.along_mm)
    slots = round((y_mm - row.last.y_mm) / row.pitch_mm)
    if slots < 1:
        return row
    mark = Mark(row.last.slot + slots, _middle(defect.box.across_mm), y_mm, defect)
    classes = Counter(dict(row.classes))
    classes[defect.defect_class] += 1
    return _coarsened(
        _fitted(
            replace(
                row,
                seen=row.seen + 1,
                across_mm=_hull(row.across_mm, defect.box.across_mm),
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
    return _fitted(replace(row, seen=min(row.seen, newest[-1].slot + 1), newest=newest))


def _hull(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def _fitted(row: RollMarkRow) -> RollMarkRow:
    """Return the row with the pitch of its newest marks, by least squares, and the standard error of the pitch."""
    slots = np.array([mark.slot for mark in row.newest], np.float64)
    y_mm = np.array([mark.y_mm for mark in row.newest])
    slots -= slots.mean()
    spread = float(slots @ slots)
    pitch_mm = float(slots @ (y_mm - y_mm.mean())) / spread
    residual = y_mm - y_mm.mean() - pitch_mm * slots
    error_mm = math.sqrt(float(residual @ residual) / max(1, len(y_mm) - 2) / spread)
    return replace(row, pitch_mm=pitch_mm, error_mm=error_mm)


def _begin(chain: Chain, state: Recurrence) -> RollMarkRow:
    defects = [state.defects[number - state.first] for number in state.table[chain.rows, NUMBER].astype(int).tolist()]
    marks = tuple(
        Mark(slot, _middle(defect.box.across_mm), _middle(defect.box.along_mm), defect)
        for slot, defect in zip(chain.slots.tolist(), defects, strict=True)
    )
    across_mm = defects[0].box.across_mm
    for defect in defects[1:]:
        across_mm = _hull(across_mm, defect.box.across_mm)
    return _fitted(
        RollMarkRow(
            id=f"{defects[0].id}/roll",
            pitch_mm=chain.pitch_mm,
            error_mm=0.0,
            seen=len(marks),
            first_mm=defects[0].box.along_mm[0],
            across_mm=across_mm,
            classes=tuple(sorted(Counter(defect.defect_class for defect in defects).items())),
            log_p=chain.log_p,
            log_tests=chain.log_tests,
            newest=marks,
            called=not all(defect.tentative for defect in defects),
        )
    )


def _join(rows: list[RollMarkRow], row: RollMarkRow, settings: PeriodicSettings) -> tuple[int, RollMarkRow]:
    """Return the new row's index among the followed rows, and the row to store there.

    A row that fills the gaps of another one is joined with it at the pitch that both share, which is the roll's own.
    """
    for at, known in enumerate(rows):
        if abs(known.x_mm - row.x_mm) > settings.across_tolerance_mm or not _alike(known.last.defect, row.last.defect):
            continue
        for divisor in range(1, _MAX_DIVISOR + 1):
            pitch_mm = known.pitch_mm / divisor
            if pitch_mm < settings.min_pitch_mm:
                break
            marks = sorted([*known.newest, *row.newest], key=lambda mark: (mark.y_mm, mark.defect.id))
            away = np.array([mark.y_mm for mark in marks]) - known.last.y_mm
            slots = np.rint(away / pitch_mm)
            off_mm = np.abs(away - slots * pitch_mm)
            near_mm = _tolerance_mm(settings, np.maximum(np.abs(away), pitch_mm))
            if (off_mm <= near_mm).all():
                origin = known.last.slot * divisor
                both = {origin + int(slot): mark for slot, mark in zip(slots, marks, strict=True)}
                classes = Counter(dict(known.classes)) + Counter(dict(row.classes))
                return at, _fitted(
                    replace(
                        known,
                        pitch_mm=pitch_mm,
                        seen=known.seen + row.seen,
                        first_mm=min(known.first_mm, row.first_mm),
                        across_mm=_hull(known.across_mm, row.across_mm),
                        classes=tuple(sorted(classes.items())),
                        newest=tuple(replace(both[slot], slot=slot) for slot in sorted(both))[-KEPT_MARKS:],
                        called=known.called or row.called,
                    )
                )
    return len(rows), row


def _over(rows: list[RollMarkRow], along_mm: float) -> list[RollMarkRow]:
    silent = [row for row in rows if along_mm - row.last.y_mm > (LOST_AFTER + 1) * row.pitch_mm]
    if len(rows) - len(silent) > MAX_ROWS:
        silent = sorted(rows, key=lambda row: (row.last.y_mm, row.id))[: len(rows) - MAX_ROWS]
    return silent


def _remember(
    state: Recurrence, free: list[Defect], along_mm: float, settings: PeriodicSettings
) -> tuple[Recurrence, np.ndarray]:
    """Add defects to the table, sorted by X, and drop old ones. Return the state and the table rows of the new ones."""
    classes = (*state.classes, *sorted({defect.defect_class for defect in free} - set(state.classes)))
    number = state.first + len(state.defects)
    boxes = np.array([(*defect.box.across_mm, *defect.box.along_mm) for defect in free])
    code = {name: i for i, name in enumerate(classes)}
    added = np.column_stack(
        [
            (boxes[:, 0] + boxes[:, 1]) / 2,
            (boxes[:, 2] + boxes[:, 3]) / 2,
            np.log(np.maximum(boxes[:, [1, 3]] - boxes[:, [0, 2]], _LEAST_MM)),
            [code[defect.defect_class] for defect in free],
            np.arange(number, number + len(free)),
        ]
    )
    added = added[np.argsort(added[:, X], kind="stable")]
    old = state.table[state.table[:, Y] >= along_mm - _memory_mm(settings)]
    table = np.insert(old, np.searchsorted(old[:, X], added[:, X]), added, axis=0)
    if len(table) > MAX_REMEMBERED:
        table = table[table[:, NUMBER] > np.partition(table[:, NUMBER], -MAX_REMEMBERED - 1)[-MAX_REMEMBERED - 1]]
    first = int(table[:, NUMBER].min())
    defects = (*state.defects, *free)[first - state.first :]
    state = replace(state, table=table, defects=defects, first=first, classes=classes)
    return state, np.flatnonzero(table[:, NUMBER] >= number)


def _forget(state: Recurrence, taken: set[int]) -> Recurrence:
    """Drop the defects that now belong to a row."""
    return replace(state, table=state.table[~np.isin(state.table[:, NUMBER], list(taken))]) if taken else state


def _event(row: RollMarkRow, state: RollMarkState, rolls: tuple[RollSettings, ...]) -> RollMark:
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
