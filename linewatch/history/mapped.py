"""A passage as a map shows it: the strip's edges, what was not inspected, and its defects, the worst first."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from linewatch.contracts.bounds import IntervalMm
from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.history.queries import spans
from linewatch.history.spans import Coverage
from linewatch.history.tables import COIL, DEFECT

_COLUMNS: Final = (
    *("id", "defect_class", "severity", "tentative", "along_begin_mm", "along_end_mm", "across_begin_mm"),
    *("across_end_mm", "probability"),
)


@dataclass(frozen=True, slots=True)
class LostLength:
    """What was not inspected for one cause: lengths along the strip by their main cause."""

    cause: str
    degraded_mm: float
    missed_mm: float


@dataclass(frozen=True, slots=True)
class MappedCoil:
    """A passage from above. strip_mm: its outermost edges; None: no strip was seen.

    spans: in order, those that were not inspected. defects: rows in the order of `columns`, the worst first. others:
    how many more defects it has. engines: the identities that served on it. grade: as the service told it at the end,
    a message's body. notes: remarks of the service.
    """

    strip_mm: IntervalMm | None
    spans: tuple[CoverageSpan, ...]
    lost: tuple[LostLength, ...]
    defects: tuple[tuple[object, ...], ...]
    others: int
    engines: tuple[str, ...]
    grade: Mapping[str, Any] | None
    notes: tuple[str, ...]
    columns: tuple[str, ...] = _COLUMNS


def mapped(connection: sa.Connection, passage: int, at_most: int) -> MappedCoil:
    """Return the passage of that number, which must exist, with `at_most` of its defects."""
    told = COIL.c.more["grade"].label("grade"), COIL.c.more["notes"].label("notes")
    edges = COIL.c.strip_left_mm, COIL.c.strip_right_mm
    coil = connection.execute(sa.select(*edges, *told).filter_by(id=passage)).one()
    coverage = Coverage()
    for row in spans(connection, passage):
        coverage.add(row.span, row.engines)
    here = DEFECT.c.coil_id == passage, DEFECT.c.merged_into.is_(None)
    worst = sa.func.coalesce(DEFECT.c.severity, 0).desc(), DEFECT.c.area_mm2.desc(), DEFECT.c.id
    wanted = sa.select(*(DEFECT.c[name] for name in _COLUMNS)).where(*here)
    found = connection.execute(wanted.order_by(DEFECT.c.tentative, *worst).limit(at_most)).all()
    count = len(found)
    if count == at_most:
        count = connection.execute(sa.select(sa.func.count()).select_from(DEFECT).where(*here)).scalar_one()
    uninspected = tuple(span for span in coverage.spans if span.quality is not Quality.INSPECTED)
    return MappedCoil(
        strip_mm=None if coil.strip_left_mm is None else (coil.strip_left_mm, coil.strip_right_mm),
        spans=uninspected,
        lost=_lost(uninspected),
        defects=tuple(tuple(row) for row in found),
        others=count - len(found),
        engines=tuple(use.engine for use in coverage.engines),
        grade=coil.grade,
        notes=tuple(coil.notes or ()),
    )


def _lost(spans: tuple[CoverageSpan, ...]) -> tuple[LostLength, ...]:
    lengths: defaultdict[str, dict[Quality, float]] = defaultdict(dict)
    for span in spans:
        of = lengths[span.cause.value if span.cause else ""]
        of[span.quality] = of.get(span.quality, 0.0) + span.length_mm
    found = (LostLength(c, of.get(Quality.DEGRADED, 0.0), of.get(Quality.MISSED, 0.0)) for c, of in lengths.items())
    return tuple(sorted(found, key=lambda one: -(one.degraded_mm + one.missed_mm)))
