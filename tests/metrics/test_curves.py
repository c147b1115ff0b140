"""The curve of counts over thresholds agrees with scikit-learn, and its searches find what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from linewatch.metrics.curves import ThresholdCurve, threshold_by_f1

few_scores = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), min_size=1, max_size=30)


@given(few_scores)
def test_the_curve_agrees_with_scikit_learn(samples: list[tuple[float, bool]]) -> None:
    """Precision and recall at every distinct score, and the ROC curve, with many ties."""
    scores, truth = (np.array(column) for column in zip(*samples, strict=True))
    curve = ThresholdCurve.of(scores, truth)
    if 0 < truth.sum() < len(truth):
        precision, recall, thresholds = metrics.precision_recall_curve(truth, scores)
        np.testing.assert_array_equal(curve.thresholds[::-1], thresholds)
        np.testing.assert_allclose(curve.precision[::-1], precision[:-1])
        np.testing.assert_allclose(curve.recall[::-1], recall[:-1])
        false, right, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
        np.testing.assert_allclose(curve.false_positive_rate, false[1:])
        np.testing.assert_allclose(curve.recall, right[1:])


@pytest.mark.slow
@given(few_scores, st.sampled_from([0.0, 0.1]))
def test_the_threshold_is_the_highest_within_the_slack(samples: list[tuple[float, bool]], slack: float) -> None:
    scores, truth = (np.array(column) for column in zip(*samples, strict=True))
    threshold = threshold_by_f1(scores, truth, slack)
    if not truth.any():
        assert threshold == 0.5
        return
    f1 = {at: metrics.f1_score(truth, scores >= at) for at in np.unique(scores)}
    assert metrics.f1_score(truth, scores >= threshold) >= max(f1.values()) - slack - 1e-12
    assert all(
        f1[at] < max(f1.values()) - slack
        for at in f1
        if at > threshold and (scores >= at).sum() < (scores >= threshold).sum()
    )


def test_the_threshold_lies_half_way_to_the_next_lower_score() -> None:
    assert threshold_by_f1(np.array([0.2, 0.8]), np.array([False, True])) == pytest.approx(0.5)
    assert threshold_by_f1(np.array([0.4, 0.8]), np.array([True, True])) == pytest.approx(0.2)
