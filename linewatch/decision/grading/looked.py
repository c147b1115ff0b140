"""How much of a coil was inspected, by area, between any two places along it, in bounded memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from linewatch.contracts.verdict import CoverageSpan

_PENDING = 1_024
MAX_SPANS = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class LookedAt:
    """The spans of a coil, neighbours of the same quality and cause joined, as records of the coil keep them.

    newest: spans that are not yet in columns; the next one may still be joined to the last. rows: float64 (n, 4), begin
    and end along, inspected and passed area; the passed area is NaN where a record does not tell it, and the inspected
    area then is a share of the length. settled: the sums of older rows, as length, inspected and passed.
    """

    newest: tuple[CoverageSpan, ...] = ()
    rows: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    settled: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def plus(self, spans: Iterable[CoverageSpan]) -> Self:
        """Return the spans with the next ones."""
        newest = list(self.newest)
        for span in spans:
            both = newest[-1].joined(span) if newest else None
            if both is None:
                newest.append(span)
            else:
                newest[-1] = both
        now = replace(self, newest=tuple(newest))
        return now._in_columns() if len(newest) > _PENDING else now

    def put_right(self, before: Iterable[CoverageSpan], after: Iterable[CoverageSpan], begin_mm: float) -> Self:
        """Return the spans with `after` in place of `before`, which were told of the same lines; from `begin_mm` on."""
        sums = [_sums(np.array([_row(span) for span in spans]), begin_mm, np.inf) for spans in (before, after)]
        inspected, passed = (new - old for old, new in zip(sums[0][1:], sums[1][1:], strict=True))
        length_mm, inspected_before, passed_before = self.settled
        return replace(self, settled=(length_mm, inspected_before + inspected, passed_before + passed))

    def settle(self, begin_mm: float, end_mm: float) -> Self:
        """Keep at most MAX_SPANS / 2 rows; of the oldest, which lie before `end_mm`, keep only the sums.

        begin_mm: where the strip begins of which `share` will be asked; end_mm: before it nothing will be cut off.
        """
        if len(self.rows) <= MAX_SPANS:
            return self
        old = self.rows[:, 1] <= end_mm
        old[-MAX_SPANS // 2 :] = False
        sums = _sums(self.rows[old], begin_mm, end_mm)
        length_mm, inspected, passed = (a + b for a, b in zip(self.settled, sums, strict=True))
        return replace(self, rows=self.rows[~old], settled=(length_mm, inspected, passed))

    def share(self, begin_mm: float, end_mm: float) -> float:
        """Return the inspected share of the area between two places, 0..1.

        Strip without any span was not inspected; it counts as wide as the rest.
        """
        sums = _sums(self._in_columns(keep=0).rows, begin_mm, end_mm)
        length_mm, inspected, passed = (a + b for a, b in zip(self.settled, sums, strict=True))
        if not passed or end_mm <= begin_mm:
            return 0.0
        return inspected / passed * min(1.0, length_mm / (end_mm - begin_mm))

    def _in_columns(self, keep: int = 1) -> Self:
        """Return the same with all but the last `keep` spans in columns."""
        move = self.newest[: len(self.newest) - keep]
        rows = np.array([_row(span) for span in move], np.float64).reshape(-1, 4)
        return replace(self, newest=self.newest[len(move) :], rows=np.concatenate([self.rows, rows]))


def _row(span: CoverageSpan) -> tuple[float, float, float, float]:
    begin_mm, end_mm = round(span.along_mm[0], 3), round(span.along_mm[1], 3)
    if span.area is None:
        return begin_mm, end_mm, span.inspected_share * (end_mm - begin_mm), np.nan
    return begin_mm, end_mm, span.area.inspected_mm2, span.area.passed_mm2


def _sums(rows: np.ndarray, begin_mm: float, end_mm: float) -> tuple[float, float, float]:
    """Return the length, the inspected and the passed area of rows between two places; a row cut off counts in part.

    Where a row does not tell its area, all rows count by length.
    """
    lengths_mm = rows[:, 1] - rows[:, 0]
    inside_mm = np.clip(np.minimum(rows[:, 1], end_mm) - np.maximum(rows[:, 0], begin_mm), 0.0, None)
    part = np.divide(inside_mm, lengths_mm, out=np.zeros_like(inside_mm), where=lengths_mm > 0)
    inspected, passed = rows[:, 2], rows[:, 3]
    if np.isnan(passed).any():
        whole = np.where(np.isnan(passed), lengths_mm, passed)
        shares = np.divide(inspected, whole, out=np.zeros_like(inspected), where=whole > 0)
        inspected, passed = shares * lengths_mm, lengths_mm
    return float(inside_mm.sum()), float((part * inspected).sum()), float((part * passed).sum())
