"""The alarm journal: every transition of an alarm that the history holds, the newest first, with filters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from linewatch.contracts.alarm import AlarmChange, Priority
from linewatch.history.queries import PAGE
from linewatch.history.tables import ALARM, SERVICE

MOST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class AlarmFilter:
    """What is asked for; a part that is None or empty asks for everything.

    text: is somewhere in the alarm's text, id, rule or coil, whatever the case of ASCII letters. by: the person or key
    whose command it was.
    """

    since_unix_ns: int | None = None
    until_unix_ns: int | None = None
    priorities: Sequence[Priority] = ()
    changes: Sequence[AlarmChange] = ()
    service: str | None = None
    rule: str | None = None
    coil: str | None = None
    by: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class AlarmTransition:
    """One transition. `number` is its number in the history; `body` the wire's message."""

    number: int
    service: str
    happened_unix_ns: int
    body: dict[str, Any]


def alarm_journal(
    connection: sa.Connection, wanted: AlarmFilter, *, before: int | None = None, limit: int = PAGE
) -> list[AlarmTransition]:
    """Return the newest transitions that the filter lets through, beginning before the one numbered `before`."""
    query = (
        sa.select(ALARM.c.id, ALARM.c.happened_unix_ns, ALARM.c.body, SERVICE.c.name.label("service"))
        .join(SERVICE)
        .where(*_conditions(wanted))
        .order_by(ALARM.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(ALARM.c.id < before)
    return [AlarmTransition(row.id, row.service, row.happened_unix_ns, row.body) for row in connection.execute(query)]


def alarm_rules(connection: sa.Connection) -> list[str]:
    """Return the names of the rules that have alarmed."""
    return list(connection.execute(sa.select(ALARM.c.rule).distinct().order_by(ALARM.c.rule)).scalars())


def _conditions(wanted: AlarmFilter) -> list[sa.ColumnElement[bool]]:
    body, found = ALARM.c.body, []
    command = body["command"]
    if wanted.since_unix_ns is not None:
        found.append(ALARM.c.happened_unix_ns >= wanted.since_unix_ns)
    if wanted.until_unix_ns is not None:
        found.append(ALARM.c.happened_unix_ns < wanted.until_unix_ns)
    if wanted.priorities:
        found.append(body["priority"].as_string().in_([one.value for one in wanted.priorities]))
    if wanted.changes:
        found.append(body["change"].as_string().in_([one.value for one in wanted.changes]))
    for column, value in ((SERVICE.c.name, wanted.service), (ALARM.c.rule, wanted.rule), (ALARM.c.coil, wanted.coil)):
        if value is not None:
            found.append(column == value)
    if wanted.by is not None:
        found.append(sa.or_(command["by"].as_string() == wanted.by, command["said_by"].as_string() == wanted.by))
    if wanted.text:
        text = wanted.text[:MOST_TEXT]
        places = body["text"].as_string(), ALARM.c.name, ALARM.c.rule, ALARM.c.coil
        found.append(sa.or_(*(place.icontains(text, autoescape=True) for place in places)))
    return found
