"""A strip takes from a camera's calibration file what the camera sees, and refuses what contradicts it."""

from pathlib import Path

import pytest
from measured_parts import encoder, geometry, overlap

from linewatch.cli import main
from linewatch.config.calibration_file import CameraCalibration
from linewatch.contracts.errors import ConfigError
from linewatch.strip.settings import load_strip_settings


def strip_file(folder: Path, more: str = "", **parts) -> Path:
    (folder / "R.json").write_text(CameraCalibration.sealed("R", **parts).model_dump_json())
    path = folder / "strip.toml"
    path.write_text(
        f'[journal]\ndir = "{folder}/journal"\n[wire]\npublish = "ipc://{folder}/pub"\nserve = "ipc://{folder}/rep"\n'
        f'[[camera]]\nname = "left"\nserve = "ipc://{folder}/left"\nwidth_px = 640\nacross_offset_mm = -449.0\n'
        f'[[camera]]\nname = "right"\nserve = "ipc://{folder}/right"\ncalibration = "{folder}/R.json"\n{more}'
    )
    return path


def test_the_calibration_says_what_a_camera_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = strip_file(tmp_path, "across_shift_mm = 1.5\n", geometry=geometry(), overlap=overlap())
    right = load_strip_settings(path).camera[1]
    assert (right.across_offset_mm, right.mm_per_px, right.width_px) == (-150.0, 0.49, 640)
    assert (right.across_shift_mm, right.along_offset_mm) == (1.5, -9.6)
    assert right.view_mm == pytest.approx((-148.5, 165.1))

    before = load_strip_settings(path).identity()
    (tmp_path / "R.json").rename(tmp_path / "elsewhere.json")
    path.write_text(path.read_text().replace("R.json", "elsewhere.json"))
    assert load_strip_settings(path).identity() == before

    main(["check", str(path)])
    assert "of camera 'R'" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "parts", "said"),
    [
        ("across_shift_mm = 2.0\n", {"overlap": overlap()}, "across_shift_mm = 2 contradicts"),
        ("across_offset_mm = 0.0\n", {"geometry": geometry()}, "which has -150; leave across_offset_mm out"),
        ("width_px = 1600\n", {"geometry": geometry()}, "width_px = 1600 contradicts"),
        ("", {"encoder": encoder()}, "has neither geometry nor overlap"),
    ],
)
def test_what_contradicts_the_calibration_is_refused(tmp_path: Path, more: str, parts, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_strip_settings(strip_file(tmp_path, more, **parts))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_calibration_is_refused(tmp_path: Path) -> None:
    path = strip_file(tmp_path, overlap=overlap())
    (tmp_path / "R.json").write_text((tmp_path / "R.json").read_text().replace("1.5", "2.5"))
    with pytest.raises(ConfigError, match="does not match its digest"):
        load_strip_settings(path)
