"""Recognise the roll marks of a coil as the strip goes by: closed defects in, roll marks out.

A row is a series of marks at one pitch. The state holds the recent defects that belong to no row (at most
MAX_REMEMBERED), and for each followed row its sums and its newest marks, so its size does not grow with the coil.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.contracts.verdict import Defect, Extent, RollMark, RollMarkState
from linewatch.decision.rollmarks.chains import MAX_TURNS, NUMBER, Chain, X, Y, find_chains
from linewatch.decision.rollmarks.row import (
    KEPT_MARKS,
    LEAST_MM,
    Mark,
    RollMarkRow,
    alike,
    event_of,
    fitted,
    grown,
    hull,
    length_mm,
    middle,
)

MAX_REMEMBERED: Final = 2048
MAX_ROWS: Final = 64
"""Most rows followed at once. Beyond it, the row with the longest silence ends."""
LOST_AFTER: Final = 20
"""Turns without a mark after which a row ends: the roll was changed, or the mark has worn off."""
_MAX_DIVISOR: Final = 4  # of a pitch that was first seen as a multiple of the true one
_SAME_PITCH: Final = 0.01


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
        (one for one in closed if one.extent is Extent.MASK and length_mm(one) <= settings.min_pitch_mm),
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
        elif (longer := grown(rows[at], defect)) is not rows[at]:
            rows[at] = longer
            touched[longer.id] = RollMarkState.UPDATED
    after = before
    if free:
        after, added = _remember(before, free, along_mm, settings)
        searched_mm = max(along_mm - max(before.begin_mm, along_mm - _memory_mm(settings)), settings.min_pitch_mm)
        expected = tuple(roll.pitch_mm for roll in rolls) + tuple(_about(row.pitch_mm) for row in rows)
        taken: set[int] = set()
        for chain in find_chains(after.table, added, searched_mm, settings, expected):
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
    events = tuple(event_of(row, states[row.id], rolls) for row in rows if row.id in states and row.called)
    return replace(after, rows=tuple(row for row in rows if row.id not in ended)), events


def end_rolls(state: Recurrence) -> tuple[RollMark, ...]:
    """End every row, because the coil has ended."""
    return tuple(event_of(row, RollMarkState.ENDED, state.rolls) for row in state.rows if row.called)


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
    x_mm, y_mm = middle(defect.box.across_mm), middle(defect.box.along_mm)
    for at, row in enumerate(rows):
        if abs(x_mm - row.x_mm) > settings.across_tolerance_mm:
            continue
        away_mm = y_mm - row.last.y_mm
        slots = round(away_mm / row.pitch_mm)
        off_mm = abs(away_mm - slots * row.pitch_mm)
        fits = (
            slots >= 0
            and off_mm <= _tolerance_mm(settings, max(away_mm, row.pitch_mm))
            and alike(defect, row.last.defect)
        )
        if fits and (best is None or off_mm < best[0]):
            best = off_mm, at
    return None if best is None else best[1]


def _begin(chain: Chain, state: Recurrence) -> RollMarkRow:
    defects = [state.defects[number - state.first] for number in state.table[chain.rows, NUMBER].astype(int).tolist()]
    marks = tuple(
        Mark(slot, middle(defect.box.across_mm), middle(defect.box.along_mm), defect)
        for slot, defect in zip(chain.slots.tolist(), defects, strict=True)
    )
    across_mm = defects[0].box.across_mm
    for defect in defects[1:]:
        across_mm = hull(across_mm, defect.box.across_mm)
    return fitted(
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
        if abs(known.x_mm - row.x_mm) > settings.across_tolerance_mm or not alike(known.last.defect, row.last.defect):
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
                return at, fitted(
                    replace(
                        known,
                        pitch_mm=pitch_mm,
                        seen=known.seen + row.seen,
                        first_mm=min(known.first_mm, row.first_mm),
                        across_mm=hull(known.across_mm, row.across_mm),
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
            np.log(np.maximum(boxes[:, [1, 3]] - boxes[:, [0, 2]], LEAST_MM)),
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
