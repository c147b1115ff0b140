"""Frames without an encoder that tell when they were taken: at a known line rate, time is a place on the strip."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import Field

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab, PositionFault
from linewatch.contracts.ports import Camera, CameraWrapper

LongestGap = Annotated[
    float,
    Field(
        gt=0, le=3600, description="with times: no strip passes between two grabs that lie farther apart, in seconds"
    ),
]
SLACK_FRAMES = 0.5
"""Who writes files is late by this and that: a grab so near to its time lies right behind the last."""

_DATE = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)[T_ -]?(\d\d)[-:.]?(\d\d)[-:.]?(\d\d)(?:[.,_-]?(\d{1,9}))?(?!\d)")
_UNIX = re.compile(r"(?<!\d)(\d{10}(?:\d{3}|\d{6}|\d{9})?)(?!\d)")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the next grab lies by its time. Pure: state in, state out.

    Lines are counted from an anchor, a grab whose place and time are both taken as they are; from there a grab's first
    line is its time times the line rate. It never lies before the end of the last one: a strip that runs back does not
    show in times.
    """

    next_line: int = 0
    anchor_line: int = 0  # behind the anchor's last line
    anchor_ns: int | None = None
    time_ns: int | None = None  # of the last grab that told one

    def step(
        self, lines: int, time_ns: int | None, line: LineSettings, longest_gap_s: float
    ) -> "tuple[Timeline, int, PositionFault | None]":
        """The first line of a grab of so many lines, the last of which was taken at `time_ns`; None: not told.

        STUCK: the time is that of the last grab; JUMPED: it lies before that, or more than `longest_gap_s` behind
        it. Such a grab, and one without a time, lies right behind the last; after a jump time is counted from there.
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
        if at < first - slack:  # more lines came than the line rate gives: it is a bit higher than the settings say
            return anchored, first, None
        if at <= first + slack:
            at = first
        return replace(self, next_line=at + lines, time_ns=time_ns), at, None


class TimestampedCamera(CameraWrapper):
    """`camera`'s grabs, placed by when they were taken; the places that it gave are not looked at.

    No encoder saw them: they are not `encoded`, and `position_fault` says where a time cannot be. Strip that passed
    between two grabs shows as lines that are missing. Each coil counts from its head. Used by one thread.
    """

    def __init__(
        self, camera: Camera, line: LineSettings, times_ns: Sequence[int | None], longest_gap_s: float
    ) -> None:
        """times_ns: of each grab, when its last line was taken."""
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


def times_of(images: Sequence[Path], told_by: Literal["name", "mtime"]) -> tuple[int | None, ...]:
    """When each image was taken, in Unix nanoseconds; None for a file that does not tell.

    A name tells it by a date and time of day with or without fractions (`cam1_20261121T140305.123456.png`), taken as
    UTC, or by Unix time in s, ms, us or ns (`1795269785123.png`). Raises SourceError when none tells.
    """
    times = tuple(name_time_ns(image.stem) if told_by == "name" else _mtime_ns(image) for image in images)
    if not any(time is not None for time in times):
        raise SourceError(
            f"[source] times = '{told_by}', but none of {len(images)} images tells when it was taken, the first is "
            f"{images[0].name}; expected a date and time (20261121T140305.123456) or Unix time (1795269785123) in the "
            "name; or leave times out: then one image lies behind the other"
        )
    if missing := sum(time is None for time in times):
        first = next(image.name for image, time in zip(images, times, strict=True) if time is None)
        log.warning("images_without_time", images=missing, of=len(images), first=first)
    return times


def name_time_ns(stem: str) -> int | None:
    """Unix nanoseconds that a file's name tells; None: it tells none."""
    for date in _DATE.finditer(stem):
        year, month, day, hour, minute, second = (int(number) for number in date.groups()[:6])
        fraction = date.group(7) or "0"
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue
        return round(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))
    unix = _UNIX.search(stem)
    return None if unix is None else int(unix.group()) * 10 ** (19 - len(unix.group()))


def _mtime_ns(image: Path) -> int | None:
    try:
        return image.stat().st_mtime_ns
    except OSError:
        return None
