"""What many passages come to: per week of the plant, defects by class and length inspected, grades, coverage lost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from typing import Final

import sqlalchemy as sa

from linewatch.history.tables import CLASS_COUNT, COIL, ROLL_MARK, SERVICE

WEEKS_AT_MOST: Final = 260


@dataclass(frozen=True, slots=True)
class TrendFilter:
    """Which passages are added up; None: whatever it is."""

    service: str | None = None
    side: str | None = None
    product: str | None = None


@dataclass(slots=True)
class Week:
    """The passages that began in one week. begun: its Monday, 0 h in the plant's zone.

    inspected_km: length of strip of which the area was inspected. called: called defects by class. grades: passages by
    grade; "": not graded. lost_m2: degraded and missed area by cause, of passages that have ended.
    """

    begun: datetime
    passages: int = 0
    passed_km: float = 0.0
    inspected_km: float = 0.0
    passed_m2: float = 0.0
    called: Counter[str] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)
    lost_m2: Counter[str] = field(default_factory=Counter)
    roll_marks: int = 0

    def per_km(self, defect_class: str) -> float | None:
        """Return called defects of a class per kilometre inspected; None where nothing was."""
        return self.called[defect_class] / self.inspected_km if self.inspected_km > 0 else None


def weeks(connection: sa.Connection, zone: tzinfo, since: datetime, until: datetime, of: TrendFilter) -> list[Week]:
    """Return the weeks from that of `since` to that of `until`, both included, also those without a passage.

    Raises ValueError for more than `WEEKS_AT_MOST`.
    """
    found = {begin: Week(begin) for begin in _mondays(zone, since, until)}
    first_ns = int(min(found).timestamp() * 1e9)
    end = datetime.combine(max(found).date() + timedelta(days=7), time(), zone)
    here = _where(first_ns, int(end.timestamp() * 1e9), of)
    week_of: dict[int, Week] = {}
    shares = ("passed_mm", "inspected_mm", "degraded_mm", "missed_mm", "passed_mm2", "inspected_mm2")
    columns = [COIL.c[name] for name in ("id", "begun_unix_ns", *shares)]
    told = COIL.c.more["grade"]["grade"].as_string(), COIL.c.more["uninspected_mm2_by_cause"]
    for row in connection.execute(sa.select(*columns, *told).where(*here)):
        number, begun_ns, passed_mm, inspected_mm, degraded_mm, missed_mm, passed_mm2, inspected_mm2, grade, lost = row
        week = week_of[number] = found[_monday(datetime.fromtimestamp(begun_ns / 1e9, zone))]
        passed_mm = inspected_mm + degraded_mm + missed_mm if passed_mm is None else passed_mm
        by_area = inspected_mm2 is not None and passed_mm2
        share = inspected_mm2 / passed_mm2 if by_area else inspected_mm / passed_mm if passed_mm else 0.0
        week.passages += 1
        week.passed_km += passed_mm / 1e6
        week.inspected_km += passed_mm * share / 1e6
        week.passed_m2 += (passed_mm2 or 0.0) / 1e6
        week.grades[grade or ""] += 1
        for cause, mm2 in (lost or {}).items():
            week.lost_m2[cause] += mm2 / 1e6
    counted = sa.select(CLASS_COUNT.c.coil_id, CLASS_COUNT.c.defect_class, CLASS_COUNT.c.called).join(COIL)
    for number, defect_class, called in connection.execute(counted.where(*here, CLASS_COUNT.c.called > 0)):
        week_of[number].called[defect_class] += called
    rolls = sa.select(ROLL_MARK.c.coil_id, sa.func.count()).join(COIL).where(*here).group_by(ROLL_MARK.c.coil_id)
    for number, count in connection.execute(rolls):
        week_of[number].roll_marks += count
    return list(found.values())


def _where(first_ns: int, end_ns: int, of: TrendFilter) -> list[sa.ColumnElement[bool]]:
    found = [COIL.c.begun_unix_ns >= first_ns, COIL.c.begun_unix_ns < end_ns]
    if of.service is not None:
        found.append(COIL.c.service_id.in_(sa.select(SERVICE.c.id).where(SERVICE.c.name == of.service)))
    if of.side is not None:
        found.append(COIL.c.side == of.side)
    if of.product is not None:
        found.append(COIL.c.more["grade"]["product"].as_string() == of.product)
    return found


def _monday(at: datetime) -> datetime:
    """Return when the week of a time began, by the days of its zone."""
    return datetime.combine(at.date() - timedelta(days=at.weekday()), time(), at.tzinfo)


def _mondays(zone: tzinfo, since: datetime, until: datetime) -> Iterator[datetime]:
    begin, last = _monday(since.astimezone(zone)), _monday(until.astimezone(zone))
    if begin > last:
        raise ValueError("the time begins after it ends")
    for _ in range(WEEKS_AT_MOST):
        if begin > last:
            return
        yield begin
        begin = datetime.combine(begin.date() + timedelta(days=7), time(), zone)
    if begin <= last:
        raise ValueError(f"more than {WEEKS_AT_MOST} weeks: choose a shorter time")
