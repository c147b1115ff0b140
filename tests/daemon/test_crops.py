"""A defect has one picture, cut from the frame that shows most of it; pictures are bounded in number and bytes."""

import json
import threading
from dataclasses import replace
from itertools import count

import cv2
import numpy as np
import pytest
from bright_strip import LINES, WIDTH, write_service
from hypothesis import given
from hypothesis import strategies as st

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.client import Subscriber
from linewatch.config.crops import CropSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.frame import Frame
from linewatch.contracts.verdict import (
    CoilNotice,
    CoilState,
    Defect,
    DefectEvent,
    DefectState,
    Extent,
    RunMask,
    StripBox,
    Verdict,
)
from linewatch.daemon import crops as limits
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.replay import replay
from linewatch.daemon.service import open_service
from linewatch.service_settings import load_settings
from linewatch.wire.schema import CropMessage, StatusMessage

pytestmark = pytest.mark.service

PATIENCE_S = 60.0
MM_PER_LINE, MM_PER_PX, OFFSET_MM = 2.0, 0.5, 100.0


def frame_of(pixels: np.ndarray, ordinal: int = 0, valid_lines: int | None = None) -> Frame:
    lines = len(pixels)
    return Frame(
        pixels=pixels,
        slot=0,
        ordinal=ordinal,
        coil="C1",
        side="top",
        camera="cam1",
        sequence=ordinal,
        first_line=ordinal * lines,
        lines=lines,
        valid_lines=lines if valid_lines is None else valid_lines,
        encoder_count=0,
        along_mm=ordinal * lines * MM_PER_LINE,
        mm_per_line=MM_PER_LINE,
        columns=AcrossMap(OFFSET_MM, MM_PER_PX, pixels.shape[1]),
        captured_ns=1000 + ordinal,
    )


def defect(name: str = "a", severity: int | None = None, area_mm2: float = 10.0) -> Defect:
    box = StripBox((0.0, 1.0), (0.0, 1.0))
    return Defect(
        name, "C1", "top", "cam1", "dent", 0.9, 0.9, box, area_mm2, None, Extent.MASK, 1, 0.9, severity=severity
    )  # fmt: skip


def event(state: DefectState, frame: Frame, runs: object = (), merged_into: str | None = None, **of) -> DefectEvent:
    rows = np.array(runs, np.int32).reshape(-1, 3)
    return DefectEvent(state, defect(**of), RunMask(frame.first_line, rows) if len(rows) else None, merged_into)


def verdict(frame: Frame, *events: DefectEvent) -> Verdict:
    unread = dict.fromkeys(Verdict.__dataclass_fields__)
    return Verdict(**{**unread, "defects": events, "alarms": (), "roll_marks": ()})


def notice(state: CoilState, *events: DefectEvent) -> CoilNotice:
    unread = dict.fromkeys(CoilNotice.__dataclass_fields__)
    return CoilNotice(**{**unread, "state": state, "defects": events})


def made(crops: DefectCrops) -> list:
    pictures = []
    while (crop := crops.make(0, hurry=True)) is not None:
        pictures.append(crop)
    return pictures


def picture(crop) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(crop.png, np.uint8), cv2.IMREAD_UNCHANGED)


NOISE = np.random.default_rng(3).integers(0, 256, (64, 200), np.uint8)


@given(
    top=st.integers(0, 63),
    left=st.integers(0, 199),
    lines=st.integers(1, 20),
    columns=st.integers(1, 60),
    margin_mm=st.floats(0, 40),
    valid_lines=st.integers(1, 64),
    ordinal=st.integers(0, 5),
)
def test_a_picture_is_the_frames_pixels_in_its_window(top, left, lines, columns, margin_mm, valid_lines, ordinal):
    """Also at the borders of frame, strip and valid lines; its millimetres match its pixels."""
    top, stop = min(top, valid_lines - 1), min(top + lines, valid_lines)
    stop, right = max(stop, top + 1), min(left + columns, 200)
    frame = frame_of(NOISE, ordinal, valid_lines)
    crops = DefectCrops(CropSettings(margin_mm=margin_mm, max_px=2048))
    runs = [(line, left, right) for line in range(top, stop)]
    one = event(DefectState.OPENED, frame, runs)
    crops.follow(frame, (verdict(frame, one, event(DefectState.CLOSED, frame)),))
    (crop,) = made(crops)
    window, first = crop.window, crop.window.first_line - frame.first_line
    assert crop.scale == 1.0
    assert np.array_equal(
        picture(crop), NOISE[first : first + window.lines, window.left_px : window.left_px + window.columns]
    )
    assert first <= top < stop <= first + window.lines <= valid_lines
    assert window.left_px <= left < right <= window.left_px + window.columns
    assert window.box.along_mm[0] == pytest.approx(window.first_line * MM_PER_LINE)
    assert window.box.across_mm[1] == pytest.approx(OFFSET_MM + (window.left_px + window.columns) * MM_PER_PX)


