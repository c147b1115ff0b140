"""Reads coil records from the history's database."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from linewatch.contracts.alarm import Alarm
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import CoilGrade, RollMark
from linewatch.history.database import reading, shown
from linewatch.history.queries import CoilRow, masks, passage, passage_of_each_camera, several_passages, spans
from linewatch.history.spans import Coverage
from linewatch.history.tables import ALARM, COIL, DEFECT, ROLL_MARK, ROLL_MARK_DEFECT, STRIP_WIDTH
from linewatch.review.coil_record import (
    CoilRecord,
    Identity,
    MaskSelection,
    alarms_of_coil,
    median_width_mm,
    no_masks,
    runs_from_head,
)
from linewatch.review.defect_table import REPORTED_COLUMNS, PhysicalDefects, ReportedColumns
from linewatch.wire.decode import alarm_from, grade_from, roll_mark_from
from linewatch.wire.schema import AlarmMessage, GradeBody, RollMarkMessage, canonical, parse

_ROWS_AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class HistorySource:
    """A coil of a history's database, by its id or by the number of a passage, which `linewatch coils` lists.

    Reading raises HistoryError when the database cannot be read or lacks the coil, and when the id has several
    passages: the caller must then name one.
    """

    database: str
    coil: str | None = None
    passage: int | None = None

    def __str__(self) -> str:
        return f"history:{self.coil if self.passage is None else f'#{self.passage}'}"

    def records(self, masked: MaskSelection = no_masks) -> Iterator[CoilRecord]:
        """Read the named passage, or the coil's passage under each camera."""
        with self._rows() as (connection, rows):
            for row in rows:
                yield read_passage(connection, row.passage, masked)

    def record(self, masked: MaskSelection = no_masks) -> CoilRecord:
        """Read the named passage, or the coil's only passage."""
        with self._rows() as (connection, rows):
            if len(rows) > 1:
                raise several_passages(rows[0].coil, rows)
            return read_passage(connection, rows[0].passage, masked)

    @contextmanager
    def _rows(self) -> Iterator[tuple[sa.Connection, list[CoilRow]]]:
        with reading(self.database) as connection:
            if self.passage is None:
                assert self.coil is not None
                yield connection, passage_of_each_camera(connection, self.coil)
                return
            row = passage(connection, self.passage)
            if self.coil not in (None, row.coil):
                raise HistoryError(
                    f"passage {self.passage} is of coil {row.coil!r}, not {self.coil!r}; name one of the two"
                )
            yield connection, [row]


def read_passage(connection: sa.Connection, number: int, masked: MaskSelection = no_masks) -> CoilRecord:
    """Read the passage of that number, which must exist, as far as it is stored."""
    coil = connection.execute(sa.select(COIL).filter_by(id=number)).one()
    reported, numbers, dropped = _reported(connection, number)
    found = PhysicalDefects.among(coil.coil, coil.side, coil.camera, reported)
    coverage = _coverage(connection, number)
    reached_mm = [span.along_mm[1] for span in coverage.spans[-1:]]
    ended = coil.ended_unix_ns is not None
    return CoilRecord(
        coil=coil.coil,
        side=coil.side,
        camera=coil.camera,
        source=f"passage {number} of the history {shown(str(connection.engine.url))}",
        passage=number,
        defects=found.defects,
        length_mm=max([*reached_mm, coil.more["along_mm"] if ended else 0.0]),
        complete=ended,
        encoded=coil.encoded,
        inspected_at=datetime.fromtimestamp(coil.begun_unix_ns / 1e9, UTC),
        strip_mm=None if coil.strip_left_mm is None else (coil.strip_left_mm, coil.strip_right_mm),
        width_mm=_width_mm(connection, number),
        spans=coverage.spans,
        still_open=found.still_open,
        masks=_masks(connection, set(masked(found.defects)), found.merged, numbers),
        mask_dropped=frozenset(found.merged.get(name, name) for name in dropped),
        alarms=alarms_of_coil(coil.coil, _alarms(connection, coil)),
        engines=coverage.engines,
        identities=(
            *((Identity("configuration", coil.config),) if coil.config else ()),
            *(Identity("calibration", one) for one in (coil.calibrations or "").split("\n") if one),
        ),
        grade=_grade(coil.more),
        excluded_mm=_excluded_mm(coil.more),
        roll_marks=_roll_marks(connection, number),
        periodic=_periodic(connection, number),
    )


