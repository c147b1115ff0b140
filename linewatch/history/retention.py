"""Deletes the oldest coils when they are too old or the database is too large; labels stay."""

import time
from typing import Final

import sqlalchemy as sa

from linewatch.config.history import KeepSettings
from linewatch.history.database import used_mb
from linewatch.history.tables import ALARM, COIL, DEFECT, MASK, SPAN

STEP_ROWS: Final = 5_000
"""How many rows one transaction deletes; the history stores nothing for this tenth of a second."""

_DAY_NS: Final = 86_400 * 1_000_000_000


def expire_step(connection: sa.Connection, keep: KeepSettings, now_ns: int | None = None) -> str | None:
    """Delete a part of the oldest coil if it must go; call again until it returns None.

    Returns "" after a part, the coil's id after the last part, None when no coil must go. The newest coil of every
    service is never deleted.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    newest = sa.select(sa.func.max(COIL.c.id)).group_by(COIL.c.service_id)
    oldest = connection.execute(sa.select(COIL).where(COIL.c.id.not_in(newest)).order_by(COIL.c.id).limit(1)).first()
    if oldest is None:
        return None
    too_old = oldest.begun_unix_ns < now_ns - keep.days * _DAY_NS
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
    return str(oldest.coil)
