"""Keep a part of a camera's calibration: in one step, with the file before it beside it."""

import getpass
from datetime import UTC, datetime
from pathlib import Path

from linewatch.config.calibration_file import (
    CameraCalibration,
    calibration_path,
    check_calibration,
    read_calibration,
)
from linewatch.config.calibration_part import CalibrationPart
from linewatch.contracts.errors import ConfigError
from linewatch.files import write_output


def keep_part(folder: Path, serial: str, name: str, part: CalibrationPart) -> Path:
    """Write the camera's file with this part and all others that it had, and return its path.

    The file that was there is kept beside it, with `.old` behind its name. Raises ConfigError where that file cannot
    be read or is of another camera or width, and where nothing can be written.
    """
    path, former = calibration_path(folder, serial), former_calibration(folder, serial, name, part.width_px)
    new = former.with_part(name, part) if former else CameraCalibration.sealed(serial, **{name: part})
    if former is not None:
        try:
            write_output(former_path(path), path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); let this user read it") from error
    write_output(path, (new.model_dump_json(indent=1, exclude_none=True) + "\n").encode())
    return path


def former_calibration(folder: Path, serial: str, name: str, width_px: int) -> CameraCalibration | None:
    """Return what a part of that name and width will be added to; None where the camera has no calibration yet.

    Call it before the work, so that nobody calibrates in vain. Raises ConfigError as `keep_part` does.
    """
    path = calibration_path(folder, serial)
    if not path.exists():
        return None
    former = read_calibration(path)
    others = {one: there for one, there in former.parts.items() if one != name}
    check_calibration(CameraCalibration.sealed(former.serial, **others), path, serial, width_px)
    return former


def former_path(path: Path) -> Path:
    """Return where the file that stood at `path` before is kept."""
    return path.with_name(f"{path.name}.old")


def now() -> datetime:
    """Return the time that a part keeps as its date, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def this_user() -> str:
    """Return who makes a calibration, where nobody is named."""
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):
        return "unknown"
