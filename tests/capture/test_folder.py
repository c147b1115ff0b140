"""A folder of images as a camera."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from linewatch.capture.admission import Admission
from linewatch.capture.cameras.folder import FolderSource
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera

LINE = LineSettings(width_px=64, frame_lines=16, mm_per_line=2.0, line_rate_hz=1000)
RNG = np.random.default_rng(1)


def picture(lines: int = 16) -> np.ndarray:
    return RNG.integers(20, 200, (lines, 64), dtype=np.uint8)


def source(folder: Path, **settings: Any) -> FolderSource:
    return FolderSource(type="folder", path=folder, **settings)


def opened(folder: Path, **settings: Any) -> Camera:
    return source(folder, **settings).open(LINE, MonotonicClock(), live=False)


def grabs(folder: Path, **settings: Any) -> list[Grab]:
    with opened(folder, **settings) as camera:
        return list(iter(camera.read, None))


def test_images_come_in_natural_order_end_to_end(tmp_path: Path) -> None:
    pictures = {name: picture() for name in ("f10.png", "f9.png", "F7.PNG", "f8.png")}
    for name, pixels in pictures.items():
        cv2.imwrite(str(tmp_path / name), pixels)
    got = grabs(tmp_path, coil="COIL-1")
    wanted = ["F7.PNG", "f8.png", "f9.png", "f10.png"]
    assert all(np.array_equal(g.image, pictures[name]) for g, name in zip(got, wanted, strict=True))  # type: ignore[arg-type]
    assert [g.sequence for g in got] == [0, 1, 2, 3]
    assert [g.first_line for g in got] == [0, 16, 32, 48]
    assert [g.along_mm for g in got] == [0.0, 32.0, 64.0, 96.0]
    assert [g.captured_ns for g in got] == [16_000_000, 32_000_000, 48_000_000, 64_000_000]
    assert {g.coil for g in got} == {"COIL-1"}
    assert not any(g.encoded for g in got)


def test_coil_is_named_after_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "coil 7 (top)"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), picture())
    assert grabs(folder)[0].coil == "coil 7 (top)"


def test_images_of_any_kind_are_handed_on_as_they_are(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture().astype(np.uint16) * 200)
    cv2.imwrite(str(tmp_path / "2.png"), np.dstack([picture(), picture(), picture()]))
    cv2.imwrite(str(tmp_path / "3.jpg"), picture(9))
    wide, colour, short = grabs(tmp_path)
    assert wide.image is not None
    assert wide.image.dtype == np.uint16
    assert colour.image is not None
    assert colour.image.shape == (16, 64, 3)
    assert (short.lines, short.first_line) == (9, 32)


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"this is no image"}[how])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_damaged_image_is_a_corrupt_grab_and_reading_goes_on(tmp_path: Path, suffix: str, how: str) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}{suffix}"), picture())
    damage(tmp_path / f"1{suffix}", how)
    first, bad, last = grabs(tmp_path)
    assert (bad.image, bad.fault, bad.lines) == (None, Cause.CORRUPT, 16)
    assert first.fault is last.fault is None
    assert last.first_line == 32


def told(logs: list[Any]) -> dict[str, tuple[int, str]]:
    return {entry["event"]: (entry["files"], entry["first"]) for entry in logs if "files" in entry}


def test_what_is_left_out_is_reported_once(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture())
    for name in ("notes.txt", "2.png.part", "3", ".hidden.png", "._1.png"):
        (tmp_path / name).write_text("stray")
    (tmp_path / "folder.png").mkdir()
    with capture_logs() as logs:
        assert len(grabs(tmp_path)) == 1
    assert told(logs) == {
        "non_image_files_skipped": (3, "2.png.part"),
        "hidden_pictures_skipped": (2, "._1.png"),
        "folders_named_as_pictures_skipped": (1, "folder.png"),
    }
    assert source(tmp_path).told() == (
        f"folder {tmp_path}: 1 file in the order of their names, one directly behind the other; whether any is "
        "missing cannot be told from them",
        "hidden_pictures_skipped: 2, the first is ._1.png",
        "folders_named_as_pictures_skipped: 1, the first is folder.png",
        "non_image_files_skipped: 3, the first is 2.png.part",
    )


def test_links_to_folders_are_not_followed_and_said(tmp_path: Path) -> None:
    strip = tmp_path / "strip"
    strip.mkdir()
    (strip / "round").symlink_to(tmp_path)
    (strip / "all").symlink_to("/")
    with pytest.raises(SourceError, match=r"no image \(0 other files, 2 links to folders, which are not followed\)"):
        opened(strip)
    cv2.imwrite(str(strip / "1.png"), picture())
    with capture_logs() as logs:
        assert len(grabs(strip)) == 1
    assert told(logs) == {"linked_folders_skipped": (2, "all")}


def test_names_that_are_no_text_can_be_read_and_said(tmp_path: Path) -> None:
    for name in (b"\xff1.png", b"\xff2.png", b"notes\xfe"):
        cv2.imwrite(str(tmp_path / "x.png"), picture())
        os.rename(tmp_path / "x.png", os.path.join(os.fsencode(tmp_path), name))
    assert len(grabs(tmp_path)) == 2
    assert all(line.encode() for line in source(tmp_path).told())


def test_pictures_that_are_not_read_are_refused_rather_than_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture())
    cv2.imwrite(str(tmp_path / "2.webp"), picture())
    with pytest.raises(SourceError, match=r"contains 1 pictures of a kind that is not read, the first is 2\.webp"):
        opened(tmp_path)
    assert len(grabs(tmp_path, pattern="*.png")) == 1


def test_links_that_lead_nowhere_and_files_that_cannot_be_read_are_corrupt_by_name(tmp_path: Path) -> None:
    for number in (1, 5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture())
    (tmp_path / "2.PNG").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "3.jpg")
    (tmp_path / "4.tif").write_bytes(b"")
    with capture_logs() as logs:
        found = grabs(tmp_path)
    assert [grab.fault for grab in found] == [None, *[Cause.CORRUPT] * 3, None]
    named = {entry["picture"]: entry["reason"] for entry in logs if entry["event"] == "picture_not_inspected"}
    assert list(named) == ["2.PNG", "3.jpg", "4.tif"]
    assert "No such file or directory" in named["2.PNG"]
    assert "no regular file" in named["3.jpg"]
    assert "an empty file" in named["4.tif"]


def test_all_pages_of_a_tiff_are_grabs_and_their_faults_name_the_page(tmp_path: Path) -> None:
    pictures = [picture() for _ in range(5)]
    pictures[1] = RNG.integers(20, 200, (16, 80), dtype=np.uint8)
    pictures[3] = pictures[3].astype(np.uint16)  # type: ignore[assignment]
    cv2.imwritemulti(str(tmp_path / "coil.tif"), pictures)
    cv2.imwrite(str(tmp_path / "coil_b.png"), pictures[0])
    with capture_logs() as logs:
        found = grabs(tmp_path)
    assert len(found) == 6
    assert all(np.array_equal(grab.image, pixels) for grab, pixels in zip(found, pictures, strict=False))  # type: ignore[arg-type]
    assert [grab.first_line for grab in found] == [0, 16, 32, 48, 64, 80]
    named = {entry["picture"]: entry["cause"] for entry in logs if entry["event"] == "picture_not_inspected"}
    assert named == {"coil.tif page 2": "wrong_size", "coil.tif page 4": "depth"}


def test_the_pages_of_a_large_tiff_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    pages, page_bytes = 64, 512 * 512
    cv2.imwritemulti(str(tmp_path / "coil.tif"), [np.full((512, 512), 40 + n, np.uint8) for n in range(pages)])
    large = LineSettings(width_px=512, frame_lines=512)
    tracemalloc.start()
    with source(tmp_path).open(large, MonotonicClock(), live=False) as camera:
        seen = [int(grab.image[7, 7]) for grab in iter(camera.read, None)]  # type: ignore[index]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == [40 + n for n in range(pages)]
    assert peak < 16 * page_bytes


def test_pictures_missing_by_their_numbers_are_lost_strip(tmp_path: Path) -> None:
    for number in (7, 8, 9, 13, 14):
        cv2.imwrite(str(tmp_path / f"frame_{number:010d}.png"), picture())
    with capture_logs() as logs:
        found = grabs(tmp_path)
    assert [grab.first_line for grab in found] == [0, 16, 32, 96, 112]
    assert [grab.sequence for grab in found] == [0, 1, 2, 6, 7]
    (missing,) = [entry for entry in logs if entry["event"] == "pictures_missing"]
    assert (missing["pictures"], missing["first_behind"]) == (3, "frame_0000000009.png")
    admission = Admission(LINE, CaptureSettings(), FrameRing(16, 16, 64))
    frames = [frame for grab in grabs(tmp_path) for frame in admission.admit(grab)]
    assert [(frame.lines, frame.fault) for frame in frames if frame.fault] == [(48, Cause.LOST)]
    assert [grab.first_line for grab in grabs(tmp_path, counter=False)] == [0, 16, 32, 48, 64]


def test_sub_folders_are_read_where_pictures_are_nowhere_else(tmp_path: Path) -> None:
    for part, numbers in (("part2", (3, 4)), ("part10", (5, 6)), ("part1", (1, 2))):
        (tmp_path / part).mkdir()
        for number in numbers:
            cv2.imwrite(str(tmp_path / part / f"{number}.png"), np.full((16, 64), 40 + number, np.uint8))
    found = grabs(tmp_path)
    assert [int(grab.image[0, 0]) - 40 for grab in found] == [1, 2, 3, 4, 5, 6]  # type: ignore[index]
    cv2.imwrite(str(tmp_path / "0.png"), np.full((16, 64), 40, np.uint8))
    with pytest.raises(SourceError, match=r"contains 1 pictures, and 6 more in sub-folders \(part1, part2, part10\)"):
        opened(tmp_path)
    assert len(grabs(tmp_path, subfolders=True)) == 7
    with capture_logs() as logs:
        assert len(grabs(tmp_path, subfolders=False)) == 1
    assert told(logs) == {"pictures_in_subfolders_skipped": (6, "part1/1.png")}


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (
            RNG.integers(20, 200, (16, 80), dtype=np.uint8),
            r"3 wrong_size \(1\.png: 80 x 16 pixels\).*; set \[line\] width",
        ),
        (RNG.integers(20, 200, (32, 64), dtype=np.uint8), r"3 wrong_size \(1\.png: 64 x 32 pixels\)"),
        (
            np.full((16, 64), 4095, np.uint16),
            r"3 depth \(1\.png: 16 bits a pixel, values up to 4095\).*; save them in 8",
        ),
        (
            np.full((16, 64, 3), (9, 99, 200), np.uint8),
            r"3 colour \(1\.png: 64 x 16 pixels, in colour\).*; save them in gray",
        ),
    ],
)
def test_a_folder_of_the_wrong_kind_altogether_is_refused(tmp_path: Path, pixels: np.ndarray, said: str) -> None:
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    with pytest.raises(SourceError, match=rf"none of 3 pictures can be inspected: found {said}"):
        opened(tmp_path)
    cv2.imwrite(str(tmp_path / "4.png"), picture())
    assert len(grabs(tmp_path)) == 4


def test_pictures_that_arrive_while_a_folder_is_read_are_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture())
    with opened(tmp_path) as camera, capture_logs() as logs:
        cv2.imwrite(str(tmp_path / "2.png"), picture())
        assert len(list(iter(camera.read, None))) == 1
    assert told(logs) == {"pictures_came_too_late": (1, "2.png")}


def test_empty_missing_or_imageless_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"contains no image \(0 other files\)"):
        opened(tmp_path)
    (tmp_path / "notes.txt").write_text("stray")
    with pytest.raises(SourceError, match=r"contains no image \(1 other files\); expected \.png"):
        opened(tmp_path)
    with pytest.raises(SourceError, match="No such file"):
        opened(tmp_path / "absent")
    with pytest.raises(SourceError, match="Not a directory"):
        opened(tmp_path / "notes.txt")


def test_stop_ends_it(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture())
    with opened(tmp_path) as camera:
        assert camera.grabs == 3
        assert camera.read() is not None
        camera.stop()
        assert camera.read() is None
