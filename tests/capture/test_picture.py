"""The picture's health: each fault of light or lens is told as what it is, and sound strip as sound."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from linewatch.capture.edges import find_edges
from linewatch.capture.picture.averages import CarriedLevel, Trend
from linewatch.capture.picture.measure import measure
from linewatch.capture.picture.meter import PictureMeter
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.config.picture import PictureSettings
from linewatch.contracts.frame import Cause, Frame
from linewatch.contracts.picture import PictureQuantity, PictureReading
from linewatch.simulation.optics import OpticsSettings, seen_through
from linewatch.simulation.strip import SimulatedStrip

LINE, CAPTURE = LineSettings(), CaptureSettings()
SOON = PictureSettings(every_frames=1, within_m=2.56)  # of ten frames
Q = PictureQuantity


@lru_cache
def _rendered(seed, texture, defects_per_m):
    strip = SimulatedStrip(seed, 18 * 0.256, defects_per_m, LINE, texture=texture)
    return [strip.lines(256 * number, 256) for number in range(18)]


def strip_of(seed, frames=12, texture="measured", defects_per_m=0):
    """Frames of a simulated coil, uint8 (256, 1600) each. Beyond 18 they come again, rolled on by some lines."""
    rendered = _rendered(seed, texture, defects_per_m)
    return [np.roll(rendered[number % 18], 3 * (number // 18), axis=0) for number in range(frames)]


class Follower:
    """Gives frames to a meter, one behind the other."""

    def __init__(self, settings=SOON, **more):
        self.meter, self._count = PictureMeter(settings, CAPTURE, LINE, **more), 0
        self.edges, self.readings = None, {}

    def show(self, frames, coil="A", fault=None):
        for pixels in frames:
            lines = 256 if pixels is None else len(pixels)
            frame = Frame(
                pixels=pixels,
                slot=None,
                ordinal=self._count,
                coil=coil,
                side="top",
                camera="cam1",
                sequence=self._count,
                first_line=self._count * 256,
                lines=lines,
                valid_lines=0 if pixels is None else lines,
                encoder_count=0,
                along_mm=self._count * 256.0,
                mm_per_line=1.0,
                columns=LINE.across,
                captured_ns=self._count * 60_000_000_000,
                fault=fault,
            )
            self._count += 1
            edges = None if pixels is None else find_edges(pixels, CAPTURE)
            self.edges, health = self.meter.follow(frame, edges)
            if health is not None:
                self.readings = {one.quantity: one for one in health.readings}
        return self

    @property
    def bad(self):
        return {one.quantity for one in self.readings.values() if one.bad()}


def through(frames, optics, shares):
    return [
        seen_through(frame, optics, share, number)
        for number, (frame, share) in enumerate(zip(frames, shares, strict=True))
    ]


@pytest.mark.heavy
def test_sound_strip_is_sound_whatever_the_product():
    """Bright and dark steel, defects, other textures, welds and the end of the strip raise nothing."""
    follower = Follower()
    for coil, (seed, texture, defects_per_m) in enumerate([(3, "measured", 8), (2, "measured", 0), (3, "drawn", 8)]):
        follower.show(strip_of(seed, 12, texture, defects_per_m), coil=f"C{coil}")
        assert follower.bad == set(), coil
    dark = [np.asarray(frame * 0.45, np.uint8) for frame in strip_of(4, 14)]
    assert follower.show(dark[:12], coil="dark").bad == set()
    ending = dark[12:]
    ending[0][100:] = 0
    assert follower.show(ending, coil="dark").bad == set()
    assert follower.readings[Q.LIGHT].value == pytest.approx(1.0, abs=0.05)
    assert follower.edges.doubt is None


def test_fading_light_is_told_within_a_coil_and_over_a_weld():
    follower, frames = Follower(), strip_of(4, 60)
    follower.show(through(frames, OpticsSettings(light=0.4), np.linspace(0, 1, 60)))
    faded = follower.readings[Q.LIGHT]
    assert follower.bad == {Q.LIGHT}
    assert 0.35 < faded.value < 0.6
    assert faded.per_hour < 0
    # The next coil is brighter steel, which may be the light again; the one behind it is darker, which is steel.
    follower.show([np.asarray(frame * 0.9, np.uint8) for frame in frames[:12]], coil="B")
    assert Q.LIGHT not in follower.bad
    follower.show([np.asarray(frame * 0.6, np.uint8) for frame in frames[:12]], coil="C")
    assert Q.LIGHT not in follower.bad


def test_dark_strip_is_told_whatever_it_is_due_to_and_degraded_where_defects_are_missed():
    follower = Follower().show(through(strip_of(4), OpticsSettings(light=0.15), [1.0] * 12))
    assert Q.GRAY in follower.bad
    assert follower.edges.doubt is Cause.DARK


def test_a_dead_segment_is_told_apart_from_fading_light():
    follower, frames = Follower(), strip_of(2, 40)
    segment = OpticsSettings(dead_px=(600, 1000), dead_light=0.3)
    follower.show(frames[:12]).show(through(frames[12:], segment, [1.0] * 28))
    assert follower.bad == {Q.SEGMENT}
    begin, end = (float(one) for one in follower.readings[Q.SEGMENT].place.removesuffix(" mm").split(" to "))
    assert begin >= 275
    assert end <= 525
    assert follower.readings[Q.LIGHT].value > 0.9


def test_pictures_that_are_flat_by_calibration_need_no_first_metres():
    """A segment that is dead when the service starts is told only where something says how even the light was."""
    dead = through(strip_of(2), OpticsSettings(dead_px=(600, 1000), dead_light=0.3), [1.0] * 12)
    assert Follower().show(dead).bad == set()
    assert Follower(flat=lambda: True).show(dead).bad == {Q.SEGMENT}


@pytest.mark.parametrize("texture", ["drawn", "measured"])
def test_defocus_is_told_by_strip_with_and_without_defects(texture):
    frames, many = strip_of(3, 14, texture), strip_of(3, 14, texture, defects_per_m=8)
    sharp = [measure(one, find_edges(one, CAPTURE), CAPTURE, None) for one in (frames[5], many[5])]
    assert sharp[0].sharpness == pytest.approx(sharp[1].sharpness, rel=0.1)
    for some in (frames, many):
        follower = Follower().show(some)
        assert follower.bad == set()
        follower.show([seen_through(one, OpticsSettings(blur_px=1.4), 1.0, 0) for one in strip_of(3, 40, texture)])
        assert follower.bad >= {Q.SHARPNESS, Q.EDGE_SHARPNESS}
        assert follower.edges.doubt is Cause.BLURRED


def test_less_light_is_not_taken_for_defocus():
    frame = strip_of(3, 1)[0]
    dim = seen_through(frame, OpticsSettings(light=0.4), 1.0, 0)
    both = [measure(one, find_edges(one, CAPTURE), CAPTURE, None).sharpness for one in (frame, dim)]
    assert both[1] == pytest.approx(both[0], rel=0.25)


def test_saturated_strip_and_stray_light_are_told():
    frames = strip_of(4, 40)
    bright = Follower().show(through(frames, OpticsSettings(light=1.5), [1.0] * 40))
    assert bright.bad >= {Q.SATURATION}
    brighter = Follower().show(through(frames[:2], OpticsSettings(light=1.8), [1.0] * 2))
    assert brighter.edges.doubt is Cause.BRIGHT
    veiled = [np.where(frame > 16, frame * 0.5 + 60, frame).astype(np.uint8) for frame in strip_of(2, 40)]
    assert Q.CONTRAST in Follower().show(strip_of(2, 12)).show(veiled).bad


def test_dirt_is_told_on_the_second_coil_missed_on_the_third_and_a_dead_column_soon():
    """Strip has stripes of its own: only what stays over three coils is the camera's."""
    follower = Follower()
    for number, seed in enumerate((2, 3, 4)):
        assert follower.bad == ({Q.FIXED} if number == 2 else set())
        assert not number or not follower.edges.dirty_columns
        frames = strip_of(seed, 18)
        follower.show(through(frames, OpticsSettings(dirt_px=(700,)), [1.0] * 18), coil=f"C{seed}")
    assert follower.bad == {Q.FIXED}
    ((begin, end),) = follower.edges.dirty_columns
    assert 680 < begin < 700 < end < 720
    follower.show(through(strip_of(2, 2), OpticsSettings(dirt_px=(700,)), [1.0] * 2), coil="C5")
    assert follower.edges.dirty_columns == ((begin, end),)
    dead = Follower()
    frames = strip_of(3, 17)
    for frame in frames:
        frame[:, 900] = 77
    dead.show(frames)
    assert dead.edges.dirty_columns == ((896, 905),)


