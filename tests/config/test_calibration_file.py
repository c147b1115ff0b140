"""A camera's calibration is read as it was written, and refused where it was cut, edited or made for something else."""

import json
from pathlib import Path

import pytest
from references import SERIAL, flat_field_of, keep_flat_field

from linewatch.calibration.keeping import former_path, keep_part
from linewatch.config.calibration_file import (
    CameraCalibration,
    calibration_path,
    check_calibration,
    read_calibration,
)
from linewatch.contracts.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return keep_flat_field(tmp_path)


def test_what_was_written_is_read(path: Path) -> None:
    calibration = read_calibration(path)
    part = calibration.flat_field
    assert part is not None
    assert calibration.serial == SERIAL
    assert (part.width_px, part.by, len(calibration.identity)) == (200, "tester", 12)
    check_calibration(calibration, path, SERIAL, 200)
    again = CameraCalibration.model_validate_json(calibration.model_dump_json())  # as in a recording's sidecar
    assert again.identity == calibration.identity


def test_the_file_before_is_kept_and_other_parts_stay(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    assert not former_path(path).exists()
    part = flat_field_of().part.model_copy(update={"by": "another"})
    assert keep_part(tmp_path, SERIAL, "flat_field", part) == path
    assert former_path(path).read_bytes() == before
    kept = read_calibration(path)
    assert kept.flat_field is not None
    assert kept.flat_field.by == "another"
    assert kept.identity != read_calibration(former_path(path)).identity
    assert {one.name for one in tmp_path.iterdir()} == {path.name, former_path(path).name}, "nothing is left over"


def test_a_serial_with_odd_characters_stays_in_the_folder(tmp_path: Path) -> None:
    path = keep_flat_field(tmp_path, "../a/b:1 ü")
    assert path.parent == tmp_path
    assert read_calibration(path).serial == "../a/b:1 ü"
    assert calibration_path(tmp_path, "..").parent == tmp_path


def test_a_file_of_deep_brackets_is_refused(path: Path) -> None:
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="is cut or no JSON"):
        read_calibration(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_was_cut_is_refused(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ConfigError, match=r"is cut or no JSON .*; put back the file before it \(\.old\)"):
        read_calibration(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"serial": "X"}, "edited or damaged"),
        ({"flat_field.target_level": 100.0}, "edited or damaged"),
        ({"flat_field.shift": 3}, "edited or damaged"),
        ({"digest": "0" * 64}, "edited or damaged"),
        ({"schema_version": 2}, "is of version 2, this linewatch reads version 1"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"flat_field.width_px": 0}, "flat_field.width_px"),
        ({"flat_field.gain.data": "eJwDAAAAAAE="}, "found 0 levels, expected 1 x 200"),
        ({"flat_field.gain.data": "no base 64"}, "cannot be unpacked"),
        ({"flat_field.gain.lines": 4096}, "levels, expected 4096 x 200"),
    ],
)
def test_an_edited_file_is_refused_on_one_line(path: Path, change: dict[str, object], said: str) -> None:
    tree = json.loads(path.read_text())
    for name, value in change.items():
        *parents, last = name.split(".")
        inner = tree
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=said) as refused:
        read_calibration(path)
    assert "\n" not in str(refused.value)
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        keep_part(path.parent, SERIAL, "flat_field", flat_field_of().part)
    assert path.read_bytes() == before, "a file that cannot be read is not replaced"


def test_a_file_of_another_camera_or_width_is_refused(path: Path) -> None:
    calibration = read_calibration(path)
    with pytest.raises(ConfigError, match=f"is of camera '{SERIAL}', this is camera 'Y'"):
        check_calibration(calibration, path, "Y", 200)
    with pytest.raises(ConfigError, match=r"flat_field was made at 200 px, .line. width_px is 1600"):
        check_calibration(calibration, path, SERIAL, 1600)
    check_calibration(calibration, path, "", 200)
