"""At the operating point `quiet` a defect is called when all of it reaches its class's limits, and is tentative below
them; a mill's rule decides in their place.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import CLASSES, RULES, events, instances, paint, predict, run
from test_decide import wild_predictions

from linewatch.config.decision import DecisionSettings
from linewatch.contracts.manifest import CallLimit
from linewatch.contracts.verdict import DefectState, Extent
from linewatch.decision.defects.sensitivity import Sensitivity

WIDTH = 200
SPOT = (40, 50, 100, 106)  # 60 px, peak 200 of 255
ANY = CallLimit(confidence=0.0)


def limited(**scratches: float):
    limits = dict.fromkeys(CLASSES, ANY) | {"scratches": CallLimit.model_validate({"confidence": 0.0, **scratches})}
    return replace(RULES, call_limits=limits)


def count(rules, scores=(0.6, 0.1, 0.1)):
    (found,) = instances(run([predict(paint(100, WIDTH, SPOT), scores=scores)], rules))
    return int(not found.tentative)


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
def test_a_defect_is_called_when_it_reaches_every_limit_of_its_class(limit, called):
    assert count(limited(**limit)) == called


def test_limits_are_of_one_class():
    assert count(limited(confidence=0.99), scores=(0.1, 0.6, 0.1)) == 1


def test_areas_are_in_pixels_of_the_nominal_size():
    assert count(replace(limited(area_px=60), nominal_mm2_per_px=2.0)) == 0
    assert count(replace(limited(area_px=60), nominal_mm2_per_px=0.5)) == 1


def test_a_tile_that_the_classifier_alone_speaks_of_has_no_peak_to_reach():
    nothing_outlined = predict(paint(100, WIDTH), scores=(0.6, 0.1, 0.1))
    (found,) = instances(run([nothing_outlined], limited(peak=0.99)))
    assert not found.tentative


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


def test_a_defect_that_grows_over_its_limit_is_called_from_then_on():
    first, second = paint(100, WIDTH, (94, 100, 100, 106)), paint(100, WIDTH, (0, 10, 100, 106))
    scores = (0.6, 0.1, 0.1)
    frames = [predict(first, scores=scores), predict(second, first_line=100, ordinal=1, scores=scores)]
    told = [(event.state, event.defect.tentative) for event in events(run(frames, limited(area_px=60)))]
    assert told == [(DefectState.OPENED, True), (DefectState.UPDATED, False), (DefectState.CLOSED, False)]


@pytest.mark.slow
@given(
    wild_predictions(),
    st.builds(CallLimit, confidence=st.floats(0, 1), peak=st.floats(0, 1), area_px=st.integers(0, 400)),
)
def test_limits_change_no_defect_but_what_becomes_of_it(predictions, limit):
    """The same defects are told, with the same outlines; none beyond the limits is called."""
    rules = replace(RULES, call_limits=dict.fromkeys(CLASSES, limit))
    decided = events(run(predictions, rules))
    plain = [replace(event, defect=replace(event.defect, tentative=False)) for event in decided]
    assert repr(plain) == repr(events(run(predictions, RULES)))
    for defect in (event.defect for event in decided):
        large = defect.area_mm2 >= limit.area_px * rules.nominal_mm2_per_px
        sure = defect.confidence >= limit.confidence and (defect.extent is Extent.TILE or defect.peak >= limit.peak)
        assert defect.tentative == (not (large and sure))
