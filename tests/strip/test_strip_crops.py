"""The pictures that cameras' services make of parts are passed on under the ids of the strip's defects."""

import pickle
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
from bright_strip import LINES, WIDTH, write_running_strip
from forked import linewatch
from history_process import start_history, write_config
from strip_line import strip_line
from waiting import wait_until
from wide_strip import WIDTH_PX, by_cameras, final, joined, settings

from linewatch.client import Subscriber
from linewatch.config.history import HistoryServiceSettings, HistorySettings, ImageSettings
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import CoilNotice, CoilState, StripBox
from linewatch.history.archived_images import archived_images
from linewatch.history.database import reading
from linewatch.history.queries import coils, defects
from linewatch.strip import crops as limits
from linewatch.strip.crops import HeardCrop, StripCrops
from linewatch.strip.raster import StripLayout
from linewatch.strip.settings import StripCamera, StripSettings
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import CropMessage, Topic, decode

LATE_NS = limits.WAIT_NS + 1


def strip_of(*, mm_per_line: float = 1.0) -> StripSettings:
    one = settings(("top",))
    return one.model_copy(update={"strip": one.strip.model_copy(update={"mm_per_line": mm_per_line})})


def told_of_a_scratch():
    """Decisions about a scratch over a seam, of which cam1 answers for more, and about a spot under cam3 alone."""
    mask = np.zeros((160, WIDTH_PX), np.uint8)
    mask[40:46, 30:110] = 255
    mask[80:90, 200:210] = 255
    strip = settings(("top",))
    seen = by_cameras(mask, strip)
    own = {one.key: [event.defect for event in final(one.decided)] for one in seen}
    return joined(strip, seen), own["top/cam1"][0], own["top/cam2"][0], own["top/cam3"][0]


def crop_of(camera: int, defect, gray: int, shape: tuple[int, int] = (10, 20)) -> HeardCrop:
    """Return a picture as it comes from a camera's service."""
    png = cv2.imencode(".png", np.full(shape, gray, np.uint8))[1].tobytes()
    sequencer = Sequencer(1)
    box = StripBox((30.0, 30.0 + shape[1]), (40.0, 40.0 + shape[0]))
    window = limits.CropWindow(40, shape[0], 30, shape[1], box)
    record = sequencer.crop(limits.Crop(defect, 0, None, 1, 1_000, window, 1.0, png), 2_000)
    message = decode(b"crop", record.header, record.payload)
    assert isinstance(message, CropMessage)
    return pickle.loads(pickle.dumps(HeardCrop.of(camera, message)))  # as a reader passes it on


def follow(crops: StripCrops, decided) -> None:
    for one in decided:
        crops.follow(one, 0)


def gray_of(crop) -> int:
    return int(cv2.imdecode(np.frombuffer(crop.png, np.uint8), cv2.IMREAD_GRAYSCALE)[0, 0])


@pytest.mark.parametrize("before", [True, False])
def test_the_largest_parts_picture_is_that_of_a_scratch_over_a_seam(before: bool) -> None:
    decided, left, right, spot = told_of_a_scratch()
    crops = StripCrops(StripLayout(strip_of()))
    heard = [crop_of(1, right, 20), crop_of(0, left, 10), crop_of(2, spot, 30)]
    if before:
        for one in heard:
            crops.hear(one)
    follow(crops, decided)
    made = []
    if not before:
        assert crops.make(0) is None
        for one in heard:
            crops.hear(one)
            made.append(crops.make(0))
    made = [*made, crops.make(0), crops.make(0), crops.make(LATE_NS)]
    told = {crop.defect.id: gray_of(crop) for crop in made if crop is not None}
    ids = [event.defect.id for event in final(decided)]
    assert {event.parts for event in final(decided)} == {(left.id, right.id), (spot.id,)}
    assert sorted(told) == sorted(ids)
    assert told[left.id if left.id in ids else right.id] == 10
    assert told[spot.id] == 30
    assert (crops.made, crops.waiting, crops.not_made) == (2, 0, 0)
    one = next(crop for crop in made if crop is not None)
    assert (one.window.first_line, one.window.left_px, one.window.lines, one.window.columns) == (40, 30, 10, 20)
    assert (one.coil_ordinal, one.coil_epoch, one.scale) == (0, None, 1.0)


