"""Learning what is normal, by the command itself: what a line's clean strip is full of is not told any more."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest
from typed_commands import typed

from linewatch.config.line import LineSettings
from linewatch.config.normal import read_normal
from linewatch.contracts.evidence import EVIDENCE, UNLIKE_NORMAL
from linewatch.contracts.manifest import MANIFEST, EngineManifest
from linewatch.contracts.probability import EvidenceWeight, ProbabilityModel
from linewatch.learning.instances import LabelledInstances
from linewatch.simulation.strip import SimulatedRollMark, SimulatedStrip
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
FRAMES = 10


@dataclass(frozen=True)
class Line:
    folder: Path
    config: Path
    strips: tuple[Path, Path]


def _fitted_engine(folder: Path, model: ProbabilityModel, clean_frames: int = 100) -> None:
    """Give an engine a second stage, fitted on clean frames on which it hardly errs."""
    manifest = EngineManifest.parse((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(manifest.model_copy(update={"probability": model}).text())
    rows = np.random.default_rng(1).normal(0, 1, (40, len(EVIDENCE)))
    clean = np.arange(40) < 2
    instances = LabelledInstances.of(tuple(EVIDENCE), rows, ~clean, np.arange(40), clean, clean_frames)
    instances.write(folder, model.version)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A line with a roll that prints a mark, which nobody there minds; two strips of it."""
    folder = tmp_path_factory.mktemp("line")
    for name in ("screen", "classify", "segment"):
        shutil.copytree(f"engines/{name}", folder / "engines" / name)
    _fitted_engine(folder / "engines" / "classify", SECOND_STAGE)
    mark = SimulatedRollMark(pitch_mm=180.0, across_mm=400.0, jitter_mm=0.0, defect_class="sliver")
    strip = SimulatedStrip(7, 2 * FRAMES * 0.256, 0.0, LineSettings(), roll_marks=[mark])
    strips = folder / "one", folder / "two"
    for number, out in enumerate(strips):
        out.mkdir()
        for i in range(FRAMES):
            pixels = strip.lines((number * FRAMES + i) * 256, 256)
            assert cv2.imwrite(str(out / f"{i:03}.png"), pixels)
    config = folder / "line.toml"
    config.write_text(
        f'[inference]\nchain = "cascade"\nengines_dir = "{folder / "engines"}"\nprecision = "fp32"\nworkers = 1\n'
        '[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n'
    )
    return Line(folder, config, strips)


def _learn(line: Line, out: Path, *words: object, config: Path | None = None) -> CompletedProcess[str]:
    return typed("learn-normal", *words, "--config", config or line.config, "--out", out)


def _told(line: Line, config: Path, strip: Path) -> list[dict[str, float]]:
    """Return the evidence of every defect that a replay tells."""
    out = line.folder / "verdicts.jsonl"
    done = typed("replay", strip, "--config", config, "--out", out)
    assert done.returncode == 0, done.stderr
    return [dict(event.evidence) for one in read_strip(out) for event in one.defects if event.state == "closed"]


def _named(config: Path, model: Path) -> Path:
    named = config.with_name("named.toml")
    named.write_text(f'{config.read_text()}[decision]\nnormal = "{model}"\n')
    return named


@pytest.fixture(scope="module")
def learned(line: Line) -> Path:
    """The model of the line's first strip."""
    done = _learn(line, line.folder / "normal.json", line.strips[0])
    assert done.returncode == 0, done.stderr
    return line.folder / "normal.json"


def test_what_the_line_is_full_of_is_told_no_more(line, learned):
    before = _told(line, line.config, line.strips[1])
    assert len(before) >= 5
    assert not any(UNLIKE_NORMAL in evidence for evidence in before)
    named = _named(line.config, learned)
    after = _told(line, named, line.strips[1])
    assert len(after) <= len(before) / 2
    assert all(evidence[UNLIKE_NORMAL] <= 0 for evidence in after)
    checked = typed("check", named)
    assert checked.returncode == 0
    assert "cam1-top@1, of" in checked.stdout


def test_more_strip_is_added_and_the_drift_is_told(line, learned, tmp_path):
    out, picture = tmp_path / "normal.json", tmp_path / "drift.png"
    shutil.copy(learned, out)
    done = _learn(line, out, line.strips[1], "--json", "--picture", picture)
    told, model = json.loads(done.stdout.splitlines()[-1]), read_normal(out)
    assert told["version"] == model.version == 2
    first, second = model.learned
    assert told["m2"] == pytest.approx(first.m2 + second.m2)
    assert first.told == first.told_still > 0
    assert second.told_still <= second.told / 2  # the model of the first strip knows the second
    assert cv2.imread(str(picture)).shape == (420, 900, 3)


@pytest.mark.heavy
def test_one_coil_of_a_recording(line, tmp_path):
    done = _learn(line, tmp_path / "normal.json", line.strips[0], "--coil", "nowhere")
    assert done.returncode == 3
    assert "holds no coil 'nowhere', only one" in done.stderr
    assert _learn(line, tmp_path / "normal.json", line.strips[0], "--coil", "one").returncode == 0
    assert read_normal(tmp_path / "normal.json").learned[0].coil == "one"


def test_a_glimpse_of_strip_is_too_little(line, tmp_path):
    shutil.copy(line.strips[0] / "000.png", tmp_path)
    done = _learn(line, tmp_path / "normal.json", tmp_path)
    assert done.returncode == 3
    assert "m2 or more; name more strip" in done.stderr
    assert not (tmp_path / "normal.json").exists()


@pytest.mark.heavy
def test_a_model_of_another_second_stage_is_refused(line, learned, tmp_path):
    config, out = _with_engine(line, tmp_path, SECOND_STAGE.model_copy(update={"version": "2"})), tmp_path / "n.json"
    shutil.copy(learned, out)
    done = _learn(line, out, line.strips[0], config=config)
    assert done.returncode == 2
    assert "has version 2; learn it again" in done.stderr
    assert typed("replay", line.strips[0], "--config", _named(config, out)).returncode == 2
    assert typed("check", _named(config, out)).returncode == 3
    assert _learn(line, out, line.strips[0], "--new", config=config).returncode == 0
    assert read_normal(out).reference.probability == "2"


def test_an_engine_without_clean_frames_or_a_second_stage_is_refused(line, tmp_path):
    config, out = _with_engine(line, tmp_path, SECOND_STAGE, clean_frames=0), tmp_path / "n.json"
    done = _learn(line, out, line.strips[0], config=config)
    assert done.returncode == 4
    assert "has no frame without defects" in done.stderr
    manifest = tmp_path / "engines" / "classify" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "probability": None}))
    done = _learn(line, out, line.strips[0], config=config)
    assert done.returncode == 2
    assert "has no probability model" in done.stderr


def _with_engine(line: Line, folder: Path, model: ProbabilityModel, clean_frames: int = 100) -> Path:
    """Return the line's configuration with engines of another second stage."""
    shutil.copytree(line.folder / "engines", folder / "engines")
    _fitted_engine(folder / "engines" / "classify", model, clean_frames)
    config = folder / "line.toml"
    config.write_text(line.config.read_text().replace(str(line.folder), str(folder)))
    return config


def test_no_strip_is_named(line, tmp_path):
    done = _learn(line, tmp_path / "normal.json")
    assert done.returncode == 2
    assert "no strip to learn from" in done.stderr
