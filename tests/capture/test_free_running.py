"""A free-running camera beside an encoder: each line of the strip comes once, at its place, however the strip runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numbered_strip import ListCamera, NumberedStrip, accounted, line_numbers, line_settings

from linewatch.capture.admission import Admission
from linewatch.capture.position.free_running import Exposure, FreeRunningCamera, StripTravel
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Frame, Grab, PositionFault
from linewatch.contracts.ports import Camera
from linewatch.simulation.course import Course
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.free_running import FreeRunningSimulator

COUNTS_PER_LINE = 8
ROWS = 16
RATE_HZ = 1000.0


def free_line(**encoder: object) -> LineSettings:
    fields = {"triggers": False, "counts_per_mm": 8.0, "counts_per_line": 8.0} | encoder
    return line_settings(**fields).model_copy(update={"line_rate_hz": RATE_HZ, "max_speed_m_per_s": 3.0})


LINE = free_line()
TOTAL = 60_000


def filmed(paces: list[float], line: LineSettings = LINE, *, coil: str = "A", told: bool = True) -> list[Grab]:
    """Return grabs of strip that runs so many lines in each, evenly, from line 1000 on; a row shows its middle line."""
    assert line.encoder is not None
    strip, at, grabs = NumberedStrip(TOTAL, line), 1000.0, []
    turn, sign = 1 << line.encoder.bits, 1 if line.encoder.counts_up else -1

    def count(place: float) -> int:
        return round(sign * (place - 1000) * COUNTS_PER_LINE) % turn

    for number, pace in enumerate(paces):
        shown = np.floor(at + (np.arange(ROWS) + 0.5) / ROWS * pace).astype(int)
        image = strip.lines(int(shown.min()), int(np.ptp(shown)) + 1)[shown - shown.min()]
        stop = count(at + pace) if told else None
        time_ns = round((number + 1) * ROWS / RATE_HZ * 1e9)
        grabs.append(Grab(image, coil, number, 0, ROWS, count(at), 0.0, 1.0, time_ns, encoder_stop=stop))
        at += pace
    return grabs


def admitted(camera: Camera, line: LineSettings = LINE) -> list[Frame]:
    admission = Admission(line, CaptureSettings(), FrameRing(4096, line.frame_lines, line.width_px))
    return [frame for grab in iter(camera.read, None) for frame in admission.admit(grab)]


def lines_of(frames: list[Frame], off_lines: int) -> dict[int, bool]:
    """Do as `accounted` does, for a strip whose numbers begin at 1000."""
    found: dict[int, bool] = {}
    for frame in frames:
        shown = [] if frame.pixels is None else line_numbers(frame.pixels[: frame.valid_lines])
        assert frame.along_mm == pytest.approx(frame.first_line * frame.mm_per_line)
        for i in range(frame.lines):
            line = frame.first_line + i
            assert line == len(found), "every line once, in order"
            found[line] = i < len(shown)
            if found[line]:
                assert abs(shown[i] - 1000 - line) <= off_lines, "a line of strip at another line's place"
    return found


# Whole eighths of a line, so that counts are exact: to and fro, standing, crawling, up to a line and a half a row.
paces = st.lists(
    st.one_of(st.just(0), st.integers(-80, 80), st.integers(1, 8), st.integers(100, 192)).map(lambda n: n / 8),
    min_size=1,
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(
    paces, st.sampled_from([{"bits": b, "counts_up": up} for b in (16, 24, 32) for up in (True, False)]), st.booleans()
)
def test_whatever_the_strip_does_each_line_comes_once_and_the_sum_is_exact(paces, encoder, told):
    line = free_line(**encoder)
    run = np.cumsum(paces)
    if run.min() < -900:
        paces = [abs(pace) for pace in paces]
        run = np.cumsum(paces)
    lines = lines_of(admitted(FreeRunningCamera(ListCamera(filmed(paces, line, told=told)), line), line), off_lines=20)
    if not told:
        run = run[:-1]  # how far it ran in the last grab is not told
    assert len(lines) == int(max(0.0, float(run.max(initial=0.0))) + 0.5)
    assert all(lines.values())


@pytest.mark.parametrize("change", [-0.25, 0.0, 0.25])
def test_lines_lie_within_one_of_their_place_at_steady_speed_and_while_it_changes(change: float) -> None:
    """The distance between lines varies along the frame as the speed does."""
    strip = NumberedStrip(TOTAL, LINE)
    speed, grabs = 12.0, []
    for number in range(40):
        share = np.append((np.arange(ROWS) + 0.5) / ROWS, [0.0, 1.0]) + number
        at = 1000 + speed * share + change * share**2 / 2
        shown = np.floor(at[:-2]).astype(int)
        image = strip.lines(int(shown.min()), int(np.ptp(shown)) + 1)[shown - shown.min()]
        begin, stop = (round((place - 1000) * COUNTS_PER_LINE) for place in at[-2:])
        grabs.append(Grab(image, "A", number, 0, ROWS, begin, 0.0, 1.0, number, encoder_stop=stop))
    frames = admitted(FreeRunningCamera(ListCamera(grabs), LINE))
    assert all(lines_of(frames, off_lines=1).values())
    assert {frame.encoded for frame in frames} == {True}
    assert [frame.lines for frame in frames[:-1]] == [16] * (len(frames) - 1), "whole frames, at a crawl too"


def test_grabs_that_were_lost_are_missed_to_the_line():
    grabs = filmed([12.0] * 40)
    lines = lines_of(admitted(FreeRunningCamera(ListCamera(grabs[:10] + grabs[13:]), LINE)), off_lines=2)
    assert [line for line, seen in lines.items() if not seen] == list(range(120, 156))
    assert len(lines) == 480


def test_strip_faster_than_rows_can_be_taken_is_missed_not_made_up():
    frames = admitted(FreeRunningCamera(ListCamera(filmed([12.0] * 10 + [32.0] * 5 + [12.0] * 10)), LINE))
    lines = lines_of(frames, off_lines=3)
    assert len(lines) == 400
    assert sum(not seen for seen in lines.values()) == 160
    assert {frame.fault for frame in frames} == {None, Cause.LOST}


def test_a_count_that_jumps_is_said_and_the_strip_goes_on_as_it_ran():
    grabs = filmed([12.0] * 30)
    by = 1_000_000
    moved = [
        replace(grab, encoder_count=grab.encoder_count + by, encoder_stop=(grab.encoder_stop or 0) + by)
        if number >= 10
        else grab
        for number, grab in enumerate(grabs)
    ]
    frames = admitted(FreeRunningCamera(ListCamera(moved), LINE))
    assert len(lines_of(frames, off_lines=2)) == 360
    assert {frame.position_fault for frame in frames} == {None, PositionFault.JUMPED}
    assert all(frame.encoded is (frame.position_fault is None) for frame in frames)


def test_counts_ten_times_too_fast_are_said_and_the_strip_is_looked_at_all_the_same():
    grabs = [
        replace(grab, encoder_count=10 * grab.encoder_count, encoder_stop=10 * (grab.encoder_stop or 0))
        for grab in filmed([16.0] * 30)
    ]
    frames = admitted(FreeRunningCamera(ListCamera(grabs), LINE))
    assert sum(frame.valid_lines for frame in frames) == 480
    assert {frame.position_fault for frame in frames[2:]} == {PositionFault.TOO_FAST}


def test_a_grab_that_cannot_be_seen_or_is_cut_short_costs_its_lines_only():
    grabs = filmed([16.0] * 6)
    assert grabs[3].image is not None
    grabs[1] = replace(grabs[1], image=None, fault=Cause.CORRUPT)
    grabs[3] = replace(grabs[3], image=grabs[3].image[:10], fault=Cause.TRUNCATED)
    frames = admitted(FreeRunningCamera(ListCamera(grabs), LINE))
    lines = lines_of(frames, off_lines=1)
    assert [line for line, seen in lines.items() if not seen] == [*range(16, 32), *range(58, 64)]
    assert {frame.fault for frame in frames} == {None, Cause.CORRUPT, Cause.TRUNCATED}


def test_coils_begin_at_their_head_and_a_weld_at_its_line():
    first, second = filmed([12.0] * 10), filmed([12.0] * 20, coil="B")[10:]
    second[5] = replace(second[5], change_line=8)
    frames = admitted(FreeRunningCamera(ListCamera([*first, *second]), LINE))
    coils: dict[str, int] = {}
    for frame in frames:
        coils[frame.coil] = coils.get(frame.coil, 0) + frame.lines
    assert coils == {"A": 120, "B": 66, "B.2": 54}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            Exposure,
            rows=st.integers(0, 16),
            count=st.integers(-(2**40), 2**40),
            count_behind=st.integers(-(2**40), 2**40),
            follows=st.booleans(),
        ),
        max_size=30,
    ),
    st.sampled_from([16, 24, 32]),
)
def test_whatever_a_counter_says_it_never_fails_and_no_line_comes_twice(exposures, bits):
    line = free_line(bits=bits)
    measure, end = StripTravel(0), 0
    for exposure in exposures:
        measure, sweep = measure.step(exposure, line)
        assert sweep.lost >= 0
        assert sweep.first_line == end + sweep.lost
        assert (np.diff(sweep.rows) >= 0).all()
        assert not len(sweep.rows) or 0 <= sweep.rows[0] <= sweep.rows[-1] < exposure.rows
        end = measure.reached
        assert end == sweep.first_line + len(sweep.rows)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(200, 2500),
    turns=st.lists(st.tuples(st.integers(1, 2500), st.integers(0, 300), st.floats(0, 0.5)), max_size=4),
)
@example(total=1587, turns=[(1, 0, 0.25), (40, 40, 0.0), (191, 190, 0.3014), (448, 51, 0.0)])  # 5 lines off
def test_a_simulated_strip_that_stops_and_turns_is_seen_once_in_each_line(total, turns):
    """Positions are within four lines where the strip stops, and within half a grab of where it turns.

    The simulated strip turns at full speed, without slowing down. The counts before and behind a grab do not tell how
    far it ran before it turned within that grab: up to half of the grab's rows.
    """
    line = free_line()
    route = Course(total, tuple((at, min(at, back), pause) for at, back, pause in sorted(turns) if at < total))
    profile = SpeedProfile.typical(route.rows * 1.0, RATE_HZ)
    raw = FreeRunningSimulator(NumberedStrip(total, line), profile, None, "A", False, route)  # type: ignore[arg-type]
    turned_at = [place for at, back, _ in route.turns if back for place in (at, at - back)]

    def off_lines(line: int) -> int:
        return ROWS // 2 if any(abs(line - place) <= ROWS for place in turned_at) else 4

    lines = accounted(admitted(FreeRunningCamera(raw, line), line), off_lines)
    assert sorted(lines) == list(range(total))
    assert all(lines.values())
