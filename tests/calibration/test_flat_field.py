"""A flat field is made of good references, says how good it is, and is refused where the references are not."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from references import falloff, taken

from linewatch import cli
from linewatch.calibration.flat_field.making import make_flat_field
from linewatch.calibration.keeping import former_path
from linewatch.calibration.taking import Taken
from linewatch.config.calibration_file import read_calibration
from linewatch.contracts.errors import SourceError

WIDTH = 200


def test_it_makes_an_uneven_camera_even_and_says_so() -> None:
    rng = np.random.default_rng(2)
    dark = np.abs(rng.normal(4, 1, WIDTH))
    bright = dark + 190 * falloff(WIDTH) * rng.normal(1, 0.01, WIDTH)
    made = make_flat_field(taken(dark), taken(bright, seed=1), "tester").part
    before = float((bright).std() / bright.mean())
    assert made.uneven_before.value == pytest.approx(before, rel=0.01)
    assert made.uneven_after.value < 0.006
    assert 0 < made.uneven_after.uncertainty < 0.0006
    assert made.dark_level.value == pytest.approx(dark.mean(), abs=0.3)
    assert made.target_level == pytest.approx(190, abs=4), "no gain is much below 1"
    assert not made.dead
    assert not made.hot


def test_a_level_can_be_asked_for_and_an_area_camera_is_corrected_per_pixel() -> None:
    light = 180 * falloff(WIDTH)[None, None, :] * falloff(64, 0.3)[None, :, None]
    made = make_flat_field(taken(3.0, pictures=32), taken(3 + light, pictures=32, seed=1), "tester", "pixel", 150.0)
    assert made.part.gain.levels.shape == (64, WIDTH)
    assert made.after.mean() == pytest.approx(150, abs=1)
    assert made.part.uneven_after.value < made.part.uneven_before.value / 10
    with pytest.raises(SourceError, match=r"striped: .* for an area camera, --per pixel"):
        make_flat_field(taken(3.0), taken(3 + light, seed=1), "tester")


def test_dead_and_hot_columns_are_found() -> None:
    dark, bright = np.full(WIDTH, 3.0), 3 + 180 * falloff(WIDTH)
    bright[20], bright[120] = 3.0, 40.0
    dark[60], bright[60] = 30.0, bright[60] + 27
    made = make_flat_field(taken(dark), taken(bright, seed=1), "tester")
    assert made.part.dead == ((0, 20), (0, 120))
    assert made.part.hot == ((0, 60),)
    assert made.part.uneven_after.value < 0.006


def drifting(level: float) -> np.ndarray:
    return (level + np.arange(12.0))[:, None, None]


def moving() -> np.ndarray:
    """A texture that runs under the camera."""
    rng = np.random.default_rng(4)
    return 150 + cv2.GaussianBlur(rng.normal(0, 60, (12, 64, WIDTH)).reshape(768, WIDTH), (0, 0), 4).reshape(
        12, 64, WIDTH
    )


@pytest.mark.parametrize(
    ("dark", "bright", "said"),
    [
        (lambda: taken(3.0), lambda: taken(254.0), "pixels are saturated, expected 0.1% or fewer; lower the exposure"),
        (lambda: taken(60.0), lambda: taken(160.0), "mean level of 60.0, expected 32 or less; cover the lens"),
        (lambda: taken(3.0), lambda: taken(30.0), "27.0 gray levels above the dark one, expected 40 or more"),
        (lambda: taken(3.0), lambda: taken(drifting(150)), "the picture changes by .* let the target stand still"),
        (lambda: taken(3.0), lambda: taken(moving()), "the picture changes by .* let the target stand still"),
        (
            lambda: taken(3.0),
            lambda: taken(150 + 20 * np.sin(np.arange(64.0))[None, :, None]),
            "striped: its lines differ by .* take a lamp that does not flicker",
        ),
        (lambda: taken(3.0), lambda: taken(150.0, width=240), "200 px x 64 lines, the bright one 240 x 64"),
        (lambda: taken(3.0), lambda: taken(150.0, serial="other"), "expected both of one camera"),
        (
            lambda: taken(3.0),
            lambda: taken(np.where(np.arange(WIDTH) < 90, 3.0, 150.0)),
            "let the target fill the view",
        ),
        (
            lambda: taken(3.0),
            lambda: taken(np.where((np.arange(WIDTH) >= 50) & (np.arange(WIDTH) < 55), 9.0, 150.0)),
            "5 of 200 pixels of a line hardly answer to light, 5 of them side by side, first at column 50",
        ),
    ],
)
def test_bad_references_are_refused_on_one_line(
    dark: Callable[[], Taken], bright: Callable[[], Taken], said: str
) -> None:
    with pytest.raises(SourceError, match=said) as refused:
        make_flat_field(dark(), bright(), "tester")
    assert "\n" not in str(refused.value)


CONFIG = """
[line]
width_px = {width}
frame_lines = 64
[source]
type = "simulator"
light_falloff = 0.5
shows = "{shows}"
length_m = 1.6
[calibration]
folder = "{folder}"
serial = "SIM/1"
"""


def config(folder: Path, shows: str, width: int = WIDTH) -> Path:
    path = folder / f"{shows}{width}.toml"
    path.write_text(CONFIG.format(shows=shows, folder=folder, width=width))
    return path


def test_the_command_takes_recordings_and_live_pictures_and_keeps_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shows in ("dark", "white"):
        files = ["--out", str(tmp_path / f"{shows}.avi"), "--truth", str(tmp_path / "truth.json")]
        words = ["--config", str(config(tmp_path, shows)), "--seed", "7", "--length-m", "1.6"]
        assert cli.main(["simulate", *words, *files]) == 0
    capsys.readouterr()
    dark, white = ["--dark", str(tmp_path / "dark.avi")], ["--bright", str(tmp_path / "white.avi")]
    calibrate = ["calibrate", "flat-field", str(config(tmp_path, "white")), "--frames", "16"]

    assert cli.main([*calibrate, *dark, *white, "--by", "Ada"]) == 0
    told = capsys.readouterr().out
    path = tmp_path / "SIM%2F1.json"
    part = read_calibration(path).flat_field
    assert part is not None
    assert part.by == "Ada"
    for figure in (part.uneven_before, part.uneven_after):
        assert figure.told(100) in told
    drawn = cv2.imread(str(tmp_path / "SIM%2F1-flat-field.png"))
    assert drawn is not None
    assert drawn.std() > 20

    assert cli.main([*calibrate, *dark, "--json", "--picture", str(tmp_path / "live.png")]) == 0, "white comes live"
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["uneven_after"]["value"] < facts["uneven_before"]["value"] / 20
    assert former_path(path).exists()

    assert cli.main(calibrate) == 2
    assert "nobody is at the terminal to be asked: cover the lens; give a recording" in capsys.readouterr().err
    assert cli.main(["calibrate", "flat-field", str(config(tmp_path, "white", 240)), *dark, *white]) == 3
    assert "200 px x 64 lines, [line] expects 240 x 64" in capsys.readouterr().err
    assert cli.main(["calibrate", "flatfield"]) == 2
    assert "expected a part of a camera's calibration: flat-field" in capsys.readouterr().err
