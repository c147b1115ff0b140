"""The queue of labels: defects of which a person's word teaches most, one key each."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from linewatch.history.labels import labels_by
from linewatch.history.search import choices
from linewatch.history.uncertain import QueueFilter, uncertain, waiting
from linewatch.hmi.coil_query import chosen, unix_ns
from linewatch.hmi.page import Answer, Asked, Data, Page, PageError
from linewatch.hmi.pages.defect import about, may_label
from linewatch.hmi.texts import N_

if TYPE_CHECKING:
    import sqlalchemy as sa

AT_ONCE: Final = 8
WITHOUT_AT_MOST: Final = 500
COUNTED_TO: Final = 200


async def _context(asked: Asked) -> Mapping[str, Any]:
    found = await asked.hmi.records.ask(choices) if asked.hmi.records.there else None
    return {"choices": found, "may_label": may_label(asked)}


async def _queue(asked: Asked) -> Answer:
    """The next defects, all that a page shows of each, how many wait, and how many this person has labelled today."""
    days, now = asked.number("days", 0, 0, 3660), datetime.now(asked.hmi.zone)
    of = QueueFilter(
        defect_class=chosen(asked.query, "class"),
        begun_from_ns=unix_ns(now - timedelta(days=days)) if days else None,
        passage=asked.number("passage", 0, 0, 1 << 53) or None,
    )
    without, limit = _numbers(asked.query.get("without", "")), asked.number("limit", AT_ONCE, 1, AT_ONCE)
    midnight_ns = unix_ns(datetime.combine(now.date(), time(), asked.hmi.zone))

    def read(connection: "sa.Connection") -> Mapping[str, Any]:
        rows = uncertain(connection, of, limit, without)
        return {
            "next": [about(connection, asked, row.number) for row in rows],
            "waiting": waiting(connection, of, COUNTED_TO),
            "counted_to": COUNTED_TO,
            "today": labels_by(connection, asked.person, midnight_ns) if asked.person else 0,
        }

    return await asked.hmi.records.ask(read)


def _numbers(text: str) -> frozenset[int]:
    parts = [part for part in text.split(",") if part]
    if len(parts) > WITHOUT_AT_MOST or not all(part.isdecimal() and len(part) < 17 for part in parts):
        raise PageError(400, N_("without: expected at most 500 numbers"))
    return frozenset(map(int, parts))


LABELS = Page("labels", "/labels", N_("Teach"), context=_context, data=(Data("/labels/queue", _queue),))
