"""From counts to positions: no line is counted twice or placed wrongly, and unknown positions are reported."""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numbered_strip import ListCamera, accounted, admitted, course, line_settings, raw_camera

from linewatch.capture.position.odometer import Odometer, Reading
from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.frame import Cause, Grab, PositionFault

LINE = line_settings()
WIDTHS = st.sampled_from([{"bits": bits, "counts_up": up} for bits in (16, 24, 32) for up in (True, False)])


def grabs_of(lines: int, line: LineSettings = LINE, turns: tuple[tuple[int, int], ...] = ()) -> list[Grab]:
    camera = raw_camera(course(lines, turns), line)
    return list(iter(camera.read, None))


def counted(grab: Grab, by: int, line: LineSettings = LINE) -> Grab:
    """Return the grab with both counts shifted."""
    assert line.encoder is not None
    assert grab.encoder_stop is not None
    turn = 1 << line.encoder.bits
    return replace(grab, encoder_count=(grab.encoder_count + by) % turn, encoder_stop=(grab.encoder_stop + by) % turn)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(1, 3000),
    turns=st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 400)), max_size=6),
    encoder=WIDTHS,
)
def test_strip_that_stops_and_runs_back_is_counted_once_and_at_its_place(total, turns, encoder):
    """For any course, counter width and direction, all lines of the strip are accounted for."""
    line = line_settings(**encoder)
    route = course(total, turns)
    frames = admitted(raw_camera(route, line), line)
    assume(not any(frame.position_fault for frame in frames))  # a swing to the very count, frame after frame, is stuck
    lines = accounted(frames)
    assert sorted(lines) == list(range(total))
    assert {frame.fault for frame in frames} <= {None, Cause.TURNED}
    assert all(frame.encoded for frame in frames)
    # A grab in which the strip turned shows nothing; one turn back and one forward may cost two grabs.
    assert sum(not seen for seen in lines.values()) <= 2 * line.frame_lines * sum(
        back > 0 for _, back, _ in route.turns
    )


def test_no_turn_costs_nothing_whatever_the_counter():
    for bits in (16, 24, 32):
        line = line_settings(bits=bits)
        assert all(accounted(admitted(raw_camera(course(40_000), line), line)).values())


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(200, 2000),
    turns=st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 200)), max_size=3),
    lost=st.sets(st.integers(1, 120), max_size=30),
    ticks=st.lists(st.integers(-1, 1), min_size=150, max_size=150),
)
def test_lost_grabs_and_jittering_counts_are_accounted_for(total, turns, lost, ticks):
    """With lost grabs, and counts latched a tick early or late, each line is accounted for, near its place."""
    grabs = grabs_of(total, turns=tuple(turns))
    kept = [counted(grab, ticks[number % 150]) for number, grab in enumerate(grabs) if number not in lost]
    frames = admitted(ListCamera(kept), LINE)
    assume(not any(frame.position_fault for frame in frames))  # a swing to the very count, frame after frame, is stuck
    lines = accounted(frames, off_lines=1)
    assert sorted(lines) == list(range(max(lines) + 1))
    assert max(lines) < total + 2  # the last grabs may be lost; jitter may round a turned end up


def test_a_tenth_of_a_line_a_grab_does_not_add_up():
    """The counter runs ahead of the lines by 0.1 line a frame: positions follow the counter, not the sum of lines."""
    grabs = [counted(grab, round(0.4 * number)) for number, grab in enumerate(grabs_of(16 * 400))]
    frames = admitted(ListCamera(grabs), LINE)
    assert frames[-1].first_line + frames[-1].lines == pytest.approx(16 * 400 + 40, abs=3)
    assert {frame.fault for frame in frames} == {None, Cause.LOST}


def faults_of(grabs: list[Grab], line: LineSettings = LINE) -> list[PositionFault | None]:
    odometer, faults = Odometer(grabs[0].encoder_count), []
    assert line.encoder is not None
    for grab in grabs:
        reading = Reading(grab.sequence, grab.lines, grab.encoder_count, grab.encoder_stop, grab.captured_ns)
        odometer, place = odometer.step(reading, line, line.encoder)
        faults.append(place.fault)
    return faults


@pytest.mark.parametrize("told", [True, False])
def test_a_stuck_count_is_said_and_the_position_runs_on_by_lines(told: bool) -> None:
    """From grab 10 on the count is stuck. Lines until that is certain are missed, and none is taken twice."""
    grabs = grabs_of(640)
    stop = grabs[9].encoder_stop
    assert stop is not None
    stuck = [
        grab if number < 10 else replace(grab, encoder_count=stop, encoder_stop=stop)
        for number, grab in enumerate(grabs)
    ]
    if not told:
        stuck = [replace(grab, encoder_stop=None) for grab in stuck]
    frames = admitted(ListCamera(stuck), LINE)
    lines = accounted(frames)
    assert sorted(lines) == list(range(640))
    missed = [line for line, seen in lines.items() if not seen]
    assert missed == (list(range(160, 208)) if told else list(range(176, 224)))
    on_guess = [frame for frame in frames if frame.position_fault is PositionFault.STUCK]
    assert len(on_guess) >= 26
    assert not any(frame.encoded for frame in on_guess)
    assert all(frame.encoded for frame in frames[:10])


def test_a_strip_that_stands_and_quivers_is_not_stuck_and_gives_nothing_new():
    grabs = grabs_of(160)
    last = grabs[-1]
    assert last.encoder_stop is not None
    quiver = [
        replace(
            last,
            sequence=last.sequence + 1 + number,
            encoder_count=last.encoder_stop + number % 2,
            encoder_stop=last.encoder_stop + (number + 1) % 2,
        )
        for number in range(50)
    ]
    frames = admitted(ListCamera([*grabs, *quiver]), LINE)
    assert sorted(accounted(frames)) == list(range(160))
    assert all(frame.position_fault is None for frame in frames)


