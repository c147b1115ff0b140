"""Admission: each fault is recognised and counted, and every line that passed is in exactly one frame."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_strip import ListCamera

from linewatch.capture.admission import Admission, Intake
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Frame, Grab
from linewatch.pictures.reading import luma_of

LINE = LineSettings(width_px=40, frame_lines=16, mm_per_line=2.0, mm_per_px=0.5, side="bottom", camera="c9")
NOISE = np.random.default_rng(0).integers(40, 200, (400, 16, 40), dtype=np.uint8)


def image(number: int, lines: int = 16) -> np.ndarray:
    return NOISE[number, :lines].copy()


def grab(number: int, first_line: int | None = None, *, pixels: np.ndarray | None = None, **over: object) -> Grab:
    first = number * 16 if first_line is None else first_line
    plain = Grab(
        image=image(number) if pixels is None else pixels,
        coil="A",
        sequence=number,
        first_line=first,
        lines=16,
        encoder_count=first * 8,
        along_mm=first * 2.0,
        mm_per_line=2.0,
        captured_ns=number * 1000,
    )
    return replace(plain, **over)  # type: ignore[arg-type]


def admission(slots: int = 8) -> tuple[Admission, FrameRing]:
    ring = FrameRing(slots, 16, 40)
    return Admission(LINE, CaptureSettings(), ring), ring


def only(frames: Iterable[Frame]) -> Frame:
    (frame,) = frames
    return frame


def test_good_grab_becomes_a_frame_with_its_pixels_and_place() -> None:
    admit, ring = admission()
    frame = only(admit.admit(grab(3)))
    assert frame.pixels is not None
    assert np.array_equal(frame.pixels, image(3))
    assert not frame.pixels.flags.writeable
    assert frame.slot is not None
    assert np.shares_memory(frame.pixels, ring.pixels(frame.slot))
    assert frame.fault is None
    assert (frame.coil, frame.side, frame.camera, frame.sequence, frame.ordinal) == ("A", "bottom", "c9", 3, 0)
    assert (frame.first_line, frame.lines, frame.valid_lines) == (48, 16, 16)
    assert (frame.along_mm, frame.mm_per_line, frame.mm_per_px, frame.encoder_count) == (96.0, 2.0, 0.5, 384)
    assert frame.captured_ns == 3000
    assert admit.counts.grabs == 1
    assert admit.counts.lines == 16
    assert not admit.counts.faults


FAULTY = [
    (Cause.DEPTH, {"pixels": image(1).astype(np.uint16)}),
    (Cause.DEPTH, {"pixels": image(1).astype(np.float32)}),
    (Cause.COLOUR, {"pixels": np.stack([image(1), image(2), image(1)], -1)}),
    (Cause.COLOUR, {"pixels": np.stack([image(1), image(1)], -1)}),
    (Cause.WRONG_SIZE, {"pixels": image(1)[:, :39]}),
    (Cause.WRONG_SIZE, {"pixels": np.vstack([image(1), image(2)[:1]])}),
    (Cause.WRONG_SIZE, {"pixels": np.vstack([image(1), image(2)[:1]]), "lines": 17}),
    (Cause.WRONG_SIZE, {"pixels": image(1).ravel()}),
    (Cause.BLACK, {"pixels": np.zeros((16, 40), np.uint8)}),
    (Cause.BLACK, {"pixels": np.full((16, 40), 8, np.uint8)}),
    (Cause.FROZEN, {"pixels": image(0)}),
    (Cause.CORRUPT, {"image": None}),
    (Cause.CORRUPT, {"image": None, "fault": Cause.CORRUPT}),
    (Cause.CORRUPT, {"fault": Cause.CORRUPT}),
    (Cause.COLOUR, {"image": None, "fault": Cause.COLOUR}),
    (Cause.TRUNCATED, {"pixels": image(1)[:0]}),
]


@pytest.mark.parametrize(("cause", "over"), FAULTY)
def test_faulty_grab_is_a_frame_without_pixels_and_with_its_cause(cause: Cause, over: dict) -> None:
    admit, ring = admission()
    only(admit.admit(grab(0)))
    frame = only(admit.admit(grab(1, **over)))
    assert (frame.fault, frame.pixels, frame.slot, frame.valid_lines) == (cause, None, None, 0)
    assert ring.free == 7
    assert admit.counts.faults == {cause: 1}
    assert admit.counts.missed_lines == {cause: frame.lines}
    after = only(admit.admit(grab(2, 16 + frame.lines)))
    assert after.fault is None


def test_frozen_stays_frozen_and_thaws() -> None:
    admit, _ = admission()
    causes = [
        only(admit.admit(grab(number, pixels=image(shown)))).fault for number, shown in enumerate([0, 0, 0, 1, 0])
    ]
    assert causes == [None, Cause.FROZEN, Cause.FROZEN, None, None]


def test_repeated_black_is_black() -> None:
    admit, _ = admission()
    black = np.zeros((16, 40), np.uint8)
    assert [only(admit.admit(grab(number, pixels=black))).fault for number in range(3)] == [Cause.BLACK] * 3


def test_a_single_lit_pixel_does_not_make_a_black_grab_bright() -> None:
    """Of 640 pixels 0.1 % is less than one, so one lit pixel is enough; a wider grab tolerates a hot pixel."""
    wide = LineSettings(width_px=1600, frame_lines=16)
    admit = Admission(wide, CaptureSettings(), FrameRing(2, 16, 1600))
    hot = np.zeros((16, 1600), np.uint8)
    hot[0, :25] = 255
    assert only(admit.admit(grab(0, pixels=hot))).fault is Cause.BLACK
    hot[0, :26] = 255
    assert only(admit.admit(grab(1, pixels=hot))).fault is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gray_in_a_colour_container_is_gray(channels: int) -> None:
    admit, _ = admission()
    pixels = np.repeat(image(0)[..., None], channels, axis=-1)
    if channels == 4:
        pixels[..., 3] = 255
    frame = only(admit.admit(grab(0, pixels=pixels)))
    assert frame.fault is None
    assert np.array_equal(frame.pixels, image(0))  # type: ignore[arg-type]


@pytest.mark.parametrize(("off", "fault"), [(4, None), (5, Cause.COLOUR)])
def test_channels_that_an_encoder_rounded_are_gray_within_a_tolerance(off: int, fault: Cause | None) -> None:
    admit, _ = admission()
    pixels = np.repeat(image(0)[..., None], 3, axis=-1)
    pixels[3, 7, 0] = pixels[3, 7, 1] - off if pixels[3, 7, 1] >= off else pixels[3, 7, 1] + off
    frame = only(admit.admit(grab(0, pixels=pixels)))
    assert frame.fault is fault
    assert fault is not None or np.array_equal(frame.pixels, luma_of(pixels))  # type: ignore[arg-type]


def test_truncated_grab_shows_what_it_has() -> None:
    admit, ring = admission(1)
    ring.pixels(0)[:] = 77
    frame = only(admit.admit(grab(0, pixels=image(0)[:5])))
    assert (frame.fault, frame.lines, frame.valid_lines) == (Cause.TRUNCATED, 16, 5)
    assert frame.pixels is not None
    assert np.array_equal(frame.pixels[:5], image(0)[:5])
    assert not frame.pixels[5:].any(), (
        "rows that were not seen are zero, so that results do not depend on what was there"
    )
    assert admit.counts.missed_lines == {Cause.TRUNCATED: 11}


def test_short_last_grab_is_whole() -> None:
    admit, _ = admission()
    frame = only(admit.admit(grab(0, pixels=image(0)[:5], lines=5)))
    assert (frame.fault, frame.lines, frame.valid_lines) == (None, 5, 5)


def test_lines_that_never_came_are_one_lost_frame() -> None:
    admit, _ = admission()
    only(admit.admit(grab(0)))
    lost, here = admit.admit(grab(4))
    assert (lost.fault, lost.first_line, lost.lines, lost.valid_lines) == (Cause.LOST, 16, 48, 0)
    assert (lost.along_mm, lost.encoder_count) == (32.0, 128)
    assert (lost.ordinal, here.ordinal) == (1, 2)
    assert here.fault is None
    assert admit.counts.missed_lines == {Cause.LOST: 48}


def test_run_that_starts_within_a_coil_has_lost_nothing() -> None:
    admit, _ = admission()
    assert only(admit.admit(grab(70, 1120))).first_line == 1120


def test_change_of_coil_is_no_loss() -> None:
    admit, _ = admission()
    only(admit.admit(grab(0)))
    frame = only(admit.admit(grab(1, 0, coil="B")))
    assert (frame.coil, frame.fault) == ("B", None)


def test_grabs_lost_around_a_change_of_coil_are_shared_out() -> None:
    """Three grabs are lost and the new coil begins 16 lines in: 16 lines are its head, the rest the old coil's tail."""
    admit, _ = admission()
    only(admit.admit(grab(0)))
    tail, head, here = admit.admit(grab(4, 16, coil="B"))
    assert (tail.coil, tail.first_line, tail.lines, tail.fault) == ("A", 16, 32, Cause.LOST)
    assert (head.coil, head.first_line, head.lines, head.fault) == ("B", 0, 16, Cause.LOST)
    assert (here.coil, here.first_line, here.fault) == ("B", 16, None)


