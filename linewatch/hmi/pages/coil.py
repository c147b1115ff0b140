"""The page of one coil: its strip map to scale, its grade, the coverage that was lost by cause, and its report."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from linewatch.contracts.coil import file_name
from linewatch.contracts.errors import HistoryError
from linewatch.history.labels import labels_of
from linewatch.history.mapped import mapped
from linewatch.history.queries import defects, passage
from linewatch.history.rolls import roll_marks
from linewatch.history.search import CoilFacts, facts_of
from linewatch.hmi.page import Answer, Asked, Data, Page, PageError
from linewatch.hmi.record_json import coil_json, defect_json, roll_mark_json
from linewatch.hmi.texts import N_
from linewatch.hmi.worker import run_worker

if TYPE_CHECKING:
    import sqlalchemy as sa

DRAWN_AT_MOST: Final = 10_000
SPANS_AT_MOST: Final = 5_000
PER_PAGE: Final = 100
REPORT_S: Final = 25.0
REPORT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""A report carries its own style and pictures, and needs nothing else; it may run no script."""


async def _context(asked: Asked) -> Mapping[str, Any]:
    return {"coil": coil_json(await asked.hmi.records.ask(lambda connection: _facts(connection, number_of(asked))))}


async def _map(asked: Asked) -> Answer:
    """Everything that the map and the tables beside it show."""
    number = number_of(asked)

    def read(connection: "sa.Connection") -> Mapping[str, Any]:
        facts = _facts(connection, number)
        of_coil = mapped(connection, number, DRAWN_AT_MOST)
        longest = sorted(of_coil.spans, key=lambda span: -span.length_mm)[:SPANS_AT_MOST]
        return {
            "coil": coil_json(facts),
            "strip_mm": of_coil.strip_mm,
            "spans": [
                [*span.along_mm, span.quality, span.cause] for span in sorted(longest, key=lambda one: one.first_line)
            ],
            "other_spans": len(of_coil.spans) - len(longest),
            "lost": [[one.cause, one.degraded_mm, one.missed_mm] for one in of_coil.lost],
            "columns": of_coil.columns,
            "defects": of_coil.defects,
            "others": of_coil.others,
            "engines": of_coil.engines,
            "roll_marks": [roll_mark_json(row) for row in roll_marks(connection, passages=(number,))],
            "grade": of_coil.grade,
            "notes": of_coil.notes,
        }

    return await asked.hmi.records.ask(read)


async def _defects(asked: Asked) -> Answer:
    """A page of the defects in order along the coil."""
    number, after = number_of(asked), asked.number("after", 0, 0, 1 << 53) or None
    of_class = asked.query.get("class", "")[:128] or None

    def read(connection: "sa.Connection") -> Mapping[str, Any]:
        length_mm = passage(connection, number).passed_mm
        rows = defects(connection, [number], of_class, after=after, limit=PER_PAGE + 1)
        said = labels_of(connection, [row.number for row in rows])
        return {
            "defects": [defect_json(row, length_mm, said.get(row.number)) for row in rows[:PER_PAGE]],
            "more": len(rows) > PER_PAGE,
        }

    return await asked.hmi.records.ask(read)


async def _report(asked: Asked) -> Answer:
    """The report of `linewatch report`, made now."""
    facts, config = await _of_report(asked)
    with tempfile.TemporaryDirectory(prefix="linewatch-hmi-") as folder:
        page = Path(folder) / "report.html"
        await run_worker("linewatch.cli", *_named(facts, config), "--html", str(page), limit_s=REPORT_S)
        body = page.read_bytes()
    name = f"{file_name(facts.row.coil)}.html"
    headers = {"Content-Security-Policy": REPORT_POLICY, "Content-Disposition": f'inline; filename="{name}"'}
    return Response(body, media_type="text/html; charset=utf-8", headers=headers)


async def _of_report(asked: Asked) -> tuple[CoilFacts, Path]:
    number, config = number_of(asked), asked.hmi.settings.history
    facts = await asked.hmi.records.ask(lambda connection: _facts(connection, number))
    assert config is not None  # else there is no history to ask
    return facts, config


def _named(facts: CoilFacts, config: Path) -> tuple[str, ...]:
    return "report", "--passage", str(facts.row.passage), "--history", str(config)


def number_of(asked: Asked) -> int:
    """Return the passage that the address names. Raises PageError where no database could number one so."""
    number = int(asked.path["passage"])
    if not 0 < number < 1 << 53:
        raise PageError(404, N_("There is no such coil in the history."))
    return number


def _facts(connection: "sa.Connection", number: int) -> CoilFacts:
    try:
        (facts,) = facts_of(connection, [passage(connection, number)])
    except HistoryError as error:
        raise PageError(404, N_("There is no such coil in the history.")) from error
    return facts


COIL_PAGE = Page(
    "coil",
    "/coils/{passage:int}",
    N_("Coil"),
    context=_context,
    data=(
        Data("/coils/{passage:int}/map", _map),
        Data("/coils/{passage:int}/defects", _defects),
        Data("/coils/{passage:int}/report.html", _report),
    ),
)
