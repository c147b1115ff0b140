"""The flat field is applied in exact fixed-point arithmetic, on the way into the ring."""

from dataclasses import replace

import numpy as np
import pytest
from references import flat_field_of
from test_admission import grab

from linewatch.capture.admission import Admission
from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.flat_field import FlatFieldCorrection
from linewatch.capture.ring import FrameRing
from linewatch.config.calibration_file import CameraCalibration
from linewatch.config.capture import CaptureSettings
from linewatch.config.flat_field import FlatField, PackedLevels
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause

LINE = LineSettings(width_px=40, frame_lines=16, mm_per_line=2.0, mm_per_px=0.5, side="bottom", camera="c9")


def part_of(offset: np.ndarray, gain: np.ndarray, shift: int, **more: object) -> FlatField:
    """A flat field of these levels, per column or pixel as they are one line or several."""
    packed = {"offset": PackedLevels.of(offset.astype(np.uint8)), "gain": PackedLevels.of(gain.astype(np.uint8))}
    per = "column" if len(gain) == 1 else "pixel"
    changed = {"width_px": gain.shape[1], "per": per, "shift": shift, "dead": (), "hot": (), **packed, **more}
    return FlatField.model_validate(dict(flat_field_of().part) | changed)


def wanted(pixels: np.ndarray, part: FlatField) -> np.ndarray:
    """The same in whole numbers: half to even, limited, saturated pixels as they were."""
    lit = np.maximum(pixels.astype(np.int64) - part.offset.levels, 0) * part.gain.levels
    unit = 1 << part.shift
    whole, rest = lit // unit, lit % unit * 2
    rounded = whole + ((rest > unit) | ((rest == unit) & (whole % 2 == 1)))
    return np.where(pixels == 255, 255, np.minimum(rounded, 255)).astype(np.uint8)


@pytest.mark.parametrize("shift", range(9))
@pytest.mark.parametrize("offset", [0, 3, 200])
def test_every_level_and_gain_gives_the_exact_result(shift: int, offset: int) -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 256))
    part = part_of(np.full((1, 256), offset), np.arange(256)[None], shift)
    out = np.full_like(levels, 7)
    FlatFieldCorrection(part, 256).apply(levels, out)
    assert np.array_equal(out, wanted(levels, part))
    assert (out[255] == 255).all(), "a saturated pixel stays saturated"


def test_dead_columns_are_seen_by_their_neighbours() -> None:
    part = part_of(np.zeros((1, 40)), np.full((1, 40), 128), 7, dead=((0, 0), (0, 9), (0, 10), (0, 39)))
    pixels = np.tile(np.arange(100, 180, 2, dtype=np.uint8), (16, 1))
    kept = pixels.copy()
    pixels[:, [0, 9, 10, 39]] = 0
    out = np.empty_like(pixels)
    FlatFieldCorrection(part, 16).apply(pixels, out)
    kept[:, [0, 9, 10, 39]] = [102, (116 + 122 + 1) // 2, (116 + 122 + 1) // 2, 176]
    assert np.array_equal(out, kept)


def test_a_flat_field_per_pixel_follows_the_place_in_the_picture() -> None:
    rng = np.random.default_rng(1)
    offset, gain = rng.integers(0, 9, (16, 40)), rng.integers(64, 255, (16, 40))
    part = part_of(offset, gain, 6, dead=((5, 20),))
    pixels = rng.integers(0, 256, (16, 40), np.uint8)
    whole = np.empty_like(pixels)
    correction = FlatFieldCorrection(part, 16)
    correction.apply(pixels, whole)
    divided = np.empty_like(pixels)
    for first, stop in ((0, 5), (5, 6), (6, 16)):
        correction.apply(pixels[first:stop], divided[first:stop], first)
    assert np.array_equal(whole, divided)
    plain = wanted(pixels, part)
    assert whole[5, 20] == (int(plain[5, 19]) + int(plain[5, 21]) + 1) // 2
    plain[5, 20] = whole[5, 20]
    assert np.array_equal(whole, plain)
    with pytest.raises(ConfigError, match=r"has 16 lines, .line. frame_lines is 64"):
        FlatFieldCorrection(part, 64)


def calibrated(serial: str = "S", **more: object) -> CameraCalibration:
    return CameraCalibration.sealed(serial, flat_field=part_of(np.full((1, 40), 2), np.full((1, 40), 192), 7, **more))


def admission(in_force: CalibrationInForce) -> Admission:
    return Admission(LINE, CaptureSettings(), FrameRing(8, 16, 40), calibrated=in_force)


def test_admission_judges_raw_pixels_and_passes_corrected_ones_on() -> None:
    calibration = calibrated()
    in_force = CalibrationInForce(LINE, lambda _serial: calibration)
    in_force.begin("S")
    admit = admission(in_force)
    good = grab(1)
    assert good.image is not None
    (frame,) = admit.admit(good)
    part = calibration.flat_field
    assert part is not None
    assert frame.pixels is not None
    assert np.array_equal(frame.pixels, wanted(good.image, part))
    assert frame.calibration == calibration.told
    (frozen,) = admit.admit(grab(2, pixels=good.image))
    assert frozen.fault is Cause.FROZEN, "it is compared with what the camera gave before"
    (black,) = admit.admit(grab(3, pixels=np.full((16, 40), 9, np.uint8)))
    assert black.fault is None, "just bright enough by its own pixels"
    (black,) = admit.admit(grab(4, pixels=np.full((16, 40), 8, np.uint8)))
    assert black.fault is Cause.BLACK, "a gain makes no light"
    short = grab(5)
    (frame,) = admit.admit(replace(short, image=short.image[:5]))
    assert (frame.fault, frame.valid_lines) == (Cause.TRUNCATED, 5)
    assert frame.pixels is not None
    assert np.array_equal(frame.pixels[:5], wanted(short.image[:5], part))
    assert not frame.pixels[5:].any()


def test_another_camera_brings_its_own_calibration_and_without_a_usable_one_nothing_is_inspected() -> None:
    known = {"A": calibrated("A"), "B": calibrated("B"), "wide": None, "wrong": calibrated("other")}

    def find(serial: str) -> CameraCalibration | None:
        if serial == "cut":
            raise ConfigError("cut.json: is cut")
        return known[serial]

    in_force = CalibrationInForce(LINE, find)
    admit = admission(in_force)
    for number, serial in enumerate(("A", "B", "wide")):
        in_force.meet(serial)
        (frame,) = admit.admit(grab(number))
        found = known[serial]
        assert (frame.fault, frame.calibration) == (None, found.told if found else "")
    for number, serial in enumerate(("cut", "wrong"), start=3):
        in_force.meet(serial)
        (frame,) = admit.admit(grab(number))
        assert (frame.fault, frame.valid_lines, frame.calibration) == (Cause.CALIBRATION, 0, "")
        assert in_force.trouble is not None
    in_force.meet("A")
    (frame,) = admit.admit(grab(5))
    assert (frame.fault, in_force.trouble) == (None, None)
    with pytest.raises(ConfigError, match="is cut"):
        in_force.begin("cut")
