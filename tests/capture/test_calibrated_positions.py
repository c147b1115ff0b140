"""Positions, the encoder's scale and the levels of the edge finder come from the calibration of the camera that is
connected, which holds against the configuration and says so.
"""

import numpy as np
import pytest
from measured_parts import edges, encoder, geometry, overlap
from structlog.testing import capture_logs

from linewatch.capture.admission import Admission
from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.position.encoder import placed_by_encoder
from linewatch.capture.ring import FrameRing
from linewatch.config.calibrated import calibrated_capture, calibrated_line, replaced_settings
from linewatch.config.calibration_file import CameraCalibration
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import CameraWrapper
from linewatch.geometry.straighten import straightened

LINE = LineSettings(
    width_px=640,
    frame_lines=16,
    mm_per_px=0.5,
    encoder=EncoderSettings(counts_per_mm=10.0, counts_per_line=10.0, strip_mm_per_roll_mm=1.01),
)
CAPTURE = CaptureSettings(edge_level=16)
ALL = CameraCalibration.sealed("S1", geometry=geometry(), encoder=encoder(), edges=edges(), overlap=overlap())


def test_the_calibration_holds_against_the_configuration():
    line, capture = calibrated_line(LINE, ALL), calibrated_capture(CAPTURE, ALL)
    assert (line.mm_per_px, line.across_offset_mm, line.distortion_px) == (0.49, -150.0, (0.0, -9.0))
    assert line.across.mm(320.0) == pytest.approx(-150.0 + 0.49 * 320)
    assert line.encoder is not None
    assert line.encoder.mm_per_line == pytest.approx(10.0 / 10.2)
    assert (capture.edge_level, capture.edge_min_width_px, capture.dark_level) == (45, 60, CAPTURE.dark_level)
    assert calibrated_line(LINE, None) is LINE
    assert calibrated_capture(CAPTURE, CameraCalibration.sealed("S1")) is CAPTURE


def test_what_the_configuration_says_otherwise_is_told_and_what_it_does_not_say_is_not():
    told = replaced_settings(LINE, CAPTURE, ALL)
    assert [text.split(" does not hold")[0] for text in told] == [
        "[line] mm_per_px = 0.5",
        "[capture] edge_level = 16",
        "[line.encoder] counts_per_mm = 10",
        "[line.encoder] strip_mm_per_roll_mm = 1.01",
    ]
    assert "2026-11-30" in told[0]
    assert replaced_settings(LineSettings(width_px=640), CaptureSettings(), ALL) == ()


def test_an_encoder_that_contradicts_the_pitch_is_refused():
    with pytest.raises(ConfigError, match=r"calibration of S1: does not fit the configuration: .*mm_per_line"):
        calibrated_line(LINE, CameraCalibration.sealed("S1", encoder=encoder(counts_per_mm=20.0)))


def test_an_overlap_that_was_measured_with_another_geometry_is_told():
    assert ALL.remarks == ()
    (text,) = CameraCalibration.sealed("S1", overlap=overlap()).remarks
    assert "calibrate overlap" in text


def grab(number: int) -> Grab:
    image = np.full((16, 640), 100 + number, np.uint8)
    return Grab(image, "A", number + 1, number * 16, 16, number * 160, number * 16.0, 1.0, number)


def test_frames_know_where_their_columns_lie_and_another_camera_brings_its_own_calibration():
    known = {"S1": ALL, "S2": None}
    in_force = CalibrationInForce(LINE, lambda serial: known[serial], CAPTURE)
    admission = Admission(LINE, CAPTURE, FrameRing(8, 16, 640), calibrated=in_force)
    with capture_logs() as logs:
        in_force.meet("S1")
    assert [log["text"] for log in logs if log["event"] == "calibration_holds"] == list(
        replaced_settings(LINE, CAPTURE, ALL)
    )
    (first,) = admission.admit(grab(0))
    assert first.columns == calibrated_line(LINE, ALL).across
    assert in_force.capture.edge_level == 45
    in_force.meet("S2")
    (second,) = admission.admit(grab(1))
    assert second.columns == LINE.across
    assert in_force.capture == CAPTURE


class _Counting(CameraWrapper):
    """A camera that counts ten pulses a line."""

    live, grabs, serial = True, None, "S1"

    def __init__(self) -> None:
        self._number = 0

    def read(self) -> Grab:
        self._number += 1
        return grab(self._number)


def test_grabs_are_placed_by_the_encoders_calibrated_scale():
    def refuse(_serial: str) -> CameraCalibration:
        raise ConfigError("damaged")

    pitches = []
    for find in (lambda _serial: ALL, lambda _serial: None, refuse):
        placed = placed_by_encoder(_Counting(), LINE, "acme", counted=True, find=find)
        placed.read()
        second = placed.read()
        assert second is not None
        pitches.append((second.mm_per_line, second.along_mm / second.first_line))
    assert pitches[0] == pytest.approx((10.0 / 10.2,) * 2)
    assert pitches[1] == pytest.approx((1.01,) * 2)
    assert pitches[2] == pitches[1]  # the service tells that it is damaged, and inspects nothing


def test_drawings_show_strip_as_a_straight_lens_would():
    columns = calibrated_line(LINE, ALL).across
    assert straightened(pixels := np.zeros((4, 640), np.uint8), LINE.across) is pixels
    places_mm = np.array([-100.0, 20.0, 130.0])
    for mm in places_mm:
        seen = np.zeros((4, 640), np.uint8)
        at = round(float(columns.column(mm)))
        seen[:, at - 2 : at + 2] = 255
        middle = np.average(np.arange(640) + 0.5, weights=straightened(seen, columns)[0].astype(float))
        assert columns.offset_mm + middle * columns.mm_per_px == pytest.approx(mm, abs=0.3)
