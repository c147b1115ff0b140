"""A coil out of a verdict file: every defect once, every millimetre once, masks of the worst, and clear refusals."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import bounds

from benchmarks.coil_file import LINES, begins, closed, defect, ends, frame, opened, write
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError, JournalError
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.history.spans import Coverage
from linewatch.review.coil_record import all_masks
from linewatch.review.defect_table import Defects
from linewatch.review.from_verdicts import read_coil, read_coils
from linewatch.review.severities import NO_SEVERITY, UNKNOWN_SEVERITY, ClassSeverities, RatedDefects

TAXONOMY = Path(__file__).parents[2] / "configs" / "taxonomy.toml"


def test_closed_defects_are_read_once_with_all_they_tell(tmp_path: Path) -> None:
    one, two = defect("a", 10.0, 100.0), defect("b", 300.0, 200.0, part_of="a", contrast=-0.25, orientation_deg=30.0)
    path = write(
        tmp_path / "v.jsonl",
        [begins(), frame(0, [opened(one)]), frame(1, [closed(one), opened(two)]), ends(512.0, [closed(two)])],
    )
    record = read_coil(path)
    assert tuple(record.defects) == (one, two)
    assert (record.coil, record.side, record.camera, record.complete) == ("C1", "top", "cam1", True)
    assert (record.length_mm, record.strip_mm, record.width_mm) == (512.0, (10.0, 790.0), 780.0)
    assert record.counts() == {"scratch": 1}  # the second is a part of the first
    assert "v.jsonl" in record.source


def test_a_defect_that_merged_gives_its_mask_to_the_one_it_grew_into(tmp_path: Path) -> None:
    left, right = defect("a", 10.0, 100.0), defect("b", 10.0, 120.0)
    path = write(
        tmp_path / "v.jsonl",
        [begins(), frame(0, [opened(left), opened(right)]), ends(256.0, [closed(left), closed(right, "a")])],
    )
    record = read_coil(path, masked=all_masks)
    assert [one.id for one in record.defects] == ["a"]
    assert bounds(record.masks["a"]) == (10, 29, 200, 260)


def test_lines_of_a_mask_count_on_over_frames(tmp_path: Path) -> None:
    head, tail = defect("a", 250.0, 100.0), defect("a", 256.0, 100.0)
    path = write(tmp_path / "v.jsonl", [begins(), frame(0, [opened(head)]), frame(1, [opened(tail), closed(tail)])])
    assert bounds(read_coil(path, masked=all_masks).masks["a"]) == (250, 275, 200, 220)


def test_a_file_in_which_two_defects_merge_into_each_other_is_read(tmp_path: Path) -> None:
    one, two = defect("a", 10.0, 100.0), defect("b", 10.0, 120.0)
    events = [opened(one), opened(two), closed(one, "b"), closed(two, "a"), closed(one, "a")]
    assert read_coil(write(tmp_path / "v.jsonl", [begins(), frame(0, events)])).defects["id"].tolist() == []


def test_the_masks_that_are_asked_for_are_read_and_no_other(tmp_path: Path) -> None:
    defects = [defect(f"d{n}", 10.0 * n, 100.0) for n in range(5)]
    events = [step for one in defects for step in (opened(one), closed(one))]
    asked: list[Defects] = []
    path = write(tmp_path / "v.jsonl", [begins(), frame(0, events)])
    record = read_coil(path, masked=lambda of: (asked.append(of), ["d1", "d3"])[1])
    assert sorted(record.masks) == ["d1", "d3"]
    assert [of["id"].tolist() for of in asked] == [[one.id for one in defects]]


def test_what_merged_into_a_defect_that_the_file_does_not_hold_is_all_that_is_known_of_it(tmp_path: Path) -> None:
    one = defect("b", 10.0, 100.0)
    record = read_coil(write(tmp_path / "v.jsonl", [frame(0, [opened(one), closed(one, "cut off")])]))
    assert [found.id for found in record.defects] == ["b"]


def test_the_worst_is_the_most_severe_then_the_largest(tmp_path: Path) -> None:
    severities = ClassSeverities.of(Taxonomy.read(TAXONOMY), "t")
    defects = [
        defect("small sliver", 0.0, 0.0, defect_class="sliver", area_mm2=1.0),
        defect("scratch", 0.0, 0.0, area_mm2=900.0),
        defect("large sliver", 0.0, 0.0, defect_class="sliver", area_mm2=2.0),
        defect("new", 0.0, 0.0, defect_class="not in the taxonomy"),
        defect("water", 0.0, 0.0, defect_class="water", area_mm2=9000.0),
    ]
    path = write(tmp_path / "v.jsonl", [begins(), frame(0, [closed(one) for one in defects])])
    record = read_coil(path)
    rated = RatedDefects.of(record.defects, severities)
    assert rated.defects["id"].tolist() == ["large sliver", "small sliver", "new", "scratch", "water"]
    assert rated.severity[[2, 4]].tolist() == [UNKNOWN_SEVERITY, NO_SEVERITY]


def test_a_coil_without_end_says_so_and_keeps_what_was_open(tmp_path: Path) -> None:
    one, two = defect("a", 10.0, 100.0), defect("b", 20.0, 200.0)
    path = write(tmp_path / "v.jsonl", [begins(), frame(0, [opened(one), opened(two), closed(one)])])
    record = read_coil(path, masked=all_masks)
    assert not record.complete
    assert [item.id for item in record.defects] == ["a", "b"]
    assert record.still_open == {"b"}
    assert set(record.masks) == {"a", "b"}


def test_an_empty_coil_is_a_coil(tmp_path: Path) -> None:
    record = read_coil(write(tmp_path / "v.jsonl", [begins(), ends(0.0)]))
    assert (record.length_mm, record.inspected_share, len(record.defects), record.strip_mm) == (0.0, None, 0, None)


def test_engines_that_changed_are_noticed_and_a_frame_without_tiles_is_none(tmp_path: Path) -> None:
    frames = [frame(0), frame(1, engines=("screen@1",)), frame(2, quality=Quality.MISSED)]
    one = read_coil(write(tmp_path / "v.jsonl", [begins(), *frames, ends(768.0)]))
    assert not one.mixed_engines
    assert [(use.engine, use.length_mm) for use in one.engines] == [("screen@1", 512.0), ("classify@2", 256.0)]
    other = frame(3, engines=("screen@1", "classify@9"))
    assert read_coil(write(tmp_path / "w.jsonl", [begins(), *frames, other])).mixed_engines


qualities = st.lists(st.tuples(st.sampled_from(Quality), st.integers(1, 300)), max_size=30)


@given(qualities)
def test_joined_spans_tile_the_same_length_and_neighbours_differ(parts: list[tuple[Quality, int]]) -> None:
    spans, at = [], 0
    for quality, lines in parts:
        cause = None if quality is Quality.INSPECTED else Cause.OVERLOAD
        spans.append(CoverageSpan(at, lines, (float(at), float(at + lines)), quality, cause))
        at += lines
    coverage = Coverage()
    for span in spans:
        coverage.add(span, ("screen@1",))
    found = coverage.spans
    quality_mm = sum(span.lines for span in spans if span.quality is not Quality.MISSED)
    assert sum(use.length_mm for use in coverage.engines) == quality_mm
    for quality in Quality:
        lines = sum(span.lines for span in spans if span.quality is quality)
        assert sum(span.lines for span in found if span.quality is quality) == lines
    for before, after in pairwise(found):
        assert before.quality is not after.quality
        assert (before.first_line + before.lines, before.along_mm[1]) == (after.first_line, after.along_mm[0])


def test_coverage_is_what_the_frames_say(tmp_path: Path) -> None:
    looked = [Quality.INSPECTED, Quality.INSPECTED, Quality.MISSED, Quality.DEGRADED]
    frames = [frame(n, quality=quality) for n, quality in enumerate(looked)]
    record = read_coil(write(tmp_path / "v.jsonl", [begins(), *frames, ends(1024.0)]))
    assert [(span.quality, span.lines) for span in record.spans] == [
        (Quality.INSPECTED, 2 * LINES),
        (Quality.MISSED, LINES),
        (Quality.DEGRADED, LINES),
    ]
    assert record.inspected_share == 0.5


def test_one_coil_of_several_is_read_by_name(tmp_path: Path) -> None:
    frames = [
        begins("A"),
        frame(0, coil="A"),
        ends(256.0, coil="A"),
        begins("B"),
        frame(0, coil="B"),
        frame(1, coil="B"),
    ]
    path = write(tmp_path / "v.jsonl", frames)
    assert read_coil(path, "A").length_mm == 256.0
    assert read_coil(path, "B").length_mm == 512.0
    with pytest.raises(ConfigError, match=r"holds 2 coils: 'A', 'B'; name one"):
        read_coil(path)
    with pytest.raises(ConfigError, match=r"does not hold coil 'C'; expected one of 'A', 'B'"):
        read_coil(path, "C")


def test_a_coil_that_passes_twice_is_read_as_it_passed_last(tmp_path: Path) -> None:
    one = defect("a", 10.0, 100.0)
    path = write(
        tmp_path / "v.jsonl",
        [begins(), frame(0, [opened(one), closed(one)]), ends(256.0), begins(), frame(0), frame(1), ends(512.0)],
    )
    record = read_coil(path)
    assert (record.length_mm, len(record.defects)) == (512.0, 0)
    assert "passes 2 times" in record.notes[0]
    assert [len(each.defects) for each in read_coils(path)] == [1, 0]


def test_what_is_no_verdict_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    for content in (b"", b"\x00\x01 no line"):
        path.write_bytes(content)
        with pytest.raises(JournalError, match="holds no coil; expected what `linewatch replay --out` wrote"):
            read_coil(path)
        with pytest.raises(JournalError, match="holds no coil"):
            list(read_coils(path))
    path.write_bytes(b"id,class\n1,scratch\n")
    with pytest.raises(JournalError, match=r"line 1: .*expected a line of a verdict file"):
        read_coil(path)
