"""What an engine answers is judged: as it runs, and on its reference tiles before it runs."""

import json
import shutil
from pathlib import Path

import bad_engines
import nets
import numpy as np
import pytest

from linewatch import cli
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.inference.answers import SLACK, AnswerCheck
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, find_engine, verify_all
from linewatch.inference.reference_tiles import (
    other_order,
    read_reference_tiles,
    try_out,
    write_reference_tiles,
)
from linewatch.simulation.tiles import drawn_tiles

ENGINES = Path(__file__).parents[2] / "engines"
SHIPPED = sorted(path.parent.name for path in ENGINES.glob("*/manifest.json"))


@pytest.fixture(scope="module")
def classify() -> EngineManifest:
    return nets.manifest(Task.CLASSIFY, b"", 64, 64)


def scores(*values: float) -> np.ndarray:
    return np.array([[0.1, 0.2, 0.3, 0.4, value] for value in values], np.float32)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (scores(float("nan")), "1 of 5 scores that are not finite (not a number)"),
        (scores(float("inf")), "1 of 5 scores that are not finite (infinite)"),
        (scores(-3.2), "looks like logits: add a sigmoid"),
        (scores(97.0), "looks like 0 to 100: divide by 100"),
        (scores(240.0), "looks like 0 to 255: divide by 255"),
        (scores(1.2), "expected probabilities from 0 to 1"),
        (np.log(np.full((1, 5), 0.2, np.float32)), "log-softmax"),
        (scores(0.5, 0.5), "gave float32 (2, 5) for 1 tile, expected float32 (1, 5); export it so that each tile"),
        (scores(0.5)[:, :4], "export the model and its manifest together"),
        (scores(0.5).astype(np.float64), "gave float64"),
        (None, "gave NoneType"),
    ],
)
def test_an_answer_that_is_no_probability_is_named_with_its_remedy(
    classify: EngineManifest, answer: np.ndarray, words: str
) -> None:
    assert words in (AnswerCheck(classify).fault(answer, 1) or "")


def test_probabilities_are_good_up_to_what_a_message_shows(classify: EngineManifest) -> None:
    check = AnswerCheck(classify)
    for good in (0.0, 1.0, -SLACK / 2, 1 + SLACK / 2):
        assert check.fault(scores(good), 1) is None
        assert round(good, 4) in (0.0, 1.0)
    assert check.fault(np.zeros((0, 5), np.float32), 0) is None


def test_scores_sum_to_one_only_where_the_manifest_says_so(classify: EngineManifest) -> None:
    softmax = classify.model_copy(update={"scores_sum_to_one": True})
    assert AnswerCheck(classify).fault(scores(0.9), 1) is None
    assert "end the graph with a softmax" in (AnswerCheck(softmax).fault(scores(0.9), 1) or "")
    assert AnswerCheck(softmax).fault(scores(0.0), 1) is None


def test_every_byte_of_a_mask_is_a_probability() -> None:
    check = AnswerCheck(nets.manifest(Task.SEGMENT, b"", 64, 64))
    assert check.fault(np.full((2, 64, 64), 255, np.uint8), 2) is None
    assert "expected uint8 (2, 64, 64)" in (check.fault(np.zeros((2, 64, 32), np.uint8), 2) or "")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_engines_keep_reference_tiles_and_still_answer_alike(name: str) -> None:
    engine = find_engine(ENGINES, name)
    assert engine.reference is not None
    assert len(engine.reference.tiles) >= 2
    most = 1_200_000 if engine.manifest.task is Task.INSPECT else 200_000  # bytes; maps of whole frames are larger
    assert (ENGINES / name / "reference.npz").stat().st_size < most
    (executor,) = open_backend("onnxruntime").open(engine.manifest, engine.model, (1,), 1)
    try_out(engine.manifest, engine.reference, engine.manifest.precision, lambda tile: executor.run(tile, 1))


