"""Verdict files beside one another: what both found, what one did, and what was not compared at all."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.coil_file import LINES, NO_TIMING, begins, closed, defect, frame, opened, write
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, JournalError, SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.manifest import Task
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import DefectEvent, DefectState, Quality, RunMask, StripBox
from linewatch.geometry.runs import rectangle
from linewatch.review.coil_record import all_masks
from linewatch.review.comparison import ComparedSide, Limits, compare, score_both
from linewatch.review.differences import A_COLOUR, B_COLOUR, SideStrips, draw_differences
from linewatch.review.from_verdicts import read_coils
from linewatch.review.strips import StripFindings, same_verdicts, strips_of
from linewatch.simulation.truth import CoilTruth, TrueDefect

LINE = LineSettings(width_px=400, mm_per_px=0.5, mm_per_line=1.0)
FRAMES = 8
TWO_ENGINES = ("s@1", "c@1")


def event(
    left: int, top: int, right: int, bottom: int, name: str = "scratch", state: DefectState = DefectState.OPENED, **more
) -> DefectEvent:
    """In one frame: columns and coil lines, half a millimetre and one millimetre each."""
    box = StripBox((left / 2, right / 2), (float(top), float(bottom)))
    more = {"id": f"C1/top/cam1/{top}.{left}", "area_mm2": (right - left) * (bottom - top) / 2} | more
    return opened(defect("", 0.0, 0.0, box=box, defect_class=name, edge_mm=None, **more), state)


def written(path: Path, *events: DefectEvent, missed=(), engines=TWO_ENGINES, coil="C1", timing=NO_TIMING) -> Path:
    """A verdict file of FRAMES frames; each event stands in the frame in which its defect ends."""
    frames = [
        frame(
            n,
            [one for one in events if int(one.defect.box.along_mm[1] - 1) // LINES == n],
            coil,
            Quality.MISSED if n in missed else Quality.INSPECTED,
            engines=engines[n % len(engines)] if isinstance(engines[0], tuple) else engines,
            timing=timing,
        )
        for n in range(FRAMES)
    ]
    return write(path, [begins(coil, timing), *frames])


def read_strips(path: Path) -> tuple[StripFindings, ...]:
    return strips_of(read_coils(path, masked=all_masks))


def compared(a: Path, b: Path):
    return compare(read_strips(a), read_strips(b))


def test_what_is_matched_lost_new_renamed_and_resized_is_told_by_class(tmp_path: Path) -> None:
    same, lost, new = event(10, 10, 60, 60), event(100, 10, 160, 90, "patches"), event(300, 20, 340, 60, "sliver")
    a = written(tmp_path / "a", same, lost, event(10, 300, 60, 400), event(200, 300, 300, 400))
    b = written(tmp_path / "b", same, new, event(10, 300, 60, 400, "sliver"), event(200, 300, 300, 350))
    found = compared(a, b)
    assert {
        name: (c.in_a, c.in_b, c.lost, c.new, c.to_other, c.from_other, c.resized) for name, c in found.by_class.items()
    } == {
        "patches": (1, 0, 1, 0, 0, 0, 0),
        "scratch": (3, 2, 0, 0, 1, 0, 1),
        "sliver": (0, 2, 0, 1, 0, 1, 0),
    }
    assert (found.matched, found.compared_mm) == (3, 2048.0)
    assert [one.a[0].id for one in found.lost] == [lost.defect.id]
    assert [one.b[0].id for one in found.new] == [new.defect.id]
    assert [(one.a[0].defect_class, one.b[0].defect_class) for one in found.reclassified] == [("scratch", "sliver")]
    other = compared(b, a)
    assert (other.total.lost, other.total.new, other.total.to_other) == (1, 1, 1)
    assert {(one.b, one.a) for one in found.defects} == {(one.a, one.b) for one in other.defects}


def test_a_file_beside_itself_has_no_difference(tmp_path: Path) -> None:
    one = written(tmp_path / "a", event(10, 10, 60, 60), event(10, 10, 60, 60, "patches", id="other"))
    found = compared(one, one)
    assert found.matched == found.total.in_a == 2
    assert (found.lost, found.new, found.reclassified, found.resized) == ((), (), (), ())


def test_parts_of_a_long_defect_are_one_wherever_they_were_cut(tmp_path: Path) -> None:
    def in_parts(path: Path, cuts: tuple[int, ...]) -> Path:
        ends = [*cuts, FRAMES * LINES]
        events, begin, first = [], 0, None
        for end in ends:
            for top in range(begin, end, LINES):
                name = f"part{begin}"
                state = DefectState.OPENED if top == begin else DefectState.UPDATED
                one = event(100, top, 110, min(top + LINES, end), state=state, id=name, part_of=first)
                box = StripBox(one.defect.box.across_mm, (float(begin), one.defect.box.along_mm[1]))
                grown = replace(one.defect, box=box, area_mm2=5.0 * (box.along_mm[1] - begin))
                events.append(replace(one, defect=grown))
            first = first or f"part{begin}"
            begin = end
        return written(path, *events)

    a, b = in_parts(tmp_path / "a", (512, 1024)), in_parts(tmp_path / "b", (768,))
    found = compared(a, b)
    ((one,),) = (found.defects,)
    assert (one.a[0].box, one.a[0].area_mm2) == (one.b[0].box, one.b[0].area_mm2)
    assert (found.total.in_a, found.total.in_b, found.total.resized) == (1, 1, 0)


def test_what_merged_is_one_defect_with_both_outlines(tmp_path: Path) -> None:
    left, right = event(10, 10, 30, 200), event(60, 10, 80, 200)
    hull = replace(left.defect, box=StripBox((5.0, 40.0), (10.0, 210.0)), area_mm2=4000.0)
    both = DefectEvent(DefectState.UPDATED, hull, RunMask(0, rectangle(10, 200, 80, 210)))
    path = written(tmp_path / "a", left, right, both, closed(right.defect, merged_into=left.defect.id))
    (strip,) = read_strips(path)
    assert [one.id for one in strip.defects] == [left.defect.id]
    assert strip.outlines.rungs[:, 2].min() == 5000
    assert strip.outlines.rungs[:, 3].max() == 40000
    assert not any(
        (strip.outlines.rungs[:, 3] - strip.outlines.rungs[:, 2] > 30000) & (strip.outlines.rungs[:, 1] < 190000)
    )


def test_strip_that_only_one_inspected_is_left_out_and_said(tmp_path: Path) -> None:
    seen, unseen = event(10, 300, 60, 400), event(10, 600, 60, 700)
    found = compared(written(tmp_path / "a", seen, unseen), written(tmp_path / "b", seen, missed=(2,)))
    assert (found.compared_mm, found.only_a_mm, found.only_b_mm) == (7 * 256.0, 256.0, 0.0)
    assert (found.total.in_a, found.total.lost, found.a.left_out, found.b.left_out) == (1, 0, 1, 0)
    assert found.b.missed_mm == 256.0
    assert found.b.unfinished == ("C1 top cam1",)  # no file of these tests has an end


def test_nothing_that_both_inspected_is_an_error_and_no_agreement(tmp_path: Path) -> None:
    a = written(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"no strip that both inspected: A has C1 top cam1, B has C2 top cam1"):
        compared(a, written(tmp_path / "b", coil="C2"))
    with pytest.raises(ConfigError, match="no strip that both inspected"):
        compared(a, written(tmp_path / "c", missed=range(FRAMES)))
    (tmp_path / "empty").write_text("")
    with pytest.raises(JournalError, match="holds no coil"):
        read_strips(tmp_path / "empty")


def test_a_mix_of_engines_is_named_and_a_cascade_is_none(tmp_path: Path) -> None:
    cascade = written(tmp_path / "a", engines=(("s@1",), ("s@1", "c@1"), ("s@1", "c@1", "g@1")))
    mixed = written(tmp_path / "b", engines=(("s@1", "c@1"), ("s@1", "c@2")))
    found = compared(cascade, mixed)
    assert found.a.mixed == ()
    assert found.b.mixed == (Task.CLASSIFY,)
    assert found.b.engines[Task.CLASSIFY] == {"c@1": 1024.0, "c@2": 1024.0}
    assert isinstance(found.b, ComparedSide)


def test_an_engine_that_inspected_alone_is_named_so(tmp_path: Path) -> None:
    """Without defects nothing tells it from a screen that passed no tile, unless it found some elsewhere."""
    defects = [event(10, 10, 60, 60)]
    ours = tmp_path / "a"
    ours.write_bytes(
        written(tmp_path / "one", *defects, engines=("i@1",)).read_bytes()
        + written(tmp_path / "two", engines=("i@1",), coil="C2").read_bytes()
    )
    theirs = tmp_path / "b"
    theirs.write_bytes(
        written(tmp_path / "three", *defects).read_bytes() + written(tmp_path / "four", coil="C2").read_bytes()
    )
    found = compared(ours, theirs)
    assert set(found.a.engines) == {Task.INSPECT}
    assert found.a.mixed == ()
    assert set(found.b.engines) == {Task.SCREEN, Task.CLASSIFY}


def test_same_verdicts_asks_for_all_but_the_timing(tmp_path: Path) -> None:
    one = written(tmp_path / "a", event(10, 10, 60, 60))
    later = written(tmp_path / "b", event(10, 10, 60, 60), timing=Timing(captured_ns=5))
    assert one.read_bytes() != later.read_bytes()
    assert same_verdicts(one, later)
    assert not same_verdicts(one, written(tmp_path / "c", event(10, 10, 60, 61)))
    later.write_bytes(b"".join(later.read_bytes().splitlines(keepends=True)[:-1]))
    assert not same_verdicts(one, later)


def test_limits_are_shares_of_a(tmp_path: Path) -> None:
    rows = [event(10, 256 * n + 10, 60, 256 * n + 60) for n in range(4)]
    found = compared(written(tmp_path / "a", *rows), written(tmp_path / "b", *rows[:3]))
    assert Limits(lost=0.25, new=0.0, reclassified=0.0).broken(found) == ()
    (said,) = Limits(lost=0.2).broken(found)
    assert said == "lost: 1 of A's 4 defects, 25.00%; at most 20.00% allowed"


def test_both_are_judged_by_the_truth_on_the_strip_compared(tmp_path: Path) -> None:
    one, two = event(10, 300, 60, 400), event(10, 600, 60, 700)
    found = compared(written(tmp_path / "a", one, two), written(tmp_path / "b", one, missed=(2,)))
    real = [TrueDefect(id=i, defect_class="scratch", box=e.defect.box, area_mm2=9.0) for i, e in enumerate((one, two))]
    truth = CoilTruth(
        coil="C1",
        seed=1,
        lines=2048,
        length_mm=2048.0,
        mm_per_px=0.5,
        mm_per_line=1.0,
        defects=tuple(real),
        pseudo_defects=(),
    )
    assert [(of.hit, of.true, of.found) for of in score_both(found, truth)] == [(1, 1, 1), (1, 1, 1)]
    with pytest.raises(ConfigError, match="the truth is of coil C9"):
        score_both(found, truth.model_copy(update={"coil": "C9"}))


class Plain:
    """A camera over dark steel."""

    live = False
    serial = ""
    grabs = FRAMES

    def __init__(self, coil: str = "C1") -> None:
        self._left = [
            Grab(np.full((LINES, 400), 60, np.uint8), coil, n, n * LINES, LINES, n * LINES, n * 256.0, 1.0, 0)
            for n in range(FRAMES)
        ]

    def read(self) -> Grab | None:
        return self._left.pop(0) if self._left else None

    def stop(self) -> None:
        self._left = []

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def test_the_worst_are_drawn_with_both_outlines(tmp_path: Path) -> None:
    a = written(tmp_path / "a", event(10, 10, 60, 60), event(200, 900, 300, 1000))
    b = written(tmp_path / "b", event(200, 900, 300, 1000, "sliver"), missed=(7,))
    sides = SideStrips("a", read_strips(a)), SideStrips("b", read_strips(b))
    found = compare(sides[0].strips, sides[1].strips)
    sheet, strip_map = draw_differences(found, *sides, Plain(), LINE, tmp_path / "out")
    pixels = cv2.imread(str(sheet))
    for colour in (A_COLOUR, B_COLOUR):
        assert (pixels[60:] == colour).all(2).sum() > 100
    assert cv2.imread(str(strip_map)).shape[1] > 400
    with pytest.raises(SourceError, match="shows none of the strips compared"):
        draw_differences(found, *sides, Plain("C7"), LINE, tmp_path / "out")
