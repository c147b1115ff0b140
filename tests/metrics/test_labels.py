"""Figures of labels, label sets and counts are what independent references say, and None where there is none."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from linewatch.metrics import counts, labels, multi_label
from linewatch.metrics.classes import NotFinite, auc

CLASSES = ("crazing", "rolled-in_scale", "no. 3")

unit = st.floats(0, 1, width=16)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(0, 30))
    return draw(arrays(np.float64, (n, 3), elements=unit)), draw(arrays(np.int64, n, elements=st.integers(0, 2)))


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(0, 30))
    return draw(arrays(np.float64, (n, 3), elements=unit)), draw(arrays(np.bool_, (n, 3)))


def same(found: float | None, reference: float) -> bool:
    """None stands for the reference's nan."""
    return np.isnan(reference) if found is None else found == pytest.approx(reference)


@pytest.mark.slow
@given(labelled())
def test_single_labels_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Top-1, macro and per-class precision, recall, F1 and the confusion are scikit-learn's; without a warning."""
    scores, truth = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = labels.evaluate(scores, truth, CLASSES, draws=0)
    assert found.count == len(truth)
    if not len(truth):
        assert found.top1 is None
        return
    called = scores.argmax(1)
    assert found.top1 == pytest.approx(metrics.accuracy_score(truth, called))
    assert found.confusion is not None
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(truth, called, labels=[0, 1, 2]))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, called, labels=[0, 1, 2], zero_division=np.nan
    )
    for k, name in enumerate(CLASSES):
        of = found.per_class[name]
        assert of.support == support[k]
        assert same(of.precision, precision[k])
        assert same(of.recall, recall[k])
        neither = support[k] == 0 and not (called == k).any()
        assert of.f1 is None if neither else of.f1 == pytest.approx(f1[k])
        assert of.accuracy == pytest.approx(metrics.accuracy_score(truth == k, called == k))
    assert found.recall == pytest.approx(np.nanmean(recall))
    assert found.precision == pytest.approx(np.nanmean(precision))


@pytest.mark.slow
@given(label_sets())
def test_auc_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    """AUC is scikit-learn's for scores of any range, and None when one kind is missing."""
    scores, truth = case
    for k in range(3):
        found = auc(scores[:, k] * 40 - 20, truth[:, k])
        if len(set(truth[:, k].tolist())) < 2:
            assert found is None
        else:
            assert found == pytest.approx(metrics.roc_auc_score(truth[:, k], scores[:, k]), abs=1e-6)