def test_reference_tiles_are_written_twice_alike(tmp_path: Path) -> None:
    nets.write(tmp_path, Task.CLASSIFY, nets.classify(64, 64), 64, 64)
    write_reference_tiles(tmp_path / "classify")
    first = (tmp_path / "classify" / "reference.npz").read_bytes()
    manifest = write_reference_tiles(tmp_path / "classify")
    assert (tmp_path / "classify" / "reference.npz").read_bytes() == first
    found = read_reference_tiles(tmp_path / "classify", manifest)
    assert found is not None
    assert found.classes == nets.CLASSES
    assert len(drawn_tiles(64, 64)) > 10


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    bad_engines.write(ENGINES, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logits", "looks like logits: add a sigmoid"),
        ("percent", "looks like 0 to 100: divide by 100"),
        ("constant", "gave the same answer to"),
        ("rows", r"gave an output of shape \(2,13\) for 1 tile, expected \(1,13\); export it so that each tile"),
    ],
)
def test_without_reference_tiles_an_engine_is_still_tried_out(bad: Path, name: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        write_reference_tiles(bad / name)
    assert not (bad / name / "reference.npz").exists()
    report = {one.name: one for one in verify_all(bad, open_backend("onnxruntime"))}[name]
    assert report.fault is not None
    assert words.replace("\\", "").split(";")[0] in report.fault


def changed(source: Path, target: Path, **changes: object) -> Engine:
    shutil.copytree(source, target)
    told = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**told, "name": target.name, **changes}))
    return find_engine(target.parent, target.name)


def tried(engine: Engine) -> None:
    (executor,) = open_backend("onnxruntime").open(engine.manifest, engine.model, (1,), 1)
    try_out(engine.manifest, engine.reference, engine.manifest.precision, lambda tile: executor.run(tile, 1))


def test_another_order_of_the_classes_is_noticed_by_their_names(tmp_path: Path) -> None:
    classes = find_engine(ENGINES, "classify").manifest.classes
    swapped = tuple({"scratch": "inclusion", "inclusion": "scratch"}.get(name, name) for name in classes)
    with pytest.raises(EngineError, match=r"class order changed \(.*the score of scratch where inclusion must be"):
        tried(changed(ENGINES / "classify", tmp_path / "swapped", classes=swapped))


def test_classes_may_be_renamed(tmp_path: Path) -> None:
    told = find_engine(ENGINES, "classify").manifest
    names = {name: "Kratzer tief" if name == "scratch" else name for name in told.classes}
    thresholds = {names[name]: value for name, value in told.thresholds.items()}
    classes = list(names.values())
    renamed = {"classes": classes, "thresholds": thresholds, "probability": None}  # it weighs the classes by name
    tried(changed(ENGINES / "classify", tmp_path / "kratzer", **renamed))


def test_another_model_under_the_same_reference_tiles_is_refused(bad: Path, tmp_path: Path) -> None:
    engine = changed(bad / "permuted", tmp_path / "permuted")
    shipped = find_engine(ENGINES, "classify")
    with pytest.raises(EngineError, match="looks like class order changed"):
        tried(
            Engine(
                engine.manifest.model_copy(update={"reference": shipped.manifest.reference}),
                tmp_path,
                engine.model,
                shipped.reference,
            )
        )
    said = []
    for one in (engine, changed(ENGINES / "classify", tmp_path / "copy", reference=None)):
        (executor,) = open_backend("onnxruntime").open(one.manifest, one.model, (1,), 1)
        order = other_order(shipped.manifest, shipped.reference, one.manifest, lambda tile: executor.run(tile, 1))  # noqa: B023
        said.append(order)
    assert "compared with the running classify it looks like class order changed" in said[0]
    assert said[1] is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"PK damaged"), "sha256 is"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "sha256 is"),
    ],
)
def test_damaged_reference_tiles_are_refused(tmp_path: Path, damage, words: str) -> None:
    shutil.copytree(ENGINES / "classify-int8", tmp_path / "classify-int8")
    damage(tmp_path / "classify-int8" / "reference.npz")
    with pytest.raises(EngineError, match=words):
        find_engine(tmp_path, "classify-int8")


def test_the_command_says_what_cannot_be_checked_and_adds_reference_tiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ENGINES / "classify-int8", tmp_path / "classify-int8")
    (tmp_path / "classify-int8" / "reference.npz").unlink()
    assert cli.main(["engines", "--dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "warning: classify-int8: it has no reference tiles" in said
    assert "run `linewatch engines --add-reference classify-int8`" in said
    assert cli.main(["engines", "--dir", str(tmp_path), "--add-reference", "classify-int8", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["fault"], row["lacks"]) == (None, None)
    assert row["reference_tiles"] >= 2


def test_the_command_refuses_logits_in_full_words(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["engines", "--dir", str(bad)]) == EngineError.exit_code
    said = capsys.readouterr().out
    assert "refused: logits: engine logits: on reference tiles it gave scores from" in said
    assert cli.main(["engines", "--dir", str(bad), "--add-reference", "logits"]) == EngineError.exit_code
    assert "looks like logits" in capsys.readouterr().err
