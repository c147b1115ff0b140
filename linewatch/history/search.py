"""Finds passages by what is known of them, and what belongs to a passage in a list: grade, product, called defects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from linewatch.history.queries import PAGE, CoilRow, coils
from linewatch.history.tables import CLASS_COUNT, COIL, LABEL, ROLL_MARK, SERVICE, SPAN

NOT_GRADED: Final = "-"
"""What a filter names passages without a grade by: they have not ended, or the service has no grading rules."""
_ESCAPE: Final = "!"


@dataclass(frozen=True, slots=True)
class CoilFilter:
    """Which passages to find; None: whatever it is. Times are Unix nanoseconds, from included, to excluded.

    text: a part of the coil's id, whatever the case of its letters. worst_share: the share of the area, or of the
    length where areas are not known, that was not inspected is at least this. ended: False finds those that run.
    """

    text: str | None = None
    service: str | None = None
    side: str | None = None
    grade: str | None = None
    product: str | None = None
    defect_class: str | None = None
    cause: str | None = None
    begun_from_ns: int | None = None
    begun_to_ns: int | None = None
    worst_share: float | None = None
    roll_marks: bool | None = None
    labelled: bool | None = None
    ended: bool | None = None


@dataclass(frozen=True, slots=True)
class CoilFacts:
    """A passage in a list. called_by_class: its defects without tentative ones, each counted once."""

    row: CoilRow
    product: str
    customer: str
    called_by_class: dict[str, int]
    roll_marks: int
    uninspected_mm2_by_cause: dict[str, float]  # of a passage that has ended

    @property
    def called(self) -> int:
        """The number of called defects."""
        return sum(self.called_by_class.values())

    @property
    def inspected_km(self) -> float:
        """Length of strip that was inspected: the share of the area that was, of the length that passed."""
        return self.row.passed_mm * self.row.inspected_share / 1e6

    @property
    def called_per_km(self) -> float | None:
        """Called defects per kilometre of inspected strip; None where nothing was inspected."""
        return self.called / self.inspected_km if self.inspected_km > 0 else None


@dataclass(frozen=True, slots=True)
class Choices:
    """What the passages of a history differ in, for the choices of a filter; each sorted."""

    services: tuple[str, ...]
    sides: tuple[str, ...]
    grades: tuple[str, ...]
    products: tuple[str, ...]
    classes: tuple[str, ...]


def search(
    connection: sa.Connection, wanted: CoilFilter, *, after: int | None = None, limit: int = PAGE
) -> list[CoilFacts]:
    """Return the passages that fit, the newest first, beginning after the passage numbered `after`."""
    return facts_of(connection, coils(connection, after=after, limit=limit, where=_conditions(wanted)))


def facts_of(connection: sa.Connection, rows: Sequence[CoilRow]) -> list[CoilFacts]:
    """Return what belongs to these passages in a list, in their order."""
    numbers = [row.passage for row in rows]
    parts = (COIL.c.more["grade"], COIL.c.more["data"], COIL.c.more["uninspected_mm2_by_cause"])
    more = {row[0]: row[1:] for row in connection.execute(sa.select(COIL.c.id, *parts).where(COIL.c.id.in_(numbers)))}
    called: dict[int, dict[str, int]] = {number: {} for number in numbers}
    counted = sa.select(CLASS_COUNT).where(CLASS_COUNT.c.coil_id.in_(numbers), CLASS_COUNT.c.called > 0)
    for row in connection.execute(counted.order_by(CLASS_COUNT.c.called.desc(), CLASS_COUNT.c.defect_class)):
        called[row.coil_id][row.defect_class] = row.called
    rolls = dict.fromkeys(numbers, 0)
    of_rolls = sa.select(ROLL_MARK.c.coil_id, sa.func.count()).where(ROLL_MARK.c.coil_id.in_(numbers))
    rolls |= {number: count for number, count in connection.execute(of_rolls.group_by(ROLL_MARK.c.coil_id))}
    found = []
    for coil in rows:
        grade, data, causes = more[coil.passage]
        told = {"product": "", "customer": ""} | {k: v for k, v in (grade or data or {}).items() if v is not None}
        found.append(
            CoilFacts(
                row=coil,
                product=str(told["product"]),
                customer=str(told["customer"]),
                called_by_class=called[coil.passage],
                roll_marks=rolls[coil.passage],
                uninspected_mm2_by_cause=dict(causes or {}),
            )
        )
    return found


def choices(connection: sa.Connection) -> Choices:
    """Return what a filter can choose from."""

    def distinct(column: Any) -> tuple[str, ...]:
        found = connection.execute(sa.select(column).distinct()).scalars()
        return tuple(sorted({str(value) for value in found if value not in (None, "")}))

    grade = COIL.c.more["grade"]
    return Choices(
        services=distinct(SERVICE.c.name),
        sides=distinct(COIL.c.side),
        grades=distinct(grade["grade"].as_string()),
        products=distinct(grade["product"].as_string()),
        classes=distinct(CLASS_COUNT.c.defect_class),
    )


def _conditions(wanted: CoilFilter) -> list[sa.ColumnElement[bool]]:
    grade = COIL.c.more["grade"]
    found: list[sa.ColumnElement[bool]] = []
    if wanted.text:
        found.append(COIL.c.coil.icontains(wanted.text, autoescape=True, escape=_ESCAPE))
    if wanted.service is not None:
        found.append(COIL.c.service_id.in_(sa.select(SERVICE.c.id).where(SERVICE.c.name == wanted.service)))
    if wanted.side is not None:
        found.append(COIL.c.side == wanted.side)
    if wanted.grade == NOT_GRADED:
        found.append(grade["grade"].as_string().is_(None))
    elif wanted.grade is not None:
        found.append(grade["grade"].as_string() == wanted.grade)
    if wanted.product is not None:
        found.append(grade["product"].as_string() == wanted.product)
    if wanted.defect_class is not None:
        of_class = CLASS_COUNT.c.coil_id == COIL.c.id, CLASS_COUNT.c.defect_class == wanted.defect_class
        found.append(sa.exists().where(*of_class, CLASS_COUNT.c.called > 0))
    if wanted.cause is not None:
        told_at_end = (
            COIL.c.more[name][wanted.cause].as_string().is_not(None)
            for name in ("uninspected_mm2_by_cause", "missed_lines_by_cause")
        )
        of_span = sa.exists().where(SPAN.c.coil_id == COIL.c.id, SPAN.c.cause == wanted.cause)
        found.append(sa.or_(*told_at_end, sa.and_(COIL.c.ended_unix_ns.is_(None), of_span)))
    if wanted.begun_from_ns is not None:
        found.append(COIL.c.begun_unix_ns >= wanted.begun_from_ns)
    if wanted.begun_to_ns is not None:
        found.append(COIL.c.begun_unix_ns < wanted.begun_to_ns)
    if wanted.worst_share is not None:
        lost_mm2, all_mm2 = COIL.c.degraded_mm2 + COIL.c.missed_mm2, COIL.c.passed_mm2
        lost_mm, all_mm = COIL.c.degraded_mm + COIL.c.missed_mm, COIL.c.passed_mm
        told = sa.func.coalesce(all_mm2, lost_mm2 + COIL.c.inspected_mm2)
        passed = sa.func.coalesce(all_mm, lost_mm + COIL.c.inspected_mm)
        by_area = sa.and_(told > 0, lost_mm2 >= wanted.worst_share * told)
        by_length = sa.and_(lost_mm2.is_(None), passed > 0, lost_mm >= wanted.worst_share * passed)
        found.append(sa.or_(by_area, by_length))
    if wanted.roll_marks is not None:
        there = sa.exists().where(ROLL_MARK.c.coil_id == COIL.c.id)
        found.append(there if wanted.roll_marks else ~there)
    if wanted.labelled is not None:
        by_person = sa.exists().where(LABEL.c.coil == COIL.c.coil, LABEL.c.begun_unix_ns == COIL.c.begun_unix_ns)
        found.append(by_person if wanted.labelled else ~by_person)
    if wanted.ended is not None:
        found.append(COIL.c.ended_unix_ns.is_not(None) if wanted.ended else COIL.c.ended_unix_ns.is_(None))
    return found
