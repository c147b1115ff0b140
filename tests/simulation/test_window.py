"""Several simulated cameras see one strip: the same steel, with the same defects at the same places."""

import numpy as np
import pytest

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.capture.clock import MonotonicClock
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError

LINE = LineSettings(width_px=320, frame_lines=64, across_offset_mm=-100.0)


def source(offset_px: int = 0, strip_px: int | None = 640) -> SimulatorSource:
    return SimulatorSource(
        type="simulator", seed=3, length_m=0.256, defects_per_m=20, strip_px=strip_px, view_offset_px=offset_px
    )


def pictures(source: SimulatorSource, line: LineSettings) -> np.ndarray:
    with open_camera(source, line, MonotonicClock(), live=False) as camera:
        return np.concatenate([grab.image for grab in iter(camera.read, None)])


def test_windows_show_parts_of_one_strip() -> None:
    whole = pictures(source(strip_px=None), LINE.model_copy(update={"width_px": 640}))
    left, right = pictures(source(0), LINE), pictures(source(300), LINE)
    assert left.shape == right.shape == (256, 320)
    assert np.array_equal(left, whole[:, :320])
    assert np.array_equal(right, whole[:, 300:620])


def test_the_truth_is_the_same_for_each_window() -> None:
    shifted = LINE.model_copy(update={"across_offset_mm": -100.0 + 300 * LINE.mm_per_px})
    assert source(0).strip(LINE).truth("C") == source(300).strip(shifted).truth("C")


def test_a_window_beyond_the_strip_is_refused() -> None:
    with pytest.raises(ConfigError, match="pixels 321 to 641 of a strip of 640"):
        pictures(source(321), LINE)
