"""`linewatch fit-probability`: from judged frames to the second stage in an engine's manifest."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_pictures import REPO

from linewatch.cli import main
from linewatch.contracts.evidence import EVIDENCE
from linewatch.contracts.manifest import EngineManifest
from linewatch.evaluation.judging.figures import figures_of
from linewatch.evaluation.judging.judged import JudgedFrame, JudgedInstance, JudgedPiece
from linewatch.evaluation.judging.record import FramesJudgement
from linewatch.learning.instances import INSTANCES

FRAMES, EACH = 24, 5
NOTE = "engine inspect was trained on 3 of these 24 frames"


def judged_frame(number: int, rng: np.random.Generator) -> JudgedFrame:
    """A frame with a piece, and instances whose peak tells the true ones."""
    piece = JudgedPiece("scratch", 100.0, (0, 0, 20, 20))
    right = rng.random(EACH) < 0.5
    evidence = rng.normal(size=(EACH, len(EVIDENCE)))
    evidence[:, 0] += 3 * right
    instances = tuple(
        JudgedInstance(
            defect_class="scratch",
            probability=0.5,
            told=True,
            called=True,
            tile=False,
            area_mm2=100.0,
            box_px=(0, 0, 20, 20),
            on=(0,) if true else (),
            right_class=bool(true),
            evidence=dict(zip(EVIDENCE, row.tolist(), strict=True)),
        )
        for true, row in zip(right, evidence, strict=True)
    )
    return JudgedFrame(f"set/{number}.png", str(number), False, instances, (piece,), {}, (), 0.2, 0.2, {})


@pytest.fixture
def judgement(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frames = tuple(judged_frame(number, rng) for number in range(FRAMES))
    path = tmp_path / "judgement.json"
    FramesJudgement(frames, (), (NOTE,), {"inspect": "inspect@1"}).write(path, figures_of(frames))
    return path


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    folder = tmp_path / "engines"
    shutil.copytree(REPO / "engines" / "inspect", folder / "inspect")
    return folder


def test_the_second_stage_is_written_with_its_points(
    judgement: Path, engines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit-probability", "inspect", str(judgement), "--engines", str(engines), "--out", str(tmp_path)]) == 0
    model = EngineManifest.parse((engines / "inspect" / "manifest.json").read_bytes()).probability
    assert model is not None
    weights = {one: abs(weight.weight) for one, weight in model.evidence.items()}
    assert max(weights, key=weights.__getitem__) == "peak"
    assert 0 < model.tell_probability <= model.call_probability < 1
    assert (engines / "inspect" / INSTANCES).is_file()
    assert (tmp_path / "reliability.png").stat().st_size > 1000
    said = capsys.readouterr()
    assert f"{FRAMES * EACH} instances on {FRAMES} frames of {FRAMES} groups" in said.out
    assert NOTE in said.err, "what the judgement warned of is told again"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["inspect", "JUDGED", "JUDGED"], 3, "name each judgement once"),
        (["inspect", "JUDGED", "--call-precision", "80"], 2, "found a precision of 80, expected a share from 0 to 1"),
        (["inspect", "JUDGED", "--tell-precision", "nan"], 2, "expected a share from 0 to 1"),
        (["inspect", "JUDGED", "--false-per-clean-frame", "-1"], 2, "expected a number from 0"),
        (["screen", "JUDGED"], 4, "screen: no such engine"),
        (["inspect", "nowhere.json"], 3, "nowhere.json: cannot be read"),
    ],
)
def test_a_mistake_is_a_line_and_leaves_the_engine_as_it_was(
    words: list[str], code: int, text: str, judgement: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in engines.rglob("*") if path.is_file()}
    given = [str(judgement) if word == "JUDGED" else word for word in words]
    assert main(["fit-probability", *given, "--engines", str(engines)]) == code
    assert text in capsys.readouterr().err
    assert {path: path.read_bytes() for path in engines.rglob("*") if path.is_file()} == before
