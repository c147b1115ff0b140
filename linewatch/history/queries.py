"""Queries of the history. Lists come in pages by key: a page costs the same wherever it lies in the list."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.defect_fields import PASSAGE_FIELDS, from_columns, from_flat, side_of
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import CoverageSpan, Defect, RunMask
from linewatch.history.spans import span_in
from linewatch.history.tables import ALARM, CLASS_COUNT, COIL, DEFECT, ENGINES, GAP, MASK, SERVICE, SPAN
from linewatch.wire.schema import decode_runs

PAGE: Final = 100
MAX_PAGE: Final = 10_000
_NAMED: Final = 8  # passages in an error
_AT_ONCE: Final = 500  # numbers in a query; SQLite binds 32,766 values


@dataclass(frozen=True, slots=True)
class CoilRow:
    """One passage of a coil under one camera. `passage` is its number; a coil id may have several passages."""

    passage: int
    coil: str
    service: str
    side: str
    camera: str
    begun_unix_ns: int
    ended_unix_ns: int | None  # None: still running, or cut off by the end of the service
    passed_mm: float
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    unrecorded_mm: float  # passed, but its frames could not be fetched from the service
    passed_mm2: float | None  # this and the next three: None where the service did not tell areas
    inspected_mm2: float | None
    degraded_mm2: float | None
    missed_mm2: float | None
    encoded: bool
    config: str
    grade: str | None  # None: not ended, or no grading rules
    defects_by_class: dict[str, int]
    alarms: int

    @property
    def inspected_share(self) -> float:
        """Share of the area that passed, or of the length where areas are not known; 0 if nothing passed."""
        if self.inspected_mm2 is not None and self.passed_mm2:
            return self.inspected_mm2 / self.passed_mm2
        return self.inspected_mm / self.passed_mm if self.passed_mm else 0.0


@dataclass(frozen=True, slots=True)
class DefectRow:
    """A defect as last reported. `number` is its number in the history, by which `linewatch label` names it."""

    number: int
    passage: int
    state: str
    defect: Defect
    more: dict[str, Any]  # fields of the message that this version has no column for


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span with the engines that inspected it, in the cascade's order."""

    span: CoverageSpan
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GapRow:
    """Messages [first, end) of a topic that the history could not fetch; end None: their number is not known."""

    service: str
    topic: str
    epoch: int
    first: int
    end: int | None
    reason: str
    noticed_unix_ns: int


def coils(
    connection: sa.Connection,
    coil: str | None = None,
    *,
    after: int | None = None,
    limit: int = PAGE,
    where: Sequence[sa.ColumnElement[bool]] = (),
) -> list[CoilRow]:
    """Return passages, the newest first: of one coil or of all, beginning after the passage numbered `after`.

    where: further conditions on the table of coils.
    """
    wanted = sa.select(COIL, SERVICE.c.name.label("service")).join(SERVICE).order_by(COIL.c.id.desc()).limit(limit)
    wanted = wanted.where(*where)
    if coil is not None:
        wanted = wanted.where(COIL.c.coil == coil)
    if after is not None:
        wanted = wanted.where(COIL.c.id < after)
    rows = connection.execute(wanted).all()
    numbers = [row.id for row in rows]
    counts: dict[int, dict[str, int]] = {number: {} for number in numbers}
    of_class = sa.select(CLASS_COUNT).where(CLASS_COUNT.c.coil_id.in_(numbers), CLASS_COUNT.c.defects > 0)
    for row in connection.execute(of_class.order_by(CLASS_COUNT.c.defect_class)):
        counts[row.coil_id][row.defect_class] = row.defects
    alarms = dict.fromkeys(numbers, 0)
    counted = (
        sa.select(COIL.c.id, sa.func.count(ALARM.c.name.distinct()).label("alarms"))
        .join(
            ALARM,
            sa.and_(
                *(ALARM.c[name] == COIL.c[name] for name in ("service_id", "journal", "coil")),
                ALARM.c.coil_epoch == COIL.c.epoch,
                ALARM.c.coil_ordinal == COIL.c.ordinal,
            ),
        )
        .where(COIL.c.id.in_(numbers), ALARM.c.state == AlarmState.RAISED)  # without alarms that were held back
        .group_by(COIL.c.id)
    )
    for row in connection.execute(counted):
        alarms[row.id] = row.alarms
    return [_coil(row, counts[row.id], alarms[row.id]) for row in rows]


def passages_of(connection: sa.Connection, coil: str) -> tuple[list[CoilRow], int]:
    """Return the newest passage of a coil under each camera and the number of older ones. HistoryError if none."""
    every = coils(connection, coil, limit=MAX_PAGE)
    if not every:
        raise HistoryError(f"no coil {coil!r} in this history; `linewatch coils` lists its coils")
    newest = {row.service: row for row in reversed(every)}
    return sorted(newest.values(), key=lambda row: row.passage), len(every) - len(newest)


