"""Every texture renders equal lines however they are cut, and what it was made for."""

import numpy as np
import pytest

from linewatch.config.line import LineSettings
from linewatch.simulation.measured import STATISTICS, MeasuredLook, StripStatistics
from linewatch.simulation.strip import TEXTURES, SimulatedStrip, Texture

LINE = LineSettings()


def _strip(texture: Texture, seed: int = 11) -> SimulatedStrip:
    return SimulatedStrip(seed, 3.0, 0.0, LINE, texture=texture)


@pytest.mark.parametrize("texture", TEXTURES)
def test_lines_depend_on_seed_and_place_only(texture):
    strip = _strip(texture)
    whole = strip.lines(0, 2600)
    assert np.array_equal(whole[1500:1700], _strip(texture).lines(1500, 200))
    assert not np.array_equal(whole[:256], _strip(texture, seed=12).lines(0, 256))
    assert not np.array_equal(whole[:256], whole[1024:1280])  # no two grabs are equal
    inner = whole[:, 200:-200]
    assert 25 < inner.mean() < 200
    assert inner.std() > 2


def test_textures_differ():
    first = [_strip(texture).lines(0, 256) for texture in TEXTURES]
    assert len({one.tobytes() for one in first}) == len(TEXTURES)


def test_the_lamp_of_measured_strip_lights_every_picture_alike():
    lines = _strip("measured").lines(0, 2048)[:, 200:-200].mean(axis=1).reshape(8, 256)
    profile = lines / lines.mean(axis=1, keepdims=True)
    lamp = profile.mean(axis=0)
    assert lamp.max() - lamp.min() > 0.05
    assert np.abs(profile - lamp).mean() < 0.1 * (lamp.max() - lamp.min()) + 0.02


def test_tread_plate_has_a_pattern_that_repeats():
    plain, plate = (
        _strip(texture).lines(0, 1024)[:, 200:-200].astype(float) for texture in ("measured", "tread_plate")
    )
    relief = plate / np.maximum(plain, 1)
    row = relief[300] - relief[300].mean()
    assert relief.std() > 0.05
    spectrum = np.abs(np.fft.rfft(row))[3:]
    assert spectrum.max() > 6 * np.median(spectrum)


def test_measured_statistics_are_whole():
    told = StripStatistics.measured()
    assert told.mean.shape == (len(STATISTICS),)
    assert np.allclose(told.spread, np.tril(told.spread))
    assert (np.diag(told.spread) > 0).all()
    drawn = [told.drawn(np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([one["gray"] for one in drawn]) == pytest.approx(told.mean[0], abs=0.1)


def test_rendering_stays_within_light():
    look = MeasuredLook(3, 640)
    block = look.block(5)
    assert block.shape == (256, 640)
    assert np.isfinite(block).all()
    assert block.min() >= 0
