"""Account for every line of a frame as inspected, degraded or missed."""

from dataclasses import dataclass

from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.geometry.strip import StripScale


def spans_of(prediction: Prediction) -> tuple[CoverageSpan, ...]:
    """Return non-empty spans that cover the frame's `lines` in order, without overlap.

    The valid lines are inspected, degraded or, where an engine failed, missed. The remaining lines are missed with the
    frame's fault as cause.
    """
    frame = prediction.frame
    valid = min(frame.valid_lines, frame.lines)
    quality, cause = Quality.INSPECTED, None
    if prediction.failed is not None:
        quality, cause = Quality.MISSED, prediction.failed
    elif prediction.degraded is not None:
        quality, cause = Quality.DEGRADED, prediction.degraded
    missed_for = frame.fault or Cause.TRUNCATED
    if quality is Quality.MISSED and cause is missed_for:
        valid = frame.lines  # adjacent and alike: one span
    scale = StripScale.of(frame, 0.0)
    return tuple(
        CoverageSpan(frame.first_line + begin, end - begin, (scale.along(begin), scale.along(end)), quality, cause)
        for begin, end, quality, cause in ((0, valid, quality, cause), (valid, frame.lines, Quality.MISSED, missed_for))
        if end > begin
    )


@dataclass(frozen=True, slots=True)
class CoverageSums:
    """Coverage of the coil so far, in millimetres. missed_lines: (cause, lines), sorted by cause."""

    inspected_mm: float = 0.0
    degraded_mm: float = 0.0
    missed_mm: float = 0.0
    missed_lines: tuple[tuple[Cause, int], ...] = ()

    def plus(self, spans: tuple[CoverageSpan, ...], mm_per_line: float) -> "CoverageSums":
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
