"""The view that browsers are sent: the coil so far, whole or as news, and never more than its bounds."""

import json
from dataclasses import replace

import numpy as np
import pytest
from decisions import LINES, coil_notice, defect_event, roll_mark, verdict
from stored_coils import messages_of
from wide_strip import FRAME_LINES, WIDTH_PX, by_cameras, joined
from wide_strip import settings as wide_settings

from linewatch.client import Lost
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoilState, CoverageSpan, DefectState, Quality, StripArea
from linewatch.hmi.feed import live_view, strip_so_far
from linewatch.hmi.feed.live_view import LiveView
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import Topic


def told(*decided, view=None, sequencer=None):
    view = view or LiveView()
    for message in messages_of(*decided, sequencer=sequencer):
        view.take(message)
    return view


def test_state_and_news_say_the_same() -> None:
    sequencer = Sequencer(1, "abc")
    view = told(coil_notice(CoilState.STARTED), verdict(0, (defect_event(0),)), sequencer=sequencer)
    assert view.news()[1], "a coil began"
    merged = replace(defect_event(2, DefectState.CLOSED, 0, "C1/top/cam1/256.200"), merged_into="C1/top/cam1/0.200")
    row = replace(verdict(3), roll_marks=(roll_mark(name="r"),))
    told(*(verdict(1, (defect_event(1),)), verdict(2, (merged,), missed_lines=56), row), view=view, sequencer=sequencer)
    news, anew = view.news()
    assert not anew
    assert [one["id"] for one in news["defects"]] == ["C1/top/cam1/256.200"] * 2
    assert news["defects"][1] == {"id": "C1/top/cam1/256.200", "gone": True}
    assert [one["edge"][:2] for one in news["strip"]] == [(n * LINES, (n + 1) * LINES) for n in (1, 2, 3)]
    assert [mark["id"] for mark in news["roll_marks"]] == ["r"]
    state = view.state_of()
    assert [one["id"] for one in state["defects"]] == ["C1/top/cam1/0.200"]
    assert state["strip"]["spans"] == [
        (0.0, 712.0, "inspected", "", ""),
        (712.0, 768.0, "missed", "truncated", ""),
        (768.0, 1024.0, "inspected", "", ""),
    ]
    assert state["strip"]["edges"] == [(0.0, 1024.0, 10.0, 790.0)]
    assert state["coil"]["coil"] == "C1"
    assert view.news() == ({}, False)
    json.dumps(state, allow_nan=False)


def test_another_coil_begins_anew_and_a_loss_as_well() -> None:
    sequencer = Sequencer(1, "abc")
    view = told(coil_notice(CoilState.STARTED), verdict(0, (defect_event(0),)), sequencer=sequencer)
    view.news()
    told(coil_notice(CoilState.ENDED, 256.0), coil_notice(CoilState.STARTED), view=view, sequencer=sequencer)
    assert view.news()[1]
    assert view.state_of()["defects"] == []
    view.take(Lost(Topic.FRAME, 1, 3, 5, "gone"))
    assert view.news()[1]


def test_what_a_silent_camera_tells_later_takes_the_place_of_what_was_told() -> None:
    late = CoverageSpan(100, 300, (100.0, 400.0), Quality.INSPECTED, None, StripArea(1.0))
    first = (CoverageSpan(0, 256, (0.0, 256.0), Quality.MISSED, Cause.SILENT, StripArea(missed_mm2=1.0)),)
    view = told(
        coil_notice(CoilState.STARTED),
        replace(verdict(0), spans=first),
        replace(verdict(1), spans=(replace(first[0], first_line=256, along_mm=(256.0, 512.0)),)),
        replace(verdict(2), corrections=(late,), corrected=()),
    )
    assert view.state_of()["strip"]["spans"] == [
        (0.0, 100.0, "missed", "silent", ""),
        (100.0, 400.0, "inspected", "", ""),
        (400.0, 512.0, "missed", "silent", ""),
        (512.0, 768.0, "inspected", "", ""),
    ]


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "MOST_DEFECTS", 20)
    monkeypatch.setattr(live_view, "MOST_NEWS", 30)
    monkeypatch.setattr(strip_so_far, "MOST_STRETCHES", 10)
    frames = [verdict(n, (defect_event(n),), missed_lines=n % 2) for n in range(100)]
    view = told(coil_notice(CoilState.STARTED), *frames)
    state = view.state_of()
    assert [one["id"] for one in state["defects"]] == [f"C1/top/cam1/{n * LINES}.200" for n in range(80, 100)]
    assert len(state["strip"]["spans"]) <= 10
    assert state["strip"]["begin_mm"] == state["strip"]["spans"][0][0] > 0
    news, anew = view.news()
    assert anew, "news that nobody fetched become a whole state"
    assert sum(len(one) for one in news.values() if isinstance(one, list)) <= 30


def test_outlines_of_a_frame_are_those_of_its_masks() -> None:
    view = told(coil_notice(CoilState.STARTED), verdict(0, (defect_event(0, runs=8),)))
    (outline,) = view.masks.outlines("top", "cam1", 0) or []
    assert outline["class"] == "scratch"
    columns = [column for ring in outline["rings"] for column, _ in ring]
    assert (min(columns), max(columns)) == (0, 16 * 7 + 4)
    assert view.masks.outlines("top", "cam1", 1) is None


def test_outlines_on_a_joined_strip_are_where_a_camera_saw_the_defect() -> None:
    mask = np.zeros((3 * FRAME_LINES, WIDTH_PX), np.uint8)
    mask[40:70, 60:120] = 255  # seen by two cameras, in two frames
    one_side = wide_settings(("top",))
    view = told(*joined(one_side, by_cameras(mask, one_side)))
    found = view.masks.outlines_over("top", (float(FRAME_LINES), 3.0 * FRAME_LINES))
    assert len({one["id"] for one in found}) == 1
    across, along = zip(*(corner for one in found for ring in one["rings"] for corner in ring), strict=True)
    assert (min(across), max(across), min(along), max(along)) == (60.0, 119.0, 40.0, 69.0)
    assert view.masks.outlines_over("bottom", (0.0, 96.0)) == []
    assert view.masks.outlines_over("top", (80.0, 96.0)) == []
