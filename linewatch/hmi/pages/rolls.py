"""The page of roll marks, by the roll that is suspected of them."""

from datetime import datetime, timedelta
from typing import Final

from linewatch.history.rolls import MARKS_AT_MOST, roll_marks
from linewatch.hmi.coil_query import unix_ns
from linewatch.hmi.page import Answer, Asked, Data, Page
from linewatch.hmi.record_json import roll_mark_json
from linewatch.hmi.texts import N_

DAYS: Final = 30


async def _marks(asked: Asked) -> Answer:
    """The rows of roll marks of so many days, the newest coil first."""
    begun_ns = unix_ns(datetime.now(asked.hmi.zone) - timedelta(days=asked.number("days", DAYS, 1, 1830)))
    rows = await asked.hmi.records.ask(
        lambda connection: roll_marks(connection, begun_from_ns=begun_ns, limit=MARKS_AT_MOST + 1)
    )
    return {"marks": [roll_mark_json(row) for row in rows[:MARKS_AT_MOST]], "more": len(rows) > MARKS_AT_MOST}


ROLLS = Page("rolls", "/rolls", N_("Rolls"), data=(Data("/rolls/marks", _marks),))
