"""Real strip that no shipped engine has seen, through the real service to a real consumer: the cards' figures hold."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.held_out_coil import InstanceMetrics, TileCounts, build, evaluate_instances, evaluate_tiles
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.verdict import Quality
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def coil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded coil of held-out frames."""
    folder = tmp_path_factory.mktemp("coil")
    build(Path(os.environ["LINEWATCH_DATA"]), folder, LineSettings(), Taxonomy.read(ROOT / "configs" / "taxonomy.toml"))
    return folder


@pytest.fixture(scope="module")
def account(coil: Path) -> dict[str, object]:
    """What a subscriber process heard over TCP while `linewatch replay` ran in another."""
    publish, serve = free_port(), free_port()
    config = coil / "coil.toml"
    config.write_text(
        f'[inference]\nengines_dir = "{ROOT}/engines"\n[decision]\ncall_probability = 0.0\n'
        f'[wire]\npublish = "tcp://127.0.0.1:{publish}"\nserve = "tcp://127.0.0.1:{serve}"\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    endpoints = [f"tcp://127.0.0.1:{port}" for port in (publish, serve)]
    consumer = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "support" / "listening.py"), *endpoints, "200"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    command = ["replay", str(coil / "coil.avi"), "--config", str(config), "--out", str(coil / "v.jsonl")]
    replayed = subprocess.run(
        [sys.executable, "-m", "linewatch.cli", *command, "--hold-s", "10", "--json"],
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
def figures(coil: Path, account: dict[str, object]) -> dict[str, TileCounts]:
    assert account
    return evaluate_tiles(coil, coil / "v.jsonl", Taxonomy.read(ROOT / "configs" / "taxonomy.toml"))


@pytest.fixture(scope="module")
def pieces(coil: Path, account: dict[str, object]) -> dict[str, InstanceMetrics]:
    assert account
    return evaluate_instances(coil, coil / "v.jsonl")


@pytest.fixture(scope="module")
def quiet(coil: Path) -> dict[str, InstanceMetrics]:
    """The same coil at the settings that ship."""
    command = [sys.executable, "-m", "linewatch.cli", "replay", str(coil / "coil.avi"), "--out", str(coil / "q.jsonl")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT, env=environment)
    assert ended.returncode == 0, ended.stderr
    return evaluate_instances(coil, coil / "q.jsonl")


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


def test_defective_strip_is_called_as_the_cards_say(figures: dict[str, TileCounts]) -> None:
    """A defective tile is called when the screen passes it and a head then calls it: the product of the cards' figures.

    Less the half width of the screen's own bootstrap interval: fold 4 is 21 frames.
    """
    screen, segment = metrics("screen"), metrics("segment")
    spread = (screen["recall_at_10pct_cv_high"] - screen["recall_at_10pct_cv_low"]) / 2
    assert figures["severstal"].recall >= screen["recall_fold4"] * segment["severstal_found"] - spread
    assert figures["neu"].recall >= screen["recall_neu_fold4"] - spread


def test_true_pieces_are_found_as_the_cards_say(pieces: dict[str, InstanceMetrics]) -> None:
    """Instances, matched by their boxes, against the same product: a piece is found in some tile, or it is not."""
    screen, segment = metrics("screen"), metrics("segment")
    spread = (screen["recall_at_10pct_cv_high"] - screen["recall_at_10pct_cv_low"]) / 2
    assert pieces["severstal"].recall >= screen["recall_fold4"] * segment["severstal_found"] - spread
    assert pieces["neu"].recall >= screen["recall_neu_fold4"] - spread


def test_clean_strip_is_called_no_more_than_the_cards_say(figures: dict[str, TileCounts]) -> None:
    """A clean tile can only be called when the screen passed it; a defect next door may reach over its border."""
    screen = metrics("screen")
    spread = (screen["recall_at_10pct_cv_high"] - screen["recall_at_10pct_cv_low"]) / 2
    assert figures["severstal"].false_share <= screen["pass_rate_fold4"] + spread


def test_called_tiles_carry_the_right_class(figures: dict[str, TileCounts]) -> None:
    """Of NEU's tiles that are called, most hold a true class: the classifier's card less ten points for the scale."""
    neu = figures["neu"]
    assert neu.classes_right / neu.defective_called >= metrics("classify")["neu_top1_low"] - 0.1


def test_defects_are_where_they_are_said_to_be(pieces: dict[str, InstanceMetrics]) -> None:
    """Severstal's outlines are drawn by hand, so a few millimetres along are as near as can be told."""
    position = pieces["severstal"].position
    assert position.pairs >= 10
    assert position.along_median_mm is not None
    assert position.along_median_mm <= 10.0
    assert position.along_p95_mm is not None
    assert position.along_p95_mm <= 30.0
    assert position.across_p95_mm is not None
    assert position.across_p95_mm <= 6.0


def test_the_shipped_settings_call_rarely_on_clean_strip(
    quiet: dict[str, InstanceMetrics], pieces: dict[str, InstanceMetrics]
) -> None:
    """Two calls, both on the frame that shows torn skin and is labelled clean (docs/results.md, False calls)."""
    assert quiet["severstal"].false_on_clean <= 2
    assert quiet["severstal"].false_calls <= pieces["severstal"].false_calls / 5


def test_what_the_shipped_settings_call_is_there_and_named_rightly(quiet: dict[str, InstanceMetrics]) -> None:
    """Bounds are the lower ends of the exact intervals of 13 of 15, 17 of 19, and 19 of 59."""
    strip = quiet["severstal"]
    assert 1 - strip.false_calls / strip.found >= 0.595
    assert strip.classes_right / strip.hit >= 0.669
    assert strip.recall >= 0.206


def test_what_the_shipped_settings_find_was_found_before(
    quiet: dict[str, InstanceMetrics], pieces: dict[str, InstanceMetrics]
) -> None:
    for source, figures in quiet.items():
        assert figures.hit <= pieces[source].hit
        assert figures.found < pieces[source].found
