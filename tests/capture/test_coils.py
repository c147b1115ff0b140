"""Coils that begin within a grab are divided to the line and counted from their head; no line is lost or repeated."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_strip import ListCamera, accounted, admitted, course, line_numbers, line_settings, raw_camera

from linewatch.capture.admission import Admission, Intake
from linewatch.capture.coils import CoilAccount, SourceStart
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import Cause, Frame, Grab

LINE = line_settings()


def admission(slots: int = 4096) -> tuple[Admission, FrameRing]:
    ring = FrameRing(slots, LINE.frame_lines, LINE.width_px)
    return Admission(LINE, CaptureSettings(), ring), ring


def grabs_of(lines: int, welds: tuple[int, ...] = ()) -> list[Grab]:
    """Return grabs with positions of their own, as a camera gives them."""
    camera = raw_camera(course(lines), LINE, welds)
    return list(iter(camera.read, None))


def coils_of(frames: list[Frame]) -> dict[str, int]:
    """Return the lines of each coil, in order."""
    lines: dict[str, int] = {}
    for frame in frames:
        lines[frame.coil] = lines.get(frame.coil, 0) + frame.lines
    return lines


def test_a_weld_within_a_grab_divides_it_at_the_line():
    admit, _ = admission()
    frames = [frame for grab in grabs_of(64, (21,)) for frame in admit.admit(grab)]
    assert [(frame.coil, frame.first_line, frame.lines, frame.valid_lines) for frame in frames] == [
        *[("A", 0, 16, 16), ("A", 16, 5, 5)],
        *[("A.2", 0, 11, 11), ("A.2", 11, 16, 16), ("A.2", 27, 16, 16)],
    ]
    assert [frame.along_mm for frame in frames] == [0.0, 16.0, 0.0, 11.0, 27.0]
    assert all(accounted(frames).values())
    assert [frame.ordinal for frame in frames] == list(range(5))


def test_the_weld_says_where_and_the_announcement_who():
    admit, _ = admission()
    assert admit.coils.announce("C-1002") is None
    frames = [frame for grab in grabs_of(96, (21, 50)) for frame in admit.admit(grab)]
    assert coils_of(frames) == {"A": 21, "C-1002": 29, "A.2": 46}


def test_a_coil_starts_at_a_line_of_the_one_before_it():
    admit, _ = admission()
    first, *rest = grabs_of(160)
    frames = list(admit.admit(first))
    assert admit.coils.order_start("B", at_line=40) is None
    frames += admit.admit(rest[0])
    assert admit.coils.coil == "A"
    for grab in rest[1:4]:
        frames += admit.admit(grab)
    assert admit.coils.coil == "B"
    assert admit.coils.order_start("C", at_line=70) is None
    for grab in rest[4:]:
        frames += admit.admit(grab)
    assert coils_of(frames) == {"A": 40, "B": 70, "C": 50}
    assert all(accounted(frames).values())


def test_a_coil_starts_now_with_the_next_line_that_comes_and_so_does_one_that_comes_late():
    admit, _ = admission()
    grabs = grabs_of(64)
    frames = [*admit.admit(grabs[0]), *admit.admit(grabs[1])]
    admit.coils.order_start("B")
    frames += admit.admit(grabs[2])
    admit.coils.order_start("C", at_line=3)
    frames += admit.admit(grabs[3])
    assert coils_of(frames) == {"A": 32, "B": 16, "C": 16}


def test_a_moment_is_found_within_the_grab_that_was_taken_then():
    """Grabs end every 16 ms; 36 ms after the first line is a quarter into the third grab."""
    grabs = [replace(grab, captured_ns=(number + 1) * 16_000_000) for number, grab in enumerate(grabs_of(64))]
    admit, _ = admission()
    admit.coils.order_start("B", at_ns=36_000_000)
    frames = [frame for grab in grabs for frame in admit.admit(grab)]
    assert coils_of(frames) == {"A": 36, "B": 28}


def test_a_moment_while_grabs_were_lost_falls_into_what_was_lost():
    grabs = [replace(grab, captured_ns=(number + 1) * 16_000_000) for number, grab in enumerate(grabs_of(96))]
    admit, _ = admission()
    admit.coils.order_start("B", at_ns=40_000_000)
    frames = [frame for grab in (grabs[0], grabs[1], grabs[5]) for frame in admit.admit(grab)]
    assert coils_of(frames) == {"A": 40, "B": 56}
    assert [frame.fault for frame in frames] == [None, None, Cause.LOST, Cause.LOST, None]


def test_an_order_for_a_line_that_the_coil_does_not_reach_ends_with_it():
    admit, _ = admission()
    grabs = grabs_of(32)
    admit.coils.order_start("B", at_line=500)
    frames = [*admit.admit(grabs[0]), *admit.admit(replace(grabs[1], coil="X", first_line=0))]
    frames += admit.admit(replace(grabs[1], coil="X", first_line=16, sequence=2))
    assert coils_of(frames) == {"A": 16, "X": 32}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"coil": "A"}, "coil A has passed or is ordered already"),
        ({"coil": "no\nname"}, "contains the character U+000A, which cannot be printed"),
        ({"coil": "x" * 201}, "has 201 characters, expected a coil's name of 1 to 200 characters"),
        ({"coil": " "}, "' ' is empty, expected a coil's name"),
        ({"coil": " A "}, "coil A has passed or is ordered already"),
        ({"coil": "B", "at_line": -1}, "give a place from 0 on or a moment, not both"),
        ({"coil": "B", "at_line": 1, "at_ns": 1}, "give a place from 0 on or a moment, not both"),
    ],
)
def test_an_order_that_cannot_be_is_refused_and_changes_nothing(order, says):
    admit, _ = admission()
    grabs = grabs_of(32)
    frames = list(admit.admit(grabs[0]))
    assert says in (admit.coils.order_start(**order) or "")
    frames += admit.admit(grabs[1])
    assert coils_of(frames) == {"A": 32}
    assert admit.coils.announce("B") is None
    assert "ordered already" in (admit.coils.order_start("B") or "")


def test_a_frozen_grab_that_is_divided_is_still_frozen():
    admit, _ = admission()
    first, second, *_ = grabs_of(32)
    list(admit.admit(first))
    frames = admit.admit(replace(second, image=first.image, change_line=7))
    assert [(frame.coil, frame.lines, frame.fault) for frame in frames] == [
        ("A", 7, Cause.FROZEN),
        ("A.2", 9, Cause.FROZEN),
    ]


def test_a_truncated_grab_misses_lines_of_the_coil_that_they_are_of():
    admit, _ = admission()
    (grab,) = grabs_of(16)
    assert grab.image is not None
    frames = admit.admit(replace(grab, image=grab.image[:10], change_line=12))
    assert [(f.coil, f.lines, f.valid_lines, f.fault) for f in frames] == [
        ("A", 12, 10, Cause.TRUNCATED),
        ("A.2", 4, 0, Cause.TRUNCATED),
    ]


def test_a_recording_loses_nothing_of_a_divided_grab_when_slots_are_short():
    """Each part needs a slot: with two slots, a third coil's part comes when a slot is released."""
    admit, ring = admission(2)
    (grab,) = grabs_of(16)
    admit.coils.order_start("B", at_line=4)
    admit.coils.order_start("C", at_line=9)
    intake = Intake(ListCamera([grab]), admit, ring)
    frames: list[Frame] = []
    while (got := intake.frames(0.0)) is not None:
        frames += got
        if not got:
            ring.release(frames[-1].slot)  # type: ignore[arg-type]
    assert [(frame.coil, frame.lines, frame.fault) for frame in frames] == [
        ("A", 4, None),
        ("B", 5, None),
        ("C", 7, None),
    ]


