"""Finds where a camera's lines lie on the strip, by a measuring roll's counter. Pure: state in, state out; no clock.

The encoder triggers the lines, forward or back, so lines and counts check each other: lines without counts mean a stuck
encoder, counts without lines mean unseen strip or a jump, fewer counts than lines mean that the strip reversed.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.frame import PositionFault

SLACK_COUNTS = 2
"""Image and count are latched a tick apart, so a difference of this many counts means nothing. The error does not
add up, since counts are absolute. A reversal within so little is not detected: with few counts per line, a line or two.
"""
SLACK_FRAMES = 2
"""So much strip may come at once before its speed is checked, since buffers and clocks jitter."""
STUCK_FRAMES = 3
"""A count that is unchanged after more lines than this is stuck; the strip does not swing that long."""
PITCH_FRAMES = 16
PITCH_SHARE = 0.01
"""Over PITCH_FRAMES, lines and counts must agree on the pitch within this share, or one of them is set up wrongly."""


class StripMotion(StrEnum):
    """How the strip moved while a grab was taken."""

    FORWARD = "forward"
    BACK = "back"
    TURNED = "turned"  # to and fro, or it stood: which line shows what is unknown


@dataclass(frozen=True, slots=True)
class Reading:
    """What the camera reports with one grab. Counts are as wide as the counter and roll over."""

    sequence: int
    lines: int
    count: int  # at the first line
    count_behind: int | None  # behind the last one; None: unknown, then a reversal shows with the next grab only
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """The lines [first_line, first_line + lines) that a grab shows, counted from the odometer's start; may be negative.

    count: at that first line, unrolled, counted from the odometer's start. A grab with motion TURNED has no lines: at
    its end the strip stands before `first_line`; what it showed comes again, or passed unseen.
    """

    first_line: int
    lines: int
    motion: StripMotion
    count: int
    fault: PositionFault | None


@dataclass(frozen=True, slots=True)
class Odometer:
    """The state between two grabs. `measured_pitch`: counts per line, where they differ from the settings."""

    count: int  # behind the last grab, as the counter shows it
    first_count: int | None = None  # at the last grab's first line
    sequence: int | None = None
    captured_ns: int | None = None
    travelled: int = 0  # counts that were accepted
    presumed_lines: int = 0  # lines that were counted where counts were rejected
    next_line: int = 0
    reached: int = 0  # the strip is accounted for up to this line
    excess_mm: float = 0.0  # strip beyond what the line could have run in the time
    stood_lines: int = 0
    pitch_first: float = 0.0  # counts per line in the first grab of the stretch that is compared
    pitch_counts: int = 0
    pitch_lines: int = 0
    measured_pitch: float | None = None

    def step(self, reading: Reading, line: LineSettings, encoder: EncoderSettings) -> "tuple[Odometer, Place]":
        """Return the next state and the grab's place. Never raises, whatever the counter shows."""
        pitch, lines = encoder.counts_per_line, reading.lines
        slack = SLACK_COUNTS / pitch
        elapsed_s = 0.0 if self.captured_ns is None else max(0, reading.captured_ns - self.captured_ns) / 1e9
        slack_mm = SLACK_FRAMES * line.frame_lines * encoder.mm_per_line
        run_mm = line.max_speed_m_per_s * 1000 * elapsed_s
        plausible_lines = slack + min(encoder.max_reverse_m * 1000, run_mm + slack_mm) / encoder.mm_per_line

        # Between the grabs: lost grabs, and motion without a line.
        lost = 0 if self.sequence is None else max(0, reading.sequence - self.sequence - 1) * line.frame_lines
        between = moved_counts(encoder, self.count, reading.count, lost)
        jumped = abs(between) / pitch - lost > plausible_lines
        # During the grab.
        known_behind = reading.count_behind is not None
        behind = reading.count_behind
        if behind is None:
            behind = reading.count + round(lines * pitch) * (1 if encoder.counts_up else -1)
        within = moved_counts(encoder, reading.count, behind, lines)
        jumped_within = abs(within) / pitch - lines > plausible_lines

        stood = lines > 0 and (within == 0 if known_behind else reading.count == self.first_count)
        stood_lines = self.stood_lines + lines if stood else 0
        stuck_lines = STUCK_FRAMES * line.frame_lines
        stuck = stood_lines > stuck_lines
        travelled, presumed = self.travelled, self.presumed_lines
        if stuck:
            # Lines that were withheld until the count was known to be stuck become a gap before this grab.
            between = within = 0
            held = lines if self.stood_lines > stuck_lines else stood_lines
            presumed += held - lines
        elif jumped:
            between = 0
            presumed += lost
        travelled += between
        at = travelled / pitch + presumed
        first = self.next_line if abs(at - self.next_line) <= slack else round(at)
        count = travelled

        if stuck or jumped_within:
            presumed += lines
            motion, shown, next_line = StripMotion.FORWARD, lines, first + lines
        else:
            travelled += within
            motion, first, shown, next_line = self._motion(first, lines, within / pitch, slack)
            count += 0 if motion is StripMotion.FORWARD else within
        jumped = (jumped or jumped_within) and not stuck
        moved_mm = lines if stuck or jumped else (abs(between) + abs(within)) / pitch
        excess_mm = min(2 * slack_mm, max(0.0, self.excess_mm + moved_mm * encoder.mm_per_line - run_mm))
        after = replace(
            self,
            count=behind,
            first_count=reading.count,
            sequence=reading.sequence,
            captured_ns=reading.captured_ns,
            travelled=travelled,
            presumed_lines=presumed,
            next_line=next_line,
            reached=max(self.reached, first + shown) if shown else self.reached,
            excess_mm=excess_mm,
            stood_lines=stood_lines,
        )._compare(0 if stuck or jumped else within, lines, line.frame_lines, encoder)
        fault = (
            PositionFault.STUCK
            if stuck
            else PositionFault.JUMPED
            if jumped
            else PositionFault.TOO_FAST
            if excess_mm > slack_mm
            else PositionFault.PITCH
            if after.measured_pitch is not None
            else None
        )
        return after, Place(first, shown, motion, count, fault)

    def _motion(self, first: int, lines: int, moved_lines: float, slack: float) -> tuple[StripMotion, int, int, int]:
        """Return the motion, the lines accounted for (first, how many), and where the next grab is expected."""
        slack = min(slack, lines / 2)
        if moved_lines >= lines - slack:
            return StripMotion.FORWARD, first, lines, first + lines
        end = first + round(moved_lines)
        # Strip that passed unseen and is first shown while it runs back is mirrored, and not accounted for.
        if moved_lines <= slack - lines and first <= self.reached:
            return StripMotion.BACK, end, first - end, end
        return StripMotion.TURNED, end, 0, end

    def _compare(self, counts: int, lines: int, frame_lines: int, encoder: EncoderSettings) -> "Odometer":
        """Compare the pitch of a stretch of grabs that all had the same pitch with the settings."""
        if counts <= 0 or not lines:
            return replace(self, pitch_counts=0, pitch_lines=0)
        tolerance = max(PITCH_SHARE * encoder.counts_per_line, SLACK_COUNTS / lines)
        first = self.pitch_first if self.pitch_lines else counts / lines
        if abs(counts / lines - first) > tolerance:
            return replace(self, pitch_first=counts / lines, pitch_counts=counts, pitch_lines=lines)
        counts, lines = self.pitch_counts + counts, self.pitch_lines + lines
        if lines < PITCH_FRAMES * frame_lines:
            return replace(self, pitch_first=first, pitch_counts=counts, pitch_lines=lines)
        found = counts / lines
        off = abs(found / encoder.counts_per_line - 1) > PITCH_SHARE
        return replace(self, pitch_counts=0, pitch_lines=0, measured_pitch=found if off else None)


def moved_counts(encoder: EncoderSettings, before: int, after: int, expected_lines: int) -> int:
    """Return the counts forward from one reading to the next, for the likeliest number of rollovers."""
    turn = 1 << encoder.bits
    counts = (after - before) * (1 if encoder.counts_up else -1)
    expected = round(expected_lines * encoder.counts_per_line)
    return expected + (counts - expected + turn // 2) % turn - turn // 2
