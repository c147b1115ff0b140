"""What is known of the coil under way when the service starts again or a camera returns, and what passed unseen."""

from dataclasses import dataclass
from enum import StrEnum

RESTARTED, CAMERA_AWAY = "restarted", "camera away"
"""How the remarks on a coil begin that went on over a restart, or over the loss of its camera."""


class GapMeasure(StrEnum):
    """What tells how much strip passed unseen."""

    ENCODER = "encoder"  # the counter before and behind
    SOURCE = "source"  # the source's own positions
    CLOCK = "clock"  # the time, at the line rate
    UNKNOWN = "unknown"


_BY = {
    GapMeasure.ENCODER: "by the encoder",
    GapMeasure.SOURCE: "by the source's positions",
    GapMeasure.CLOCK: "by clock and line rate",
}


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """Where the source stood at a frame: with it, a service that starts again finds the place.

    counter: what the encoder showed at `counter_line`; None: there is no encoder. Lines are the source's.
    """

    counter: int | None = None
    counter_line: int = 0


@dataclass(frozen=True, slots=True)
class LastPlace:
    """The last line before a restart that was decided, or that a lost camera gave, and the coil that it belongs to.

    next_line, end_mm: behind that line, from the coil's head. source_coil, head_line: of the coil, as in `Frame`.
    captured_ns: when that line was taken, by this run's clock; None: not known. length_mm: of the coil, by its data.
    names: coils that have passed, whose names are taken.
    """

    coil: str
    source_coil: str
    head_line: int
    between: bool
    next_line: int
    end_mm: float
    captured_ns: int | None
    place: SourcePlace | None = None
    length_mm: float | None = None
    names: tuple[str, ...] = ()

    @property
    def source_line(self) -> int:
        """The source's line behind the last decided one."""
        return self.head_line + self.next_line


@dataclass(frozen=True, slots=True)
class StripGap:
    """Strip between the last line before a restart, or before the camera was lost, and the first line behind it.

    seconds: between these lines; None: not known. goes_on: the coil of before is still under the camera. began: how the
    remark on it begins.
    """

    seconds: float | None
    lines: int
    mm: float
    by: GapMeasure
    goes_on: bool = True
    began: str = RESTARTED

    @property
    def matters(self) -> bool:
        """Whether strip passed unseen, or may have."""
        return self.lines > 0 or self.by is GapMeasure.UNKNOWN

    def note(self, at_mm: float) -> str:
        """Return the remark on the coil in which it lies, at that place."""
        return f"{self.began} at {at_mm / 1000:.2f} m: {self.text}"

    @property
    def text(self) -> str:
        """What an operator has to know."""
        time = "for an unknown time" if self.seconds is None else f"for {_duration(self.seconds)}"
        if not self.goes_on:
            return f"no inspection {time}; how much strip passed is unknown, and the coil of before counts as over"
        if self.by is GapMeasure.UNKNOWN:
            return f"no inspection {time}; how much strip passed is unknown"
        passed = f"{self.mm / 1000:.2f} m of strip passed unseen" if self.lines else "no strip passed"
        return f"no inspection {time}; {passed} ({_BY[self.by]})"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
