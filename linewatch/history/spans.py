"""Joins neighbouring spans of strip, and sums the length that each engine inspected."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
        # What may be put right stays as it was told, so that another span of the same lines can take its place.
        if span.cause is not Cause.SILENT and self._spans and (both := self._spans[-1].joined(span)) is not None:
            self._spans[-1] = both
        else:
            self._spans.append(span)
        if span.quality is not Quality.MISSED:
            for use in enumerate(engines):
                self._used_mm[use] = self._used_mm.get(use, 0.0) + span.length_mm

    def put_right(self, corrections: Iterable[CoverageSpan]) -> None:
        """Put spans in the place of what was told of their lines before."""
        put_right(self._spans, corrections)

    @property
    def spans(self) -> tuple[CoverageSpan, ...]:
        """All spans, with neighbours of the same quality and cause joined."""
        joined: list[CoverageSpan] = []
        for span in self._spans:
            both = joined[-1].joined(span) if joined else None
            joined[len(joined) - (both is not None) :] = [both or span]
        return tuple(joined)

    @property
    def engines(self) -> tuple[EngineUse, ...]:
        """All engines, by place, then by name."""
        return tuple(EngineUse(name, place, round(mm, 3)) for (place, name), mm in sorted(self._used_mm.items()))


def put_right(spans: list[CoverageSpan], corrections: Iterable[CoverageSpan]) -> None:
    """Put spans in the place of those of the same lines, in a list of spans in order."""
    for span in corrections:
        first, stop = span.first_line, span.first_line + span.lines
        at = max(0, bisect.bisect_right(spans, first, key=lambda one: one.first_line) - 1)
        rest: list[CoverageSpan] = []
        while at < len(spans) and spans[at].first_line < stop:
            old = spans.pop(at)
            end = old.first_line + old.lines
            around = (old.first_line, min(first, end)), (max(stop, old.first_line), end)
            rest += [one for lines in around if (one := part_of(old, *lines)) is not None]
        spans[at:at] = sorted((*rest, span), key=lambda one: one.first_line)


def part_of(span: CoverageSpan, first: int, stop: int) -> CoverageSpan | None:
    """Return the lines [first, stop) of a span with their share of its area; None where it has none of them."""
    if stop <= first:
        return None
    share, pitch_mm = (stop - first) / span.lines, span.length_mm / span.lines
    begin_mm = span.along_mm[0] + (first - span.first_line) * pitch_mm
    area = span.area
    if area is not None:
        area = StripArea(area.inspected_mm2 * share, area.degraded_mm2 * share, area.missed_mm2 * share)
    along_mm = begin_mm, begin_mm + (stop - first) * pitch_mm
    return replace(
        span, first_line=first, lines=stop - first, along_mm=along_mm, area=area, uninspected_mm2=(), by_camera=()
    )


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