def test_pixels_are_those_of_the_frame_although_its_slot_is_used_again():
    pixels = NOISE.copy()
    frame, crops = frame_of(pixels), DefectCrops(CropSettings())
    crops.follow(frame, (verdict(frame, event(DefectState.OPENED, frame, [(5, 5, 9)])),))
    pixels[:] = 0
    crops.follow(None, (notice(CoilState.ENDED, event(DefectState.CLOSED, frame)),))
    (crop,) = made(crops)
    assert picture(crop).max() > 200


def test_the_frame_that_shows_most_of_it_gives_the_picture_whatever_merged():
    crops = DefectCrops(CropSettings(margin_mm=0.0))
    frames = [frame_of(NOISE, n) for n in range(4)]
    crops.follow(
        frames[0],
        (
            notice(CoilState.STARTED),
            verdict(frames[0], event(DefectState.OPENED, frames[0], [(60, 0, 9)], name="old")),
        ),
    )
    crops.follow(frames[1], (verdict(frames[1], event(DefectState.OPENED, frames[1], [(1, 0, 80)], name="big")),))
    merged = event(DefectState.CLOSED, frames[2], merged_into="old", name="big")
    grown = event(DefectState.UPDATED, frames[2], [(1, 0, 20)], name="old")
    crops.follow(frames[2], (verdict(frames[2], grown, merged),))
    assert made(crops) == []
    end = event(DefectState.CLOSED, frames[3], name="old", severity=4)
    crops.follow(None, (notice(CoilState.ENDED, end), notice(CoilState.STARTED)))
    (crop,) = made(crops)
    assert (crop.defect.id, crop.defect.severity, crop.ordinal, crop.coil_ordinal) == ("old", 4, 1, 0)
    assert (crop.window.columns, crop.window.lines) == (80, 1)
    assert crops.not_made == 0


def test_a_large_picture_is_scaled_down_both_ways_alike():
    frame, crops = frame_of(NOISE), DefectCrops(CropSettings(margin_mm=0.0, max_px=50))
    runs = [(line, 0, 200) for line in range(40)]
    crops.follow(
        frame, (verdict(frame, event(DefectState.OPENED, frame, runs), event(DefectState.CLOSED, frame)),)
    )  # fmt: skip
    (crop,) = made(crops)
    assert (crop.scale, picture(crop).shape, crop.window.columns) == (0.25, (10, 50), 200)


def test_what_is_too_much_is_counted_and_the_worst_are_shown(monkeypatch):
    monkeypatch.setattr(limits, "WAITING", 5)
    crops, names = DefectCrops(CropSettings()), count()
    for ordinal in range(4):
        frame = frame_of(NOISE, ordinal)
        of = [{"name": str(next(names)), "severity": n % 6 or None, "area_mm2": float(n)} for n in range(20)]
        opened = [event(DefectState.OPENED, frame, [(3, n, n + 2)], **one) for n, one in enumerate(of)]
        closed = [event(DefectState.CLOSED, frame, **one) for one in of]
        crops.follow(frame, (verdict(frame, *opened, *closed),))
        assert crops.waiting <= 5
    pictures = made(crops)
    assert [crop.defect.severity for crop in pictures] == [5] * 5
    assert [crop.defect.area_mm2 for crop in pictures] == [17.0, 17.0, 17.0, 17.0, 11.0]
    assert (crops.made, crops.not_made) == (5, 75)


def test_the_bytes_of_open_defects_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "HELD_BYTES", 10_000)
    crops = DefectCrops(CropSettings(margin_mm=0.0))
    for n in range(30):
        frame = frame_of(NOISE, n)
        crops.follow(frame, (verdict(frame, event(DefectState.OPENED, frame, [(0, 0, 100), (19, 0, 9)], name=str(n))),))
    ends = [event(DefectState.CLOSED, frame, name=str(n)) for n in range(30)]
    crops.follow(None, (notice(CoilState.ENDED, *ends),))
    assert (crops.waiting, crops.not_made) == (5, 25)
    frame = frame_of(NOISE, 31)
    crops.follow(frame, (verdict(frame, event(DefectState.OPENED, frame, [(0, 0, 100)]), replace(ends[0])),))
    assert crops.not_made == 26  # it had none when it closed a second time; and there is room again


