"""Account for every line of a frame, and for the area of strip in it, as inspected, degraded or missed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Self

from linewatch.contracts.coil import CoilData
from linewatch.contracts.frame import Cause, StripEdges, extent
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import CoverageSpan, Quality, StripArea
from linewatch.geometry.strip import StripScale

JUDGED_SHARE = 0.95
"""Share of the strip's width that must have been scored for its lines to be inspected."""
LEAST_SHARE = 0.5
"""Below this share, lines are missed; between the two they are degraded."""
WIDTH_TOLERANCE = 0.02
"""Share by which strip may be narrower than expected and still be seen in full: its width varies, and so do its edges.
"""
_WIDTHS_KEPT = 16
_WIDTHS_TRUSTED = 3  # of fewer, as at the head of a coil of which nothing is known, the median may be a wrong one


@dataclass(frozen=True, slots=True)
class WidthExpectation:
    """The width of strip that must be in view, in pixels; 0 and empty while nothing is known.

    of_data_px: width of the whole strip from the coil's data; it holds where both edges are, or must be, in view.
    newest_px: widths of the coil's first and newest frames that were not too narrow, so that a sudden narrowing stays
    noticed. widest_px: the widest median of these, so that a gradual narrowing is noticed. taper: share by which the
    coil's strip may become narrower than that. of_line_px: from the line's settings, until the coil has shown its
    width. in_view_px: width of the camera's view, which counts as strip while nothing else is known.
    """

    of_data_px: float = 0.0
    newest_px: tuple[int, ...] = ()
    widest_px: float = 0.0
    taper: float = 0.0
    of_line_px: float = 0.0
    in_view_px: float = 0.0

    def given(self, data: CoilData | None, line_mm: float | None, view_px: int, taper: float, mm_per_px: float) -> Self:
        """Return the expectation with what the coil's data and the line's settings say."""
        of_data_mm = data.width_mm if data is not None else None
        return replace(
            self,
            of_data_px=(of_data_mm or 0.0) / mm_per_px,
            of_line_px=(line_mm or 0.0) / mm_per_px,
            in_view_px=view_px,
            taper=taper,
        )

    def of(self, edges: StripEdges | None) -> float:
        """Return how many pixels of width must be in view in a frame with these edges; None: no picture came."""
        shown_px = max(median(self.newest_px), (1.0 - self.taper) * self.widest_px) if self.newest_px else 0.0
        if edges is None or not edges.width_px:
            known_px = shown_px or self.of_data_px or self.of_line_px
            return min(known_px, self.in_view_px or known_px) or self.in_view_px
        both = edges.left_found and edges.right_found
        if self.of_data_px and (both or self.of_data_px <= self.in_view_px):
            return max(self.of_data_px, edges.width_px)
        if self._one_edge_only(edges):
            return max(self.in_view_px, edges.width_px)
        return max(shown_px or self.of_line_px, edges.width_px)

    def _one_edge_only(self, edges: StripEdges) -> bool:
        """Whether all that is known is one edge, which may be where the light ends: one half of the lamp is dead.

        Nothing tells that the strip ends there, so it counts as wide as the view.
        """
        known = self.newest_px or self.of_line_px or self.of_data_px
        return not known and edges.left_found != edges.right_found

    def after(self, edges: StripEdges | None) -> Self:
        """Return the expectation after a frame with these edges."""
        if edges is None or not edges.width_px:
            return self
        unsure = 0 < len(self.newest_px) < _WIDTHS_TRUSTED and not self.of_data_px and not self.of_line_px
        if edges.width_px < JUDGED_SHARE * self.of(edges) and not unsure:
            return self
        newest_px = (*self.newest_px, edges.width_px)[-_WIDTHS_KEPT:]
        trusted_px = median(newest_px) if len(newest_px) >= _WIDTHS_TRUSTED else 0.0
        return replace(self, newest_px=newest_px, widest_px=max(self.widest_px, trusted_px))


def spans_of(prediction: Prediction, width: WidthExpectation | None = None) -> tuple[CoverageSpan, ...]:
    """Return non-empty spans that cover the frame's `lines` in order, without overlap, with the area of strip in them.

    The area that passed is the width that the strip must have times the length. Inspected, or degraded, is what the
    screen scored of it (`Prediction.scored_px`); the rest is missed. The valid lines are inspected only if at least
    JUDGED_SHARE of the width was scored; otherwise they are degraded or missed with the largest cause. The remaining
    lines are missed with the frame's fault as cause.
    """
    frame = prediction.frame
    valid = min(frame.valid_lines, frame.lines)
    expected_px = (width or WidthExpectation()).of(prediction.edges)
    lost_px = _lost_px(prediction, expected_px, valid)
    quality, cause = _quality_of(prediction, lost_px)
    missed_for = frame.fault or Cause.TRUNCATED
    beyond_px = {missed_for: expected_px * (frame.lines - valid)}
    if quality is Quality.MISSED and cause is missed_for:
        valid = frame.lines  # adjacent and alike: one span
        lost_px[cause] = lost_px.get(cause, 0.0) + beyond_px[missed_for]
    scale = StripScale.of(frame)
    mm2_per_px = mm_per_px_of(prediction) * frame.mm_per_line
    return tuple(
        CoverageSpan(
            frame.first_line + begin,
            stop - begin,
            (scale.along(begin), scale.along(stop)),
            quality,
            cause,
            *_area(scored_px, _doubt(prediction), lost_px, mm2_per_px),
        )
        for begin, stop, quality, cause, scored_px, lost_px in (
            (0, valid, quality, cause, prediction.scored_px, lost_px),
            (valid, frame.lines, Quality.MISSED, missed_for, 0, beyond_px),
        )
        if stop > begin
    )


