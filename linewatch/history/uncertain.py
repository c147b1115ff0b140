"""The defects of which a person's word teaches most: those whose probability is nearest to even (active learning).

Uncertainty sampling after Lewis and Gale (1994), "A Sequential Algorithm for Training Text Classifiers": the
probability is calibrated, so a half is where the engine knows least. Only defects with a stored picture are asked for:
without one a person cannot tell either.
"""

from collections.abc import Generator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa

from linewatch.history.queries import DefectRow, defect_rows
from linewatch.history.tables import CLASS_COUNT, COIL, DEFECT, IMAGE, LABEL

EVEN: Final = 0.5
_ROWS_AT_ONCE: Final = 32
_FEW: Final = 0.1  # of all coils
FEW_PICTURES: Final = 5_000

_PICTURED: Final = DEFECT.alias("pictured")


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which defects are asked for; None: whatever it is."""

    defect_class: str | None = None
    begun_from_ns: int | None = None
    passage: int | None = None


def uncertain(
    connection: sa.Connection, of: QueueFilter, limit: int, without: frozenset[int] = frozenset()
) -> list[DefectRow]:
    """Return unlabelled defects with a picture, the least certain first. without: numbers that are left out.

    A defect that was closed in parts is asked for by its first part. Few coils, or few pictures, are searched whole.
    Else the index gives the defects of one class in order, from a half on upwards and downwards: these orders are
    merged, and only as many rows are read as are asked for.
    """
    classes, pictures = _classes(connection, of), _pictures_are_few(connection)
    few = pictures or _are_few(connection, of)
    halves = (
        (DEFECT.c.probability >= EVEN, (DEFECT.c.probability, DEFECT.c.id)),
        (DEFECT.c.probability < EVEN, (DEFECT.c.probability.desc(), DEFECT.c.id.desc())),
    )
    if few:
        distance = sa.func.abs(DEFECT.c.probability - EVEN)
        wanted = [_wanted(of, name, few, pictures).order_by(distance).limit(limit + len(without)) for name in classes]
    else:
        wanted = [
            _wanted(of, name, few, pictures).where(half).order_by(*order) for name in classes for half, order in halves
        ]
    orders = [_ordered(connection, one) for one in wanted]
    nearest = merge(*orders, key=lambda row: abs(row.probability - EVEN))
    numbers = [row.id for row in islice((row for row in nearest if row.id not in without), limit)]
    for order in orders:
        order.close()
    rows = {row.number: row for row in defect_rows(connection, numbers)}
    return [rows[number] for number in numbers]


def waiting(connection: sa.Connection, of: QueueFilter, at_most: int) -> int:
    """Return how many defects wait for a label, counted up to `at_most`."""
    found, pictures = 0, _pictures_are_few(connection)
    few = pictures or _are_few(connection, of)
    for name in _classes(connection, of):
        some = _wanted(of, name, few, pictures).with_only_columns(DEFECT.c.id).limit(at_most - found).subquery()
        found += connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
        if found >= at_most:
            break
    return found


def _classes(connection: sa.Connection, of: QueueFilter) -> list[str]:
    if of.defect_class is not None:
        return [of.defect_class]
    named = sa.select(CLASS_COUNT.c.defect_class).distinct()
    if of.passage is not None:
        named = named.where(CLASS_COUNT.c.coil_id == of.passage)
    return list(connection.execute(named.order_by(CLASS_COUNT.c.defect_class)).scalars())


def _are_few(connection: sa.Connection, of: QueueFilter) -> bool:
    """Return whether the coils are so few that all of their defects are looked at sooner than the ordered ones."""
    if of.begun_from_ns is None:
        return of.passage is not None
    recent, every = (
        connection.execute(sa.select(sa.func.count()).select_from(COIL).where(*where)).scalar_one()
        for where in ([COIL.c.begun_unix_ns >= of.begun_from_ns], [])
    )
    return recent < _FEW * every


def _pictures_are_few(connection: sa.Connection) -> bool:
    """Return whether the pictures are so few that hardly any of the ordered defects would have one."""
    some = sa.select(IMAGE.c.id).limit(FEW_PICTURES + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() <= FEW_PICTURES


def _ordered(connection: sa.Connection, wanted: sa.Select[Any]) -> Generator[Any]:
    """Yield the rows, fetched as they are needed."""
    with connection.execute(wanted, execution_options={"yield_per": _ROWS_AT_ONCE}) as found:
        yield from found


def _wanted(of: QueueFilter, defect_class: str, few: bool, pictures: bool) -> sa.Select[Any]:
    """Return the statement. few: by the coils' index; else by that of the probability, which `+ 0` keeps SQLite to.

    pictures: they are few, and the defects are found by them.
    """
    pictured = sa.exists().where(IMAGE.c.coil_id == DEFECT.c.coil_id, IMAGE.c.name == DEFECT.c.name)
    labelled = sa.exists().where(LABEL.c.defect_id == DEFECT.c.id)
    of_class = (DEFECT.c.defect_class + "" if few else DEFECT.c.defect_class) == defect_class
    found = sa.select(DEFECT.c.id, DEFECT.c.probability).where(
        of_class,
        DEFECT.c.merged_into.is_(None),
        DEFECT.c.part_of.is_(None),
        pictured,
        ~labelled,
    )
    if pictures:
        of_picture = sa.and_(IMAGE.c.coil_id == _PICTURED.c.coil_id, IMAGE.c.name == _PICTURED.c.name)
        found = found.where(DEFECT.c.id.in_(sa.select(_PICTURED.c.id).select_from(IMAGE.join(_PICTURED, of_picture))))
    coil = DEFECT.c.coil_id if few else DEFECT.c.coil_id + 0
    if of.passage is not None:
        found = found.where(coil == of.passage)
    if of.begun_from_ns is not None:
        found = found.where(coil.in_(sa.select(COIL.c.id).where(COIL.c.begun_unix_ns >= of.begun_from_ns)))
    return found