def test_a_mask_where_nothing_was_delivered_is_no_picture_and_no_failure():
    frame, crops = frame_of(NOISE, valid_lines=10), DefectCrops(CropSettings(margin_mm=0.0))
    opened = event(DefectState.OPENED, frame, [(12, 5, 9)])
    crops.follow(frame, (verdict(frame, opened, event(DefectState.CLOSED, frame)),))
    assert made(crops) == []
    assert crops.not_made == 1


def test_pictures_are_spread_over_time():
    crops, frame = DefectCrops(CropSettings(max_per_s=10.0)), frame_of(NOISE)
    for n in range(3):
        of = {"name": str(n)}
        pair = event(DefectState.OPENED, frame, [(3, 5, 9)], **of), event(DefectState.CLOSED, frame, **of)
        crops.follow(frame, (verdict(frame, *pair),))
    when_ms = [ms for ms in range(300) if crops.make(10**9 + ms * 10**6) is not None]
    assert when_ms == [0, 100, 200]


@pytest.mark.timeout(180)
def test_a_running_service_publishes_what_the_camera_saw(tmp_path):
    """Every closed defect of the strip has a picture on the wire, with the pixels of its frame."""
    config = write_service(tmp_path, frames=60, frames_per_s=40)
    config.write_text(config.read_text() + "\n[crops]\nmax_per_s = 500.0\nmargin_mm = 4.0\n")
    settings, clock, ready = load_settings(config), MonotonicClock(), threading.Event()
    found: dict[str, CropMessage] = {}
    closed: dict[str, object] = {}
    with (
        PacedCamera(open_camera(settings.source, settings.line, clock, live=False), clock, "line-rate") as camera,
        open_service(settings, camera, clock) as service,
    ):
        thread = threading.Thread(target=service.run, args=(ready.set,), kwargs={"hold_s": PATIENCE_S})
        thread.start()
        assert ready.wait(PATIENCE_S)
        told = None
        with Subscriber(
            settings.wire.publish, settings.wire.serve, ["defect", "crop", "status"], since="epoch"
        ) as wire:
            for _ in range(4000):
                message = wire.poll(1.0)
                if isinstance(message, CropMessage):
                    found[message.id] = message
                elif isinstance(message, StatusMessage):
                    told = message.crops
                    if message.state == "draining" and told.waiting == 0 and len(found) == told.made:
                        break
                elif message.state == "closed" and message.merged_into is None:
                    closed[message.id] = message
            assert "crop" not in wire.positions
        service.stop()
        thread.join(PATIENCE_S)
    assert len(found) > 10
    assert set(found) == set(closed)
    assert told.not_made == 0
    assert [crop.sequence for crop in found.values()] == list(range(len(found)))
    for name, crop in found.items():
        strip = cv2.imread(str(tmp_path / "strip" / f"{crop.ordinal}.png"), cv2.IMREAD_UNCHANGED)
        top = crop.first_line - crop.ordinal * LINES
        expected = strip[top : top + crop.lines, crop.left_px : crop.left_px + crop.columns]
        got = cv2.imdecode(np.frombuffer(crop.png, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(got, expected)
        assert got.max() == 250  # the square is on it
        assert got.shape[1] < WIDTH
        assert (crop.defect_class, crop.coil_ordinal) == (closed[name].defect_class, 0)
        assert crop.area_mm2 == closed[name].area_mm2


def test_a_replay_gives_the_same_verdicts_with_pictures_and_without(tmp_path):
    config = write_service(tmp_path, frames=80, frames_per_s=1000)
    settings = load_settings(config)
    for name, crops in (("with", CropSettings(max_per_s=500.0)), ("without", None)):
        replay(settings.model_copy(update={"crops": crops}), out=tmp_path / name)
    lines = [[json.loads(line) | {"timing": 0} for line in (tmp_path / name).open()] for name in ("with", "without")]
    assert lines[0] == lines[1]
    assert sum(len(line["defects"]) for line in lines[0]) > 20