def test_a_weld_that_the_strip_rocks_over_is_one_weld():
    """The sensor reports the weld each time it passes, forward and back; the coil changes once."""
    for at in range(33, 70, 3):
        frames = admitted(raw_camera(course(200, ((at, 30), (at + 5, 40))), LINE, (32,)), LINE)
        assert coils_of(frames) == {"A": 32, "A.2": 168}
        accounted(frames)


def test_a_coil_of_the_cameras_own_begins_at_the_line_that_was_reached():
    """The camera reports a new coil from a grab on; strip that passed unseen before it is the old coil's tail."""
    grabs = grabs_of(160)
    mixed = [replace(grab, coil="A" if number < 5 else "B") for number, grab in enumerate(grabs) if number != 4]
    frames = admitted(ListCamera(mixed), LINE)
    assert coils_of(frames) == {"A": 80, "B": 80}
    assert [(frame.coil, frame.first_line, frame.lines) for frame in frames if frame.fault] == [("A", 64, 16)]
    accounted(frames)


ORDERS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["now", "line", "moment", "source"]), st.integers(0, 300)), max_size=8
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    orders=ORDERS,
    welds=st.sets(st.integers(1, 900), max_size=5),
    lost=st.sets(st.integers(1, 60), max_size=15),
    spoilt=st.dictionaries(st.integers(0, 60), st.sampled_from(["none", "short", "black", "depth"]), max_size=15),
    turns=st.lists(st.tuples(st.integers(1, 900), st.integers(0, 100)), max_size=3),
    slots=st.sampled_from([1, 2, 4096]),
)
def test_any_sequence_of_coils_and_faults_keeps_the_account(orders, welds, lost, spoilt, turns, slots):
    """The frames' lines add up to the lines that passed, per coil and in all, without overlap, each at its place."""
    admit, ring = admission(slots)
    camera = raw_camera(course(900, turns), LINE, sorted(welds))
    grabs, source = [], "A"
    for number, grab in enumerate(iter(camera.read, None)):
        if any(kind == "source" and at == number for at, kind, _ in orders):
            source = f"S{number}"
        if number not in lost:
            grabs.append(_spoilt(replace(grab, coil=source), spoilt.get(number)))
    given = {number: [] for number in range(61)}
    for index, (number, kind, value) in enumerate(orders):
        given[number].append((f"C{index}", kind, value))

    frames: list[Frame] = []
    held: list[int] = []
    for grab in _placed(grabs):
        for name, kind, value in given.pop(grab.sequence, ()):
            if kind != "source":
                place = {"line": {"at_line": value}, "moment": {"at_ns": grab.captured_ns + value * 10**6}}.get(
                    kind, {}
                )
                assert admit.coils.order_start(name, **place) is None
        frames += (new := admit.admit(grab))
        held += [frame.slot for frame in new if frame.slot is not None]
        while slots < 4096 and len(held) > 1:
            ring.release(held.pop(0))

    assert [frame.ordinal for frame in frames] == list(range(len(frames)))
    assert all(frame.lines > 0 for frame in frames)
    assert len(set(coils := [frame.coil for frame in frames])) == 1 + sum(a != b for a, b in itertools.pairwise(coils))
    head = 0
    for coil, lines in coils_of(frames).items():
        of_coil = [frame for frame in frames if frame.coil == coil]
        at = 0
        for frame in of_coil:
            assert frame.first_line == at
            assert frame.along_mm == pytest.approx(at)
            at += frame.lines
        assert at == lines
        head += lines
    assert head == admit.counts.lines
    if slots == 4096:
        accounted(frames)
    assert sum(frame.lines - frame.valid_lines for frame in frames) == sum(admit.counts.missed_lines.values())


