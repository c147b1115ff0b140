"""Dice, IoU and Kaggle's Dice are their definitions pixel by pixel; windows are evaluated as by WindowScores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from linewatch.metrics import masks, windows
from linewatch.metrics.masks import MaskAreas
from linewatch.metrics.windows import WindowScores

CLASSES = ("1", "2")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = (draw(st.integers(0, 5)), 2, 3, 4)
    share = draw(st.sampled_from([0.05, 0.5]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    keep = draw(arrays(np.bool_, shape[:2]))[:, :, None, None]
    return random.random(shape), (random.random(shape) < share) & keep


def dice(called: np.ndarray, truth: np.ndarray) -> float:
    """From the definition, eq. 2, over sets of pixels."""
    x, y = ({tuple(at) for at in np.argwhere(of)} for of in (truth, called))
    return 2 * len(x & y) / (len(x) + len(y))


@pytest.mark.slow
@given(pairs())
def test_masks_agree_with_the_definitions(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Each figure against its definition over sets of pixels; nothing defective gives None."""
    probability, truth = case
    called = probability >= 0.5
    found = masks.evaluate(MaskAreas.of(probability, truth), CLASSES, draws=0)
    defective = [i for i in range(len(truth)) if truth[i].any()]
    if not defective:
        assert (found.dice, found.iou) == (None, None)
        assert found.dice_per_class == {"1": None, "2": None}
    else:
        assert found.dice == pytest.approx(np.mean([dice(called[i], truth[i]) for i in defective]))
        jaccard = [metrics.jaccard_score(truth[i].ravel(), called[i].ravel()) for i in defective]
        assert found.iou == pytest.approx(np.mean(jaccard))
        assert found.dice_pooled == pytest.approx(metrics.f1_score(truth.ravel(), called.ravel()))
    for k, name in enumerate(CLASSES):
        has = [i for i in range(len(truth)) if truth[i, k].any()]
        if has:
            want = np.mean([dice(called[i, k], truth[i, k]) for i in has])
            assert found.dice_per_class[name] == pytest.approx(want)
    each = [
        1.0 if not (called[i, k].any() or truth[i, k].any()) else dice(called[i, k], truth[i, k])
        for i in range(len(truth))
        for k in range(2)
    ]
    assert found.kaggle_dice == (pytest.approx(np.mean(each)) if each else None)


def test_kaggle_rewards_silence_on_a_clean_frame() -> None:
    """An empty answer on a clean frame scores 1, a single pixel 0; neither touches the Dice of defective frames."""
    truth, empty = np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 4))
    one = empty.copy()
    one[0, 0, 0, 0] = 1
    silent, loud = (masks.evaluate(MaskAreas.of(called, truth), ["defect"], draws=0) for called in (empty, one))
    assert (silent.kaggle_dice, loud.kaggle_dice) == (1, 0)
    assert silent.dice is loud.dice is None


def test_an_engine_in_bytes_is_judged_like_its_network() -> None:
    """uint8 probabilities x 255, (n, h, w), give the areas of the floats they stand for."""
    rng = np.random.default_rng(0)
    as_bytes = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    truth = rng.random((3, 8, 8)) < 0.3
    as_bytes[0, 0, 0] = 230  # 0.902
    found, want = MaskAreas.of(as_bytes, truth, 0.9), MaskAreas.of(as_bytes[:, None] / 255, truth[:, None], 0.9)
    np.testing.assert_array_equal(found.called, want.called)
    np.testing.assert_array_equal(found.both, want.both)


def test_frames_may_come_in_parts() -> None:
    """Overlaps of parts joined are the overlap of all."""
    rng = np.random.default_rng(1)
    probability, truth = rng.random((5, 2, 6, 6)), rng.random((5, 2, 6, 6)) < 0.4
    joined = MaskAreas.joined([MaskAreas.of(probability[:2], truth[:2]), MaskAreas.of(probability[2:], truth[2:])])
    np.testing.assert_array_equal(joined.both, MaskAreas.of(probability, truth).both)


def test_planes_of_class_numbers() -> None:
    """Class k fills plane k - 1; 0 fills none."""
    found = masks.planes(np.array([[[0, 1], [2, 2]]]), 2)
    assert found.shape == (1, 2, 2, 2)
    assert found[0, 0].tolist() == [[False, True], [False, False]]
    assert found[0, 1].tolist() == [[False, False], [True, True]]


@pytest.mark.slow
def test_labels_of_a_joint_network_are_judged_beside_its_masks() -> None:
    """MLA and AUC per class come from the label head, with truth by the masks; without a head they are None."""
    rng = np.random.default_rng(2)
    truth = masks.planes(rng.integers(0, 3, (12, 5, 5)) * (rng.random((12, 1, 1)) < 0.7), 2)
    truth[:, 1] &= (rng.random(12) < 0.5)[:, None, None]
    overlap, labels = MaskAreas.of(truth * 0.9, truth), rng.random((12, 2))
    found = masks.evaluate(overlap, CLASSES, labels)
    has = truth.any((2, 3))
    assert found.mla == pytest.approx(np.mean((labels >= 0.5) == has))
    assert found.per_class["2"].auc == pytest.approx(metrics.roc_auc_score(has[:, 1], labels[:, 1]))
    assert found.dice == 1
    assert "mla" in found.intervals
    bare = masks.evaluate(overlap, CLASSES, draws=0)
    assert bare.mla is None
    assert bare.per_class == {}


def test_masks_that_do_not_fit_are_refused() -> None:
    """Shapes must agree, and planes be as many as classes."""
    with pytest.raises(ValueError, match="expected"):
        MaskAreas.of(np.zeros((1, 4, 4)), np.zeros((1, 2, 4, 4)))
    with pytest.raises(ValueError, match="1 planes for 2"):
        masks.evaluate(MaskAreas.of(np.zeros((1, 4, 4)), np.zeros((1, 4, 4))), CLASSES)


def test_windows_agree_with_window_scores() -> None:
    """Recall at each pass rate and the AUC are those of `WindowScores` and scikit-learn."""
    rng = np.random.default_rng(4)
    bad, good = rng.normal(1, 1, 80), rng.normal(0, 1, 300)
    scores, defective = np.r_[bad, good], np.r_[np.ones(80, bool), np.zeros(300, bool)]
    found = windows.evaluate(scores, defective, groups=np.arange(380) % 19, draws=50)
    screen = WindowScores(scores, defective, np.arange(380))
    assert found.recall_at_pass_rate == {rate: screen.recall_at(float(rate)) for rate in ("0.01", "0.05", "0.10")}
    assert found.auc == pytest.approx(metrics.roc_auc_score(defective, scores))
    low, high = found.intervals["recall_at_pass_rate.0.10"]
    assert low <= screen.recall_at(0.1) <= high


@pytest.mark.parametrize("defective", [True, False])
def test_windows_of_one_kind_have_no_recall(defective: bool) -> None:
    """All clean or all defective: None under every key."""
    found = windows.evaluate([0.2, 0.7], [defective] * 2)
    assert found.recall_at_pass_rate == {"0.01": None, "0.05": None, "0.10": None}
    assert found.auc is None


def test_false_instances_per_area() -> None:
    """Three false instances on 1.5 m^2 are 2,000 per 1,000 m^2; without area there is no metric."""
    rate, interval = windows.false_instances_per_1000_m2([1, 0, 2], [0.5, 0.5, 0.5])
    assert rate == pytest.approx(2000)
    assert interval is not None
    assert interval[0] <= rate <= interval[1]
    assert windows.false_instances_per_1000_m2([], []) == (None, None)