def test_strip_that_runs_back_is_not_counted_twice() -> None:
    admit, _ = admission()
    only(admit.admit(grab(0)))
    only(admit.admit(grab(1)))
    assert admit.admit(grab(2, 8)) == ()
    frame = only(admit.admit(grab(3, 20)))
    assert (frame.first_line, frame.lines, frame.valid_lines, frame.along_mm) == (32, 4, 4, 64.0)
    assert np.array_equal(frame.pixels[:4], image(3)[12:])  # type: ignore[index]
    assert admit.counts.repeated_lines == 16 + 12
    assert only(admit.admit(grab(4, 36))).fault is None


def test_no_free_slot_is_an_overrun() -> None:
    admit, ring = admission(1)
    first = only(admit.admit(grab(0)))
    assert only(admit.admit(grab(1))).fault is Cause.OVERRUN
    assert first.slot is not None
    ring.release(first.slot)
    assert only(admit.admit(grab(2))).fault is None
    assert admit.counts.missed_lines == {Cause.OVERRUN: 16}


@dataclass
class Step:
    skip: int
    back: int
    lines: int
    rows: int
    channels: int
    new_coil: bool
    release: bool


STEPS = st.builds(
    Step,
    skip=st.sampled_from([0, 0, 0, 3, 40]),
    back=st.sampled_from([0, 0, 0, 5, 30]),
    lines=st.sampled_from([16, 16, 16, 7, 0, 20]),
    rows=st.sampled_from([16, 16, 7, 3, 0]),
    channels=st.sampled_from([0, 0, 1, 3]),
    new_coil=st.sampled_from([False] * 5 + [True]),
    release=st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_every_line_is_in_exactly_one_frame(steps: list[Step]) -> None:
    """Whatever a camera gives, the frames of a coil follow each other from its first line on without a gap."""
    admit, ring = admission(2)
    coil, line, frames = 0, 0, []
    reached: dict[str, tuple[int, int]] = {}
    held: list[int] = []
    for sequence, step in enumerate(steps):
        if step.new_coil:
            coil, line = coil + 1, 0
        first = max(0, line + step.skip - step.back)
        pixels = image(sequence)[: step.rows]
        if step.channels:
            pixels = np.repeat(pixels[..., None], step.channels, axis=-1)
        name = f"C{coil}"
        new = admit.admit(grab(sequence, first, pixels=pixels, lines=step.lines, coil=name))
        frames += new
        held += [frame.slot for frame in new if frame.slot is not None]
        if step.lines:
            line = max(line, first + step.lines)
            reached[name] = (reached.get(name, (first, 0))[0], line)
        while step.release and held:
            ring.release(held.pop())
    assert [frame.ordinal for frame in frames] == list(range(len(frames)))
    for name, of_coil in itertools.groupby(frames, key=lambda frame: frame.coil):
        spans = [(frame.first_line, frame.lines) for frame in of_coil]
        assert spans[0][0] == reached[name][0]
        for (first, lines), (following, _) in itertools.pairwise(spans):
            assert first + lines == following
        assert sum(spans[-1]) == reached[name][1]
        assert all(lines > 0 for _, lines in spans)
    for frame in frames:
        assert 0 <= frame.valid_lines <= frame.lines
        assert (frame.valid_lines == frame.lines) == (frame.fault is None)
        assert (frame.valid_lines == 0) == (frame.pixels is None)


def test_replay_waits_for_a_slot_and_loses_nothing() -> None:
    admit, ring = admission(1)
    intake = Intake(ListCamera([grab(0), grab(1)], live=False), admit, ring)
    first = only(intake.frames(0.01) or ())
    assert intake.frames(0.01) == ()
    assert first.slot is not None
    ring.release(first.slot)
    assert only(intake.frames(0.01) or ()).fault is None


def test_live_reads_on_without_a_slot_and_counts() -> None:
    admit, ring = admission(1)
    intake = Intake(ListCamera([grab(0), grab(1)], live=True), admit, ring)
    assert only(intake.frames(0) or ()).fault is None
    assert only(intake.frames(0) or ()).fault is Cause.OVERRUN
    assert intake.frames(0) is None
