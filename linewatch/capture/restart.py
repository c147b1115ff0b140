"""Finds how much strip passed between the last line before a restart, or before the camera was lost, and the first grab
behind it. Pure.
"""

from dataclasses import dataclass

from linewatch.capture.position.odometer import SLACK_FRAMES, moved_counts
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Grab
from linewatch.contracts.restart import GapMeasure, LastPlace, StripGap


@dataclass(frozen=True, slots=True)
class Resumption:
    """The gap, and by how many lines the source's count begins anew: its line 0 is the earlier run's `offset_lines`."""

    gap: StripGap
    offset_lines: int


def resumption(last: LastPlace, grab: Grab, line: LineSettings, within_s: float) -> Resumption:
    """Return how the strip of `last` goes on with the first grab that has lines.

    The encoder is believed before the source's own positions, and these before the clock, as far as the line can have
    run in the time. within_s: after a longer time the clock tells nothing, and the coil is over.
    """
    rate_hz = line.line_rate_hz
    seconds = None
    if last.captured_ns is not None:
        seconds = max(0.0, (grab.captured_ns - last.captured_ns) / 1e9 - grab.lines / rate_hz)
    if (lines := _by_encoder(last, grab, line, seconds)) is not None:
        by = GapMeasure.ENCODER
    elif (lines := _by_source(last, grab, line, seconds)) is not None:
        by = GapMeasure.SOURCE
    elif seconds is not None and seconds <= within_s:
        lines, by = round(seconds * rate_hz), GapMeasure.CLOCK
    else:
        lines, by = 0, GapMeasure.UNKNOWN
    over = by is GapMeasure.UNKNOWN and seconds is not None
    passed = max(0, lines)  # below 0: the strip ran back, and the first lines come again
    gap = StripGap(seconds, passed, passed * grab.mm_per_line, by, goes_on=not over)
    if grab.coil != last.source_coil:
        return Resumption(gap, 0)
    return Resumption(gap, last.source_line + lines - grab.first_line)


def _most_lines(grab: Grab, line: LineSettings, seconds: float) -> float:
    """Return how many lines can have passed, with the slack that buffers and clocks need."""
    run_mm = line.max_speed_m_per_s * 1000 * (seconds + grab.lines / line.line_rate_hz)
    return run_mm / grab.mm_per_line + SLACK_FRAMES * line.frame_lines


def _by_encoder(last: LastPlace, grab: Grab, line: LineSettings, seconds: float | None) -> int | None:
    encoder, place = line.encoder, last.place
    if encoder is None or place is None or place.counter is None or grab.counter is None or seconds is None:
        return None
    most = _most_lines(grab, line, seconds)
    if most * encoder.counts_per_line >= (1 << encoder.bits) / 2:
        return None  # it may have rolled over
    moved = round(moved_counts(encoder, place.counter, grab.counter, 0) / encoder.counts_per_line)
    return _plausible(place.counter_line + moved - grab.lines - last.source_line, most, line)


def _by_source(last: LastPlace, grab: Grab, line: LineSettings, seconds: float | None) -> int | None:
    if not grab.encoded or grab.counter is not None or seconds is None or grab.coil != last.source_coil:
        return None
    return _plausible(grab.first_line - last.source_line, _most_lines(grab, line, seconds), line)


def _plausible(lines: int, most: float, line: LineSettings) -> int | None:
    """Return the lines if so many can have passed. The strip may have run back a little, as when it stopped."""
    return lines if -SLACK_FRAMES * line.frame_lines <= lines <= most else None
