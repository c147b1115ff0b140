"""Inserts rows, and adds to rows that count."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa


def add_to_counts(
    connection: sa.Connection,
    table: sa.Table,
    keys: tuple[str, str],
    counted: str,
    changes: Mapping[tuple[int, Any], int],
) -> None:
    """Add the changes to the counts of `table`; make rows that are missing."""
    for key, change in changes.items():
        if change == 0:
            continue
        named = dict(zip(keys, key, strict=True))
        values = {counted: table.c[counted] + change}
        if connection.execute(sa.update(table).filter_by(**named).values(values)).rowcount == 0:
            connection.execute(sa.insert(table).values(**named, **{counted: change}))


def insert_row(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> int:
    """Insert a row and return its number."""
    key = connection.execute(sa.insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert these rows, if there are any."""
    if rows:
        connection.execute(sa.insert(table), rows)
