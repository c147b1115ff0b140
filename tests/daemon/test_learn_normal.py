"""Learning what is normal, by the command itself: what a line's clean strip is full of is not told any more."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.cli import main
from linewatch.config.line import LineSettings
from linewatch.config.normal import read_normal
from linewatch.contracts.evidence import EVIDENCE, UNLIKE_NORMAL
from linewatch.contracts.manifest import MANIFEST, EngineManifest
from linewatch.contracts.probability import EvidenceWeight, ProbabilityModel
from linewatch.learning.instances import Instances
from linewatch.simulation.strip import SimulatedStrip
from linewatch.wire.verdict_file import read_strip

pytestmark = [pytest.mark.service, pytest.mark.slow]

SECOND_STAGE = ProbabilityModel(
    intercept=0.0,
    evidence={"peak": EvidenceWeight(mean=0.0, spread=2.0, weight=1.0)},
    tell_probability=0.3,
    call_probability=0.5,
    fitted_on="nothing real",
    version="1",
)
FRAMES = 14


@dataclass(frozen=True)
class Line:
    folder: Path
    config: Path
    strips: tuple[Path, Path]

    @property
    def model(self) -> Path:
        return self.folder / "normal.json"


def _fitted_engine(folder: Path, model: ProbabilityModel, clean_frames: int = 100) -> None:
    """Give an engine a second stage, fitted on clean frames on which it hardly errs."""
    manifest = EngineManifest.parse((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(manifest.model_copy(update={"probability": model}).text())
    rows = np.random.default_rng(1).normal(0, 1, (40, len(EVIDENCE)))
    clean = np.arange(40) < 2
    instances = Instances.of(tuple(EVIDENCE), rows, ~clean, np.arange(40), clean, clean_frames)
    instances.write(folder, model.version)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A line whose strip is full of marks that nobody there minds; two strips of it."""
    folder = tmp_path_factory.mktemp("line")
    for name in ("screen", "classify", "segment"):
        shutil.copytree(f"engines/{name}", folder / "engines" / name)
    _fitted_engine(folder / "engines" / "classify", SECOND_STAGE)
    strip = SimulatedStrip(7, 2 * FRAMES * 0.256, 6.0, LineSettings())
    strips = folder / "one", folder / "two"
    for number, out in enumerate(strips):
        out.mkdir()
        for i in range(FRAMES):
            pixels = strip.lines((number * FRAMES + i) * 256, 256)
            assert cv2.imwrite(str(out / f"{i:03}.png"), pixels)
    config = folder / "line.toml"
    config.write_text(
        f'[inference]\nengines_dir = "{folder / "engines"}"\nprecision = "fp32"\nworkers = 1\n[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n'
    )
    return Line(folder, config, strips)


def _told(line: Line, config: Path, strip: Path) -> list[dict[str, float]]:
    """Return the evidence of every defect that a replay tells."""
    out = line.folder / "verdicts.jsonl"
    assert main(["replay", str(strip), "--config", str(config), "--out", str(out)]) == 0
    return [dict(event.evidence) for one in read_strip(out) for event in one.defects if event.state == "closed"]


def test_what_the_line_is_full_of_is_told_no_more(line, capsys):
    before = _told(line, line.config, line.strips[1])
    assert len(before) >= 5
    assert not any(UNLIKE_NORMAL in evidence for evidence in before)

    assert main(["learn-normal", str(line.strips[0]), "--config", str(line.config), "--out", str(line.model)]) == 0
    named = line.folder / "named.toml"
    named.write_text(f'{line.config.read_text()}[decision]\nnormal = "{line.model}"\n')
    after = _told(line, named, line.strips[1])
    assert len(after) <= len(before) / 2
    assert all(evidence[UNLIKE_NORMAL] <= 0 for evidence in after)
    assert main(["check", str(named)]) == 0
    assert f"{line.model}" in capsys.readouterr().out


