"""`linewatch fit-thresholds` writes the thresholds that suit labelled pictures best."""

from pathlib import Path

import cv2
import foreign_networks as foreign
import numpy as np
import pytest

from linewatch import cli
from linewatch.contracts.manifest import Task
from linewatch.evaluation.evaluate import EnginePredictor
from linewatch.importer.engine_import import ImportRequest, import_engine
from linewatch.importer.outputs import Activation
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import find_engine, verify_all
from linewatch.simulation.tiles import drawn_tiles


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder for each of two classes and for clean steel; brighter, darker and plain tiles."""
    tiles = drawn_tiles(256, 256)[:12]
    for place, (name, shift) in enumerate({"a": 40, "b": -30, "ok": 0}.items()):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number, tile in enumerate(tiles[place::3]):
            level = np.clip(tile.astype(int) + shift, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "set" / name / f"{number}.png"), level)
    return tmp_path / "set"


def f1(scores: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    called = scores >= threshold
    return 2 * float((called & truth).sum()) / max(float(called.sum() + truth.sum()), 1.0)


def test_each_class_gets_the_threshold_that_separates_it(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = tmp_path / "engines"
    path = foreign.save(foreign.classifier(3), tmp_path / "mine.onnx")
    import_engine(path, ImportRequest(Task.CLASSIFY, ("a", "b", "c"), activation=Activation.SIGMOID), engines)
    assert cli.main(["fit-thresholds", "mine", "--data", f"mine={pictures}", "--engines", str(engines)]) == 0
    said = capsys.readouterr().out
    assert "taken as clean steel: ok" in said
    assert "left as they are, without pictures both of the class and of others: c" in said

    engine = find_engine(engines, "mine")
    files = sorted(pictures.rglob("*.png"))
    tiles = np.stack([cv2.imread(str(one), cv2.IMREAD_GRAYSCALE) for one in files])[:, None]
    scores = EnginePredictor(engine)(tiles)
    for column, name in enumerate("ab"):
        truth = np.array([one.parent.name == name for one in files])
        best = max(f1(scores[:, column], truth, t) for t in scores[:, column])
        chosen = engine.manifest.thresholds[name]
        assert f1(scores[:, column], truth, chosen) >= best - 0.011
    assert engine.manifest.thresholds["c"] == 0.5
    assert not any(report.fault for report in verify_all(engines, open_backend("onnxruntime")))
    card = (engines / "mine" / "CARD.md").read_text()
    assert f"Chosen on {len(files)} pictures of mine: a {engine.manifest.thresholds['a']:.2f}" in card
    assert cli.main(["fit-thresholds", "mine", "--data", f"mine={pictures}", "--engines", str(engines)]) == 0
    assert (engines / "mine" / "CARD.md").read_text() == card, "an earlier calibration is replaced"


def test_a_segmenter_gets_the_threshold_of_the_best_dice(tmp_path: Path) -> None:
    engines, root = tmp_path / "engines", tmp_path / "set"
    path = foreign.save(foreign.segmenter(1, extents=("h", "w")), tmp_path / "mine.onnx")
    import_engine(path, ImportRequest(Task.SEGMENT, ("a",), activation=Activation.SIGMOID), engines)
    engine = find_engine(engines, "mine")
    tiles = drawn_tiles(256, 256)[:4]
    answers = EnginePredictor(engine)(tiles[:, None])
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    limit = float(np.quantile(answers, 0.9))
    rows = ["file,class"]
    for number, (tile, answer) in enumerate(zip(tiles, answers, strict=True)):
        cv2.imwrite(str(root / "images" / f"{number}.png"), tile)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), (answer >= limit).astype(np.uint8) * 255)
        rows.append(f"{number}.png,a")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    assert cli.main(["fit-thresholds", "mine", "--data", f"mine={root}", "--engines", str(engines)]) == 0
    chosen = find_engine(engines, "mine").manifest.thresholds["defect"]
    assert abs(chosen - limit / 255) <= 0.05


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["mine"], 2, "expected labelled pictures by --data NAME=DIR"),
        (["yours", "--data", "mine=SET"], 4, "no such engine"),
        (["mine", "--data", "mine=SET"], 3, "no picture shows a class of mine (x, y, z), found the labels a, b, ok"),
    ],
)
def test_what_cannot_be_calibrated_is_said(
    words: list[str], code: int, said: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign.save(foreign.classifier(3), tmp_path / "mine.onnx")
    request = ImportRequest(Task.CLASSIFY, ("x", "y", "z"), activation=Activation.SIGMOID)
    import_engine(path, request, tmp_path / "engines")
    given = [word.replace("SET", str(pictures)) for word in words]
    assert cli.main(["fit-thresholds", *given, "--engines", str(tmp_path / "engines")]) == code
    assert said in capsys.readouterr().err


def test_thresholds_are_not_chosen_on_marks_that_could_not_be_read(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture whose mark is lost would count as clean steel. `--layout` settles what a folder is."""
    path = foreign.save(foreign.classifier(2), tmp_path / "mine.onnx")
    import_engine(path, ImportRequest(Task.CLASSIFY, ("a", "b"), activation=Activation.SIGMOID), tmp_path / "engines")
    words = ["fit-thresholds", "mine", "--data", f"mine={pictures}", "--engines", str(tmp_path / "engines")]
    row = "a/0.png,a,1,1,x,9"
    (pictures / "labels.csv").write_text(f"file,class,xmin,ymin,xmax,ymax\n{row}\nb/1.png,b,1,1,9,9\n")
    assert cli.main([*words, "--layout", "csv"]) == 3
    assert "expected numbers of pixels in xmin" in capsys.readouterr().err
    assert cli.main([*words, "--layout", "folders"]) == 0
