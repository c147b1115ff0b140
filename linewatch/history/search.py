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
    for number, count in connection.execute(of_rolls.group_by(ROLL_MARK.c.coil_id)):
        rolls[number] = count
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
    """Return what must hold of a row of the table of coils."""
    grade = COIL.c.more["grade"]
    told = {
        "text": lambda text: COIL.c.coil.icontains(text, autoescape=True, escape=_ESCAPE),
        "service": lambda name: COIL.c.service_id.in_(sa.select(SERVICE.c.id).where(SERVICE.c.name == name)),
        "side": lambda side: COIL.c.side == side,
        "grade": lambda name: grade["grade"].as_string().is_not_distinct_from(None if name == NOT_GRADED else name),
        "product": lambda name: grade["product"].as_string() == name,
        "defect_class": _has_class,
        "cause": _has_lost,
        "begun_from_ns": lambda begun_ns: COIL.c.begun_unix_ns >= begun_ns,
        "begun_to_ns": lambda begun_ns: COIL.c.begun_unix_ns < begun_ns,
        "worst_share": _lost_at_least,
        "roll_marks": lambda there: sa.exists().where(ROLL_MARK.c.coil_id == COIL.c.id).is_(there),
        "labelled": _LABELLED.is_,
        "ended": lambda ended: COIL.c.ended_unix_ns.is_not(None).is_(ended),
    }
    given = ((name, getattr(wanted, name)) for name in told)
    return [told[name](value) for name, value in given if value is not None]


_LABELLED: Final = sa.exists().where(LABEL.c.coil == COIL.c.coil, LABEL.c.begun_unix_ns == COIL.c.begun_unix_ns)


def _has_class(name: str) -> sa.ColumnElement[bool]:
    of_class = CLASS_COUNT.c.coil_id == COIL.c.id, CLASS_COUNT.c.defect_class == name
    return sa.exists().where(*of_class, CLASS_COUNT.c.called > 0)


def _has_lost(cause: str) -> sa.ColumnElement[bool]:
    """Say by the end's message, as spans are many; by the spans of a coil that runs."""
    names = "uninspected_mm2_by_cause", "missed_lines_by_cause"
    told_at_end = (COIL.c.more[name][cause].as_string().is_not(None) for name in names)
    of_span = sa.exists().where(SPAN.c.coil_id == COIL.c.id, SPAN.c.cause == cause)
    return sa.or_(*told_at_end, sa.and_(COIL.c.ended_unix_ns.is_(None), of_span))


def _lost_at_least(share: float) -> sa.ColumnElement[bool]:
    """Say by areas, or by lengths where areas are not known; of a coil that runs, of what passed so far."""
    lost_mm2, lost_mm = COIL.c.degraded_mm2 + COIL.c.missed_mm2, COIL.c.degraded_mm + COIL.c.missed_mm
    passed_mm2 = sa.func.coalesce(COIL.c.passed_mm2, lost_mm2 + COIL.c.inspected_mm2)
    passed_mm = sa.func.coalesce(COIL.c.passed_mm, lost_mm + COIL.c.inspected_mm)
    by_area = sa.and_(passed_mm2 > 0, lost_mm2 >= share * passed_mm2)
    return sa.or_(by_area, sa.and_(lost_mm2.is_(None), passed_mm > 0, lost_mm >= share * passed_mm))