def _reported(connection: sa.Connection, number: int) -> tuple[ReportedColumns, dict[str, int], list[str]]:
    """Return all reports, the rows' numbers by defect id, and the ids of defects that lack a part of their mask."""
    reported, numbers, dropped = ReportedColumns(), dict[str, int](), list[str]()
    of_coil = sa.select(sa.func.min(DEFECT.c.id), sa.func.max(DEFECT.c.id)).filter_by(coil_id=number)
    first, last = connection.execute(of_coil).one()
    # In the order of the table: `+ 0` keeps the database from an index on the coil, by which this takes twice as long.
    wanted = sa.select(*map(_column, REPORTED_COLUMNS), DEFECT.c.name, DEFECT.c.id, DEFECT.c.mask_dropped)
    wanted = wanted.where(DEFECT.c.id.between(first, last), DEFECT.c.coil_id + 0 == number).order_by(DEFECT.c.id)
    for rows in connection.execute(wanted, execution_options={"yield_per": _ROWS_AT_ONCE}).partitions():
        *values, ids, row_numbers, without = zip(*rows, strict=True)
        reported.add(values)
        numbers.update(zip(ids, row_numbers, strict=True))
        dropped += compress(ids, without)
    return reported, numbers, dropped


def _column(name: str) -> Any:
    """Return the history's column for one of `REPORTED_COLUMNS`."""
    if name == "class_scores":
        return sa.cast(DEFECT.c.class_scores, sa.Text)
    return DEFECT.c.name.label("defect") if name == "id" else DEFECT.c[name]


def _masks(
    connection: sa.Connection, wanted: set[str], merged: dict[str, str], numbers: dict[str, int]
) -> dict[str, list[np.ndarray]]:
    owners = {numbers[name]: name for name in wanted}
    owners |= {numbers[name]: owner for name, owner in merged.items() if owner in wanted}
    parts: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for defect, part in masks(connection, sorted(owners)):
        parts[owners[defect]].append(runs_from_head(part))
    return dict(parts)


def _coverage(connection: sa.Connection, number: int) -> Coverage:
    coverage = Coverage()
    for row in spans(connection, number):
        coverage.add(row.span, row.engines)
    return coverage


def _width_mm(connection: sa.Connection, number: int) -> float | None:
    rows = connection.execute(sa.select(STRIP_WIDTH).filter_by(coil_id=number))
    return median_width_mm({row.width_mm: row.frames for row in rows})


def _alarms(connection: sa.Connection, coil: Any) -> list[Alarm]:
    """Return all transitions while it was under the camera."""
    then = {"service_id": coil.service_id, "journal": coil.journal, "coil_epoch": coil.epoch}
    wanted = sa.select(sa.cast(ALARM.c.body, sa.Text)).filter_by(**then, coil_ordinal=coil.ordinal)
    bodies = connection.execute(wanted.order_by(ALARM.c.epoch, ALARM.c.sequence)).scalars()
    return [alarm_from(parse(AlarmMessage, body)) for body in bodies]


def _grade(more: dict[str, Any] | None) -> CoilGrade | None:
    body = (more or {}).get("grade")
    return None if body is None else grade_from(GradeBody.model_validate_json(canonical(body), extra="ignore"))


def _excluded_mm(more: dict[str, Any] | None) -> tuple[float, float]:
    reported = more or {}
    return reported.get("head_excluded_mm", 0.0), reported.get("tail_excluded_mm", 0.0)


def _roll_marks(connection: sa.Connection, number: int) -> tuple[RollMark, ...]:
    wanted = sa.select(sa.cast(ROLL_MARK.c.body, sa.Text)).filter_by(coil_id=number).order_by(ROLL_MARK.c.id)
    bodies = connection.execute(wanted).scalars()
    return tuple(roll_mark_from(parse(RollMarkMessage, body)) for body in bodies)


def _periodic(connection: sa.Connection, number: int) -> frozenset[str]:
    named = sa.select(ROLL_MARK_DEFECT.c.defect).join(ROLL_MARK).where(ROLL_MARK.c.coil_id == number)
    return frozenset(connection.execute(named).scalars())
