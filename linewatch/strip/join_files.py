"""`linewatch join`: joins the verdict files of a strip's cameras into the verdict file of the strip."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilGrade, Decided
from linewatch.daemon.totals import Totals
from linewatch.strip.join import Joiner
from linewatch.strip.settings import StripSettings
from linewatch.terminal import grade_rows, percent, progress_bar
from linewatch.wire.decode import decided_from
from linewatch.wire.schema import CoilLine, VerdictLine
from linewatch.wire.verdict_file import VerdictFile, read_strip


@dataclass(frozen=True, slots=True)
class JoinSummary:
    """What a joined record holds. coil, grade: of the last coil."""

    coil: str
    metres: float
    frames: int
    coverage: float
    defects_by_class: dict[str, int]
    defects_tentative: int
    roll_marks: int
    alarms: int
    uninspected_mm2_by_cause: dict[str, float] = field(default_factory=dict)
    grade: CoilGrade | None = None


class _Reading:
    """One camera's verdict file, read line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = read_strip(path)
        self.next = next(self._lines, None)

    @property
    def key(self) -> str:
        """The camera that it is of."""
        return "" if self.next is None else f"{self.next.side}/{self.next.camera}"

    def take(self) -> VerdictLine | CoilLine | None:
        """Return the next line; None at the end."""
        line, self.next = self.next, next(self._lines, None)
        return line


def join_files(settings: StripSettings, paths: Sequence[Path], out: Path) -> JoinSummary:
    """Join the verdict files of all cameras, in whatever order they are named.

    Raises ConfigError where the files are not one of each camera, JournalError for a file that cannot be read or
    written.
    """
    joiner, totals = Joiner(settings), Totals()
    readings = _by_camera(settings, paths)
    with ExitStack() as stack:
        file = stack.enter_context(VerdictFile(out))
        show = stack.enter_context(progress_bar("join", None))
        for decided in _joined(joiner, readings):
            file.write(decided)
            totals.add(decided)
            show(totals.frames, f"{totals.along_mm / 1000:8.1f} m  {totals.opened} defects")
    return JoinSummary(
        coil=totals.coil,
        metres=round(sum(totals.mm.values()) / 1000, 6),
        frames=totals.frames,
        coverage=totals.coverage,
        defects_by_class=dict(sorted(totals.defects.items())),
        defects_tentative=totals.tentative.total(),
        roll_marks=totals.roll_marks,
        alarms=totals.alarms_raised,
        uninspected_mm2_by_cause={cause: round(mm2, 3) for cause, mm2 in sorted(totals.uninspected_mm2.items())},
        grade=totals.grade,
    )


def join_rows(summary: JoinSummary) -> list[tuple[str, str]]:
    """Return the summary as names and values."""
    classes = ", ".join(f"{name} {count}" for name, count in summary.defects_by_class.items())
    missed = "; ".join(f"{cause} {mm2 / 1e6:.3f} m2" for cause, mm2 in summary.uninspected_mm2_by_cause.items())
    return [
        ("coil", summary.coil),
        ("length", f"{summary.metres:.1f} m in {summary.frames} frames"),
        ("coverage", f"{percent(summary.coverage)} of the strip's area" + (f"  (not: {missed})" if missed else "")),
        ("defects by class", classes or "none"),
        ("of these tentative", str(summary.defects_tentative)),
        ("roll marks", str(summary.roll_marks)),
        *grade_rows(summary.grade),
        ("alarms raised", str(summary.alarms)),
    ]


def _joined(joiner: Joiner, readings: dict[str, _Reading]) -> Iterator[Decided]:
    """Yield what is decided; always the camera that is furthest behind is read next, so that little waits."""
    left = dict(readings)
    while left:
        behind_mm = joiner.behind_mm
        key = max(left, key=lambda one: behind_mm[one])
        line = left[key].take()
        if line is None:
            del left[key]
            yield from joiner.over(key)
        else:
            yield from joiner.take(key, decided_from(line))


def _by_camera(settings: StripSettings, paths: Sequence[Path]) -> dict[str, _Reading]:
    named = [camera.key for camera in settings.camera]
    readings: dict[str, _Reading] = {}
    for path in paths:
        one = _Reading(path)
        if one.key not in named:
            found = f"is of camera {one.key!r}" if one.key else "tells of no strip"
            raise ConfigError(f"{path}: {found}, expected one of {', '.join(named)}; give that camera's verdict file")
        if one.key in readings:
            raise ConfigError(f"{path} and {readings[one.key].path} are both of camera {one.key!r}; leave one out")
        readings[one.key] = one
    if lacking := [key for key in named if key not in readings]:
        raise ConfigError(f"no file is of camera {', '.join(lacking)}; give one, or take it out of the configuration")
    return {key: readings[key] for key in named}
