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

_DAY_NS: Final = 86_400 * 1_000_000_000
_FASTER: Final = 10.0  # than coils become too old by themselves
_LEAST_PER_S: Final = 1 / 3_600

log = structlog.get_logger()


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
    connection: sa.Connection, keep: KeepSettings, now_ns: int | None = None, allowance: AgeAllowance | None = None
) -> str | None:
    """Delete a part of the oldest coil if it must go; call again until it returns None.

    Returns "" after a part, the coil's id after the last part, None when no coil must go. The newest coil of every
    service is never deleted. Coils go in the order in which they were stored: one that a wrong clock dated ahead goes
    with those stored behind it. allowance: bounds what goes for its age; None: no bound.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    newest = sa.select(sa.func.max(COIL.c.id)).group_by(COIL.c.service_id)
    oldest = connection.execute(sa.select(COIL).where(COIL.c.id.not_in(newest)).order_by(COIL.c.id).limit(1)).first()
    if oldest is None:
        return None
    dated = connection.execute(
        sa.select(COIL.c.begun_unix_ns)
        .where(COIL.c.id.not_in(newest), COIL.c.begun_unix_ns <= now_ns + _DAY_NS)
        .order_by(COIL.c.id)
        .limit(1)
    ).scalar()
    too_old = dated is not None and dated < now_ns - keep.days * _DAY_NS
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
