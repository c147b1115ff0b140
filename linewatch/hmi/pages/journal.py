"""The alarm journal: every transition that the history holds, with filters, and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.responses import Response

from linewatch.contracts.alarm import AlarmChange, Priority
from linewatch.hmi.coil_query import YEARS, unix_ns
from linewatch.hmi.page import Answer, Asked, Data, Page, PageError
from linewatch.hmi.texts import N_

if TYPE_CHECKING:  # a page without a history needs no database
    from linewatch.history.alarm_journal import AlarmFilter, AlarmTransition

PAGE_ROWS: Final = 100
CSV_ROWS: Final = 50_000
_COLUMNS: Final = (
    "time",
    "unix_ms",
    "service",
    "priority",
    "change",
    "rule",
    "alarm",
    "text",
    "coil",
    "side",
    "camera",
    "along_m",
    "person",
    "key",
    "comment",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

E = TypeVar("E", bound=StrEnum)


async def _context(asked: Asked) -> Mapping[str, Any]:
    if not asked.hmi.records.there:
        return {"rules": []}
    from linewatch.history.alarm_journal import alarm_rules

    return {"rules": await asked.hmi.records.ask(alarm_rules)}


async def _rows(asked: Asked) -> Answer:
    before = asked.number("before", 0, 0, (1 << 62)) or None
    found = await _asked_for(asked, before, PAGE_ROWS)
    more = found[-1].number if len(found) == PAGE_ROWS else None
    return {"rows": [_shown(row) for row in found], "before": more}


async def _csv(asked: Asked) -> Answer:
    zone, found = asked.hmi.zone, await _asked_for(asked, None, CSV_ROWS)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in found:
        shown = _shown(row)
        time = datetime.fromtimestamp(shown["at_unix_ms"] / 1e3, zone).isoformat(timespec="milliseconds")
        values = {**shown, "time": time, "unix_ms": shown["at_unix_ms"]}
        writer.writerow([_cell(values[name]) for name in _COLUMNS])
    return Response(
        "\ufeff" + text.getvalue(),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="alarm-journal.csv"'},
    )


async def _asked_for(asked: Asked, before: int | None, limit: int) -> "list[AlarmTransition]":
    if not asked.hmi.records.there:
        raise PageError(404, N_("This page has no history: name its configuration by `history`."))
    from linewatch.history.alarm_journal import alarm_journal

    wanted = _filter(asked)
    return await asked.hmi.records.ask(lambda connection: alarm_journal(connection, wanted, before=before, limit=limit))


def _shown(row: "AlarmTransition") -> dict[str, Any]:
    body = row.body
    command = body.get("command") or {}
    return {
        "number": row.number,
        "at_unix_ms": row.happened_unix_ns // 1_000_000,
        "service": row.service,
        "priority": body["priority"],
        "change": body["change"],
        "rule": body["rule"],
        "alarm": body["id"],
        "text": body["text"],
        "coil": body["coil"],
        "side": body["side"],
        "camera": body["camera"],
        "along_m": round(body["along_mm"] / 1000, 3),
        "person": command.get("said_by") or command.get("by"),
        "key": command.get("by") if command.get("said_by") else None,
        "comment": command.get("comment") or None,
        "until_unix_ms": (body.get("shelved_until_unix_ns") or 0) // 1_000_000 or None,
    }


def _cell(value: Any) -> Any:
    """Return what a spreadsheet shows as it is, and runs never as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _filter(asked: Asked) -> "AlarmFilter":
    from linewatch.history.alarm_journal import AlarmFilter

    query = asked.query
    return AlarmFilter(
        since_unix_ns=_time(asked, "since"),
        until_unix_ns=_time(asked, "until"),
        priorities=_among(query.get("priority", ""), Priority),
        changes=_among(query.get("change", ""), AlarmChange),
        rule=query.get("rule", "")[:200] or None,
        coil=query.get("coil", "")[:200] or None,
        by=query.get("by", "")[:64] or None,
        text=query.get("text", "")[:200] or None,
    )


def _time(asked: Asked, name: str) -> int | None:
    """Return a time of the plant's zone, such as 2026-11-30T22:10, in nanoseconds since 1970."""
    text = asked.query.get(name, "")
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text[:32]).replace(tzinfo=asked.hmi.zone)
        if not YEARS[0] <= at.year < YEARS[1]:
            raise ValueError(text)
    except ValueError as error:
        raise PageError(400, N_("Write a time as 2026-11-30T22:10.")) from error
    return unix_ns(at)


def _among(text: str, kind: type[E]) -> Sequence[E]:
    try:
        return [kind(one) for one in text.split(",") if one]
    except ValueError as error:
        raise PageError(400, f"{text[:40]}: expected some of {', '.join(kind)}") from error


JOURNAL = Page(
    "journal",
    "/journal",
    N_("Journal"),
    context=_context,
    data=(Data("/journal/rows", _rows), Data("/journal/csv", _csv)),
)
