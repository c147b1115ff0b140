"""Coil records made without a file or a database, and the comparison of two."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from linewatch.contracts.defect_fields import to_columns, to_flat
from linewatch.contracts.verdict import Defect, DefectState
from linewatch.review.coil_record import CoilRecord
from linewatch.review.defect_table import REPORTED_COLUMNS, Defects, ReportedColumns

OF_THE_HISTORY_ALONE = ("source", "passage", "inspected_at", "identities")


def columns(defects: Sequence[Defect]) -> Defects:
    """In that order."""
    rows = [to_columns(to_flat(one)) | {"state": DefectState.CLOSED, "merged_into": None} for one in defects]
    reported = ReportedColumns()
    reported.add([row[name] for row in rows] for name in REPORTED_COLUMNS)
    return Defects.of("C1", "top", "cam1", reported)


def record_of(defects: Sequence[Defect] = (), coil: str = "C1", **more: Any) -> CoilRecord:
    return CoilRecord(*(coil, "top", "cam1", "a test"), columns(defects), **more)


def bounds(parts: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """Of a mask: first line, last line, first column, behind the last column."""
    runs = np.concatenate(parts)
    return int(runs[:, 0].min()), int(runs[:, 0].max()), int(runs[:, 1].min()), int(runs[:, 2].max())


def assert_same(ours: CoilRecord, theirs: CoilRecord) -> None:
    """Compare all but what only a history knows."""
    for field in fields(CoilRecord):
        one, other = (getattr(record, field.name) for record in (ours, theirs))
        if field.name == "defects":
            assert tuple(one) == tuple(other)
        elif field.name == "masks":
            assert {name: shape(parts) for name, parts in one.items()} == {
                name: shape(parts) for name, parts in other.items()
            }
        elif field.name not in OF_THE_HISTORY_ALONE:
            assert one == other, field.name


def shape(parts) -> list[list[int]]:
    return sorted(np.concatenate(parts).tolist())
