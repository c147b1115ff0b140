"""The page of trends: defects per kilometre by class, grades, and coverage lost by cause, week by week."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from linewatch.history.search import choices
from linewatch.history.trends import TrendFilter, Week, weeks
from linewatch.hmi.coil_query import chosen, day
from linewatch.hmi.page import Answer, Asked, Data, Page, PageError
from linewatch.hmi.texts import N_

WEEKS_SHOWN: Final = 26


async def _context(asked: Asked) -> Mapping[str, Any]:
    return {"choices": await asked.hmi.records.ask(choices) if asked.hmi.records.there else None}


async def _weeks(asked: Asked) -> Answer:
    """The weeks from one day to another, the last half year where none are given."""
    zone = asked.hmi.zone
    until = day(asked.query, "to", zone) or datetime.now(zone)
    since = day(asked.query, "from", zone) or until - timedelta(weeks=WEEKS_SHOWN - 1)
    of = TrendFilter(
        service=chosen(asked.query, "service"),
        side=chosen(asked.query, "side"),
        product=chosen(asked.query, "product"),
    )
    try:
        found = await asked.hmi.records.ask(lambda connection: weeks(connection, zone, since, until, of))
    except (ValueError, OverflowError) as error:
        raise PageError(400, N_("Choose a time of at most five years, from its first day to its last.")) from error
    return {"weeks": [_json(week) for week in found]}


def _json(week: Week) -> Mapping[str, Any]:
    return {
        "begun": week.begun.date().isoformat(),
        "passages": week.passages,
        "passed_km": week.passed_km,
        "inspected_km": week.inspected_km,
        "passed_m2": week.passed_m2,
        "called": dict(week.called),
        "per_km": {name: week.per_km(name) for name in week.called},
        "grades": dict(week.grades),
        "lost_m2": dict(week.lost_m2),
        "roll_marks": week.roll_marks,
    }


TRENDS = Page("trends", "/trends", N_("Trends"), context=_context, data=(Data("/trends/weeks", _weeks),))
