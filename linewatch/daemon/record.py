"""`linewatch record`: records a source, until it ends, a limit of size or time is reached, or a signal comes."""

import threading
from pathlib import Path

import structlog

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.find_calibration import calibrations
from linewatch.capture.recorder import RecordingSummary, record
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Grab
from linewatch.service_settings import ServiceSettings
from linewatch.signals import on_end
from linewatch.terminal import progress_bar

log = structlog.get_logger()


def record_source(settings: ServiceSettings, path: Path, *, max_mb: float, max_s: float | None) -> RecordingSummary:
    """Record the configured source. SIGINT and SIGTERM end the recording with whole files. Raises LinewatchErrors."""
    if settings.source is None:
        raise ConfigError("the configuration has no [source]; give it the source to record")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"cannot write recording {path}: {error.strerror}; expected a folder that can be made; choose another"
        ) from error
    find = calibrations(settings.calibration, settings.line, settings.source)
    camera = open_camera(settings.source, settings.line, MonotonicClock(), live=True, find=find)
    grabs = 0
    with camera, progress_bar("record", camera.grabs) as show:
        try:
            calibration = find(camera.serial)
        except ConfigError as error:  # raw pixels are what a new calibration may be made from
            log.warning("calibration_not_recorded", error=str(error))
            calibration = None

        def count(grab: Grab) -> None:
            nonlocal grabs
            grabs += 1
            show(grabs, f"{grab.coil} {(grab.along_mm + grab.lines * grab.mm_per_line) / 1000:.1f} m")

        timer = threading.Timer(max_s, camera.stop) if max_s is not None else None
        with on_end(camera.stop):
            try:
                if timer is not None:
                    timer.start()
                return record(camera, path, settings.line, max_mb, count, calibration)
            finally:
                if timer is not None:
                    timer.cancel()
