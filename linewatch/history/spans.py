"""Joins neighbouring spans of strip, and sums the length that each engine inspected."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoverageSpan, Quality, StripArea
from linewatch.geometry import stretches


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
        if self._spans and (both := self._spans[-1].joined(span)) is not None:
            self._spans[-1] = both
        else:
            self._spans.append(span)
        if span.quality is not Quality.MISSED:
            for use in enumerate(engines):
                self._used_mm[use] = self._used_mm.get(use, 0.0) + span.length_mm

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
    along_mm = row.along_begin_mm, row.along_end_mm
    areas_mm2 = row.inspected_mm2, row.degraded_mm2, row.missed_mm2
    area = None if None in areas_mm2 else StripArea(*areas_mm2)
    cause = Cause(row.cause) if row.cause else None
    return CoverageSpan(row.first_line, row.lines, along_mm, Quality(row.quality), cause, area)


def stretches_of(spans: Iterable[CoverageSpan], quality: Quality) -> np.ndarray:
    """Return float64 (n, 2): the stretches in mm with that quality, disjoint and ascending."""
    stretches_mm = [span.along_mm for span in spans if span.quality is quality]
    return stretches.union(np.array(stretches_mm, np.float64).reshape(-1, 2))
