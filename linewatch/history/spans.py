"""How strip was looked at: neighbouring spans in one, and what each engine looked at."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.geometry import stretches

_TOUCHING_MM = 0.0015
"""Ends of spans are rounded to 0.001 mm."""


@dataclass(frozen=True, slots=True)
class EngineUse:
    """An engine, its place in the cascade, and the length that it looked at: what was not missed while it served."""

    engine: str
    place: int
    length_mm: float


class Coverage:
    """Gathers a passage's spans, in order along it, each with the engines that served it in cascade order."""

    def __init__(self) -> None:
        self._spans: list[CoverageSpan] = []
        self._used_mm: dict[tuple[int, str], float] = {}

    def add(self, span: CoverageSpan, engines: Iterable[str]) -> None:
        """The next one."""
        if self._spans and (both := in_one(self._spans[-1], span)) is not None:
            self._spans[-1] = both
        else:
            self._spans.append(span)
        if span.quality is not Quality.MISSED:
            for use in enumerate(engines):
                self._used_mm[use] = self._used_mm.get(use, 0.0) + span.along_mm[1] - span.along_mm[0]

    @property
    def spans(self) -> tuple[CoverageSpan, ...]:
        """Those that touch and were looked at alike are one."""
        return tuple(self._spans)

    @property
    def engines(self) -> tuple[EngineUse, ...]:
        """By place, then by name."""
        return tuple(EngineUse(name, place, round(mm, 3)) for (place, name), mm in sorted(self._used_mm.items()))


def in_one(before: CoverageSpan, span: CoverageSpan) -> CoverageSpan | None:
    """Both as one span, when `span` begins where `before` ends and was looked at alike; else None."""
    touches = before.first_line + before.lines == span.first_line
    touches = touches and abs(before.along_mm[1] - span.along_mm[0]) < _TOUCHING_MM
    if not touches or (before.quality, before.cause) != (span.quality, span.cause):
        return None
    return replace(before, lines=before.lines + span.lines, along_mm=(before.along_mm[0], span.along_mm[1]))


def stretches_of(spans: Iterable[CoverageSpan], quality: Quality) -> np.ndarray:
    """float64 (n, 2): where it was looked at in that way, disjoint and ascending."""
    looked = [span.along_mm for span in spans if span.quality is quality]
    return stretches.union(np.array(looked, np.float64).reshape(-1, 2))
