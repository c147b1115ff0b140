"""Everything that the configuration of a strip under several cameras names, tried."""

from pathlib import Path

from linewatch.check.attempts import read_folder, write_into
from linewatch.check.others import check_keys
from linewatch.check.service import check_wire
from linewatch.check.trials import Trials
from linewatch.client.connection import ask_snapshot
from linewatch.config.calibration_file import read_calibration
from linewatch.contracts.errors import WireError
from linewatch.strip.rules import StripRules
from linewatch.strip.settings import StripCamera, StripSettings

ANSWER_S = 1.0


def check_strip(settings: StripSettings, trials: Trials, owner: int | None) -> None:
    """Try everything that `linewatch strip` opens. owner: the process that runs this configuration already."""
    trials.attempt("", "rules", "alarms, grading", lambda: _rules_of(settings), reads=settings.decision.grading)
    for number, camera in enumerate(settings.camera):
        if camera.calibration is not None:
            path = camera.calibration
            trials.attempt("camera", "calibration", path, lambda path=path: _calibration_of(path), number, reads=path)  # type: ignore[misc]
        if camera.keys is not None:
            check_keys("camera", camera.keys.secret_file, camera.keys.server_public_file, trials, number)
        trials.attempt("camera", "serve", camera.serve, lambda camera=camera: _answer_of(camera), number)  # type: ignore[misc]
    journal = settings.journal
    trials.attempt("journal", "dir", journal.dir, lambda: write_into(journal.dir, journal.max_mb), writes=journal.dir)
    for disk in settings.system_alarms.disks:
        trials.attempt("system_alarms", "disks", disk, lambda disk=disk: read_folder(disk))  # type: ignore[misc]
    check_wire(settings.wire, trials, owner)


def _rules_of(settings: StripSettings) -> str:
    StripRules(settings)
    return "fit the taxonomy, and each other"


def _calibration_of(path: Path) -> str:
    calibration = read_calibration(path)
    parts = [f"{name} {part.told_of()}" for name in ("geometry", "overlap") if (part := calibration.parts.get(name))]
    return "; ".join((f"{calibration.identity} of camera {calibration.serial!r}", *parts, *calibration.remarks))


def _answer_of(camera: StripCamera) -> str:
    """Say what the service is; one that does not run is no fault: the strip's process waits for it."""
    try:
        found = ask_snapshot(camera.serve, ANSWER_S, keys=camera.client_keys).coil
    except WireError:
        return f"{camera.key} does not answer now; the strip's process waits for its service"
    if found is None:
        return f"{camera.key} answers; no coil is under it"
    if f"{found.side}/{found.camera}" != camera.key:
        raise WireError(
            f"the service there is that of {found.side}/{found.camera}, expected {camera.key}: correct the name, the "
            "side or the address"
        )
    return f"{camera.key} answers; coil {found.coil} at {found.along_mm / 1000:.1f} m is under it"
