"""A folder of images as a camera."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from linewatch.capture.cameras.folder import FolderCamera, FolderSource
from linewatch.capture.clock import MonotonicClock
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab

LINE = LineSettings(width_px=64, frame_lines=16, mm_per_line=2.0, line_rate_hz=1000)
RNG = np.random.default_rng(1)


def picture(lines: int = 16) -> np.ndarray:
    return RNG.integers(20, 200, (lines, 64), dtype=np.uint8)


def grabs(folder: Path, coil: str | None = None) -> list[Grab]:
    with FolderCamera(folder, LINE, coil) as camera:
        return list(iter(camera.read, None))


def test_images_come_in_natural_order_end_to_end(tmp_path: Path) -> None:
    pictures = {name: picture() for name in ("f10.png", "f9.png", "F1.PNG", "f2.png")}
    for name, pixels in pictures.items():
        cv2.imwrite(str(tmp_path / name), pixels)
    got = grabs(tmp_path, "COIL-1")
    wanted = ["F1.PNG", "f2.png", "f9.png", "f10.png"]
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


def test_stray_files_are_left_out_and_reported_once(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture())
    (tmp_path / "notes.txt").write_text("stray")
    (tmp_path / ".hidden.png").write_text("not ours")
    (tmp_path / "folder.png").mkdir()
    with capture_logs() as logs:
        assert len(grabs(tmp_path)) == 1
    assert [(entry["event"], entry["files"], entry["first"]) for entry in logs] == [
        ("non_image_files_skipped", 1, "notes.txt")
    ]


def test_empty_missing_or_imageless_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"contains no image \(0 other files\)"):
        FolderCamera(tmp_path, LINE)
    (tmp_path / "notes.txt").write_text("stray")
    with pytest.raises(SourceError, match=r"contains no image \(1 other files\); expected \.png"):
        FolderCamera(tmp_path, LINE)
    with pytest.raises(SourceError, match="No such file"):
        FolderCamera(tmp_path / "absent", LINE)
    with pytest.raises(SourceError, match="Not a directory"):
        FolderCamera(tmp_path / "notes.txt", LINE)


def test_stop_ends_it(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture())
    with FolderSource(type="folder", path=tmp_path).open(LINE, MonotonicClock(), live=False) as camera:
        assert camera.grabs == 3
        assert camera.read() is not None
        camera.stop()
        assert camera.read() is None
