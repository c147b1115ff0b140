"""The camera's time stamps take the jitter out of the arrival of frames, and never mislead."""

import numpy as np
import pytest

from linewatch.capture.genicam.hardware_time import LATEST_NS, HardwareTime

MS = 1_000_000
PERIOD_NS = 10 * MS


def arrivals(count: int, seed: int) -> np.ndarray:
    """When frames arrive that were taken every 10 ms: 2 ms later, and by up to 30 ms more where the host is busy."""
    rng = np.random.default_rng(seed)
    late = 2 * MS + np.where(rng.random(count) < 0.7, rng.exponential(0.05 * MS, count), rng.uniform(0, 30 * MS, count))
    return np.arange(1, count + 1) * PERIOD_NS + late.astype(np.int64) + 7_000 * MS


def taken(stamps: np.ndarray, arrived: np.ndarray) -> np.ndarray:
    clock = HardwareTime()
    return np.array([clock.taken_ns(int(one), int(at)) for one, at in zip(stamps, arrived, strict=True)])


@pytest.mark.parametrize("drift_ppm", [-100.0, 0.0, 100.0])
def test_jitter_is_taken_out_also_where_clocks_drift(drift_ppm: float) -> None:
    arrived = arrivals(3000, 1)
    stamps = 10**15 + (np.arange(3000) * PERIOD_NS * (1 + drift_ppm * 1e-6)).astype(np.int64)
    found = taken(stamps, arrived)
    settled = slice(100, None)
    assert np.diff(arrived)[settled].std() > 5 * MS
    assert np.diff(found)[settled].std() < 0.3 * MS
    assert (found <= arrived).all()
    assert (np.diff(found) > 0)[settled].all()
    late_ns = found - (np.arange(1, 3001) * PERIOD_NS + 7_002 * MS)
    assert np.abs(late_ns[settled]).max() < 1.2 * MS, "a window of 8 s at 100 ppm, and the shortest delay"


def test_without_stamps_the_time_of_arrival_holds() -> None:
    arrived = arrivals(50, 2)
    assert (taken(np.zeros(50, np.int64), arrived) == arrived).all()
    stands = np.full(50, 10**12)
    assert (taken(stands, arrived) == arrived).all()


@pytest.mark.parametrize("step_ns", [-(10**14), -2 * LATEST_NS, 2 * LATEST_NS, 10**14])
def test_a_clock_that_is_set_is_followed_anew(step_ns: int) -> None:
    arrived = arrivals(1000, 3)
    stamps = 10**15 + np.arange(1000) * PERIOD_NS
    stamps[500:] += step_ns
    found = taken(stamps, arrived)
    assert (found <= arrived).all()
    assert (arrived - found < 31 * MS).all(), "never further from the arrival than frames are late"
    assert np.diff(found)[600:].std() < 0.3 * MS


def test_a_frame_without_its_first_packet_costs_nothing() -> None:
    arrived = arrivals(1000, 4)
    stamps = 10**15 + np.arange(1000) * PERIOD_NS
    whole = taken(stamps, arrived)
    stamps[::10] = 0
    found = taken(stamps, arrived)
    kept = np.arange(1000) % 10 != 0
    kept[:100] = False
    assert np.abs(found - whole)[kept].max() < 0.5 * MS
