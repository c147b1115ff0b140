"""Joins neighbouring spans of strip, and sums the length that each engine inspected."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.geometry import stretches

_TOUCHING_MM = 0.0015
"""Ends of spans are rounded to 0.001 mm."""


@dataclass(frozen=True, slots=True)
class EngineUse:
    """An engine, its place in the cascade, and the length that was not missed while it served."""

    engine: str
    place: int
    length_mm: float


class Coverage:
    """Gathers the spans of a passage in order along it, each with its engines in the cascade's order."""

    def __init__(self) -> None:
        self._spans: list[CoverageSpan] = []
        self._used_mm: dict[tuple[int, str], float] = {}

    def add(self, span: CoverageSpan, engines: Iterable[str]) -> None:
        """Add the next span."""
        if self._spans and (both := joined(self._spans[-1], span)) is not None:
            self._spans[-1] = both
        else:
            self._spans.append(span)
        if span.quality is not Quality.MISSED:
            for use in enumerate(engines):
                self._used_mm[use] = self._used_mm.get(use, 0.0) + span.along_mm[1] - span.along_mm[0]

    @property
    def spans(self) -> tuple[CoverageSpan, ...]:
        """All spans, with neighbours of the same quality and cause joined."""
        return tuple(self._spans)

    @property
    def engines(self) -> tuple[EngineUse, ...]:
        """All engines, by place, then by name."""
        return tuple(EngineUse(name, place, round(mm, 3)) for (place, name), mm in sorted(self._used_mm.items()))


def span_in(row: Any) -> CoverageSpan:
    """Return the span of a row of the history's table."""
    cause = Cause(row.cause) if row.cause else None
    return CoverageSpan(row.first_line, row.lines, (row.along_begin_mm, row.along_end_mm), Quality(row.quality), cause)


def joined(before: CoverageSpan, span: CoverageSpan) -> CoverageSpan | None:
    """Return both as one span if `span` begins where `before` ends with the same quality and cause, else None."""
    touches = before.first_line + before.lines == span.first_line
    touches = touches and abs(before.along_mm[1] - span.along_mm[0]) < _TOUCHING_MM
    if not touches or (before.quality, before.cause) != (span.quality, span.cause):
        return None
    return replace(before, lines=before.lines + span.lines, along_mm=(before.along_mm[0], span.along_mm[1]))


def stretches_of(spans: Iterable[CoverageSpan], quality: Quality) -> np.ndarray:
    """Return float64 (n, 2): the stretches in mm with that quality, disjoint and ascending."""
    stretches_mm = [span.along_mm for span in spans if span.quality is quality]
    return stretches.union(np.array(stretches_mm, np.float64).reshape(-1, 2))
