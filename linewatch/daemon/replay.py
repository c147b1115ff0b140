"""`linewatch replay`: runs the service over a recording, at any pace, with the same verdicts."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.capture.find_calibration import calibrations
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.ports import Backend, Camera
from linewatch.contracts.verdict import CoilGrade, Quality
from linewatch.daemon.coils.recorded import RecordedCoilData, read_recorded
from linewatch.daemon.progress import ProgressNote
from linewatch.daemon.service import Service, open_service
from linewatch.service_settings import ServiceSettings
from linewatch.signals import on_end
from linewatch.simulation.faults import FaultSpec, FaultyCamera
from linewatch.terminal import progress_bar

FAULT_SEED = 1


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """The results of a run. Latencies are from a frame's last line to its publication."""

    coil: str
    metres: float
    coverage: float  # inspected share of the area of strip that passed
    frames: int
    frames_per_s: float
    lines_missed_by_cause: dict[str, int]  # missed or degraded: every line that was not inspected
    defects_by_class: dict[str, int]
    defects_tentative: int
    alarms: int
    tiles: int
    tiles_passed: int
    latency_p50_ms: float
    latency_p99_ms: float
    engines: tuple[str, ...]
    uninspected_mm2_by_cause: dict[str, float] = field(default_factory=dict)  # degraded and missed area
    inspected_mm2: float = 0.0
    degraded_mm2: float = 0.0
    missed_mm2: float = 0.0
    missed_m: float = 0.0
    roll_marks: int = 0
    elapsed_s: float = field(default=0.0)
    grade: CoilGrade | None = None  # of the last coil
    calibration: str = ""  # identity of the camera's, as of the last frame; "": none


def replay(
    settings: ServiceSettings,
    *,
    pace: Literal["max", "line-rate"] = "max",
    fault: str | None = None,
    out: Path | None = None,
    hold_s: float = 0.0,
    backend: Backend | None = None,
    coil_data: Path | None = None,
    calibration: str | None = None,
    watch: Callable[[Service], None] = lambda _service: None,
) -> ReplaySummary:
    """Run `settings.source` through the service without losing a line. SIGINT and SIGTERM end it in order.

    fault: as `FaultSpec.parse` reads it. out: the verdict file; the journal is written beside it, without it to a
    temporary folder. hold_s: how long to serve consumers after the end. coil_data: what is known of the coils, as
    `read_recorded` reads it; by default the configured folder. calibration: a file, or "none"; by default what the
    source was recorded with. Raises LinewatchErrors.
    """
    if settings.source is None:
        raise ConfigError("no source to replay; name one, or give the configuration a [source]")
    if coil_data is None and settings.coil_data is not None and settings.coil_data.folder.is_dir():
        coil_data = settings.coil_data.folder
    recorded = RecordedCoilData() if coil_data is None else read_recorded(coil_data)
    clock = MonotonicClock()
    with ExitStack() as stack:
        find = calibrations(settings.calibration, settings.line, settings.source, calibration)
        camera: Camera = open_camera(settings.source, settings.line, clock, live=False, find=find)
        if fault is not None:
            camera = FaultyCamera(camera, FaultSpec.parse(fault), FAULT_SEED)
        camera = stack.enter_context(PacedCamera(camera, clock, pace))
        journal = (
            out.with_suffix(".journal") if out else Path(stack.enter_context(TemporaryDirectory(prefix="linewatch-")))
        )
        settings = settings.model_copy(update={"journal": settings.journal.model_copy(update={"dir": journal})})
        service = stack.enter_context(
            open_service(
                settings,
                camera,
                clock,
                verdicts=out,
                backends=[backend] if backend else (),
                recorded=recorded,
                calibration=calibration,
            )
        )
        stack.enter_context(on_end(service.stop))
        note = ProgressNote(service.totals)
        show = stack.enter_context(progress_bar("replay", camera.grabs))

        def look() -> None:
            show(service.totals.frames, note())
            watch(service)

        service.run(watch=look, hold_s=hold_s)
        show(service.totals.frames, note())
        return summary_of(service)


def summary_of(service: Service) -> ReplaySummary:
    """Sum up a service that has run."""
    totals, elapsed_s = service.totals, service.runner.elapsed_s
    latencies_ms = np.array(service.frame_times.newest_ns, np.float64) / 1e6
    p50, p99 = np.percentile(latencies_ms, [50, 99]) if len(latencies_ms) else (0.0, 0.0)
    return ReplaySummary(
        coil=totals.coil,
        metres=sum(totals.mm.values()) / 1000,
        coverage=totals.coverage,
        frames=totals.frames,
        frames_per_s=totals.frames / elapsed_s if elapsed_s else 0.0,
        lines_missed_by_cause=dict(Counter(totals.lines_by_cause)),
        defects_by_class=dict(sorted(totals.defects.items())),
        defects_tentative=totals.tentative.total(),
        alarms=totals.alarms_raised,
        tiles=totals.tiles,
        tiles_passed=totals.tiles_passed,
        latency_p50_ms=float(p50),
        latency_p99_ms=float(p99),
        engines=tuple(engine.identity for engine in service.engines),
        uninspected_mm2_by_cause={cause: round(mm2, 3) for cause, mm2 in totals.uninspected_mm2.items()},
        inspected_mm2=round(totals.area.inspected_mm2, 3),
        degraded_mm2=round(totals.area.degraded_mm2, 3),
        missed_mm2=round(totals.area.missed_mm2, 3),
        missed_m=totals.mm[Quality.MISSED] / 1000,
        roll_marks=totals.roll_marks,
        elapsed_s=elapsed_s,
        grade=totals.grade,
        calibration=service.calibrated.identity,
    )
