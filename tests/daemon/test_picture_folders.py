"""Folders of pictures from the field, replayed by the command line: what is not looked at is said, with its cause."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.config.line import LineSettings
from linewatch.simulation.strip import SimulatedStrip

pytestmark = pytest.mark.service

STRIP = SimulatedStrip(5, 3.0, 0.0, LineSettings())


def frame(number: int) -> np.ndarray:
    return STRIP.lines(number * 256, 256)


def linewatch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "linewatch.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def replayed(folder: Path) -> tuple[float, dict[str, int], str]:
    """Return the coverage, the lines missed by cause, and what was said on stderr."""
    done = linewatch("replay", folder, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    return summary["coverage"], summary["lines_missed_by_cause"], done.stderr


def test_every_page_of_a_tiff_is_inspected(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "COIL-4711.tif"), [frame(number) for number in range(6)])
    cv2.imwrite(str(tmp_path / "COIL-4712.png"), frame(7))
    done = linewatch("replay", tmp_path / "COIL-4711.tif", "--json")
    summary = json.loads(done.stdout)
    assert (summary["coil"], summary["frames"], summary["coverage"]) == ("COIL-4711", 6, 1.0)
    assert "pictures_of_other_names_skipped" in done.stderr


def test_pictures_with_holes_are_corrupt_and_a_padded_one_is_whole(tmp_path: Path) -> None:
    for number in range(6):
        data = cv2.imencode(".jpg", frame(number), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        if number % 2:
            data = data[:20_000] + bytes(4096) + data[24_096:]
        (tmp_path / f"frame_{number}.jpg").write_bytes(data + bytes(512))
    coverage, missed, said = replayed(tmp_path)
    assert (coverage, missed) == (pytest.approx(0.5, abs=0.02), {"corrupt": 768})
    assert all(f"frame_{number}.jpg: damaged JPEG data" in said for number in (1, 3, 5))
    assert "frame_2.jpg: damaged" not in said


@pytest.mark.parametrize("form", [pytest.param("{:010d}.png", marks=pytest.mark.heavy), "{:.6f}.png"])
def test_missing_pictures_are_lost_strip(tmp_path: Path, form: str) -> None:
    """By counters that are no times, and by times with a decimal fraction; without any setting."""
    for number in (0, 1, 2, 3, 6, 7):
        value = number if "d" in form else 1705314600.7 + number / 10
        cv2.imwrite(str(tmp_path / form.format(value)), frame(number))
    coverage, missed, said = replayed(tmp_path)
    assert (coverage, missed) == (pytest.approx(0.75, abs=0.02), {"lost": 512})
    assert "pictures_missing" in said


def test_a_folder_of_the_wrong_size_ends_with_found_expected_and_remedy(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame(number)[:, :1024])
    done = linewatch("replay", tmp_path)
    assert done.returncode == 3
    said = done.stderr
    assert "none of 3 pictures can be inspected: found 3 wrong_size (0.png: 1024 x 256 pixels)" in said
    assert "expected 8-bit gray, 1600 px wide, at most 256 lines; set [line] width_px and frame_lines" in said
    cv2.imwrite(str(tmp_path / "3.png"), frame(3))
    coverage, missed, said = replayed(tmp_path)
    assert (coverage, missed) == (pytest.approx(0.25, abs=0.02), {"wrong_size": 768})
    assert said.count("picture_not_inspected") == 3


def test_check_says_what_names_tell(tmp_path: Path) -> None:
    for number in (1, 2, 5):
        cv2.imwrite(str(tmp_path / f"{number:06d}.png"), frame(number))
    (tmp_path / "notes.txt").write_text("x")
    config = tmp_path / "folder.toml"
    config.write_text(f'[source]\ntype = "folder"\npath = "{tmp_path}"\n')
    said = linewatch("check", config).stdout
    assert "3 files by the numbers in their names; 2 missing between them" in said
    assert "non_image_files_skipped: 2, the first is folder.toml" in said
