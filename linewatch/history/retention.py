"""Deletes the oldest coils when they are too old or the database is too large; labels stay."""

import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
import structlog

from linewatch.config.history import KeepSettings
from linewatch.history.database import used_mb
from linewatch.history.tables import ALARM, COIL, DEFECT, MASK, SPAN

STEP_ROWS: Final = 5_000
"""How many rows one transaction deletes; the history stores nothing for this tenth of a second."""

LOOK_EVERY_S: Final = 3_600.0
"""How often it is worked out anew which coils are too old: with 365,000 coils that takes a second."""

_DAY_NS: Final = 86_400 * 1_000_000_000
_FASTER: Final = 10.0  # than coils become too old by themselves
_LEAST_PER_S: Final = 1 / 3_600

log = structlog.get_logger()


def newest_too_old(connection: sa.Connection, days: float, now_ns: int) -> int:
    """Return the number of the newest coil that is older than `days`; 0: there is none.

    A coil's age is what passed since it was stored, added up from coil to coil of one service by their dates, and up to
    now; of several services the one counts that tells the most. From one coil to the next counts as a tenth of `days`
    at most (or a day, which is more), and as nothing where the dates run backwards. So a clock that is wrong by years
    makes a store older by a tenth only, and a coil with a wrong date neither goes early nor holds up others.
    """
    longest = _longest_ns(days)
    following = sa.func.lead(COIL.c.begun_unix_ns, 1, now_ns).over(partition_by=COIL.c.service_id, order_by=COIL.c.id)
    dated = sa.select(COIL.c.id, COIL.c.service_id, (following - COIL.c.begun_unix_ns).label("passed_ns")).subquery()
    passed = dated.c.passed_ns
    counted = sa.case((passed < 0, 0), (passed > longest, longest), else_=passed)
    age = sa.func.sum(counted).over(partition_by=dated.c.service_id, order_by=dated.c.id.desc())
    aged = sa.select(dated.c.id, age.label("age_ns")).subquery()
    found = connection.execute(sa.select(sa.func.max(aged.c.id)).where(aged.c.age_ns >= int(days * _DAY_NS)))
    return int(found.scalar() or 0)


def _longest_ns(days: float) -> int:
    """Return how much time may count from one coil to the next."""
    return max(_DAY_NS, int(days * _DAY_NS / 10))


class Ages:
    """Which coils are too old, worked out once an hour; used by one thread."""

    def __init__(self, days: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """now_s: a clock that never steps."""
        self._days, self._now_s = days, now_s
        self._too_old = 0
        self._looked_s: float | None = None

    def newest_too_old(self, connection: sa.Connection, now_ns: int) -> int:
        """Return the number of the newest coil that is too old, an hour late at most; 0: there is none."""
        now_s = self._now_s()
        if self._looked_s is None or now_s - self._looked_s >= LOOK_EVERY_S:
            self._too_old = newest_too_old(connection, self._days, now_ns)
            self._looked_s = now_s
            self._tell_of_clock(connection, now_ns)
        return self._too_old

    def _tell_of_clock(self, connection: sa.Connection, now_ns: int) -> None:
        begun_ns = connection.execute(sa.select(COIL.c.begun_unix_ns).order_by(COIL.c.id.desc()).limit(1)).scalar()
        if begun_ns is not None and not -_DAY_NS <= now_ns - begun_ns <= _longest_ns(self._days):
            log.warning(
                "clock_implausible",
                newest_coil_days_ago=round((now_ns - begun_ns) / _DAY_NS, 1),
                counts_as_days=_longest_ns(self._days) / _DAY_NS if now_ns > begun_ns else 0,
                check="the clocks of this host and the service, if coils came since",
            )


class AgeAllowance:
    """How many coils may go for their age: ten times as many as a store of this size and age loses in the time.

    A clock that is wrong by years makes everything too old at once. With this it costs little until somebody reads the
    log, and a history that stood still catches up all the same.
    """

    def __init__(self, days: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """now_s: a clock that never steps."""
        self._days, self._now_s = days, now_s
        self._left, self._since_s = 1.0, now_s()
        self._told_s: float | None = None

    def allows(self, stored: int) -> bool:
        """Return whether another one of so many stored coils may go now."""
        now_s = self._now_s()
        per_s = max(_LEAST_PER_S, _FASTER * stored / (self._days * 86_400))
        self._left = min(max(1.0, 3_600 * per_s), self._left + (now_s - self._since_s) * per_s)
        self._since_s = now_s
        if self._left >= 1.0:
            return True
        if self._told_s is None or now_s - self._told_s >= 86_400:
            self._told_s = now_s
            log.warning(
                "expiry_slowed", stored=stored, days=self._days, check="the clocks of this host and the service"
            )
        return False

    def spend(self) -> None:
        """Count a coil that has gone."""
        self._left -= 1.0


def expire_step(
    connection: sa.Connection,
    keep: KeepSettings,
    now_ns: int | None = None,
    allowance: AgeAllowance | None = None,
    ages: Ages | None = None,
) -> str | None:
    """Delete a part of the oldest coil if it must go; call again until it returns None.

    Returns "" after a part, the coil's id after the last part, None when no coil must go. The newest coil of every
    service is never deleted. Coils go in the order in which they were stored. allowance: bounds what goes for its age;
    None: no bound. ages: of this history, for calls again and again; None: they are worked out by this call.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    newest = sa.select(sa.func.max(COIL.c.id)).group_by(COIL.c.service_id)
    oldest = connection.execute(sa.select(COIL).where(COIL.c.id.not_in(newest)).order_by(COIL.c.id).limit(1)).first()
    if oldest is None:
        return None
    too_old = oldest.id <= (ages or Ages(keep.days)).newest_too_old(connection, now_ns)
    if too_old and allowance is not None:
        too_old = allowance.allows(connection.execute(sa.select(sa.func.count()).select_from(COIL)).scalar() or 0)
    if not too_old and (keep.max_mb is None or used_mb(connection) <= keep.max_mb):
        return None
    defects = sa.select(DEFECT.c.id).filter_by(coil_id=oldest.id).limit(STEP_ROWS)
    some = connection.execute(defects).scalars().all()
    if some:
        first, last = min(some), max(some)
        within = sa.and_(DEFECT.c.id.between(first, last), DEFECT.c.coil_id == oldest.id)
        connection.execute(sa.delete(MASK).where(MASK.c.defect_id.in_(sa.select(DEFECT.c.id).where(within))))
        deleted = connection.execute(sa.delete(DEFECT).where(within)).rowcount
        if deleted >= STEP_ROWS:
            return ""
    connection.execute(sa.delete(SPAN).filter_by(coil_id=oldest.id))
    connection.execute(
        sa.delete(ALARM).filter_by(
            service_id=oldest.service_id, journal=oldest.journal, coil_epoch=oldest.epoch, coil_ordinal=oldest.ordinal
        )
    )
    connection.execute(sa.delete(COIL).filter_by(id=oldest.id))
    if allowance is not None:
        allowance.spend()
    return str(oldest.coil)