def test_faint_dirt_is_told_and_its_columns_are_inspected():
    follower = Follower()
    for seed in (2, 3, 4):
        frames = strip_of(seed, 18)
        follower.show(through(frames, OpticsSettings(dirt_px=(700,), dirt_depth=0.13), [1.0] * 18), coil=f"C{seed}")
    assert follower.bad == {Q.FIXED}
    assert not follower.edges.dirty_columns


def test_stripes_of_one_strip_over_welds_are_not_dirt():
    follower, frames = Follower(), strip_of(4, 54)
    for number in range(3):
        follower.show(frames[number * 18 :][:18], coil=f"C{number}")
    assert follower.bad == set()


def test_a_frozen_picture_is_told_also_where_several_buffers_take_turns():
    frames = strip_of(2, 30)
    assert Follower().show(frames).bad == set()
    ring = Follower().show(frames[:12]).show(frames[:3] * 6)
    assert ring.bad == {Q.FROZEN}
    assert ring.edges.doubt is Cause.FROZEN
    line = Follower().show(frames[:12]).show([np.repeat(frames[0][:1], 256, axis=0)] * 6)
    assert Q.FROZEN in line.bad
    same = Follower().show(frames[:12]).show([None] * 6, fault=Cause.FROZEN).show(frames[12:13])
    assert same.bad == {Q.FROZEN}


