"""A new calibration file is taken up with the next coil, and one that does not fit is refused with the reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from measured_parts import geometry
from test_admission import grab

from linewatch.capture.admission import Admission
from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.calibration_watch import CalibrationWatch
from linewatch.capture.find_calibration import calibrations
from linewatch.capture.ring import FrameRing
from linewatch.config.calibration import CalibrationSettings
from linewatch.config.calibration_file import CameraCalibration, calibration_path
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings

LINE = LineSettings(width_px=40, frame_lines=16, mm_per_line=2.0, mm_per_px=0.5, side="bottom", camera="c9")
Line = tuple[Admission, CalibrationWatch, Callable[[float, int], CameraCalibration]]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """An admission without a calibration, the watch of its file, and what writes one."""
    settings = CalibrationSettings(folder=tmp_path, serial="S1")
    in_force = CalibrationInForce(LINE, calibrations(settings, LINE, None))
    in_force.begin("")

    def write(mm_per_px: float, width_px: int = 40) -> CameraCalibration:
        made = CameraCalibration.sealed("S1", geometry=geometry(width_px, mm_per_px, ()))
        calibration_path(tmp_path, "S1").write_text(made.model_dump_json())
        return made

    admission = Admission(LINE, CaptureSettings(), FrameRing(64, 16, 40), calibrated=in_force)
    return admission, CalibrationWatch(in_force, settings, lambda: ""), write


def test_a_new_file_holds_from_the_next_coil_on(line: Line) -> None:
    admission, watch, write = line
    in_force = admission.calibrated
    (before,) = admission.admit(grab(0))
    made = write(0.6, 40)
    watch.look()
    (same_coil,) = admission.admit(grab(1))
    assert (before.calibration, same_coil.calibration) == ("", ""), "nothing changes within a coil"
    assert in_force.following == made.identity
    (following,) = admission.admit(grab(2, 0, coil="NEXT"))
    assert following.calibration == made.told == f"{made.identity} 2026-11-30T12:00Z S1"
    assert following.columns.mm_per_px == pytest.approx(0.6)
    assert in_force.following == ""
    watch.look()
    assert in_force.following == "", "a file that has not changed is not read again"


def test_a_file_that_does_not_fit_is_refused_and_the_one_before_it_stays(line: Line) -> None:
    admission, watch, write = line
    in_force = admission.calibrated
    made = write(0.6, 40)
    watch.look()
    (first,) = admission.admit(grab(0))
    assert first.calibration == made.told
    write(0.7, 41)
    watch.look()
    assert "41 px" in (in_force.refused or "")
    (following,) = admission.admit(grab(1, 0, coil="NEXT"))
    assert (following.calibration, in_force.trouble) == (made.told, None)
    again = write(0.65, 40)
    watch.look()
    (third,) = admission.admit(grab(2, 0, coil="THIRD"))
    assert (third.calibration, in_force.refused) == (again.told, None)


def test_a_good_file_ends_the_trouble_of_a_damaged_one_at_once(line: Line, tmp_path: Path) -> None:
    admission, watch, write = line
    in_force = admission.calibrated
    calibration_path(tmp_path, "S1").write_text("{")
    in_force.meet("S1")
    assert in_force.trouble
    (missed,) = admission.admit(grab(0))
    assert missed.valid_lines == 0
    made = write(0.6, 40)
    watch.look()
    in_force.meet("S1")
    (frame,) = admission.admit(grab(1))
    assert (in_force.trouble, frame.calibration, frame.valid_lines) == (None, made.told, 16)


def test_a_calibration_found_while_another_camera_takes_over_is_not_taken_up_for_it() -> None:
    made = CameraCalibration.sealed("S1", geometry=geometry(40, 0.6, ()))
    swapping = False

    def find(serial: str) -> CameraCalibration | None:
        if swapping and serial == "S1":
            in_force.meet("S2")  # the disk took so long
        return made if swapping and serial == "S1" else None

    in_force = CalibrationInForce(LINE, find)
    in_force.meet("S1")
    swapping = True
    in_force.look()
    in_force.take_up()
    assert (in_force.following, in_force.identity, in_force.serial) == ("", "", "S2")


def test_a_file_that_was_written_again_as_it_was_does_not_wait(line: Line) -> None:
    admission, watch, write = line
    write(0.6)
    watch.look()
    admission.calibrated.take_up()
    write(0.6)
    admission.calibrated.look()
    assert admission.calibrated.following == ""