def _placed(grabs: list[Grab]) -> list[Grab]:
    from linewatch.capture.position.encoder_triggered import EncoderTriggeredCamera

    return list(iter(EncoderTriggeredCamera(ListCamera(grabs), LINE).read, None))


def _spoilt(grab: Grab, how: str | None) -> Grab:
    assert grab.image is not None
    match how:
        case "none":
            return replace(grab, image=None, fault=Cause.CORRUPT)
        case "short":
            return replace(grab, image=grab.image[: len(grab.image) // 2])
        case "black":
            return replace(grab, image=np.zeros_like(grab.image))
        case "depth":
            return replace(grab, image=grab.image.astype(np.uint16))
    return grab


def test_lines_say_which_they_are():
    """The camera double keeps what `accounted` relies on."""
    grabs = grabs_of(40_100)
    image = grabs[-1].image
    assert image is not None
    assert line_numbers(image) == list(range(40_096, 40_100))


def test_a_coil_starts_and_ends_at_a_place_of_the_one_before_it():
    admit, _ = admission()
    assert admit.coils.order_end() == "no coil is under the camera; start one first"
    first, *rest = grabs_of(160)
    frames = list(admit.admit(first))
    assert admit.coils.order_start("B", at_mm=40.0) is None
    for grab in rest[:3]:
        frames += admit.admit(grab)
    assert "B is; end that one" in (admit.coils.order_end("A") or "")
    assert admit.coils.order_end("B", at_mm=30.5) is None  # within a line: that line is B's still
    for grab in rest[3:6]:
        frames += admit.admit(grab)
    assert admit.coils.order_end() == "no coil is under the camera; start one first"
    assert admit.coils.order_start("C") is None
    for grab in rest[6:]:
        frames += admit.admit(grab)
    assert coils_of(frames) == {"A": 40, "B": 31, "A.2": 41, "C": 48}
    assert {frame.coil for frame in frames if frame.between_coils} == {"A.2"}
    assert all(accounted(frames).values())
    assert {(frame.coil, frame.source_coil, frame.head_line) for frame in frames} == {
        ("A", "A", 0),
        ("B", "A", 40),
        ("A.2", "A", 71),
        ("C", "A", 112),
    }


@settings(max_examples=80)
@given(st.lists(st.integers(1, 159), max_size=5, unique=True), st.lists(st.integers(1, 159), max_size=3, unique=True))
def test_coils_begin_again_where_they_began(places, welds):
    """A script of earlier orders divides the same strip again, whatever else reports coils."""
    grabs = grabs_of(160, tuple(sorted(welds)))
    admit, _ = admission()
    assert admit.coils.announce("W-1") is None
    frames = [*admit.admit(grabs[0])]
    for number, place in enumerate(sorted(places)):
        order = (
            admit.coils.order_start(f"B-{number}", at_line=place)
            if number % 2
            else admit.coils.order_end(at_mm=float(place))
        )
        assert order is None or "no coil" in order
    frames += [frame for grab in grabs[1:] for frame in admit.admit(grab)]
    heads = {(one.coil, one.source_coil, one.head_line, one.between_coils) for one in frames if one.coil != "A"}
    script = [SourceStart(coil, source, line, between) for coil, source, line, between in sorted(heads)]
    ring = FrameRing(4096, LINE.frame_lines, LINE.width_px)
    again = Admission(LINE, CaptureSettings(), ring, CoilAccount(script))
    repeated = [frame for grab in grabs for frame in again.admit(grab)]
    told = [
        [(one.coil, one.first_line, one.lines, one.head_line, one.between_coils, one.ordinal) for one in of]
        for of in (frames, repeated)
    ]
    assert told[0] == told[1]


def test_what_a_camera_calls_a_coil_becomes_a_name():
    """It may come from any input; nothing that a grab contains stops the capture."""
    admit, _ = admission()
    frames = admit.admit(replace(grabs_of(16)[0], coil="  7\0\u202e/\ud800 "))
    assert coils_of(frames) == {"7__/_": 16}
