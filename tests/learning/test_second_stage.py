"""The second stage is calibrated where evidence tells, knows nothing where it does not, and is always finite."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from linewatch.contracts.errors import EngineError, SourceError
from linewatch.contracts.probability import ProbabilityModel, probability_of
from linewatch.learning.instances import INSTANCES, LabelledInstances
from linewatch.learning.operating_point import Rule, choose, fit_with_points
from linewatch.learning.second_stage import at, crossed, fit
from linewatch.metrics.calibration import calibration_error, reliability

NAMES = ("peak", "area", "contrast")


def drawn(count: int = 1200, seed: int = 0) -> LabelledInstances:
    """Instances whose log-odds are linear in the first two of three kinds of evidence; five to a group."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal((2.0, -30.0, 0.5), (1.0, 8.0, 3.0), (count, 3))
    odds = 2.0 * (evidence[:, 0] - 2.0) - 0.1 * (evidence[:, 1] + 30.0) - 0.5
    right = rng.random(count) < probability_of(odds)
    return LabelledInstances.of(NAMES, evidence, right, np.arange(count) // 5)


def test_a_model_of_informative_evidence_is_calibrated_and_ranks_well() -> None:
    instances = drawn()
    probability = crossed(instances)
    assert roc_auc_score(instances.right, probability) > 0.85
    assert calibration_error(probability, instances.right) < 0.05
    model = fit(instances, "drawn")
    new = drawn(4000, seed=1)
    assert calibration_error(probability_of(model.log_odds(new.evidence)), new.right) < 0.04
    assert abs(model.evidence["contrast"].weight) < 0.2 * abs(model.evidence["peak"].weight)


def test_permuted_truth_gives_a_model_that_tells_nothing() -> None:
    instances = drawn()
    right = np.random.default_rng(7).permutation(instances.right)
    probability = crossed(LabelledInstances.of(NAMES, instances.evidence, right, instances.group))
    assert 0.4 < roc_auc_score(right, probability) < 0.6
    assert calibration_error(probability, right) < 0.08


def test_no_instance_is_judged_by_a_model_that_has_seen_its_group() -> None:
    """Truth that only the group tells cannot be known across groups, however well evidence names the group."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(40), 10)
    evidence = np.eye(40)[group]
    right = np.repeat(rng.random(40) < 0.5, 10)
    instances = LabelledInstances.of([f"group {k}" for k in range(40)], evidence, right, group)
    assert roc_auc_score(right, crossed(instances)) < 0.6
    seen = probability_of(fit(instances, "").log_odds(evidence))
    assert roc_auc_score(right, seen) > 0.9, "the same evidence tells it where the group was seen"


_EVIDENCE = st.floats(-1e12, 1e12, allow_nan=False) | st.sampled_from([0.0, 1.0, 1e-300, -1e-9])


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(4, 24), st.integers(1, 4)), elements=_EVIDENCE),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_fitted_numbers_are_finite_for_degenerate_evidence(evidence, constant: bool, random) -> None:
    """Constant, tiny, huge and repeated evidence, few groups, one true instance."""
    if constant:
        evidence[:, 0] = evidence[0, 0]
    count = len(evidence)
    right = np.array([random.random() < 0.5 for _ in range(count)])
    right[:2] = True, False
    group = np.array([random.randrange(3) for _ in range(count)])
    group[:2] = 0, 1
    instances = LabelledInstances.of([f"e{k}" for k in range(evidence.shape[1])], evidence, right, group)
    fitted = fit_with_points(instances, "drawn")
    numbers = [
        fitted.model.intercept,
        *(v for one in fitted.model.evidence.values() for v in one.model_dump().values()),
    ]
    assert all(math.isfinite(number) for number in numbers)
    assert ProbabilityModel.model_validate_json(fitted.model.model_dump_json()) == fitted.model
    assert np.isfinite(fitted.model.log_odds(evidence)).all()
    assert ((fitted.probability >= 0) & (fitted.probability <= 1)).all()
    assert 0 <= fitted.model.tell_probability <= fitted.model.call_probability <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_evidence_that_is_no_number_is_refused_by_its_name(bad: float) -> None:
    instances = drawn(50)
    instances.evidence[3, 1] = bad
    with pytest.raises(SourceError, match=r"evidence 'area' is not a finite number in 1 of 50 instances"):
        LabelledInstances.of(NAMES, instances.evidence, instances.right, instances.group)


@pytest.mark.parametrize(
    ("right", "groups", "found"),
    [([True] * 8, range(8), "8 true and 0 false ones"), ([True, False] * 4, [1] * 8, "of 1 groups")],
)
def test_one_sided_instances_are_refused(right, groups, found: str) -> None:
    instances = LabelledInstances.of(("a",), np.arange(8.0), np.array(right), np.array(groups))
    for refused in (fit, lambda one, _: crossed(one)):
        with pytest.raises(SourceError, match=found):
            refused(instances, "")


def test_the_version_tells_models_apart() -> None:
    model = fit(drawn(200), "drawn")
    assert fit(drawn(200), "drawn").version == model.version
    others = {fit(drawn(200, seed=1), "").version, at(model, 0.1, 0.5).version, at(model, 0.1, 0.6).version}
    assert len(others | {model.version}) == 4


def points(probability, right, clean=None, clean_frames: int = 0) -> tuple[LabelledInstances, np.ndarray]:
    count = len(right)
    instances = LabelledInstances.of(
        ("a",), np.zeros(count), np.array(right, bool), np.arange(count), clean and np.array(clean, bool), clean_frames
    )
    return instances, np.array(probability)


def test_the_operating_point_is_the_lowest_probability_that_fulfils_the_rule() -> None:
    instances, probability = points([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0])
    found = choose(instances, probability, Rule(0.75))
    assert (found.precision, found.recall, found.unmet) == (0.75, 1.0, None)
    assert 0.5 < found.probability <= 0.6
    assert 0.7 < choose(instances, probability, Rule(0.8)).probability <= 0.8


def test_instances_of_one_probability_are_taken_together() -> None:
    instances, probability = points([0.9, 0.6, 0.6, 0.6], [1, 1, 0, 0])
    assert choose(instances, probability, Rule(0.6)).recall == 0.5


def test_a_false_call_on_a_clean_frame_raises_the_point() -> None:
    instances, probability = points([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 1, 0, 1], [0, 0, 0, 1, 0], 37)
    assert choose(instances, probability, Rule(0.8)).probability <= 0.5
    quiet = choose(instances, probability, Rule(0.8, 0.02))
    assert (quiet.false_per_clean_frame, quiet.unmet) == (0.0, None)
    assert 0.6 < quiet.probability <= 0.7


def test_a_rule_out_of_reach_is_told() -> None:
    instances, probability = points([0.9, 0.8, 0.7], [0, 1, 0], [1, 0, 0], 10)
    found = choose(instances, probability, Rule(0.8))
    assert found.unmet == "no probability reaches a precision of 0.8, the best is 0.50"
    assert found.precision == 0.5
    instances, probability = points([0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0], 10)
    loud = choose(instances, probability, Rule(0.8, 0.02))
    assert "no probability keeps 0.02 false calls on a clean frame" in loud.unmet
    assert (loud.precision, loud.recall, loud.false_per_clean_frame) == (0.8, 1.0, 0.1)


def test_reliability_of_known_instances() -> None:
    probability = np.array([0.1, 0.1, 0.9, 0.9])
    right = np.array([False, True, True, True])
    low, high = reliability(probability, right, 2)
    assert (low.count, low.probability, low.true_share, high.true_share) == (2, pytest.approx(0.1), 0.5, 1.0)
    assert calibration_error(probability, right, 2) == pytest.approx(0.25)
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_instances_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    instances = drawn(60)
    instances.write(tmp_path, "abc")
    found = LabelledInstances.read(tmp_path, "abc")
    np.testing.assert_allclose(found.evidence, instances.evidence, rtol=1e-6)
    assert (found.names, found.clean_frames) == (instances.names, instances.clean_frames)
    for name in ("right", "group", "clean", "label"):
        assert np.array_equal(getattr(found, name), getattr(instances, name))
    with pytest.raises(EngineError, match=r"belongs to the second stage abc, the manifest holds xyz"):
        LabelledInstances.read(tmp_path, "xyz")
    whole = (tmp_path / INSTANCES).read_bytes()
    for damaged in (b"", whole[:100], whole[:-200], b"not a file"):
        (tmp_path / INSTANCES).write_bytes(damaged)
        with pytest.raises(EngineError, match="is damaged"):
            LabelledInstances.read(tmp_path, "abc")
    (tmp_path / INSTANCES).unlink()
    with pytest.raises(EngineError, match="is missing"):
        LabelledInstances.read(tmp_path, "abc")


def test_joined_instances_share_no_group_and_name_the_same_evidence() -> None:
    joined = drawn(20).joined(drawn(30, seed=1))
    assert (len(joined), len(np.unique(joined.group))) == (50, 4 + 6)
    other = LabelledInstances.of(("peak",), np.zeros(2), np.array([True, False]), np.arange(2))
    with pytest.raises(SourceError, match=r"only here \['area', 'contrast'\], only there \[\]"):
        joined.joined(other)
