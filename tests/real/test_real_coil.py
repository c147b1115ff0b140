"""Real strip that the shipped cascade has not seen, through the real service to a consumer: the cards' figures hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typed_commands import typed

from experiments.held_out_coil import PositionError, build, judge
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.verdict import Quality
from linewatch.evaluation.judging.figures import Figures
from linewatch.wire.verdict_file import read_verdicts

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(
        not Path(os.environ.get("LINEWATCH_DATA", "/nowhere")).is_dir(),
        reason="LINEWATCH_DATA names no folder of real sets",
    ),
]


def metrics(engine: str) -> dict[str, float]:
    return EngineManifest.model_validate_json((ROOT / "engines" / engine / "manifest.json").read_bytes()).metrics


@pytest.fixture(scope="module")
def coil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded coil of held-out frames."""
    folder = tmp_path_factory.mktemp("coil")
    build(Path(os.environ["LINEWATCH_DATA"]), folder, LineSettings(), Taxonomy.read(ROOT / "configs" / "taxonomy.toml"))
    return folder


@pytest.fixture(scope="module")
def account(coil: Path) -> dict[str, object]:
    """What a subscriber process heard while `linewatch replay` ran in another."""
    endpoints = [f"ipc://{coil}/{name}" for name in ("pub", "rep")]
    config = coil / "coil.toml"
    config.write_text(
        f'[inference]\nchain = "cascade"\nengines_dir = "{ROOT}/engines"\n[decision]\ncall_probability = 0.0\n'
        f'[wire]\npublish = "{endpoints[0]}"\nserve = "{endpoints[1]}"\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    consumer = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "support" / "listening.py"), *endpoints, "200"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    command = ["replay", str(coil / "coil.avi"), "--config", str(config), "--out", str(coil / "v.jsonl")]
    replayed = subprocess.run(
        [sys.executable, "-m", "linewatch.cli", *command, "--hold-s", "30", "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    assert replayed.returncode == 0, replayed.stderr
    said, _ = consumer.communicate(timeout=60)
    return {"summary": json.loads(replayed.stdout), **json.loads(said)}


@pytest.fixture(scope="module")
def judged(coil: Path, account: dict[str, object]) -> dict[str, tuple[Figures, PositionError]]:
    """The coil with every defect called."""
    assert account
    return judge(coil, coil / "v.jsonl", Taxonomy.read(ROOT / "configs" / "taxonomy.toml"))


@pytest.fixture(scope="module")
def alone_judged() -> dict[str, dict[str, float]]:
    """Severstal's held-out frames by `linewatch judge`: every frame as a coil of its own."""
    data = Path(os.environ["LINEWATCH_DATA"])
    split = ROOT / "configs" / "splits" / "severstal.csv"
    ended = typed("judge", data / "severstal", "--split", split, "--fold", 4, "--chain", "cascade", "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_shipped_cascade_finds_as_much_as_its_cards_say(alone_judged: dict[str, dict[str, float]]) -> None:
    """What passes the screen and is called by a head, less the half width of the screen's bootstrap interval."""
    screen, segment = metrics("screen"), metrics("segment")
    spread = (screen["recall_at_10pct_cv_high"] - screen["recall_at_10pct_cv_low"]) / 2
    counts = alone_judged["counts"]
    assert counts["told.pieces_hit"] / counts["pieces"] >= screen["recall_fold4"] * segment["severstal_found"] - spread


@pytest.mark.heavy
def test_every_millimetre_is_accounted_for_and_every_message_heard_once(account: dict, coil: Path) -> None:  # type: ignore[type-arg]
    """Only strip that frames do not show, or not in enough light, is not inspected, since the coil is composed of
    unrelated frames; and the consumer has every sequence of every topic, once, in order.
    """
    assert account["summary"]["coverage"] >= 0.9
    assert set(account["summary"]["lines_missed_by_cause"]) == {"narrow", "dark"}
    assert account["lost"] == 0
    frames = [line for line in read_verdicts(coil / "v.jsonl") if line.kind == "verdict"]
    defects = sum(len(line.defects) for line in read_verdicts(coil / "v.jsonl"))
    assert len(account["epochs"]) == 1
    assert account["heard"]["frame"] == list(range(len(frames)))
    assert account["heard"]["defect"] == list(range(defects))
    assert account["heard"]["coil"] == [0, 1]
    coil_told = account["coil"]
    assert coil_told["missed_mm"] == 256.0, "one frame is dark over more than half of its area"
    length_mm = sum(coil_told[f"{quality}_mm"] for quality in Quality)
    assert length_mm == pytest.approx(len(frames) * 256.0)
    passed_mm2 = sum(coil_told[f"{quality}_mm2"] for quality in Quality)
    assert account["summary"]["coverage"] == pytest.approx(coil_told["inspected_mm2"] / passed_mm2)


@pytest.mark.heavy
def test_true_pieces_are_found_as_the_cards_say(judged: dict[str, tuple[Figures, PositionError]]) -> None:
    """A piece is found in some tile, which the screen passes and a head then calls, or it is not: the product of the
    cards' figures, less the half width of the screen's own bootstrap interval, as fold 4 is 21 frames.
    """
    screen, segment = metrics("screen"), metrics("segment")
    spread = (screen["recall_at_10pct_cv_high"] - screen["recall_at_10pct_cv_low"]) / 2
    (strip, _), (patches, _) = judged["severstal"], judged["neu"]
    assert recall(strip) >= screen["recall_fold4"] * segment["severstal_found"] - spread
    assert recall(patches) >= screen["recall_neu_fold4"] - spread


def recall(figures: Figures) -> float:
    found = figures.values["told.recall"]
    assert found is not None
    return found


@pytest.mark.heavy
def test_what_is_found_has_the_right_class(judged: dict[str, tuple[Figures, PositionError]]) -> None:
    """Of NEU's pieces that are hit, most are named rightly: the classifier's card less ten points for the scale."""
    named = judged["neu"][0].values["told.right_class"]
    assert named is not None
    assert named >= metrics("classify")["neu_top1_low"] - 0.1


@pytest.mark.heavy
def test_defects_are_where_they_are_said_to_be(judged: dict[str, tuple[Figures, PositionError]]) -> None:
    """Severstal's outlines are drawn by hand, so a few millimetres along are as near as can be told."""
    position = judged["severstal"][1]
    assert position.pairs >= 10
    assert position.along_median_mm is not None
    assert position.along_median_mm <= 10.0
    assert position.along_p95_mm is not None
    assert position.along_p95_mm <= 30.0
    assert position.across_p95_mm is not None
    assert position.across_p95_mm <= 6.0


@pytest.mark.heavy
def test_frames_are_judged_alike_alone_and_on_the_coil(
    judged: dict[str, tuple[Figures, PositionError]], alone_judged: dict[str, dict[str, float]]
) -> None:
    """`linewatch judge` inspects every frame as a coil of its own, the service all in one: what joins over the border
    of two frames may make a piece or two of difference.
    """
    alone, on_coil = alone_judged["counts"], judged["severstal"][0].counts
    assert alone["pieces"] == on_coil["pieces"]
    assert abs(alone["told.pieces_hit"] - on_coil["told.pieces_hit"]) <= 2
    assert abs(alone["told.instances"] - on_coil["told.instances"]) <= 4
