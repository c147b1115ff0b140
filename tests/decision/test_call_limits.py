"""At the operating point `quiet` a defect is reported when all of it reaches its class's limits; a mill's rule decides
in their place.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import CLASSES, RULES, events, instances, paint, predict, run
from test_decide import wild_predictions

from linewatch.config.decision import DecisionSettings
from linewatch.contracts.manifest import CallLimit
from linewatch.contracts.verdict import DefectState
from linewatch.decision.sensitivity import Sensitivity

WIDTH = 200
SPOT = (40, 50, 100, 106)  # 60 px, peak 200 of 255
ANY = CallLimit(confidence=0.0)


def limited(**scratches: float):
    limits = dict.fromkeys(CLASSES, ANY) | {"scratches": CallLimit.model_validate({"confidence": 0.0, **scratches})}
    return replace(RULES, call_limits=limits)


def count(rules, scores=(0.6, 0.1, 0.1)):
    return len(instances(run([predict(paint(100, WIDTH, SPOT), scores=scores)], rules)))


@pytest.mark.parametrize(
    ("limit", "called"),
    [
        ({"confidence": 0.59}, 1),
        ({"confidence": 0.61}, 0),
        ({"peak": 0.78}, 1),
        ({"peak": 0.79}, 0),
        ({"area_px": 60}, 1),
        ({"area_px": 61}, 0),
        ({"confidence": 0.59, "peak": 0.78, "area_px": 61}, 0),
    ],
)
def test_a_defect_is_reported_when_it_reaches_every_limit_of_its_class(limit, called):
    assert count(limited(**limit)) == called


def test_limits_are_of_one_class():
    assert count(limited(confidence=0.99), scores=(0.1, 0.6, 0.1)) == 1


def test_areas_are_in_pixels_of_the_nominal_size():
    assert count(replace(limited(area_px=60), nominal_mm2_per_px=2.0)) == 0
    assert count(replace(limited(area_px=60), nominal_mm2_per_px=0.5)) == 1


def test_a_tile_that_the_classifier_alone_speaks_of_has_no_peak_to_reach():
    nothing_outlined = predict(paint(100, WIDTH), scores=(0.6, 0.1, 0.1))
    assert len(instances(run([nothing_outlined], limited(peak=0.99)))) == 1


@pytest.mark.parametrize(
    ("rule", "limit", "called"),
    [
        ({"min_confidence": 0.2}, {"confidence": 0.99}, 1),
        ({"min_confidence": 0.2}, {"peak": 0.99}, 1),
        ({"min_confidence": 0.2}, {"area_px": 61}, 0),
        ({"min_area_mm2": 10}, {"area_px": 61}, 1),
        ({"min_area_mm2": 10}, {"confidence": 0.99}, 0),
        ({"min_confidence": 0.2, "across_mm": [0.0, 50.0]}, {"confidence": 0.99}, 0),
    ],
)
def test_what_a_sensitivity_rule_gives_stands_in_place_of_the_limit(rule, limit, called):
    settings = DecisionSettings.model_validate({"sensitivity": [rule]})
    rules = limited(**limit)
    assert count(rules) == 0
    assert count(replace(rules, sensitivity=Sensitivity.of(settings, CLASSES))) == called


def test_a_defect_that_grows_over_its_limit_is_reported_then():
    first, second = paint(100, WIDTH, (94, 100, 100, 106)), paint(100, WIDTH, (0, 10, 100, 106))
    scores = (0.6, 0.1, 0.1)
    frames = [predict(first, scores=scores), predict(second, first_line=100, ordinal=1, scores=scores)]
    states = [event.state for event in events(run(frames, limited(area_px=60)))]
    assert states == [DefectState.OPENED, DefectState.CLOSED]


@given(
    wild_predictions(),
    st.builds(CallLimit, confidence=st.floats(0, 1), peak=st.floats(0, 1), area_px=st.integers(0, 400)),
)
def test_limits_only_take_away(predictions, limit):
    """What is called within limits is called without, with the same outline; and it reached them when it was opened."""
    rules = replace(RULES, call_limits=dict.fromkeys(CLASSES, limit))
    everything = {(one.id, one.box, one.area_mm2) for one in instances(run(predictions, RULES))}
    decided = run(predictions, rules)
    assert {(one.id, one.box, one.area_mm2) for one in instances(decided)} <= everything
    assert all(rules.reports(e.defect) for e in events(decided) if e.state is DefectState.OPENED)
