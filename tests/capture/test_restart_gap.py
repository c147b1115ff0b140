"""Every line that passed before, during and behind a restart is in one frame, as far as anything tells."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_strip import line_numbers, line_settings
from raw_grabs import RATE_HZ, frames_of, grab, last_of

from linewatch.capture.restart import resumption
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.restart import GapMeasure, LastPlace, SourcePlace
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.strip import SimulatedStrip


@settings(max_examples=80, deadline=None)
@given(
    begin=st.integers(0, 50),
    before=st.integers(1, 20),
    down=st.integers(0, 40),
    undecided=st.integers(0, 5),
    counts_up=st.booleans(),
    counter_at=st.integers(0, (1 << 24) - 1),
)
def test_by_the_encoder_every_line_is_once_at_its_place(
    begin: int, before: int, down: int, undecided: int, counts_up: bool, counter_at: int
) -> None:
    """Frames in flight when the service was killed passed unseen, too; the counter may roll over meanwhile."""
    line = line_settings(bits=24, counts_up=counts_up)
    grabs = [grab(begin + n, line, counter_at=counter_at) for n in range(before + down + 5)]
    first = frames_of(grabs[:before], line)
    decided = first[: max(1, len(first) - undecided)]
    second = frames_of(grabs[before + down :], line, last_of(decided[-1]))
    reached = 0
    for frame in [*decided, *second]:
        assert (frame.first_line, frame.along_mm) == (reached, float(reached))
        if frame.pixels is None:
            assert frame.fault is Cause.RESTART
        else:
            shown = line_numbers(frame.pixels[: frame.valid_lines])
            assert [n - begin * line.frame_lines for n in shown] == list(range(reached, reached + frame.lines))
        reached += frame.lines
    assert reached == (before + down + 5) * line.frame_lines
    gap = second[0].gap
    assert gap is not None
    assert gap.by is GapMeasure.ENCODER
    assert gap.lines == sum(frame.lines for frame in second if frame.fault is Cause.RESTART)


def test_a_counter_that_was_set_back_is_not_believed_and_the_clock_tells() -> None:
    line = line_settings(bits=32).model_copy(update={"line_rate_hz": RATE_HZ})
    first = frames_of([grab(n, line, counter_at=4_000_000) for n in range(4)], line)
    later = frames_of([grab(n, line, counter_at=0) for n in range(40, 42)], line, last_of(first[-1]))
    gap = later[0].gap
    assert gap is not None
    assert (gap.by, gap.lines) == (GapMeasure.CLOCK, 36 * line.frame_lines)
    assert later[0].first_line == first[-1].first_line + first[-1].lines


@pytest.mark.parametrize(
    ("seconds", "encoded", "by", "goes_on"),
    [
        (2.0, False, GapMeasure.CLOCK, True),
        (2.0, True, GapMeasure.SOURCE, True),
        (4_000.0, False, GapMeasure.UNKNOWN, False),
        (None, False, GapMeasure.UNKNOWN, True),  # the host was started anew, and its clock stepped back
    ],
)
def test_without_an_encoder(seconds: float | None, encoded: bool, by: GapMeasure, goes_on: bool) -> None:
    line = LineSettings(width_px=32, frame_lines=16, line_rate_hz=RATE_HZ)
    taken_ns = None if seconds is None else 10**15 - round(seconds * 1e9)
    last = LastPlace("A", "A", 0, False, next_line=800, end_mm=800.0, captured_ns=taken_ns, place=SourcePlace())
    first = Grab(None, "A", 0, 1_600, 16, 0, 1_600.0, 1.0, 10**15, encoded=encoded)
    gap = resumption(last, first, line, within_s=300.0).gap
    assert (gap.by, gap.goes_on) == (by, goes_on)
    if by is GapMeasure.SOURCE:
        assert gap.lines == 800
    if by is GapMeasure.CLOCK:
        assert gap.lines == round(2.0 * RATE_HZ) - 16
    assert "unknown" in gap.text or "passed unseen" in gap.text


def test_what_passed_beyond_the_length_that_the_data_tell_belongs_to_no_coil() -> None:
    line = line_settings(bits=32)
    grabs = [grab(n, line, counter_at=0) for n in range(40)]
    first = frames_of(grabs[:4], line)
    later = frames_of(grabs[30:], line, last_of(first[-1], length_mm=200.0))
    unseen = [frame for frame in later if frame.fault is Cause.RESTART]
    assert [(frame.coil, frame.first_line, frame.lines, frame.between_coils) for frame in unseen] == [
        ("A", 64, 136, False),
        ("A.2", 0, 480 - 200, True),
    ]
    assert all(frame.gap is not None for frame in unseen)
    assert {frame.coil for frame in later[2:]} == {"A.2"}


def test_the_simulated_strip_that_runs_on_begins_where_it_is_by_now() -> None:
    class Clock:
        def now_ns(self) -> int:
            return 5

        def wait_until_ns(self, deadline_ns: int, stop: object = None) -> bool:
            return True

    line = LineSettings(width_px=64, frame_lines=16)
    strip = SimulatedStrip(1, 10.0, 0.0, line)
    began_ns = time.time_ns() - 2_000_000_000
    camera = SimulatorCamera(
        strip,
        SpeedProfile.steady(10_000.0, 1_000.0),
        Clock(),  # type: ignore[arg-type]
        "A",
        True,
        began_unix_ns=lambda: began_ns,
    )
    first = camera.read()
    assert first is not None
    assert 1_990 <= first.first_line + first.lines < 10_000, "as late as a busy host is"
