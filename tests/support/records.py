"""Coil records made without a file or a database, and the comparison of two."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from linewatch.contracts.verdict import Defect, DefectState
from linewatch.review.coil_record import CoilRecord
from linewatch.review.defect_table import Defects, ToldColumns, ToldDefect

OF_THE_HISTORY_ALONE = ("source", "passage", "inspected_at", "identities")


def columns(defects: Sequence[Defect]) -> Defects:
    """In that order."""
    told = [
        ToldDefect(
            **{name: getattr(one, name) for name in ToldDefect._fields if hasattr(one, name)},
            name=one.id,
            state=DefectState.CLOSED,
            merged_into=None,
            across_begin_mm=one.box.across_mm[0],
            across_end_mm=one.box.across_mm[1],
            along_begin_mm=one.box.along_mm[0],
            along_end_mm=one.box.along_mm[1],
        )._replace(class_scores=dict(one.class_scores))
        for one in defects
    ]
    gathered = ToldColumns()
    gathered.add(zip(*told, strict=True))
    return Defects.of("C1", "top", "cam1", gathered)


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