@pytest.mark.slow
@given(label_sets())
def test_label_sets_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Exact match, MLA and tables 2 and 3's figures, each class at its own threshold."""
    scores, truth = case
    thresholds = np.array([0.2, 0.5, 0.7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = multi_label.evaluate(scores, truth, CLASSES, thresholds, draws=0)
    if not len(truth):
        assert found.exact is None
        assert found.mla is None
        return
    called = scores >= thresholds
    assert found.exact == pytest.approx(metrics.accuracy_score(truth, called))
    assert found.mla == pytest.approx(1 - metrics.hamming_loss(truth, called))
    assert found.mla == pytest.approx(np.mean([of.accuracy for of in found.per_class.values()]))
    of_all = [*found.per_class.values(), found.defect_free]
    is_true, is_called = (np.column_stack([sets, ~sets.any(1)]) for sets in (truth, called))
    for k, of in enumerate(of_all):
        assert of is not None
        assert same(of.precision, metrics.precision_score(is_true[:, k], is_called[:, k], zero_division=np.nan))
        assert same(of.recall, metrics.recall_score(is_true[:, k], is_called[:, k], zero_division=np.nan))
        if is_true[:, k].any():
            assert of.f1 == pytest.approx(metrics.f1_score(is_true[:, k], is_called[:, k]))


@given(label_sets())
def test_confusion_counts_each_sample_of_one_class_once(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Rows hold the samples with that class alone; the last ones those without any; sets of several are left out."""
    scores, truth = case
    found = multi_label.evaluate(scores, truth, CLASSES, draws=0)
    assert found.confusion_classes == (*CLASSES, "defect-free")
    alone = truth.sum(1) == 1
    want = [(alone & truth[:, k]).sum() for k in range(3)] + [(~truth.any(1)).sum()]
    np.testing.assert_array_equal(np.sum(found.confusion, axis=1), want)


def test_confusion_tells_what_a_sample_was_taken_for() -> None:
    """Called nothing is defect-free; called several is the most probable one."""
    scores = [[0.9, 0.8, 0.1], [0.4, 0.4, 0.4], [0.1, 0.6, 0.9], [0.9, 0.9, 0.9]]
    truth = [[0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]]
    found = multi_label.evaluate(scores, truth, CLASSES, draws=0).confusion
    assert found == ((0, 0, 0, 1), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 1, 0))
    strict = multi_label.evaluate(scores[:1], truth[:1], CLASSES, [0.95, 0.5, 0.5], draws=0).confusion
    assert strict is not None
    assert strict[1] == (0, 1, 0, 0)  # 0.9 is more probable than 0.8, and yet not called


@pytest.mark.slow
@given(label_sets())
@settings(max_examples=60)
def test_no_threshold_has_a_higher_f1(case: tuple[np.ndarray, np.ndarray]) -> None:
    """The chosen threshold's F1 equals the best of every possible one; 0.5 where a class never occurs."""
    scores, truth = case
    for k, threshold in enumerate(multi_label.thresholds_by_f1(scores, truth)):
        if not truth[:, k].any():
            assert threshold == 0.5
            continue
        best = max(metrics.f1_score(truth[:, k], scores[:, k] >= t) for t in np.unique(scores[:, k]))
        assert metrics.f1_score(truth[:, k], scores[:, k] >= threshold) == pytest.approx(best)


def test_a_threshold_lies_between_what_is_called_and_what_is_not() -> None:
    """Scores of 0.2 and 0.8 part at 0.5."""
    found = multi_label.thresholds_by_f1([[0.2], [0.2], [0.8], [0.9]], [[0], [0], [1], [1]])
    assert found == pytest.approx([0.5])


def test_counts_by_hand() -> None:
    """Vectors exactly right, entries right and squared error; below zero counts as none; presence per class."""
    outputs = [[2.4, 0.6, 0.9], [3.6, -0.7, 0.2], [0.2, 1.9, 1.6]]
    truth = [[2, 1, 1], [4, 0, 0], [0, 1, 3]]
    found = counts.evaluate(outputs, truth, CLASSES, draws=0)
    np.testing.assert_array_equal(counts.rounded(outputs), [[2, 1, 1], [4, 0, 0], [0, 2, 2]])
    assert found.count_exact == pytest.approx(2 / 3)
    assert found.count_accuracy == pytest.approx(7 / 9)
    assert found.count_mse == pytest.approx(metrics.mean_squared_error(truth, outputs))
    assert found.per_class["no. 3"].support == 2
    assert found.per_class["no. 3"].recall == 1
    assert found.top1 is None


def test_a_clean_class_gives_recall_at_pass_rates() -> None:
    """With one class named clean, the others are defective: recall by 1 - p(clean) at each pass rate."""
    rng = np.random.default_rng(3)
    clean = np.r_[rng.uniform(0.5, 1, 40), rng.uniform(0, 0.6, 60)]
    scores, truth = np.column_stack([clean, 1 - clean]), np.r_[np.zeros(40, int), np.ones(60, int)]
    found = labels.evaluate(scores, truth, ("ok", "defect"), clean="ok", draws=0)
    for rate in (0.01, 0.05, 0.10):
        passed = int(rate * 40)
        bound = np.sort(1 - clean[:40])[::-1][passed]
        assert found.recall_at_pass_rate[f"{rate:.2f}"] == pytest.approx(np.mean(1 - clean[40:] > bound))
    assert found.auc == pytest.approx(metrics.roc_auc_score(truth, 1 - clean))


def test_only_clean_images_give_no_recall() -> None:
    """Without a defective image there is nothing to recall: null in the JSON, under the fixed keys."""
    found = labels.evaluate([[0.9, 0.1]] * 3, [0] * 3, ("ok", "defect"), clean="ok", draws=0)
    told = json.loads(found.model_dump_json())
    assert told["recall_at_pass_rate"] == {"0.01": None, "0.05": None, "0.10": None}
    assert told["top1"] == 1.0
    assert told["auc"] is None


def test_scores_that_are_no_numbers_are_named() -> None:
    """A diverged network is told by the first bad sample, not judged."""
    with pytest.raises(NotFinite, match=r"1 of 2 samples \(the first: number 1\).*diverged"):
        labels.evaluate([[0.5, 0.5], [np.nan, 0.5]], [0, 1], ("a", "b"))


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Probabilities, labels, classes and groups must be as many."""
    with pytest.raises(ValueError, match="classes"):
        labels.evaluate(np.zeros((2, 3)), [0, 1], ("a", "b"))
    with pytest.raises(ValueError, match="3 groups for 2"):
        labels.evaluate(np.zeros((2, 2)), [0, 1], ("a", "b"), groups=[1, 1, 2])
    with pytest.raises(ValueError, match="expected"):
        multi_label.evaluate(np.zeros((2, 3)), np.zeros((2, 2)), CLASSES)
    with pytest.raises(ValueError, match="expected"):
        counts.evaluate(np.zeros((2, 3)), np.zeros((2, 2)), CLASSES)