def test_a_smaller_parts_picture_is_passed_on_where_no_larger_one_comes_in_time() -> None:
    decided, _, right, _ = told_of_a_scratch()
    crops = StripCrops(StripLayout(strip_of()))
    follow(crops, decided)
    crops.hear(crop_of(1, right, 20))
    assert crops.make(0) is None
    late = crops.make(LATE_NS)
    assert late is not None
    assert gray_of(late) == 20
    assert crops.make(LATE_NS) is None
    assert (crops.made, crops.waiting, crops.not_made) == (1, 0, 1)


def test_a_coil_that_goes_on_over_a_restart_keeps_its_place() -> None:
    decided, left, _, _ = told_of_a_scratch()
    begins = [isinstance(one, CoilNotice) and one.state is CoilState.STARTED for one in decided]
    crops = StripCrops(StripLayout(strip_of()), (3, 7))
    crops.hear(crop_of(0, left, 10))
    follow(crops, [one for one, first in zip(decided, begins, strict=True) if not first])
    crop = crops.make(0)
    assert crop is not None
    assert (crop.coil_epoch, crop.coil_ordinal) == (3, 7)


def test_a_picture_is_in_the_lines_of_the_strip() -> None:
    decided, left, _, _ = told_of_a_scratch()
    crops = StripCrops(StripLayout(strip_of(mm_per_line=2.0)))
    crops.hear(crop_of(0, left, 10, (10, 20)))
    follow(crops, decided)
    crop = crops.make(0)
    assert crop is not None
    assert (crop.window.first_line, crop.window.lines, crop.window.columns, crop.scale) == (20, 5, 20, 1.0)
    assert cv2.imdecode(np.frombuffer(crop.png, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (5, 20)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    decided, left, _, _ = told_of_a_scratch()
    closed = next(one for one in decided if list(final([one])))
    (event, *_) = final([closed])
    crops = StripCrops(StripLayout(strip_of()))
    size = len(crop_of(0, left, 1).message.png)
    monkeypatch.setattr(limits, "HELD_BYTES", 3 * size)
    for number in range(9):
        crops.hear(crop_of(0, replace(left, id=f"C1/{number}"), 1))
    for number in range(limits.WAITING + 9):
        mine = replace(event, defect=replace(event.defect, id=f"C1/{number}"), parts=())
        crops.follow(replace(closed, defects=(mine,)), 0)
    assert crops.waiting == limits.WAITING
    assert crops.not_made == 9
    for number in range(6, 9):
        crops.hear(crop_of(0, replace(left, id=f"C1/{number + 9}"), 1))
    made = [crop.defect.id for _ in range(9) if (crop := crops.make(0)) is not None]
    assert made == ["C1/15", "C1/16", "C1/17"]


@pytest.mark.parametrize(
    "png", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\xff" * 40], ids=["empty", "text", "huge"]
)
def test_what_is_no_picture_costs_only_itself(png: bytes) -> None:
    decided, left, _, spot = told_of_a_scratch()
    crops = StripCrops(StripLayout(strip_of(mm_per_line=2.0)))
    bad = crop_of(0, left, 10)
    bad.message._png = png
    crops.hear(bad)
    follow(crops, decided)
    with pytest.raises(ValueError, match="picture"):
        crops.make(0)
    crops.hear(crop_of(2, spot, 30))
    good = crops.make(0)
    assert good is not None
    assert good.defect.id == spot.id


OVERLAP_PX, MM_PER_PX = 32, 0.5


@pytest.mark.service
@pytest.mark.heavy
@pytest.mark.timeout(300)
@pytest.mark.parametrize("readers", [0, 2])
def test_a_strips_subscriber_gets_the_pictures_that_its_cameras_services_made(tmp_path, readers: int) -> None:
    cameras = [
        StripCamera(name=f"cam{at}", width_px=WIDTH, across_offset_mm=at * (WIDTH - OVERLAP_PX) * MM_PER_PX)
        for at in range(2)
    ]
    chosen = StripSettings.model_validate({"camera": cameras, "strip": {"frame_lines": LINES, "wait_s": 2.0}})
    with strip_line(tmp_path, chosen) as line:
        line.write(strip=f"readers = {readers}\n")
        for number, camera in enumerate(cameras):
            place = line.of(camera.key)
            place.mkdir()
            config = write_running_strip(place, length_m=4_000.0)
            text = config.read_text().replace(str(place / "began"), str(line.folder / "began"))
            text = text.replace(
                "[line]\n", f'[line]\ncamera = "{camera.name}"\nacross_offset_mm = {camera.across_offset_mm}\n'
            )
            text = text.replace('"simulator"\n', f'"simulator"\nstrip_px = {2 * WIDTH - OVERLAP_PX}\n')
            left_px = number * (WIDTH - OVERLAP_PX)
            config.write_text(text.replace("length_m =", f"view_offset_px = {left_px}\nlength_m =") + "\n[crops]\n")
            with (place / "log").open("ab") as log:
                line.processes[camera.key] = linewatch("run", config, streams={1: log.fileno(), 2: log.fileno()})
        line.start()
        own: dict[str, bytes] = {}
        passed_on: dict[str, bytes] = {}
        services = [Subscriber(one.publish, one.serve, (Topic.CROP,)) for one in _wired(line, cameras)]
        strip = Subscriber(line.publish, line.serve, (Topic.CROP,))
        store = HistorySettings(
            database=f"sqlite:///{tmp_path}/history.sqlite",
            commit_ms=50.0,
            service=(HistoryServiceSettings(name="strip", publish=line.publish, serve=line.serve),),
            images=ImageSettings(dir=tmp_path / "images", min_free_mb=16.0),
        )
        history = start_history(write_config(tmp_path / "history.toml", store))

        def enough() -> bool:
            for wire in services:
                if isinstance(message := wire.poll(0.02), CropMessage):
                    own[message.id] = message.png
            if isinstance(message := strip.poll(0.02), CropMessage):
                passed_on[message.id] = message.png
            return len(passed_on.keys() & own.keys()) >= 8

        try:
            wait_until(enough, 120.0)
            wait_until(lambda: len(stored_pictures(store)) >= 4, 120.0)
        finally:
            history.send_signal(signal.SIGTERM)
            history.wait(60)
            for wire in (*services, strip):
                wire.close()
        same = [name for name in passed_on.keys() & own.keys() if passed_on[name] == own[name]]
        assert len(same) >= 4  # a defect over the seam may have the other part's
        archived = stored_pictures(store)
        assert any(archived[name] == passed_on[name] for name in archived.keys() & passed_on.keys())


def stored_pictures(store: HistorySettings) -> dict[str, bytes]:
    """Return the pictures in the history's archive, by the defect's id; only of defects that the history knows."""
    try:
        with reading(store.database) as connection:
            (passage, *_) = [row.passage for row in coils(connection)] or [0]
            known = {row.defect.id for row in defects(connection, [passage], None, after=None, limit=1000)}
            found = archived_images(connection, store.images.dir, passage, known)
            return {name: image.path.read_bytes() for name, image in found.items()}
    except HistoryError:  # it is not made yet
        return {}


def _wired(line, cameras):
    for one in cameras:
        place = line.of(one.key)
        yield one.model_copy(update={"publish": f"ipc://{place}/pub", "serve": f"ipc://{place}/rep"})
