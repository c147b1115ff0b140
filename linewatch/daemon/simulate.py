"""`linewatch simulate`: renders a strip with known defects as a recording, with the truth beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.capture.cameras.source import SourceSettings
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.recorder import record
from linewatch.capture.sidecar import sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.simulation.strip import SimulatedRollMark
from linewatch.simulation.truth import CoilTruth
from linewatch.terminal import progress_bar


def simulator_source(
    seed: int,
    length_m: float,
    defects_per_m: float,
    roll_marks: Sequence[str] = (),
    *,
    like: SourceSettings | None = None,
) -> SimulatorSource:
    """Return a simulated coil from what a user typed, with turns, welds, texture, light and view of `like`.

    roll_marks: each as `pitch_mm=1900,across_mm=400,missed=0.1`. Raises ConfigError for impossible values.
    """
    course: dict[str, Any] = {}
    if isinstance(like, SimulatorSource):
        names = "turns", "welds_m", "texture", "light_falloff", "shows", "strip_px", "view_offset_px"
        course = {name: getattr(like, name) for name in names}
    try:
        return SimulatorSource(
            type="simulator",
            seed=seed,
            length_m=length_m,
            defects_per_m=defects_per_m,
            coil=f"SIM-{seed}",
            roll_mark=tuple(_roll_mark(text) for text in roll_marks),
            **course,
        )
    except ValidationError as error:
        faults = "; ".join(
            f"{fault['loc'][0] if fault['loc'] else 'roll mark'} is {fault['input']!r}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigError(f"cannot simulate that: {faults}") from error


def _roll_mark(text: str) -> SimulatedRollMark:
    fields: dict[str, object] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in SimulatedRollMark.model_fields or not value or name in fields:
            raise ConfigError(
                f"roll mark {part.strip()!r} is not NAME=VALUE, each name once; expected names: "
                f"{', '.join(SimulatedRollMark.model_fields)}; e.g. pitch_mm=1900,across_mm=400,missed=0.1"
            )
        try:
            fields[name] = value if name == "defect_class" else float(value)
        except ValueError:
            raise ConfigError(f"roll mark: {name} is {value!r}, expected a number without a unit") from None
    return SimulatedRollMark(**fields)  # type: ignore[arg-type]


def _make_room(video: Path, truth: Path) -> None:
    """Remove an earlier recording of this name."""
    earlier = (video, sidecar_path(video))
    if video.suffix.lower() != ".avi":
        raise SourceError(f"cannot record to {video}: found suffix {video.suffix!r}, expected .avi; rename it")
    if truth.absolute() in [path.absolute() for path in earlier]:
        raise SourceError(f"{truth} is a file of the recording, expected another one for the truth; rename it")
    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        for old in earlier:
            if old.exists() and not old.is_file():
                raise SourceError(f"{old} is no regular file, expected one or none; choose another name")
            old.unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(
            f"cannot write recording {video}: {error.strerror}; expected a writable folder; choose another"
        ) from error


def render(source: SimulatorSource, line: LineSettings, video: Path, truth: Path, max_mb: float = 8192.0) -> CoilTruth:
    """Write the source's strip as a lossless recording with its sidecar, and its truth; show a progress bar.

    Replaces earlier files of these names, and nothing else. Raises SourceError.
    """
    _make_room(video, truth)
    camera = open_camera(source, line, MonotonicClock(), live=False)
    with camera, progress_bar("render", camera.grabs) as show:
        grabs = 0

        def count(_grab: object) -> None:
            nonlocal grabs
            grabs += 1
            show(grabs, "")

        record(camera, video, line, max_mb, count)
    coil_truth = source.strip(line).truth(source.coil)
    coil_truth.write(truth)
    return coil_truth