def passage_of_each_camera(connection: sa.Connection, coil: str) -> list[CoilRow]:
    """Return the passage of a coil under each camera. Raises HistoryError for none, and for several under one."""
    newest, older = passages_of(connection, coil)
    if older:
        raise several_passages(coil, coils(connection, coil, limit=MAX_PAGE))
    return newest


def several_passages(coil: str, rows: Sequence[CoilRow]) -> HistoryError:
    """Return the error that asks for one of the passages."""
    begun = [datetime.fromtimestamp(row.begun_unix_ns / 1e9, UTC) for row in rows[:_NAMED]]
    named = [
        f"{row.passage} ({row.side}, {row.camera}, {at:%Y-%m-%d %H:%M} UTC)"
        for row, at in zip(rows, begun, strict=False)
    ]
    more = f" and {len(rows) - _NAMED} older ones" if len(rows) > _NAMED else ""
    return HistoryError(
        f"coil {coil!r} has {len(rows)} passages in this history: {', '.join(named)}{more}; name one by its number: "
        "--passage NUMBER, or history:#NUMBER"
    )


def passage(connection: sa.Connection, number: int) -> CoilRow:
    """Return the passage of that number. Raises HistoryError if there is none."""
    for row in coils(connection, after=number + 1, limit=1):
        if row.passage == number:
            return row
    raise HistoryError(f"no passage {number} in this history; `linewatch coils` lists its passages")


def defects(
    connection: sa.Connection,
    passages: Sequence[int],
    defect_class: str | None = None,
    *,
    after: int | None = None,
    limit: int = PAGE,
) -> list[DefectRow]:
    """Return the defects of passages, in order along each, beginning after the defect numbered `after`.

    Defects that merged into another are left out. Raises HistoryError when `after` is no defect of these passages.
    """
    ordered = sorted(passages)
    behind: tuple[float, int] | None = None
    if after is not None:
        at = connection.execute(sa.select(DEFECT.c.coil_id, DEFECT.c.along_begin_mm).filter_by(id=after)).first()
        if at is None or at.coil_id not in ordered:
            raise HistoryError(f"--after {after} is no defect of this coil; give the last one of the page before")
        ordered = ordered[ordered.index(at.coil_id) :]
        behind = at.along_begin_mm, after
    found: list[DefectRow] = []
    for number in ordered:
        passage_columns = connection.execute(sa.select(*(COIL.c[name] for name in PASSAGE_FIELDS)).filter_by(id=number))
        of_passage = passage_columns.one()._mapping
        wanted = (
            sa.select(DEFECT)
            .where(DEFECT.c.coil_id == number, DEFECT.c.merged_into.is_(None))
            .order_by(DEFECT.c.along_begin_mm, DEFECT.c.id)
            .limit(limit - len(found))
        )
        if defect_class is not None:
            wanted = wanted.where(DEFECT.c.defect_class == defect_class)
        if behind is not None:
            wanted = wanted.where(sa.tuple_(DEFECT.c.along_begin_mm, DEFECT.c.id) > sa.tuple_(*behind))
            behind = None
        for row in connection.execute(wanted):
            found.append(_defect(row, of_passage))
        if len(found) >= limit:
            break
    return found


def neighbours(connection: sa.Connection, of: DefectRow, within_mm: float, limit: int = 24) -> list[DefectRow]:
    """Return the defects of its passage that begin within so many mm of where it begins, the nearest first.

    limit: how many on each side of it are looked at.
    """
    begin_mm = of.defect.box.along_mm[0]
    of_coil = [COIL.c[name] for name in PASSAGE_FIELDS]
    here = sa.select(DEFECT, *of_coil).join(COIL).where(DEFECT.c.coil_id == of.passage, DEFECT.c.merged_into.is_(None))
    behind = here.where(DEFECT.c.along_begin_mm.between(begin_mm, begin_mm + within_mm))
    before = here.where(DEFECT.c.along_begin_mm >= begin_mm - within_mm, DEFECT.c.along_begin_mm < begin_mm)
    rows = [
        *connection.execute(behind.order_by(DEFECT.c.along_begin_mm, DEFECT.c.id).limit(limit + 1)),
        *connection.execute(before.order_by(DEFECT.c.along_begin_mm.desc(), DEFECT.c.id.desc()).limit(limit)),
    ]
    found = [_defect(row, row._mapping) for row in rows if row.id != of.number]
    return sorted(found, key=lambda one: (_apart_mm(one.defect, of.defect), one.number))[:limit]


