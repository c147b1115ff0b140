"""`linewatch calibrate geometry`, `edges`, `encoder` and `overlap` as a user runs them, on recordings."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_strip import ListCamera
from optics import frames, seen, target
from taken_pictures import taken

from linewatch import cli
from linewatch.capture.recorder import record
from linewatch.config.calibrated import calibrated_line, replaced_settings
from linewatch.config.calibration_file import read_calibration
from linewatch.contracts.across import AcrossMap
from linewatch.service_settings import load_settings

LENS = AcrossMap(-100.0, 0.5, 480, (0.0, -9.0))
CONFIG = """
[line]
width_px = 480
frame_lines = 64
[calibration]
folder = "{folder}"
serial = "{serial}"
"""


def folder_of(path: Path, pictures: np.ndarray) -> str:
    path.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(path / f"{number:03d}.png"), picture)
    return str(path)


def config(tmp_path: Path, serial: str = "S1", more: str = "") -> str:
    path = tmp_path / f"{serial}.toml"
    path.write_text(CONFIG.format(folder=(tmp_path / "kept").as_posix(), serial=serial) + more)
    return str(path)


def strip(left: int, rows: int, seed: int) -> np.ndarray:
    """Twelve pictures of rough strip, from a column and a line on."""
    rough = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 60, (12 * 64 + 40, 900)), (0, 0), 1.5)
    whole = 110 + rough + np.random.default_rng(seed).normal(0, 2, rough.shape)
    return whole[rows : rows + 12 * 64, left : left + 480].clip(0, 255).astype(np.uint8).reshape(12, 64, 480)


def test_geometry_keeps_what_it_found_draws_it_and_leaves_it_alone_for_a_bad_target(tmp_path, capsys):
    pictures = folder_of(tmp_path / "target", frames(seen(LENS, target(8.0, 3.0)), 6))
    words = ["calibrate", "geometry", config(tmp_path), "--recording", pictures, "--pitch-mm", "8", "--index-mm", "3"]
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["mm_per_px"]["value"] == pytest.approx(0.5, abs=1e-4)
    assert Path(told["picture"]).stat().st_size > 20_000
    kept = Path(told["path"])
    part = read_calibration(kept).geometry
    assert part is not None
    columns = np.linspace(0, 480, 97)
    assert part.columns.mm(columns) == pytest.approx(LENS.mm(columns), abs=0.03)
    before = kept.read_bytes()

    assert cli.main([*words[:-4], "--pitch-mm", "13"]) == 3
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "expected about" in said
    assert kept.read_bytes() == before


def test_edges_and_overlap_from_recordings(tmp_path, capsys):
    narrow = strip(0, 0, 2)
    narrow[:, :, :60] = narrow[:, :, 430:] = 12
    words = ["calibrate", "edges", config(tmp_path), "--recording", folder_of(tmp_path / "narrow", narrow), "--json"]
    assert cli.main(words) == 0
    assert 20 < json.loads(capsys.readouterr().out.splitlines()[-1])["edge_level"] < 60

    coil = '[source]\ntype = "folder"\npath = "{path}"\ncoil = "C7"\n'
    left = folder_of(tmp_path / "left", strip(0, 20, 3))
    right = folder_of(tmp_path / "right", strip(400, 13, 4))
    configs = [
        config(tmp_path, "S1", coil.format(path=left)),
        config(tmp_path, "S2", "[source]\n" + coil.format(path=right).split("\n", 1)[1]),
    ]
    offset = Path(configs[1]).read_text().replace("width_px = 480", "width_px = 480\nacross_offset_mm = 195.0")
    Path(configs[1]).write_text(offset)
    assert (
        cli.main(["calibrate", "overlap", configs[1], configs[0], "--frames", "12", "--search-mm", "15", "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["across_shift_mm"]["value"] == pytest.approx(5.0, abs=0.03)
    assert told["along_offset_mm"]["value"] == pytest.approx(-7.0, abs=0.05)
    assert told["neighbour"] == "S1"
    kept = read_calibration(Path(told["path"]))
    assert kept.overlap is not None
    assert kept.overlap.overlap_mm == pytest.approx(40.0, abs=0.1)
    assert cli.main(["calibrate", "overlap", configs[0], configs[0], "--frames", "12"]) == 2
    assert "expected two cameras" in capsys.readouterr().err


ENCODER = "[line.encoder]\ncounts_per_mm = 10.2\ncounts_per_line = 10.2\n"


def test_encoder_from_a_recording_of_two_marks(tmp_path, capsys):
    pictures = strip(0, 0, 2)
    pictures.reshape(-1, 480)[100:106] //= 2
    pictures.reshape(-1, 480)[600:606] //= 2
    counted = taken(pictures, counts_per_line=10.0)
    grabs = [replace(one, image=picture) for one, picture in zip(counted.grabs, pictures, strict=True)]
    path = config(tmp_path, "S1", ENCODER)
    record(ListCamera(grabs), tmp_path / "marks.avi", load_settings(Path(path)).line, 4096.0)
    words = ["calibrate", "encoder", path, "--recording", str(tmp_path / "marks.avi"), "--length-mm", "500"]
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["counts_per_mm"]["value"] == pytest.approx(10.0, abs=0.02)
    assert told["counts_per_mm"]["uncertainty"] == pytest.approx(0.01, rel=0.2)
    assert Path(told["picture"]).stat().st_size > 20_000
    settings, kept = load_settings(Path(path)), read_calibration(Path(told["path"]))
    assert calibrated_line(settings.line, kept).encoder.mm_per_line == pytest.approx(1.02, abs=0.002)
    assert "counts_per_mm = 10.2 does not hold" in replaced_settings(settings.line, settings.capture, kept)[0]


def test_encoder_refuses_a_configuration_without_one(tmp_path, capsys):
    assert cli.main(["calibrate", "encoder", config(tmp_path), "--length-mm", "1000"]) == 2
    assert "has no [line.encoder]" in capsys.readouterr().err


def test_a_target_is_drawn_to_be_printed(tmp_path):
    out = tmp_path / "target.svg"
    assert cli.main(["calibrate", "target", str(out), "--pitch-mm", "20", "--width-mm", "1200"]) == 0
    assert 'width="1200mm"' in out.read_text()