def mm_per_px_of(prediction: Prediction) -> float:
    """Return the mean scale across the strip in view, or across the camera's whole width where there is no strip."""
    columns, edges = prediction.frame.columns, prediction.edges
    if edges is None or not edges.width_px:
        return columns.mm_per_px
    return columns.mm_per_px_over(edges.left_px, edges.right_px)


def _lost_px(prediction: Prediction, expected_px: float, lines: int) -> dict[Cause, float]:
    """Return by cause how many pixels of strip on the valid lines were not scored."""
    edges = prediction.edges
    if prediction.failed is not None:
        return {prediction.failed: expected_px * lines}
    if edges is None or not edges.width_px:
        return {Cause.NO_STRIP: expected_px * lines}
    seen_px = edges.width_px
    dark_lines, bright_lines = extent(edges.dark_lines), extent(edges.bright_lines)
    lit = max(0, lines - dark_lines - bright_lines)
    narrow_px = expected_px - seen_px if seen_px < (1.0 - WIDTH_TOLERANCE) * expected_px else 0.0
    lost = {
        Cause.NARROW: narrow_px * lines,
        Cause.DARK: seen_px * dark_lines + extent(edges.dark_columns) * lit,
        Cause.BRIGHT: seen_px * bright_lines + extent(edges.bright_columns) * lit,
        Cause.DIRTY: extent(edges.dirty_columns) * lit,
    }
    readable_px = seen_px * lines - lost[Cause.DARK] - lost[Cause.BRIGHT] - lost[Cause.DIRTY]
    lost[Cause.ENGINE] = readable_px - prediction.scored_px
    return {cause: float(px) for cause, px in lost.items() if px > 0}


def _quality_of(prediction: Prediction, lost_px: Mapping[Cause, float]) -> tuple[Quality, Cause | None]:
    """Return the quality of the valid lines, and the cause where they were not inspected."""
    if prediction.failed is not None:
        return Quality.MISSED, prediction.failed
    if Cause.NO_STRIP in lost_px:
        return Quality.MISSED, Cause.NO_STRIP
    share = prediction.scored_px / max(1.0, prediction.scored_px + sum(lost_px.values()))
    if lost_px and share < JUDGED_SHARE:
        return Quality.MISSED if share < LEAST_SHARE else Quality.DEGRADED, max(lost_px, key=lambda one: lost_px[one])
    if (doubt := _doubt(prediction)) is not None:
        return Quality.DEGRADED, doubt
    return Quality.INSPECTED, None


def _doubt(prediction: Prediction) -> Cause | None:
    """Return why what was scored is degraded: the engines stopped early, or the picture is poor; None: neither."""
    return prediction.degraded or (prediction.edges.doubt if prediction.edges is not None else None)


def _area(
    scored_px: int, degraded: Cause | None, lost_px: Mapping[Cause, float], mm2_per_px: float
) -> tuple[StripArea, tuple[tuple[Cause, float], ...]]:
    """Return the area of a span, and its degraded and missed area by cause."""
    scored_mm2 = round(scored_px * mm2_per_px, 3)
    by_cause = {cause: round(px * mm2_per_px, 3) for cause, px in lost_px.items()}
    missed_mm2 = sum(by_cause.values())
    if degraded is None:
        area = StripArea(scored_mm2, 0.0, missed_mm2)
    else:
        area = StripArea(0.0, scored_mm2, missed_mm2)
        by_cause[degraded] = by_cause.get(degraded, 0.0) + scored_mm2
    return area, tuple(sorted((cause, mm2) for cause, mm2 in by_cause.items() if mm2))


@dataclass(frozen=True, slots=True)
class CoverageSums:
    """Coverage of the coil so far. missed_lines: (cause, lines) and uninspected_mm2: (cause, area), sorted by cause."""

    inspected_mm: float = 0.0
    degraded_mm: float = 0.0
    missed_mm: float = 0.0
    missed_lines: tuple[tuple[Cause, int], ...] = ()
    area: StripArea = field(default_factory=StripArea)
    uninspected_mm2: tuple[tuple[Cause, float], ...] = ()

    def plus(self, spans: tuple[CoverageSpan, ...], mm_per_line: float) -> "CoverageSums":
        """Return the coverage after a frame with these spans."""
        length_mm = {
            quality: sum(span.lines for span in spans if span.quality is quality) * mm_per_line for quality in Quality
        }
        lines, mm2 = dict(self.missed_lines), dict(self.uninspected_mm2)
        area = self.area
        for span in spans:
            area = area.plus(span.area or StripArea())
            for cause, more_mm2 in span.uninspected_mm2:
                mm2[cause] = mm2.get(cause, 0.0) + more_mm2
            if span.quality is Quality.MISSED and span.cause is not None:
                lines[span.cause] = lines.get(span.cause, 0) + span.lines
        return CoverageSums(
            self.inspected_mm + length_mm[Quality.INSPECTED],
            self.degraded_mm + length_mm[Quality.DEGRADED],
            self.missed_mm + length_mm[Quality.MISSED],
            tuple(sorted(lines.items())),
            area,
            tuple(sorted(mm2.items())),
        )
