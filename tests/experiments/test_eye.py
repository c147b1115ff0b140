"""The trial's bookkeeping: what is right, what a threshold keeps, and that no fold is judged by itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.eye.average import mean_weights
from experiments.eye.instances import FEATURES, Instance, find_instances
from experiments.eye.judge import Found, judge, precision_and_recall, score, threshold_at_precision
from experiments.eye.maps import FAINT, Maps, read, write
from experiments.eye.probability import Table
from linewatch.metrics.calibration import calibration_error
from linewatch.training.samples.labelled_frames import Folds, LabelledFrame, TruePiece


def frame(name: str, *pieces: TruePiece) -> LabelledFrame:
    classes = tuple(sorted({piece.class_index for piece in pieces}))
    return LabelledFrame(name, Path(f"{name}.jpg"), np.zeros((256, 1600), np.uint8), classes, pieces, outlined=True)


SPOT, MARK = TruePiece(0, 100, 50, 140, 90), TruePiece(1, 600, 0, 620, 256)


def test_figures_count_instances_and_clean_frames() -> None:
    """One piece hit by two, one missed, one found beside, and a false one on a clean frame."""
    found = [Found((100, 50, 118, 90), 0), Found((120, 50, 140, 90), 2), Found((900, 10, 950, 60), 0)]
    judged = [judge(frame("a", SPOT, MARK), 0, found), judge(frame("b"), 1, [Found((5, 5, 50, 50), 0)])]
    of = score(judged)
    assert (of.counts["true"], of.counts["hit"], of.counts["class_hit"]) == (2, 1, 1)
    assert (of.counts["found"], of.counts["right"], of.counts["false_on_clean"]) == (4, 2, 1)
    assert of.figures["recall"] == pytest.approx(0.5)
    assert of.figures["precision"] == pytest.approx(0.5)


def test_a_doubtful_clean_frame_is_no_ground_for_a_false_call() -> None:
    of = score([judge(frame("0d1b42754"), 0, [Found((5, 5, 50, 50), 0)])])
    assert (of.counts["clean"], of.counts["found"]) == (0, 0)


def test_the_curve_is_what_each_threshold_scores() -> None:
    """Precision and recall at every probability equal the figures of what is left at that threshold."""
    rng = np.random.default_rng(0)
    judged = []
    for i in range(12):
        pieces = (SPOT, MARK)[: i % 3]
        boxes = [(int(x), 40, int(x) + 60, 100) for x in rng.integers(0, 700, 6)]
        one = judge(frame(f"f{i}", *pieces), i, [Found(box, 0) for box in boxes])
        judged.append(one.believed(rng.random(6).round(1)))
    thresholds, precisions, recalls = precision_and_recall(judged)
    for threshold, precision, recall in zip(thresholds, precisions, recalls, strict=True):
        of = score([one.at(threshold) for one in judged])
        assert (of.figures["precision"], of.figures["recall"]) == (pytest.approx(precision), pytest.approx(recall))
    least = float(np.median(precisions))
    assert threshold_at_precision(judged, least) == min(thresholds[precisions >= least])
    assert threshold_at_precision(judged, 1.1) == float("inf")


def test_an_instance_is_where_the_outline_is() -> None:
    """Two pieces one cell apart are one defect, a far one another; every feature is finite; specks are dropped."""
    outlines = np.full((5, 64, 400), 0.01, np.float32)
    outlines[[0, 3], 10:20, 30:34] = 0.9
    outlines[[0, 3], 10:20, 35:40] = 0.8
    outlines[[0, 1], 40:50, 200:210] = 0.6
    outlines[0, 60, 300] = 0.9
    maps = Maps(np.full((8, 50), 0.5, np.float32), outlines, np.zeros((64, 400), np.float32))
    gray = np.random.default_rng(0).integers(60, 90, (256, 1600)).astype(np.uint8)
    one, other = find_instances(maps, gray)
    assert (one.found.box, one.found.class_index) == ((120, 40, 160, 80), 2)
    assert (other.found.box, other.found.class_index) == ((800, 160, 840, 200), 0)
    assert one.features.shape == (len(FEATURES),)
    assert np.isfinite([one.features, other.features]).all()


def table_of(seed: int) -> Table:
    """Forty frames, whose instances are right the likelier the larger the first of two features is."""
    rng = np.random.default_rng(seed)
    frames = [frame(f"f{i}", SPOT) for i in range(40)]
    folds = Folds({one.name: i for i, one in enumerate(frames)}, {one.name: i % 5 for i, one in enumerate(frames)})
    instances = {}
    for one in frames:
        signal = rng.normal(size=8)
        right = rng.random(8) < 1 / (1 + np.exp(-2 * signal))
        boxes = [(100, 50, 140, 90) if good else (700, 50, 740, 90) for good in right]
        features = np.stack([signal, rng.normal(size=8)], 1)
        instances[one.name] = [Instance(Found(box, 0), row) for box, row in zip(boxes, features, strict=True)]
    return Table.of(frames, folds, instances, ("signal", "noise"))


def test_the_second_stage_finds_what_tells_right_from_wrong() -> None:
    table = table_of(0)
    model = table.fitted(np.ones(len(table.right), bool))
    assert model.evidence["signal"].weight > 5 * abs(model.evidence["noise"].weight)
    probability = table.crossed()
    assert probability[table.right].mean() > probability[~table.right].mean() + 0.2
    assert calibration_error(probability, table.right) < 0.12


def test_no_fold_is_judged_by_a_model_that_saw_it() -> None:
    """Turning a fold's truth around changes the probabilities of every other fold, and none of its own."""
    table = table_of(1)
    before = table.crossed()
    mine = table.fold == 2
    table.right[mine] = ~table.right[mine]
    after = table.crossed()
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).all()


def test_written_maps_come_back_to_a_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = Maps(*(rng.random(shape, np.float32) for shape in ((8, 50), (5, 64, 400), (64, 400))))
    write({"a": one, "b": one}, tmp_path / "maps.npz")
    again = read(tmp_path / "maps.npz")
    assert list(again) == ["a", "b"]
    for part in ("screen", "outlines", "apart"):
        before, after = getattr(one, part), getattr(again["b"], part)
        assert np.abs(before - after)[before >= FAINT].max() <= 0.5 / 255 + 1e-6
        assert (after[before < FAINT] == 0).all()


def test_the_mean_of_two_networks_lies_between_them() -> None:
    one, other = ({"weight": torch.full((2,), value), "count": torch.tensor(3)} for value in (1.0, 3.0))
    found = mean_weights([one, other])
    assert found["weight"].tolist() == [2.0, 2.0]
    assert int(found["count"]) == 3
