"""Sets of one's own from their folder to a trained network and its evaluation, by the command line."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
from made_own import OUTLINED, WITHOUT_OUTLINES, own_pictures, put_picture
from made_pictures import write_table

from linewatch.cli import main
from linewatch.datasets.arguments import OwnSets, joined, open_sets
from linewatch.evaluation.commands import evaluate, train
from linewatch.evaluation.engine_export import export_checkpoint
from linewatch.metrics.result import EvaluationResult
from linewatch.training.papers.joint import Joint, JointSettings

SMALL = ["lines=64", "width=64", "epochs=1", "batch=8", "threads=1", "workers=0"]
CHOICE = ["network=resnet34", *SMALL]


def trained(name: str, root: Path, run: Path, changes: list[str]) -> EvaluationResult:
    result = train(name, data=[f"mymill={root}"], changes=changes, run=run)
    assert result is not None
    (again,) = evaluate(str(run), data=[f"mymill={root}"])
    assert again.count == result.count
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout", ["yolo", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("voc", "folders"))]
)
def test_a_classifier_is_trained_from_boxes_and_folders(layout: str, tmp_path: Path) -> None:
    WITHOUT_OUTLINES[layout](tmp_path / "set", own_pictures())
    result = trained("custom_cnn", tmp_path / "set", tmp_path / "run", CHOICE)
    assert result.classes == ("dent", "ok", "scale", "scratch")


@pytest.mark.slow
def test_clean_steel_is_a_class_of_the_training_and_no_defect_of_the_engine(tmp_path: Path) -> None:
    WITHOUT_OUTLINES["folders"](tmp_path / "set", own_pictures())
    result = trained("custom_cnn", tmp_path / "set", tmp_path / "run", CHOICE)
    manifest = export_checkpoint(tmp_path / "run", "mymill", tmp_path / "engines")
    assert manifest.classes == tuple(manifest.thresholds) == ("dent", "scale", "scratch")
    (again,) = evaluate("mymill", data=[f"mymill={tmp_path / 'set'}"], engines_dir=tmp_path / "engines")
    assert set(again.classes) == set(result.classes)
    assert (again.count, again.per_class["ok"].support) == (result.count, result.per_class["ok"].support)


@pytest.mark.slow
def test_layouts_with_outlines_train_the_same_segmentation(tmp_path: Path) -> None:
    results = {}
    for layout in ("coco", "labelme"):
        (tmp_path / layout).mkdir()
        OUTLINED[layout](tmp_path / layout, own_pictures())
        changes = ["encoder=mobilenet_v1_0.25", *SMALL]
        results[layout] = trained("tlu_net", tmp_path / layout, tmp_path / f"run-{layout}", changes)
    assert {one.classes for one in results.values()} == {("dent", "scale", "scratch")}
    assert {one.count for one in results.values()} == {results["coco"].count}
    dice = [one.dice for one in results.values()]
    assert dice == pytest.approx([dice[0]] * 2, abs=0.02)  # polygons and run lengths differ by rounding


@pytest.mark.data
@pytest.mark.slow
def test_real_pictures_in_yolo_and_table_layouts(real_data: Path, tmp_path: Path) -> None:
    """48 patches of NEU as a mill would keep them: YOLO's boxes, and Excel's semicolons with a byte order mark."""
    names, rows = ("scratches", "patches", "inclusion"), []
    for number, name in enumerate(names):
        for path in sorted((real_data / "neu" / "images").glob(f"{name}_*.jpg"))[:16]:
            for root in ("yolo", "table"):
                (tmp_path / root / "images").mkdir(parents=True, exist_ok=True)
                shutil.copy(path, tmp_path / root / "images" / path.name)
            (tmp_path / "yolo" / "labels").mkdir(exist_ok=True)
            (tmp_path / "yolo" / "labels" / f"{path.stem}.txt").write_text(f"{number} .5 .5 .2 .2\n")
            rows.append(f"images\\{path.name}; {name.upper() if len(rows) % 2 else name}")
    (tmp_path / "yolo" / "data.yaml").write_text(f"names: [{', '.join(names)}]\n")
    (tmp_path / "table" / "labels.csv").write_text("File;Class\r\n" + "\r\n".join(rows), encoding="utf-8-sig")
    yolo, table = open_sets([f"a={tmp_path / 'yolo'}", f"b={tmp_path / 'table'}"])
    assert [(one.file, one.labels) for one in yolo.specimens] == [(one.file, one.labels) for one in table.specimens]
    assert len(yolo.specimens) == 48
    result = train("custom_cnn", data=[f"b={tmp_path / 'table'}"], changes=CHOICE, run=tmp_path / "run")
    assert result is not None
    assert set(result.classes) == set(names)


def test_one_class_and_mixed_images_are_no_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    OUTLINED["csv"](tmp_path, own_pictures(8))
    data = ["train", "custom_cnn", "--data", f"mymill={tmp_path}", "--run", str(tmp_path / "run")]
    write_table(tmp_path / "labels.csv", ["file", "class"], [[f"p{n}.png", "dent"] for n in range(8)])
    shutil.rmtree(tmp_path / "masks")
    assert main(data) == 3
    assert "one class only, dent: classification has nothing to tell apart" in capsys.readouterr().err
    rows = [[f"p{n}.png", ("dent", "scale")[n % 2]] for n in range(8)]
    write_table(tmp_path / "labels.csv", ["file", "class"], [*rows, ["p0.png", "scale"]])
    assert main(data) == 3
    told = capsys.readouterr().err
    assert "images that show several classes: 1 (p0.png (dent, scale)), expected one class for each" in told
    assert not (tmp_path / "run").exists()


def test_datasets_check_prints_what_was_recognised_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    OUTLINED["coco"](tmp_path, own_pictures(12))
    words = ["datasets", "check", "--data", f"mymill={tmp_path}"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "12 images" in shown
    assert "read as coco, because of annotations/instances_default.json with images, annotations" in shown
    assert "class    images  boxes  outlines  masks" in shown
    assert "dent          3      0         3      3" in shown
    assert "images annotated without a defect, which are of the class ok: 3 (p0.png, p4.png, p8.png)" in shown
    assert "fewer than 5 images: dent (3), ok (3)" in shown
    (tmp_path / "images" / "p3.png").unlink()
    assert main([*words, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [one["text"].split(";")[0] for one in found["problems"]] == ["a label names it, but it is not there"]
    assert main([*words, "--layout", "cocoa"]) == 2
    assert "--layout cocoa: expected one of csv, coco, yolo" in capsys.readouterr().err


def test_an_incomplete_set_is_not_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    OUTLINED["coco"](tmp_path, own_pictures(8))
    file = tmp_path / "annotations" / "instances_default.json"
    body = json.loads(file.read_text())
    body["annotations"][0]["category_id"] = 99
    file.write_text(json.dumps(body))
    assert main(["evaluate", "classify", "--data", f"mymill={tmp_path}"]) == 3
    assert "mymill: 1 problem, correct it first" in capsys.readouterr().err


def test_the_taxonomy_names_the_classes_of_an_own_set(tmp_path: Path) -> None:
    WITHOUT_OUTLINES["folders"](tmp_path / "set", own_pictures(8))
    taxonomy = tmp_path / "taxonomy.toml"
    taxonomy.write_text(
        '[classes.inclusion]\nmeaning = "slag"\nseverity = "major"\n'
        '[sets.mymill]\nlabels = { dent = "inclusion", scale = "inclusion", scratch = "inclusion" }\n'
    )
    (data_set,) = open_sets([f"mymill={tmp_path / 'set'}"], taxonomy=taxonomy)
    assert data_set.labels == ("inclusion", "ok")
    assert "classes are those of the house" in "\n".join(data_set.notes)


def test_joined_sets_keep_their_masks_and_their_files_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        OUTLINED["csv"](tmp_path / name, own_pictures(8))
    both = joined(open_sets([f"{name}={tmp_path / name}" for name in ("a", "b")]))
    assert len({one.file for one in both.specimens}) == 16
    study = Joint(JointSettings(lines=64, width=64), both)
    assert study.classes == tuple(f"{name}:{label}" for name in "ab" for label in ("dent", "scale", "scratch"))
    last = next(one for one in both.specimens if one.labels == ("b:scratch",))
    assert set(study.image_and_mask(last)[1].ravel()) == {0, 6}


def test_an_unmarked_image_is_clean_where_the_user_says_so(tmp_path: Path) -> None:
    OUTLINED["labelme"](tmp_path, own_pictures(8))
    put_picture(tmp_path / "later.png", cv2.imread(str(tmp_path / "p0.png"), cv2.IMREAD_GRAYSCALE))
    (unknown,) = open_sets([f"mymill={tmp_path}"])
    (clean,) = open_sets([f"mymill={tmp_path}"], OwnSets(unmarked="clean"))
    assert [one.labels for one in unknown.specimens if one.file == "later.png"] == [()]
    assert [one.labels for one in clean.specimens if one.file == "later.png"] == [("ok",)]