def _apart_mm(one: Defect, other: Defect) -> float:
    """Return the distance between the middles of two defects."""
    middles = ((sum(one.box.along_mm), sum(one.box.across_mm)), (sum(other.box.along_mm), sum(other.box.across_mm)))
    return math.dist(*middles) / 2


def defect_rows(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[DefectRow]:
    """Yield the defects of these numbers that are stored, in no order."""
    of_coil = [COIL.c[name] for name in PASSAGE_FIELDS]
    for at in range(0, len(numbers), _AT_ONCE):
        some = DEFECT.c.id.in_(numbers[at : at + _AT_ONCE])
        for row in connection.execute(sa.select(DEFECT, *of_coil).join(COIL).where(some)):
            yield _defect(row, row._mapping)


def masks(connection: sa.Connection, defects: Sequence[int]) -> Iterator[tuple[int, RunMask]]:
    """Yield the parts of the defects' masks with the defect's number; the parts of one in the order they came in."""
    for at in range(0, len(defects), _AT_ONCE):
        wanted = (
            sa.select(MASK)
            .where(MASK.c.defect_id.in_(defects[at : at + _AT_ONCE]))
            .order_by(MASK.c.defect_id, MASK.c.part)
        )
        for row in connection.execute(wanted):
            yield row.defect_id, RunMask(row.first_line, decode_runs(zlib.decompress(row.packed)))


def spans(connection: sa.Connection, number: int) -> list[SpanRow]:
    """Return the spans of a passage in order along it."""
    wanted = sa.select(SPAN, ENGINES.c.identities).join(ENGINES).filter(SPAN.c.coil_id == number)
    return [
        SpanRow(span_in(row), tuple(row.identities.split("\n")) if row.identities else ())
        for row in connection.execute(wanted.order_by(SPAN.c.first_line))
    ]


def engines_at(connection: sa.Connection, number: int, along_mm: float) -> tuple[str, ...]:
    """Return the identities of the engines that inspected a place of a passage, in the cascade's order."""
    here = sa.select(ENGINES.c.identities).join(SPAN).where(SPAN.c.coil_id == number, SPAN.c.along_begin_mm <= along_mm)
    found = connection.execute(here.order_by(SPAN.c.first_line.desc()).limit(1)).scalar()
    return tuple(found.split("\n")) if found else ()


def gaps(connection: sa.Connection, limit: int = PAGE) -> list[GapRow]:
    """Return what could not be fetched from the services, the newest first."""
    wanted = sa.select(GAP, SERVICE.c.name.label("service")).join(SERVICE).order_by(GAP.c.id.desc()).limit(limit)
    return [
        GapRow(row.service, row.topic, row.epoch, row.first, row.end, row.reason, row.noticed_unix_ns)
        for row in connection.execute(wanted)
    ]


def _defect(row: Any, of_passage: Any) -> DefectRow:
    side = side_of(row.name, of_passage["coil"], of_passage["side"])
    defect = from_flat(from_columns({**row._mapping, **of_passage, "id": row.name, "side": side}))
    return DefectRow(row.id, row.coil_id, row.state, defect, row.more or {})


def _coil(row: Any, counts: dict[str, int], alarms: int) -> CoilRow:
    recorded_mm = row.inspected_mm + row.degraded_mm + row.missed_mm
    passed_mm = recorded_mm if row.passed_mm is None else row.passed_mm
    areas_mm2 = row.inspected_mm2, row.degraded_mm2, row.missed_mm2
    known = None not in areas_mm2
    passed_mm2 = (sum(areas_mm2) if row.passed_mm2 is None else row.passed_mm2) if known else None
    return CoilRow(
        passage=row.id,
        coil=row.coil,
        service=row.service,
        side=row.side,
        camera=row.camera,
        begun_unix_ns=row.begun_unix_ns,
        ended_unix_ns=row.ended_unix_ns,
        passed_mm=round(passed_mm, 3),
        inspected_mm=round(row.inspected_mm, 3),
        degraded_mm=round(row.degraded_mm, 3),
        missed_mm=round(row.missed_mm, 3),
        unrecorded_mm=max(0.0, round(passed_mm - recorded_mm, 1)),
        passed_mm2=None if passed_mm2 is None else round(passed_mm2, 3),
        inspected_mm2=round(row.inspected_mm2, 3) if known else None,
        degraded_mm2=round(row.degraded_mm2, 3) if known else None,
        missed_mm2=round(row.missed_mm2, 3) if known else None,
        encoded=row.encoded,
        config=row.config,
        grade=((row.more or {}).get("grade") or {}).get("grade"),
        defects_by_class=counts,
        alarms=alarms,
    )
