"""The inspect network's training: what the loss asks for, a run that goes on where it stopped, and its engine."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made_pictures import write_table
from torch import Tensor

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.datasets import open_set
from linewatch.datasets.splits import Split
from linewatch.evaluation.engine_export import export_checkpoint
from linewatch.evaluation.evaluate import headlines, of_loaded, unseen
from linewatch.evaluation.fold_networks import fold_networks
from linewatch.evaluation.quantize import quantize
from linewatch.inference.engines import find_engine
from linewatch.networks.inspect import FrameLogits
from linewatch.training.house.inspect_fit import FoldTraining, InspectSettings, Schedule, loss
from linewatch.training.samples.labelled_crops import CROP_PX, CropSampler, Targets, TrainingCrop
from linewatch.training.samples.labelled_frames import CLASSES, SPLIT, UNKNOWN, LabelledFrame, TruePiece

WEIGHT = torch.ones(1, 64, CROP_PX // 4)


def told() -> FrameLogits:
    mask = np.zeros((256, CROP_PX), np.uint8)
    mask[40:80, 40:120], mask[160:200, 200:300], mask[0:64, 320:384] = 1, 3, UNKNOWN
    targets = Targets.of(mask)
    return FrameLogits(torch.from_numpy(targets.screen)[None], torch.from_numpy(targets.outlines)[None])


def perfect(of: FrameLogits) -> FrameLogits:
    return FrameLogits(20 * of.screen - 10, 20 * of.outlines - 10)


def test_the_loss_is_lowest_at_the_truth_and_asks_for_each_part_of_it() -> None:
    """Right everywhere costs next to nothing; a wrong class, a missed defect, a false one, a blind screen each do."""
    truth = told()
    right = perfect(truth)
    best = float(loss(right, truth, WEIGHT))
    assert best < 0.02

    def spoilt(change: Tensor, head: str = "outlines") -> float:
        return float(loss(right._replace(**{head: change}), truth, WEIGHT))

    swapped = right.outlines[:, [0, 3, 2, 1, 4]]
    missed, false = right.outlines.clone(), right.outlines.clone()
    missed[:, 0, 10:20, 10:30] = -10
    false[:, 0, 50:60, 90:110] = 10
    assert all(spoilt(worse) > best + 0.2 for worse in (swapped, missed, false))
    assert spoilt(-right.screen, "screen") > best + 1


def test_an_unknown_outline_teaches_nothing() -> None:
    truth = told()
    said = FrameLogits(torch.zeros_like(truth.screen), torch.zeros_like(truth.outlines).requires_grad_())
    loss(said, truth, WEIGHT).backward()
    assert said.outlines.grad is not None
    assert (said.outlines.grad[:, :, 0:16, 80:96] == 0).all()
    assert (said.outlines.grad[:, 0, 10:20, 10:30] < 0).all()
    assert (said.outlines.grad[:, 1, 12:18, 12:28] < 0).all()


@pytest.fixture
def frames(tmp_path: Path) -> list[LabelledFrame]:
    """A clean frame, and one with a defect of each class."""
    rng = np.random.default_rng(0)
    found = []
    for name, clean in (("clean", True), ("defective", False)):
        gray = rng.integers(80, 120, (256, 1600)).astype(np.uint8)
        mask = np.zeros_like(gray)
        pieces = [] if clean else [TruePiece(k, 200 + 300 * k, 60, 260 + 300 * k, 140) for k in range(4)]
        for one in pieces:
            gray[one.y0 : one.y1, one.x0 : one.x1] //= 3
            mask[one.y0 : one.y1, one.x0 : one.x1] = 1 + one.class_index
        path = tmp_path / f"{name}.png"
        assert cv2.imwrite(str(path), gray)
        classes = () if clean else (0, 1, 2, 3)
        found.append(LabelledFrame(name, path, mask, classes, tuple(pieces), outlined=True))
    return found


def test_a_look_keeps_truth_and_picture_together(frames: list[LabelledFrame]) -> None:
    """Wherever a look says defect the steel is darker, flips, shifts and laid defects included; seeds repeat it."""
    crops = CropSampler(frames)
    drawn = [crops.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert all(one.gray.shape == one.mask.shape == (256, CROP_PX) for one in drawn)
    defective = [one for one in drawn if (one.mask > 0).sum() > 400]
    assert len(defective) > 15
    assert {int(value) for one in defective for value in np.unique(one.mask)} == {0, 1, 2, 3, 4}

    def darker(one: TrainingCrop) -> bool:
        return bool(one.gray[one.mask > 0].mean() < 0.8 * one.gray[one.mask == 0].mean())

    assert all(darker(one) for one in defective)
    assert np.array_equal(drawn[7].gray, crops.draw(np.random.default_rng(7)).gray)


def test_targets_say_nothing_where_an_outline_is_unknown() -> None:
    """Inside a box neither clean nor defect for the outlines, but the screen learns that the box holds something."""
    mask = np.zeros((256, 448), np.uint8)
    mask[64:128, 64:128] = UNKNOWN
    mask[0:4, 200:204] = 3
    told = Targets.of(mask)
    assert (told.outlines[:, 16:32, 16:32] == -1).all()
    assert told.outlines[:, 0, 50].tolist() == [1, 0, 0, 1, 0]
    assert (told.screen[2:4, 2:4] == 1).all()
    assert told.screen[7, 13] == 0
    assert told.screen[0, 6] == -1  # grazed


def test_the_learning_rate_falls_over_the_last_steps() -> None:
    shares = [Schedule(10, 4).share(step) for step in range(10)]
    assert shares == [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert Schedule(10, 0).share(9) == 1


def test_a_run_goes_on_where_it_was_saved(frames: list[LabelledFrame], tmp_path: Path) -> None:
    """Step, weights, their mean and the optimiser's state come back, and the next step takes all of them on."""
    settings = InspectSettings(batch=2, steps=10, cool=5)
    run, crops = FoldTraining.begin(None, tmp_path / "state.pt", settings), CropSampler(frames)
    run.turn(crops, 1)
    run.save()
    again = FoldTraining.begin(None, tmp_path / "state.pt", settings)
    assert again.step == 1
    for mine, theirs in ((again.network, run.network), (again.mean, run.mean)):
        pairs = zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    moments = again.optimiser.state_dict()["state"]
    assert len(moments) == len(run.optimiser.state_dict()["state"]) > 0
    again.turn(crops, 1)
    assert again.step == 2
    assert not list(tmp_path.glob("*.part"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of both sets, with two clean and two defective frames of each of folds 0 and 4."""
    of_fold = {fold: [row for row in Split.read(SPLIT).assignments if row.fold == fold][:4] for fold in (0, 4)}
    named = [row.file for rows in of_fold.values() for row in rows]
    for place in ("severstal/images", "severstal/masks", "severstal_more"):
        (tmp_path / "data" / place).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for at, name in enumerate(named):
        gray, mask = rng.integers(80, 120, (256, 1600)).astype(np.uint8), np.zeros((256, 1600), np.uint8)
        if at % 2:
            gray[60:140, 300:400] //= 3
            mask[60:140, 300:400] = 3
            assert cv2.imwrite(str(tmp_path / "data/severstal/masks" / f"{Path(name).stem}.png"), mask)
        assert cv2.imwrite(str(tmp_path / "data/severstal/images" / name), gray)
    rows = [[name, "3" if at % 2 else "ok"] for at, name in enumerate(named)]
    write_table(tmp_path / "data/severstal/labels.csv", ["file", "defect_classes"], rows)
    for table in ("severstal/class_only.csv", "severstal_more/labels.csv"):
        write_table(tmp_path / "data" / table, ["file", "defect_classes"], [])
    return tmp_path / "data"


@pytest.mark.heavy
def test_a_state_becomes_an_engine_that_is_judged_on_what_it_has_not_seen(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest fits the task, the figures are of fold 0, and the frames of the other folds are told as seen."""
    settings = InspectSettings()
    run = FoldTraining.begin(None, tmp_path / "run/fold-0/state.pt", settings)
    run.save()
    manifest = export_checkpoint(tmp_path / "run/fold-0", "eye", tmp_path, [f"severstal_frames={data}"])
    engine = find_engine(tmp_path, "eye")
    assert engine.manifest == manifest
    assert (manifest.task, manifest.cell_px, manifest.classes) == (Task.INSPECT, 4, CLASSES)
    assert manifest.training.data[0].count == 4
    assert {"severstal_auc", "severstal_dice", "severstal_piece_recall"} <= set(manifest.metrics)
    target = of_loaded(engine)
    frames = open_set("severstal_frames", data)
    assert {one.fold for one in unseen(target, frames)} == {0}
    figures = headlines(target, frames, unseen(target, frames), Taxonomy.read())
    assert [one.name for one in figures] == ["recall_at_10pct", "dice", "piece_recall"]
    again = [one.of(np.arange(len(one.groups))) for one in figures]
    told = [manifest.metrics[f"severstal_{one.name}"] for one in figures]
    assert again == pytest.approx(told, abs=1e-3)  # by torch and by the engine alike
    (network,) = fold_networks(tmp_path / "run", engine)
    assert network.fold == 0
    monkeypatch.setattr(f"{quantize.__module__}.MOST_LEFT_FP32", 0)
    (signed, *_) = quantize(
        "eye",
        data=[f"severstal_frames={data}"],
        bound=0.99,
        engines_dir=tmp_path,
        calibration_dir=tmp_path / "int8",
        tiles=2,
        folds=tmp_path / "run",
    )
    accepted = signed.manifest.quantisation
    assert accepted is not None
    assert {(one.figure, one.backend) for one in accepted.acceptance} == {
        (figure.name, backend) for figure in figures for backend in ("onnxruntime", "openvino")
    }


def test_what_is_no_state_of_an_inspect_network_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "fold-1").mkdir()
    torch.save({"network": {"a": torch.zeros(1)}, "step": 3}, tmp_path / "fold-1" / "state.pt")
    for folder, error in (("fold-1", "holds no state of an inspect network"), ("fold-9", "expected fold-0 to fold-4")):
        with pytest.raises(ConfigError, match=error):
            export_checkpoint(tmp_path / folder / "state.pt", "eye", tmp_path, [f"severstal_frames={data}"])
    with pytest.raises(ConfigError, match="names no severstal_frames"):
        export_checkpoint(tmp_path / "fold-1" / "state.pt", "eye", tmp_path, [f"neu={data}"])
