"""Places grabs by the times at which they were taken: at a known line rate, a time is a position on the strip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import structlog
from pydantic import Field

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Grab, PositionFault
from linewatch.contracts.ports import Camera, CameraWrapper

LongestGap = Annotated[
    float,
    Field(
        gt=0, le=3600, description="with times: no strip passes between two grabs that are farther apart, in seconds"
    ),
]
SLACK_FRAMES = 0.5
"""File timestamps jitter: a grab within so many frames of the end of the previous one lies directly behind it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Finds the position of the next grab from its time. Pure: state in, state out.

    Lines are counted from an anchor, a grab whose position and time are taken as given; a later grab's first line is
    its time since the anchor times the line rate. It never lies before the end of the previous grab, since times do not
    show that a strip runs back.
    """

    next_line: int = 0
    anchor_line: int = 0  # behind the anchor's last line
    anchor_ns: int | None = None
    time_ns: int | None = None  # of the last grab with a time

    def step(
        self, lines: int, time_ns: int | None, line: LineSettings, longest_gap_s: float
    ) -> "tuple[Timeline, int, PositionFault | None]":
        """Return the next state, the first line of a grab of so many lines, and its fault.

        time_ns: when its last line was taken; None: unknown. STUCK: the time is that of the last grab. JUMPED: it is
        before the last grab's, or more than `longest_gap_s` after it. Such a grab, and one without a time, lies
        directly behind the last; a grab that JUMPED is the new anchor.
        """
        first, stop = self.next_line, self.next_line + lines
        if time_ns is None or time_ns == self.time_ns:
            return replace(self, next_line=stop), first, None if time_ns is None else PositionFault.STUCK
        anchored = Timeline(stop, stop, time_ns, time_ns)
        if self.time_ns is None or self.anchor_ns is None:
            return anchored, first, None
        if not 0 < (time_ns - self.time_ns) / 1e9 <= longest_gap_s:
            return anchored, first, PositionFault.JUMPED
        at = self.anchor_line + round((time_ns - self.anchor_ns) * line.line_rate_hz / 1e9) - lines
        slack = SLACK_FRAMES * line.frame_lines
        if at < first - slack:  # more lines came than the line rate gives: the true rate is slightly higher
            return anchored, first, None
        if at <= first + slack:
            at = first
        return replace(self, next_line=at + lines, time_ns=time_ns), at, None


class TimestampedCamera(CameraWrapper):
    """Places the grabs of `camera` by the times at which they were taken; positions in the grabs are ignored.

    The grabs are not `encoded`; `position_fault` marks implausible times. Strip that passed between two grabs shows as
    missing lines. Each coil is counted from its head. Use it from one thread.
    """

    def __init__(
        self, camera: Camera, line: LineSettings, times_ns: Sequence[int | None], longest_gap_s: float
    ) -> None:
        """times_ns: for each grab, when its last line was taken."""
        super().__init__(camera)
        self._line = line
        self._times_ns = iter(times_ns)
        self._longest_gap_s = longest_gap_s
        self._timeline = Timeline()
        self._coil = ""
        self._fault: PositionFault | None = None

    def read(self) -> Grab | None:
        grab = self._camera.read()
        if grab is None:
            return None
        time_ns = next(self._times_ns, None)
        if grab.coil != self._coil:
            self._coil, self._timeline = grab.coil, Timeline()
        self._timeline, first, fault = self._timeline.step(grab.lines, time_ns, self._line, self._longest_gap_s)
        if fault is not self._fault:
            self._fault = fault
            if fault is not None:
                log.warning("timestamp_implausible", fault=str(fault), coil=grab.coil, sequence=grab.sequence)
        return replace(
            grab,
            first_line=first,
            encoder_count=first,
            along_mm=first * self._line.mm_per_line,
            mm_per_line=self._line.mm_per_line,
            captured_ns=round((first + grab.lines) / self._line.line_rate_hz * 1e9),
            encoded=False,
            position_fault=fault,
        )
