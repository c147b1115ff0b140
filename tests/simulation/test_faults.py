"""Simulated faults: exactly those requested, and admission recognises each of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linewatch.capture.admission import Admission
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Frame
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.faults import CameraFault, FaultSpec, FaultyCamera, MissedLines
from linewatch.simulation.strip import SimulatedStrip

LINE = LineSettings(width_px=64, frame_lines=50)
STRIP = SimulatedStrip(3, 3.02, 2, LINE)
ALL = FaultSpec.parse("drop=3,truncate=2,black=1,frozen=2,colour=1,depth=1,wrong_size=1,corrupt=1")


def faulty(spec: FaultSpec, seed: int = 1) -> FaultyCamera:
    profile = SpeedProfile.steady(3020, 1000)
    return FaultyCamera(SimulatorCamera(STRIP, profile, MonotonicClock(), "S", live=False), spec, seed)


def admitted(camera: FaultyCamera) -> list[Frame]:
    ring = FrameRing(64, 50, 64)
    admission = Admission(LINE, CaptureSettings(), ring)
    with camera:
        return [frame for grab in iter(camera.read, None) for frame in admission.admit(grab)]


def missed(frames: list[Frame]) -> list[MissedLines]:
    return [
        MissedLines(frame.coil, frame.first_line + frame.valid_lines, frame.lines - frame.valid_lines, frame.fault)
        for frame in frames
        if frame.fault is not None
    ]


COUNTS = st.dictionaries(st.sampled_from(list(CameraFault)), st.integers(0, 4), max_size=8)


@settings(max_examples=40, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 1000))
def test_missed_lines_are_exactly_those_of_the_faults(counts: dict[CameraFault, int], seed: int) -> None:
    if 2 * sum(counts.values()) + 1 > 61:
        return
    camera = faulty(FaultSpec(counts), seed)
    frames = admitted(camera)
    assert missed(frames) == camera.missed
    assert len(camera.missed) == sum(counts.values())
    assert sum(frame.lines for frame in frames) == 3020


def test_every_fault_of_the_list_happens_as_often_as_asked() -> None:
    camera = faulty(ALL)
    causes = [str(lines.cause) for lines in missed(admitted(camera))]
    assert {cause: causes.count(cause) for cause in causes} == {
        "lost": 3, "truncated": 2, "black": 1, "frozen": 2, "colour": 1, "depth": 1, "wrong_size": 1, "corrupt": 1
    }  # fmt: skip
    assert camera.grabs == 61 - 3


def test_same_seed_same_faults_other_seed_others() -> None:
    one, again, other = faulty(ALL, 5), faulty(ALL, 5), faulty(ALL, 6)
    for camera in (one, again, other):
        admitted(camera)
    assert one.missed == again.missed != other.missed


def test_as_many_faults_as_fit_between_whole_grabs() -> None:
    camera = faulty(FaultSpec.parse("frozen=15,drop=15"))
    assert missed(admitted(camera)) == camera.missed
    with pytest.raises(ConfigError, match=r"31 faults do not fit into 61 grabs, .*; expected at most 30"):
        faulty(FaultSpec.parse("drop=31"))


def test_source_of_unknown_length_is_refused() -> None:
    camera = SimulatorCamera(STRIP, SpeedProfile.steady(3020, 1000), MonotonicClock(), "S", live=False)
    camera.grabs = None
    with pytest.raises(ConfigError, match="number of grabs of this source is unknown"):
        FaultyCamera(camera, ALL, 1)
    assert FaultyCamera(camera, ALL, 1, total=61).grabs == 58


@pytest.mark.parametrize("text", ["", "drop", "drop=", "drop=-1", "drop=x", "blackout=1", "drop=1;black=1", "drop=1,"])
def test_spec_that_cannot_be_read_says_what_can(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not NAME=COUNT; expected names: drop, truncate, black, frozen"):
        FaultSpec.parse(text)


def test_fault_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        FaultSpec.parse("drop=1,drop=2")


def test_spec_reads_names_and_counts() -> None:
    assert dict(FaultSpec.parse(" drop=3, truncate=2 ").counts) == {CameraFault.DROP: 3, CameraFault.TRUNCATE: 2}
