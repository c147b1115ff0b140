"""Which calibration applies to a source: the one it was recorded with, another that is named, or the camera's own."""

from pathlib import Path
from typing import Final

from linewatch.capture.calibrated import FindCalibration, no_calibration
from linewatch.capture.cameras.recording import RecordingSource
from linewatch.capture.cameras.source import SourceSettings
from linewatch.capture.sidecar import read_header, sidecar_path
from linewatch.config.calibration import CalibrationSettings
from linewatch.config.calibration_file import CameraCalibration, calibration_path, check_calibration, read_calibration
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError

NONE: Final = "none"
"""Named in place of a file: apply no calibration."""


def calibrations(
    settings: CalibrationSettings, line: LineSettings, source: SourceSettings | None, named: str | None = None
) -> FindCalibration:
    """Return what finds the calibration of a camera by its serial.

    named: a file, or "none"; None: for a recording with a sidecar the one that it was recorded with, else the camera's
    own. Raises ConfigError for a named file that cannot be used, SourceError for a bad sidecar.
    """
    if named == NONE:
        return no_calibration
    if named is not None:
        path = Path(named)
        return _only(read_calibration(path), path, line)
    if isinstance(source, RecordingSource) and (sidecar := sidecar_path(source.path)).exists():
        recorded = read_header(sidecar).calibration
        return no_calibration if recorded is None else _only(recorded, sidecar, line)
    return lambda serial: own_calibration(settings, line, serial)


def own_calibration(settings: CalibrationSettings, line: LineSettings, serial: str) -> CameraCalibration | None:
    """Return the calibration of the camera with this serial, as configured; None: it has none, and needs none.

    serial: "": the camera does not tell it. Raises ConfigError where it cannot be used, or is demanded and lacking.
    """
    serial = camera_serial(settings, serial)
    path = calibration_path(settings.folder, serial) if serial else None
    if path is not None and path.exists():
        calibration = read_calibration(path)
        check_calibration(calibration, path, serial, line.width_px)
        return calibration
    if settings.required:
        found = f"{path.absolute()} does not exist" if path else "the camera tells no serial, and none is configured"
        raise ConfigError(
            f"[calibration] required = true, but {found}; calibrate the camera with `linewatch calibrate`, or do not "
            "demand it"
        )
    return None


def camera_serial(settings: CalibrationSettings, told: str) -> str:
    """Return the camera's serial: `told` by the source, or else as configured. Raises ConfigError where they differ."""
    configured = settings.serial or ""
    if told and configured and told != configured:
        raise ConfigError(
            f"[calibration] serial is {configured!r}, the camera says {told!r}; take the setting out, or connect that "
            "camera"
        )
    return told or configured


def _only(calibration: CameraCalibration, origin: Path, line: LineSettings) -> FindCalibration:
    check_calibration(calibration, origin, "", line.width_px)

    def find(serial: str) -> CameraCalibration:
        check_calibration(calibration, origin, serial, line.width_px)
        return calibration

    return find
