"""Plots are PNGs of a readable size, drawn from realistic numbers; what cannot be drawn is named."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.metrics import multi_label, plots
from linewatch.metrics.plots import curves

SCALE_CLASSES = ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")


def written(path: Path) -> np.ndarray:
    """The picture at `path`: wide enough to read, small enough to show, and not empty."""
    picture = cv2.imread(str(path))
    assert picture is not None
    assert 800 <= picture.shape[1] <= 1620
    assert picture.std() > 5
    return picture


def run(path: Path, seed: int, epochs: int = 30, speed: float = 4.0) -> Path:
    """A history.csv as `linewatch.training.fit` writes it."""
    rng = np.random.default_rng(seed)
    names = ["phase", "epoch", "step", "seconds", "rate", "train_loss", "val_loss", "val_top1"]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for epoch in range(epochs):
            loss = 1.7 * np.exp(-epoch / speed) + 0.02
            validation = [loss * rng.uniform(1, 1.4) + 0.05, 0.975 - loss / 2 + rng.normal(0, 0.01)]
            table.writerow(
                dict(zip(names, ["fit", epoch, epoch * 10, 2.5, 1e-4 * 0.9**epoch, loss, *validation], strict=True))
            )
    return path


def sets_of_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth of three classes, of which the first is rare and hard."""
    rng = np.random.default_rng(5)
    truth = rng.random((count, 3)) < [0.05, 0.25, 0.15]
    logits = rng.normal(-2.5, 1.2, truth.shape) + truth * [2.5, 4.0, 5.0]
    return 1 / (1 + np.exp(-logits)), truth


def test_learning_curves_show_each_metric_once(tmp_path: Path) -> None:
    """Loss, rate, seconds and top-1: four panels."""
    plots.learning_curves(run(tmp_path / "history.csv", 0), tmp_path / "new" / "curves.png")
    assert written(tmp_path / "new" / "curves.png").shape[:2] == (780, 1100)


def test_a_metric_that_starts_late_is_drawn_where_it_is(tmp_path: Path) -> None:
    """Rows without a value are nan; the second phase of a training may log more than the first."""
    (tmp_path / "history.csv").write_text("phase,epoch,step,train_loss,val_loss\na,0,5,1.5,\nb,1,9,1.0,1.2\n")
    assert np.isnan(curves.logged(tmp_path / "history.csv")["val_loss"]).tolist() == [True, False]
    plots.learning_curves(tmp_path / "history.csv", tmp_path / "late.png")
    written(tmp_path / "late.png")


