"""What light and lens do to a rendered strip."""

import numpy as np
import pytest
from pydantic import ValidationError

from linewatch.config.line import LineSettings
from linewatch.simulation.optics import OpticsSettings, seen_through
from linewatch.simulation.strip import SimulatedStrip

GRAY = np.full((64, 1600), 100, np.uint8)


def test_a_fault_grows_along_the_strip_and_stays():
    optics = OpticsSettings(from_m=10, to_m=20, light=0.5)
    assert [optics.grown(at_m) for at_m in (0, 10, 15, 20, 90)] == [0, 0, 0.5, 1, 1]
    assert OpticsSettings(from_m=10, light=0.5).grown(10) == 1
    line = LineSettings(width_px=256)
    strip = SimulatedStrip(1, 4, 0, line, optics=OpticsSettings(from_m=1, to_m=3, light=0.5))
    sound = SimulatedStrip(1, 4, 0, line)
    shares = [strip.lines(at, 64)[:, 60:200].mean() / sound.lines(at, 64)[:, 60:200].mean() for at in (0, 2000, 3600)]
    assert shares == pytest.approx([1.0, 0.75, 0.5], abs=0.07)


def test_less_light_leaves_the_noise_of_the_camera():
    dim = seen_through(GRAY, OpticsSettings(light=0.25), 1.0, 3)
    assert dim.mean() == pytest.approx(25, abs=0.1)
    assert dim.std() == pytest.approx(0.97, abs=0.15)
    assert np.array_equal(dim, seen_through(GRAY, OpticsSettings(light=0.25), 1.0, 3))
    assert np.array_equal(seen_through(GRAY, OpticsSettings(light=0.25), 0.0, 3), GRAY)


def test_a_dead_segment_dirt_and_defocus_show_where_they_are():
    light = seen_through(GRAY, OpticsSettings(dead_px=(600, 1000), dead_light=0.3), 1.0, 3).mean(axis=0)
    assert light[[300, 800, 1300]] == pytest.approx([100, 30, 100], abs=1)
    dirt = seen_through(GRAY, OpticsSettings(dirt_px=(500,), dirt_depth=0.5), 1.0, 3)[0]
    assert dirt.argmin() == 500
    assert dirt[500] == 50
    assert (dirt < 95).sum() < 20
    step = np.where(np.arange(1600) < 800, 40, 140).astype(np.uint8)[None].repeat(64, axis=0)
    blurred = seen_through(step, OpticsSettings(blur_px=2.0), 1.0, 3)[0].astype(int)
    assert 15 < np.diff(blurred).max() < 25


def test_a_segment_without_columns_is_refused():
    with pytest.raises(ValidationError, match="holds no column"):
        OpticsSettings(dead_px=(30, 30))
