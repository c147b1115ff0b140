"""The speed profile: threading, acceleration, run, deceleration."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.simulation.encoder import SpeedProfile, encoder_count

PROFILES = st.builds(
    lambda length, run, slow, rate, thread: SpeedProfile(length, run, run * slow, rate, thread),
    st.floats(100, 1e6),
    st.floats(100, 30_000),
    st.floats(0.05, 1.0),
    st.floats(10, 20_000),
    st.floats(0, 20_000),
)


@pytest.mark.slow
@given(profile=PROFILES)
def test_time_only_runs_forward_and_agrees_with_the_speed(profile: SpeedProfile) -> None:
    places = [profile.length_mm * step / 200 for step in range(201)]
    times = [profile.elapsed_s(place) for place in places]
    assert times[0] == 0
    for (a, b), (s, t) in zip(itertools.pairwise(places), itertools.pairwise(times), strict=True):
        speeds = [profile.speed_mm_per_s(a + (b - a) * part / 20) for part in range(21)]
        assert t > s
        # Rates change at the ends of legs, so the mean speed lies between the least and the greatest nearby.
        assert min(speeds) * 0.85 <= (b - a) / (t - s) <= max(speeds) * 1.15
        assert max(speeds) <= profile.run_mm_per_s * (1 + 1e-9)
        assert min(speeds) >= profile.threading_mm_per_s * (1 - 1e-6)


def test_typical_coil_threads_runs_and_slows_down_again() -> None:
    profile = SpeedProfile.typical(500_000, 20_000)
    speeds = [profile.speed_mm_per_s(place * 1000) for place in (0, 4, 20, 250, 480, 496, 500)]
    assert speeds[0] == speeds[1] == pytest.approx(4_000)
    assert 4_000 < speeds[2] < 20_000
    assert speeds[3] == pytest.approx(20_000)
    assert speeds[2] == pytest.approx(speeds[4])
    assert speeds[5] == speeds[6] == pytest.approx(4_000)
    assert SpeedProfile.typical(500_000, 20_000, threading_mm=0.0).speed_mm_per_s(4_000) > 8_000


def test_steady_speed_is_steady() -> None:
    profile = SpeedProfile.steady(10_000, 2_000)
    assert [profile.elapsed_s(place) for place in (0, 1, 9_999, 10_000)] == pytest.approx([0, 0.0005, 4.9995, 5])


def test_encoder_counts_length_not_time() -> None:
    assert [encoder_count(place) for place in (0.0, 1.0, 256.0)] == [0, 4, 1024]
