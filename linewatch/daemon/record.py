"""`linewatch record`: records a source, until it ends, a limit of size or time is reached, or a signal comes.

A camera that is absent or lost is waited for, as by `linewatch run`.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from linewatch.capture.calibrated import FindCalibration
from linewatch.capture.cameras.registry import open_for_service
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.find_calibration import calibrations
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.recorder import RecordingSummary, record
from linewatch.config.calibration_file import CameraCalibration
from linewatch.contracts.camera import CameraState
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera
from linewatch.service_settings import ServiceSettings
from linewatch.signals import on_end
from linewatch.terminal import progress_bar

log = structlog.get_logger()


def record_source(settings: ServiceSettings, path: Path, *, max_mb: float, max_s: float | None) -> RecordingSummary:
    """Record the configured source. SIGINT and SIGTERM end the recording with whole files.

    max_s: how long at most, waiting for the camera included. Raises LinewatchErrors.
    """
    if settings.source is None:
        raise ConfigError("the configuration has no [source]; give it the source to record")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"cannot write recording {path}: {error.strerror}; expected a folder that can be made; choose another"
        ) from error
    find = calibrations(settings.calibration, settings.line, settings.source)
    within_s = settings.capture.restart_within_s
    camera = open_for_service(settings.source, settings.line, MonotonicClock(), within_s, find)
    grabs = 0
    with camera, progress_bar("record", camera.grabs) as show:

        def count(grab: Grab) -> None:
            nonlocal grabs
            grabs += 1
            if camera.serial != serial:
                raise SourceError(
                    f"camera {camera.serial!r} has taken the place of {serial!r}; a recording is of one camera, so "
                    "record the new one anew"
                )
            show(grabs, f"{grab.coil} {(grab.along_mm + grab.lines * grab.mm_per_line) / 1000:.1f} m")

        timer = threading.Timer(max_s, camera.stop) if max_s is not None else None
        with on_end(camera.stop):
            try:
                if timer is not None:
                    timer.start()
                _wait_for(camera, lambda note: show(0, note))
                serial = camera.serial
                return record(camera, path, settings.line, max_mb, count, _calibration(find, serial))
            finally:
                if timer is not None:
                    timer.cancel()


_LOOK_S: Final = 0.5


def _wait_for(camera: Camera, note: Callable[[str], None]) -> None:
    """Wait until a camera that may be absent gives something. Raises SourceError where it was stopped before."""
    if not isinstance(camera, LastingCamera):
        return
    while not camera.wait(_LOOK_S):
        note(camera.trouble or "the camera gives nothing yet")
    if camera.life.state is not CameraState.OPEN:
        raise SourceError(
            f"nothing was recorded: the camera did not come ({camera.life.why}); connect it, or correct [source]"
        )


def _calibration(find: FindCalibration, serial: str) -> CameraCalibration | None:
    try:
        return find(serial)
    except ConfigError as error:  # raw pixels are what a new calibration may be made from
        log.warning("calibration_not_recorded", error=str(error))
        return None