@pytest.mark.parametrize("by", [1_000_000, -1_000_000, 60_000, -60_000, -(1 << 31) + 5])
def test_a_count_that_jumps_is_said_and_not_believed(by: int) -> None:
    """After a lasting jump, forward or back, positions continue as before it, and one grab reports the jump."""
    grabs = [counted(grab, by if number >= 20 else 0) for number, grab in enumerate(grabs_of(640))]
    frames = admitted(ListCamera(grabs), LINE)
    assert accounted(frames) == dict.fromkeys(range(640), True)
    assert [frame.position_fault for frame in frames] == [
        PositionFault.JUMPED if number == 20 else None for number in range(40)
    ]
    assert not frames[20].encoded


def test_a_spike_in_the_count_costs_nothing():
    grabs = [counted(grab, 500_000 if number == 20 else 0) for number, grab in enumerate(grabs_of(640))]
    frames = admitted(ListCamera(grabs), LINE)
    assert accounted(frames) == dict.fromkeys(range(640), True)
    assert [number for number, frame in enumerate(frames) if frame.position_fault] == [20, 21]


def test_a_counter_reset_while_the_line_stands_does_not_make_all_that_follows_a_repetition():
    grabs = grabs_of(3200)
    half = len(grabs) // 2
    reset = grabs[half].encoder_count
    after = [replace(counted(grab, -reset), captured_ns=grab.captured_ns + 600 * 10**9) for grab in grabs[half:]]
    line = line_settings(max_reverse_m=1.0)
    frames = admitted(ListCamera([*grabs[:half], *after]), line)
    assert accounted(frames) == dict.fromkeys(range(3200), True)
    assert frames[half].position_fault is PositionFault.JUMPED


@pytest.mark.parametrize("tenfold", ["lines and counts", "counts"])
def test_ten_times_too_fast_is_said(tenfold: str) -> None:
    """20 m/s appear as 200, since the encoder triggers ten times the lines, or counts ten times too fast."""
    camera = raw_camera(course(1600), LINE, speed=200_000 if tenfold == "lines and counts" else 20_000)
    grabs = list(iter(camera.read, None))
    if tenfold == "counts":
        first = grabs[0].encoder_count
        grabs = [
            replace(
                grab,
                encoder_count=(first + 10 * (grab.encoder_count - first)) % (1 << 32),
                encoder_stop=(first + 10 * ((grab.encoder_stop or 0) - first)) % (1 << 32),
            )
            for grab in grabs
        ]
    frames = admitted(ListCamera(grabs), LINE)
    told = [frame.position_fault for frame in frames[5:] if frame.pixels is not None]
    expected = (
        {PositionFault.TOO_FAST} if tenfold == "lines and counts" else {PositionFault.TOO_FAST, PositionFault.JUMPED}
    )
    assert told
    assert set(told) <= expected
    assert not any(frame.encoded for frame in frames[5:] if frame.pixels is not None)


@pytest.mark.parametrize("really", [3.0, 3.9, 4.1, 5.0])
def test_a_wrong_pitch_in_the_settings_is_said(really: float) -> None:
    """The camera's divider gives a line every so many counts; the settings expect 4."""
    grabs = grabs_of(1600, line_settings(counts_per_mm=really, counts_per_line=really))
    faults = faults_of(grabs)
    assert set(faults[20:]) == {PositionFault.PITCH}
    assert not any(faults[:15])


def test_a_right_pitch_is_not_said_to_be_wrong():
    assert not any(faults_of(grabs_of(3200, turns=((500, 60), (900, 100), (2000, 7)))))


def test_the_roll_calibration_moves_places_by_its_share():
    """The strip slips 2 % over the roll: a line at 3 m is at 3 m when calibrated, else 59 mm short of it."""
    for factor, expected in ((1.0, 3000 / 1.02), (1.02, 3000.0)):
        line = line_settings(counts_per_mm=4.08, strip_mm_per_roll_mm=factor)
        frames = admitted(raw_camera(course(3200), line), line)
        (frame,) = [frame for frame in frames if frame.first_line <= 3000 < frame.first_line + frame.lines]
        assert frame.along_mm + (3000 - frame.first_line) * frame.mm_per_line == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(
    readings=st.lists(
        st.builds(
            Reading,
            sequence=st.integers(-(2**33), 2**33),
            lines=st.integers(0, 16),
            count=st.integers(-(2**40), 2**40),
            count_behind=st.none() | st.integers(-(2**40), 2**40),
            captured_ns=st.integers(-(2**62), 2**62),
        ),
        max_size=20,
    ),
    encoder=WIDTHS,
)
@example(readings=[Reading(0, 16, 0, 0, 0)] * 6, encoder={})
def test_whatever_a_counter_says_it_never_fails(readings, encoder):
    line = line_settings(**encoder)
    assert line.encoder is not None
    odometer = Odometer(0)
    for reading in readings:
        odometer, place = odometer.step(reading, line, line.encoder)
        assert place.lines >= 0
        assert not place.lines or odometer.reached >= place.first_line + place.lines


def test_an_encoder_that_does_not_fit_the_line_is_refused():
    with pytest.raises(ValueError, match=r"gives a line every 0.5 mm, mm_per_line is 1: counts_per_line"):
        LineSettings(encoder=EncoderSettings(counts_per_mm=8, counts_per_line=4))
    with pytest.raises(ValueError, match=r"16 bits rolls over within 8 frames \(81920 counts\)"):
        LineSettings(encoder=EncoderSettings(bits=16, counts_per_mm=40, counts_per_line=40))
