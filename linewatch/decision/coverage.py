"""Account for every line of a frame as inspected, degraded or missed."""

from dataclasses import dataclass, replace
from statistics import median
from typing import Self

from linewatch.contracts.coil import CoilData
from linewatch.contracts.frame import Cause, StripEdges
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.geometry.strip import StripScale

JUDGED_SHARE = 0.95
"""Share of the strip's width that must have been judged for its lines to be inspected."""
LEAST_SHARE = 0.5
"""Below this share, lines are missed; between the two they are degraded."""
_WIDTHS_KEPT = 16


@dataclass(frozen=True, slots=True)
class WidthExpectation:
    """The width of strip that must be in view, in pixels; 0 and empty while nothing is known.

    of_data_px: width of the whole strip from the coil's data; it holds where both edges are in view. newest_px: widths
    of the coil's newest frames that were not too narrow, so that a sudden narrowing stays noticed. of_line_px: from the
    line's settings, until the coil has shown its width.
    """

    of_data_px: float = 0.0
    newest_px: tuple[int, ...] = ()
    of_line_px: float = 0.0

    def given(self, data: CoilData | None, line_mm: float | None, mm_per_px: float) -> Self:
        """Return the expectation with what the coil's data and the line's settings say."""
        of_data_mm = data.width_mm if data is not None else None
        return replace(self, of_data_px=(of_data_mm or 0.0) / mm_per_px, of_line_px=(line_mm or 0.0) / mm_per_px)

    def of(self, edges: StripEdges) -> float:
        """Return how many pixels of width must be in view in a frame with these edges."""
        if self.of_data_px and edges.left_found and edges.right_found:
            expected_px = self.of_data_px
        else:
            expected_px = median(self.newest_px) if self.newest_px else self.of_line_px
        return max(expected_px, edges.right_px - edges.left_px)

    def after(self, edges: StripEdges | None) -> Self:
        """Return the expectation after a frame with these edges."""
        if edges is None or (seen_px := edges.right_px - edges.left_px) < JUDGED_SHARE * self.of(edges) or not seen_px:
            return self
        return replace(self, newest_px=(*self.newest_px, seen_px)[-_WIDTHS_KEPT:])


def spans_of(prediction: Prediction, width: WidthExpectation | None = None) -> tuple[CoverageSpan, ...]:
    """Return non-empty spans that cover the frame's `lines` in order, without overlap.

    The valid lines are inspected only if the engines judged at least JUDGED_SHARE of the width that the strip must
    have; otherwise they are degraded or missed with a cause. The remaining lines are missed with the frame's fault as
    cause.
    """
    frame = prediction.frame
    valid = min(frame.valid_lines, frame.lines)
    quality, cause = _quality_of(prediction, width or WidthExpectation())
    missed_for = frame.fault or Cause.TRUNCATED
    if quality is Quality.MISSED and cause is missed_for:
        valid = frame.lines  # adjacent and alike: one span
    scale = StripScale.of(frame, 0.0)
    return tuple(
        CoverageSpan(frame.first_line + begin, end - begin, (scale.along(begin), scale.along(end)), quality, cause)
        for begin, end, quality, cause in ((0, valid, quality, cause), (valid, frame.lines, Quality.MISSED, missed_for))
        if end > begin
    )


def _quality_of(prediction: Prediction, width: WidthExpectation) -> tuple[Quality, Cause | None]:
    """Return the quality of the valid lines, and the cause where they were not inspected."""
    edges = prediction.edges
    if prediction.failed is not None:
        return Quality.MISSED, prediction.failed
    if edges is None or edges.left_px == edges.right_px:
        return Quality.MISSED, Cause.NO_STRIP
    expected_px, seen_px = width.of(edges), edges.right_px - edges.left_px
    lost_px = {Cause.NARROW: expected_px - seen_px, Cause.DARK: edges.dark_px, Cause.BRIGHT: edges.bright_px}
    share = 1.0 - sum(lost_px.values()) / expected_px
    if share < JUDGED_SHARE:
        return Quality.MISSED if share < LEAST_SHARE else Quality.DEGRADED, max(lost_px, key=lambda one: lost_px[one])
    if prediction.degraded is not None:
        return Quality.DEGRADED, prediction.degraded
    return Quality.INSPECTED, None


@dataclass(frozen=True, slots=True)
class CoverageSums:
    """Coverage of the coil so far, in millimetres. missed_lines: (cause, lines), sorted by cause."""

    inspected_mm: float = 0.0
    degraded_mm: float = 0.0
    missed_mm: float = 0.0
    missed_lines: tuple[tuple[Cause, int], ...] = ()

    def plus(self, spans: tuple[CoverageSpan, ...], mm_per_line: float) -> "CoverageSums":
        """Return the coverage after a frame with these spans."""
        length_mm = {
            quality: sum(span.lines for span in spans if span.quality is quality) * mm_per_line for quality in Quality
        }
        lines = dict(self.missed_lines)
        for span in spans:
            if span.quality is Quality.MISSED and span.cause is not None:
                lines[span.cause] = lines.get(span.cause, 0) + span.lines
        return CoverageSums(
            self.inspected_mm + length_mm[Quality.INSPECTED],
            self.degraded_mm + length_mm[Quality.DEGRADED],
            self.missed_mm + length_mm[Quality.MISSED],
            tuple(sorted(lines.items())),
        )
