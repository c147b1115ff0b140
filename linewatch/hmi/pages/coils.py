"""The page of coils: every passage of the history, found by what is known of it."""

from collections.abc import Mapping
from typing import Any

from linewatch.contracts.frame import Cause
from linewatch.history.queries import MAX_PAGE, gaps
from linewatch.history.search import NOT_GRADED, choices, search
from linewatch.hmi.coil_query import coil_filter
from linewatch.hmi.page import Answer, Asked, Data, Page
from linewatch.hmi.record_json import coil_json
from linewatch.hmi.texts import N_

PER_PAGE = 100


async def _context(asked: Asked) -> Mapping[str, Any]:
    if not asked.hmi.records.there:
        return {"choices": None}
    return {
        "choices": await asked.hmi.records.ask(choices),
        "causes": [cause.value for cause in Cause],
        "not_graded": NOT_GRADED,
    }


async def _found(asked: Asked) -> Answer:
    """A page of the passages that fit, the newest first, and whether there are more behind them."""
    wanted = coil_filter(asked.query, asked.hmi.zone)
    after = asked.number("after", 0, 0, 1 << 53) or None
    limit = asked.number("limit", PER_PAGE, 1, MAX_PAGE)
    rows, lost = await asked.hmi.records.ask(
        lambda connection: (search(connection, wanted, after=after, limit=limit + 1), gaps(connection, limit=1))
    )
    return {
        "coils": [coil_json(row) for row in rows[:limit]],
        "more": len(rows) > limit,
        "incomplete": bool(lost),
    }


COILS = Page("coils", "/coils", N_("Coils"), context=_context, data=(Data("/coils/found", _found),))