def test_the_edge_tells_vibration_and_wander():
    base = strip_of(2, 1)[0]
    shake = [np.stack([np.roll(row, round(16 * np.sin(at / 9))) for at, row in enumerate(base)])] * 3
    rng = np.random.default_rng(1)
    noisy = [np.asarray(np.clip(one + rng.normal(0, 1, one.shape), 0, 255), np.uint8) for one in shake * 5]
    assert Q.VIBRATION in Follower().show(noisy).bad
    frames = [np.roll(frame, 60 * (number % 2), axis=1) for number, frame in enumerate(strip_of(2, 20))]
    assert Q.WANDER in Follower(SOON.model_copy(update={"wander_above_mm": 10.0})).show(frames).bad


def test_a_target_beside_the_strip_tells_the_light_whatever_the_steel():
    settings = SOON.model_copy(update={"target_px": (2, 12)})
    frames = strip_of(2, 30)
    for frame in frames:
        frame[:, :30] = 0
        frame[:, 2:12] = 180
    darker = [np.concatenate([frame[:, :30], np.asarray(frame[:, 30:] * 0.5, np.uint8)], axis=1) for frame in frames]
    steel = Follower(settings).show(frames[:12]).show(darker)
    assert Q.LIGHT not in steel.bad
    both = Follower(settings).show(frames[:12]).show([np.asarray(frame * 0.5, np.uint8) for frame in frames])
    assert Q.LIGHT in both.bad


def test_a_step_up_at_a_weld_takes_back_what_was_lost_and_a_step_down_takes_nothing():
    level = CarriedLevel(100.0)
    assert level.value is None
    for coil, levels in (("A", [100.0] * 20 + [60.0] * 60), ("B", [30.0] * 60), ("C", [60.0] * 60)):
        for one in levels:
            level.add(one, 10.0, coil)
        told = level.value
        assert told == pytest.approx({"A": 0.6, "B": 0.6, "C": 1.0}[coil], abs=0.02)


def test_a_trend_is_told_only_where_it_is_distinct_and_near():
    rng, hour_ns = np.random.default_rng(3), 3_600_000_000_000
    falling, still, slow = Trend(), Trend(), Trend()
    for minute in range(120):
        noise, now_ns = rng.normal(0, 0.01), minute * 60_000_000_001
        falling.add(1.0 - 0.1 * now_ns / hour_ns + noise, now_ns)
        still.add(1.0 + noise, now_ns)
        slow.add(1.0 - 0.002 * now_ns / hour_ns, now_ns)
    assert falling.per_hour == pytest.approx(-0.1, abs=0.01)
    assert falling.reaches(0.8, 0.6) == pytest.approx(2.0, rel=0.1)
    assert falling.reaches(0.8, 0.9) is None
    assert still.per_hour is None
    assert slow.reaches(0.99, 0.5) is None


def test_a_reading_is_bad_beyond_its_limit_and_good_again_beyond_the_deadband():
    low = PictureReading(Q.LIGHT, 0.74, limit=0.75, deadband=0.05)
    assert low.bad() is True
    assert replace(low, value=0.78).bad() is False
    assert replace(low, value=0.78).bad(before=True) is True
    high = PictureReading(Q.FROZEN, 0.2, limit=0.1, deadband=0.05, high=True)
    assert high.bad() is True
    assert replace(high, value=0.07).bad(before=True) is True
    assert replace(high, value=None).bad() is None