def test_more_strip_is_added_and_the_drift_is_told(line, capsys):
    out = line.folder / "grows.json"
    one, two = (str(strip) for strip in line.strips)
    assert main(["learn-normal", one, two, "--config", str(line.config), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = read_normal(out)
    assert told["version"] == model.version == 2
    assert told["m2"] == pytest.approx(2 * model.learned[0].m2, rel=0.05)
    first, second = model.learned
    assert first.told == first.told_still > 0
    assert second.told_still < second.told  # the model of the first strip knows the second
    picture = line.folder / "drift.png"
    arguments = ["learn-normal", two, "--config", str(line.config), "--out", str(out), "--picture", str(picture)]
    assert main(arguments) == 0
    assert read_normal(out).version == 3
    assert cv2.imread(str(picture)).shape == (420, 900, 3)
    assert main([*arguments, "--new"]) == 0
    assert read_normal(out).version == 1


def test_one_coil_of_a_recording(line, capsys):
    out = str(line.folder / "coil.json")
    arguments = ["learn-normal", str(line.strips[0]), "--config", str(line.config), "--out", out]
    assert main([*arguments, "--coil", "nowhere"]) == 3
    assert "holds no coil 'nowhere', only one" in capsys.readouterr().err
    assert main([*arguments, "--coil", "one"]) == 0
    assert read_normal(Path(out)).learned[0].coil == "one"


def test_a_glimpse_of_strip_is_too_little(line, tmp_path, capsys):
    shutil.copy(line.strips[0] / "000.png", tmp_path)
    code = main(["learn-normal", str(tmp_path), "--config", str(line.config), "--out", str(tmp_path / "n.json")])
    assert code == 3
    assert "m2 or more; name more strip" in capsys.readouterr().err
    assert not (tmp_path / "n.json").exists()


def test_a_model_of_another_second_stage_is_refused(line, tmp_path, capsys):
    shutil.copytree(line.folder / "engines", tmp_path / "engines")
    _fitted_engine(tmp_path / "engines" / "classify", SECOND_STAGE.model_copy(update={"version": "2"}))
    config = tmp_path / "line.toml"
    config.write_text(line.config.read_text().replace(str(line.folder), str(tmp_path)))
    model = tmp_path / "normal.json"
    if not line.model.exists():
        assert main(["learn-normal", str(line.strips[0]), "--config", str(line.config), "--out", str(line.model)]) == 0
    shutil.copy(line.model, model)
    arguments = ["learn-normal", str(line.strips[0]), "--config", str(config), "--out", str(model)]
    assert main(arguments) == 2
    assert "has version 2; learn it again" in capsys.readouterr().err
    named = tmp_path / "named.toml"
    named.write_text(f'{config.read_text()}[decision]\nnormal = "{model}"\n')
    assert main(["replay", str(line.strips[0]), "--config", str(named)]) == 2
    assert main(["check", str(named)]) == 3
    assert main([*arguments, "--new"]) == 0
    assert main(["check", str(named)]) == 0


def test_an_engine_without_a_second_stage_or_clean_frames_is_refused(line, tmp_path, capsys):
    shutil.copytree(line.folder / "engines", tmp_path / "engines")
    _fitted_engine(tmp_path / "engines" / "classify", SECOND_STAGE, clean_frames=0)
    config = tmp_path / "line.toml"
    config.write_text(line.config.read_text().replace(str(line.folder), str(tmp_path)))
    arguments = ["learn-normal", str(line.strips[0]), "--config", str(config), "--out", str(tmp_path / "n.json")]
    assert main(arguments) == 4
    assert "has no frame without defects" in capsys.readouterr().err
    shutil.copytree("engines/classify", tmp_path / "engines" / "classify", dirs_exist_ok=True)
    assert main(arguments) == 2
    assert "has no probability model" in capsys.readouterr().err


def test_no_strip_is_named(tmp_path, capsys):
    assert main(["learn-normal", "--out", str(tmp_path / "n.json")]) == 2
    assert "no strip to learn from" in capsys.readouterr().err
