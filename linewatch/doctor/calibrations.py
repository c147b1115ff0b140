"""The calibrations of the cameras: how old each part is, and whether the files can be used."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from linewatch.config.calibration_file import calibration_path, read_calibration
from linewatch.contracts.errors import ConfigError
from linewatch.doctor.finding import HostFinding, fault, fine, note, warning
from linewatch.doctor.needs import HostNeeds

OLD_DAYS = {"flat_field": 180}
"""Lamps age and windows become dirty: a flat field holds for less long than what hangs on the mechanics."""
_OLD_DAYS = 730


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """A camera's calibration file. ages_days: by part. width_px: for which its parts hold. why: why it is unusable."""

    path: Path
    serial: str = ""
    ages_days: tuple[tuple[str, int], ...] = ()
    width_px: int = 0
    why: str = ""


def look_at_calibrations(needs: HostNeeds) -> tuple[CalibrationFacts, ...]:
    """Return the calibration of the configured camera; where its serial is not known, all in the folder."""
    if (folder := needs.calibrations) is None or not folder.is_dir():
        return ()
    own = calibration_path(folder, needs.serial) if needs.serial else None
    paths = [own] if own is not None and own.exists() else sorted(folder.glob("*.json"))
    now = datetime.now(UTC)
    found = []
    for path in paths:
        try:
            calibration = read_calibration(path)
        except ConfigError as error:
            found.append(CalibrationFacts(path, why=str(error)))
            continue
        ages = tuple((name, (now - part.made).days) for name, part in calibration.parts.items())
        width_px = next((part.width_px for part in calibration.parts.values()), 0)
        found.append(CalibrationFacts(path, calibration.serial, ages, width_px))
    return tuple(found)


def judge_calibrations(facts: tuple[CalibrationFacts, ...], needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge the calibrations of a service's cameras."""
    if needs.calibrations is None:
        return
    if not facts:
        yield note(
            "calibration",
            f"{needs.calibrations.absolute()} has none",
            "frames are inspected as they come: defects in dark zones are missed, and positions are the nominal ones",
            f"linewatch calibrate flat-field {needs.config}",
        )
    for one in facts:
        subject = f"calibration of {one.serial or one.path.name}"
        if one.why:
            yield fault(
                subject,
                one.why,
                "the service does not start with this camera",
                f"mv {one.path}.old {one.path}, or calibrate again",
            )
            continue
        told = ", ".join(f"{name.replace('_', ' ')} {days} days old" for name, days in one.ages_days)
        old = [name for name, days in one.ages_days if days > OLD_DAYS.get(name, _OLD_DAYS)]
        if one.serial == needs.serial and one.width_px not in {0, needs.width_px}:
            yield warning(
                subject,
                f"made at {one.width_px} px, [line] width_px is {needs.width_px}",
                "the service does not start with it",
                "set the camera back to that width, or calibrate it again",
            )
        elif old:
            command = old[0].replace("_", "-")
            yield note(
                subject,
                told,
                "lamps age, windows become dirty, rolls are ground: brightness and positions are off by as much",
                f"linewatch calibrate {command} {needs.config}",
            )
        else:
            yield fine(subject, told or "has no part")
