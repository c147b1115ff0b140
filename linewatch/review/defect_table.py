"""The defects of one passage in columns: a coil may have hundreds of thousands, and a reader needs few as objects."""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from linewatch.contracts.defect_fields import DEFECT_FIELDS, PASSAGE_FIELDS, DefectField, from_flat, side_of
from linewatch.contracts.verdict import Defect, DefectState

UNREAD: Final = "evidence"
"""The field of a defect that no review reads: of a whole coil it would take most of the memory."""
_FIELDS: Final = tuple(field for field in DEFECT_FIELDS if field.name not in (*PASSAGE_FIELDS, UNREAD))
REPORTED_COLUMNS: Final = ("state", "merged_into", *(name for field in _FIELDS for name in field.columns))
"""What a message reports of a defect. class_scores is a dict, or its JSON text, as few readers need it."""


def _numpy_type(field: DefectField) -> tuple[Any, ...]:
    if field.kind is tuple:
        return field.name, np.float64, 2
    if field.kind is float or (field.kind is int and field.nullable):
        return field.name, np.float64
    return field.name, {bool: np.bool_, int: np.int64}.get(field.kind, object)


_CONVERTED: Final = tuple(
    field for field in _FIELDS if field.kind in (tuple, dict) or (field.nullable and field.kind in (int, float))
)
_ROWS_AT_ONCE: Final = 4_096  # made into Python's objects
_ROW: Final = np.dtype([_numpy_type(field) for field in _FIELDS])


@dataclass(frozen=True, slots=True, eq=False)
class Defects:
    """n defects of one passage, in columns by the names of `contracts.defect_fields`.

    rows: a structured array (n,). Intervals are float64 (n, 2), numbers that may be None are float64 with NaN for
    None, strings and scores are objects.
    """

    coil: str
    side: str
    camera: str
    rows: np.ndarray

    @classmethod
    def of(cls, coil: str, side: str, camera: str, reported: "ReportedColumns") -> Self:
        """Make one row per report, in that order."""
        rows = np.empty(len(reported.columns["id"]), _ROW)
        for field in _FIELDS:
            for place, name in enumerate(field.columns):
                column = rows[field.name] if len(field.columns) == 1 else rows[field.name][:, place]
                column[:] = np.array(reported.columns[name], column.dtype)
        return cls(coil, side, camera, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the column of that name."""
        column: np.ndarray = self.rows[name]
        return column

    def __iter__(self) -> Iterator[Defect]:
        """Yield the defects as they were decided, without `UNREAD`."""
        of_passage = {"coil": self.coil, "camera": self.camera, UNREAD: {}}
        for first in range(0, len(self), _ROWS_AT_ONCE):
            for row in self.rows[first : first + _ROWS_AT_ONCE].tolist():
                values = dict(zip(_ROW.names or (), row, strict=True)) | of_passage
                values["side"] = side_of(values["id"], self.coil, self.side)
                for field in _CONVERTED:
                    values[field.name] = _value(field, values[field.name])
                yield from_flat(values)

    def take(self, rows: np.ndarray | slice) -> Self:
        """Return the defects at these places, by indices, mask or slice."""
        return type(self)(self.coil, self.side, self.camera, self.rows[rows])


def _value(field: DefectField, value: Any) -> Any:
    """Return a row's value as a `Defect` has it."""
    if field.kind is tuple:
        return tuple(value.tolist())
    if field.kind is dict:
        return json.loads(value) if isinstance(value, str) else value
    return None if math.isnan(value) else field.kind(value)


class ReportedColumns:
    """Gathers the reports about a passage's defects by `REPORTED_COLUMNS`; the last one about a defect counts."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in REPORTED_COLUMNS}

    def add(self, columns: Iterable[Sequence[Any]]) -> None:
        """Append reports, in columns in the order of `REPORTED_COLUMNS`; no columns append none."""
        for column, values in zip(self.columns.values(), columns, strict=False):
            column.extend(values)


@dataclass(frozen=True, slots=True)
class PhysicalDefects:
    """The defects that remain of all reports, by where they begin, without those that merged into another.

    merged: maps the id of one that merged to the defect in `defects` that it became part of. still_open: ids of those
    whose end was not reported.
    """

    defects: Defects
    merged: dict[str, str]
    still_open: frozenset[str]

    @classmethod
    def among(cls, coil: str, side: str, camera: str, reported: ReportedColumns) -> Self:
        """Keep a defect that merged into one that was never reported: nothing else is known of the two."""
        columns = reported.columns
        ids, along_mm = columns["id"], columns["along_begin_mm"]
        last = {name: row for row, name in enumerate(ids)}
        into = {ids[row]: other for row in last.values() if (other := columns["merged_into"][row]) is not None}
        merged = _merged(into, last) if into else {}
        # A ring of merged defects, which no service reports, leads to one that merged itself: none of it is kept.
        kept = [row for name, row in last.items() if name not in merged]
        kept.sort(key=ids.__getitem__)
        kept.sort(key=along_mm.__getitem__)
        still_open = frozenset(ids[row] for row in kept if columns["state"][row] != DefectState.CLOSED)
        return cls(Defects.of(coil, side, camera, reported).take(np.array(kept, np.int64)), merged, still_open)


def _merged(into: dict[str, str], known: Collection[str]) -> dict[str, str]:
    """Return for each merged defect the one at the end of its chain, where that is known."""
    ends = {}
    for name in into:
        end, seen = name, set()
        while end in into and end not in seen:
            seen.add(end)
            end = into[end]
        if end in known:
            ends[name] = end
    return ends