@pytest.mark.parametrize("told", ["", "epoch,step,loss\n", "epoch,step,loss\n0,0,\n"])
def test_a_run_that_logged_nothing_is_named(tmp_path: Path, told: str) -> None:
    """A run killed before its first figure has no curves; no file is left behind."""
    (tmp_path / "history.csv").write_text(told)
    with pytest.raises(plots.NothingToDraw, match=r"history\.csv: no metric was logged"):
        plots.learning_curves(tmp_path / "history.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_convergence_of_several_runs(tmp_path: Path) -> None:
    """One line per run; a run without the figure is named with what it has."""
    runs = {
        f"{name} ({start})": run(tmp_path / f"{name}{start}.csv", i, 10, speed)
        for i, (name, start, speed) in enumerate(
            [("ResNet-18", "pretrained", 1.5), ("ResNet-18", "random", 4), ("DenseNet-121", "pretrained", 1.8)]
        )
    }
    plots.convergence(runs, "val_top1", tmp_path / "convergence.png")
    written(tmp_path / "convergence.png")
    with pytest.raises(plots.NothingToDraw, match="no column val_dice, expected one of epoch, step"):
        plots.convergence(runs, "val_dice", tmp_path / "none.png")


def test_confusion(tmp_path: Path) -> None:
    """Six classes, a few errors, one class that never occurs."""
    counts = np.diag([51, 52, 54, 50, 49, 0])
    counts[0, 4], counts[1, 5], counts[3, 0] = 3, 2, 4
    plots.confusion(counts, SCALE_CLASSES, tmp_path / "confusion.png")
    written(tmp_path / "confusion.png")


def test_pr_roc_and_threshold_curves(tmp_path: Path) -> None:
    """Three classes of label sets with their chosen thresholds; a class that never occurs is skipped, not drawn."""
    scores, truth = sets_of_labels(1500)
    truth = np.column_stack([truth, np.zeros(len(truth), bool)])
    scores = np.column_stack([scores, scores[:, 0] / 2])
    names = ("I spots", "II scratches", "III films", "IV none")
    plots.pr_and_roc(scores, truth, names, tmp_path / "pr.png")
    written(tmp_path / "pr.png")
    thresholds = multi_label.thresholds_by_f1(scores, truth)
    plots.threshold_curves(scores, truth, names, thresholds, tmp_path / "thresholds.png")
    written(tmp_path / "thresholds.png")
    with pytest.raises(plots.NothingToDraw, match="IV none"):
        plots.pr_and_roc(scores[:, 3:], truth[:, 3:], names[3:], tmp_path / "none.png")


def test_box_plots_and_paired_histogram(tmp_path: Path) -> None:
    """Dice and IoU of four networks, images without a defect left out; two comparisons with their share improved."""
    rng = np.random.default_rng(6)
    dice = {
        f"{name}, {start}": np.r_[rng.beta(a, 2.5, 90), np.nan]
        for name, start, a in (
            ("ResNet-18", "pretrained", 9),
            ("ResNet-18", "random", 6),
            ("DenseNet-121", "pretrained", 8),
            ("DenseNet-121", "random", 7),
        )
    }
    iou = {name: values / (2 - values) for name, values in dice.items()}
    plots.box_plots({"Dice": dice, "IoU": iou}, tmp_path / "boxes.png")
    written(tmp_path / "boxes.png")
    gain = {"ResNet-18: pretrained minus random": rng.normal(0.06, 0.09, 150), "DenseNet-121": rng.normal(0, 0.05, 150)}
    plots.paired_histogram(gain, tmp_path / "paired.png")
    written(tmp_path / "paired.png")
    with pytest.raises(plots.NothingToDraw, match="DenseNet"):
        plots.paired_histogram({"DenseNet-121": []}, tmp_path / "none.png")


@pytest.mark.slow
def test_tradeoff_with_crowded_names(tmp_path: Path) -> None:
    """Networks close to each other keep their names apart; the shipped one is marked."""
    measured = [
        ("screen int8", 0.6, 0.962, True),
        ("screen fp32", 1.7, 0.964, False),
        ("screen half", 0.55, 0.941, False),
        ("mobilenet_v2 tiles", 6.8, 0.958, False),
        ("mobilenet_v1 0.25", 1.6, 0.931, False),
        ("mobilenet_v1 0.5", 2.2, 0.944, False),
        ("resnet18", 16.0, 0.968, False),
        ("resnet18 int8", 3.2, 0.966, False),
        ("resnet34 int8", 3.5, 0.967, False),
        ("resnet50", 38.0, 0.971, False),
        ("linear probe", 6.5, 0.66, False),
        ("nasnet_mobile", 12.0, 0.955, False),
        ("vgg11", 45.0, 0.952, False),
    ]
    candidates = [plots.TradeoffPoint(n, ms, f, (f - 0.02, min(f + 0.015, 1)), s) for n, ms, f, s in measured]
    plots.tradeoff(candidates, tmp_path / "tradeoff.png", metric="recall at 10 % of clean tiles passed")
    written(tmp_path / "tradeoff.png")
    with pytest.raises(plots.NothingToDraw, match="no network"):
        plots.tradeoff([], tmp_path / "none.png")


def texture(seed: int, high: int, wide: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(110, 30, (high, wide)).astype(np.float32)
    gray = cv2.GaussianBlur(noise, (0, 0), 2) * 1.0
    cv2.line(gray, (wide // 4, 0), (wide // 3, high), 220, 4)
    return gray.clip(0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(200, 200), (256, 1600)])
def test_gallery_and_feature_maps_of_tiles_and_frames(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Square tiles five in a row, frames two; a row of channels for each depth."""
    shown = [
        plots.CalledImage(texture(i, *shape), "scratches", "defect-free" if i % 3 else "scratches", 0.5 + i / 20)
        for i in range(7)
    ]
    plots.gallery(shown, tmp_path / "gallery.png")
    written(tmp_path / "gallery.png")
    gray = texture(0, *shape)
    stages = []
    for name, scale, channels in (("layer1", 4, 64), ("layer2", 8, 128), ("layer3", 16, 256), ("layer4", 32, 2)):
        small = cv2.resize(gray, (shape[1] // scale, shape[0] // scale), interpolation=cv2.INTER_AREA) / 255.0
        gains = np.random.default_rng(scale).normal(0, 1, (channels, 1, 1))
        stages.append(plots.FeatureMaps(name, np.maximum(gains * (small - small.mean()), 0)))
    plots.feature_maps(gray, stages, tmp_path / "maps.png")
    written(tmp_path / "maps.png")


def test_heat_glows_where_the_map_is_high() -> None:
    """A flat map leaves the image gray; a peak colours its surroundings only."""
    gray = texture(0, 64, 96)
    flat = plots.heat(gray, np.full((4, 6), 3.0))
    np.testing.assert_array_equal(flat, np.repeat(gray[..., None], 3, 2))
    peak = np.zeros((4, 6))
    peak[1, 4] = 1
    glowing = plots.heat(gray, peak).astype(int)
    changed = np.abs(glowing - gray[..., None]).max(2) > 10
    assert changed[16:32, 64:80].any()
    assert not changed[:, :32].any()


@pytest.mark.parametrize("draw", [plots.gallery, lambda none, out: plots.feature_maps(texture(0, 9, 9), none, out)])
def test_nothing_to_show_is_named(tmp_path: Path, draw: object) -> None:
    """No image, no stage."""
    assert callable(draw)
    with pytest.raises(plots.NothingToDraw):
        draw([], tmp_path / "none.png")
