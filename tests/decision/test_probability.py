"""A defect has one probability: from its evidence by the engine's model, over all frames that show it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import CLASSES, RULES, cut_strip, events, instances, paint, predict, run
from mapped_strip import CLASSES as MAP_CLASSES
from mapped_strip import MAP_RULES, mapped, maps_of
from pydantic import ValidationError
from test_decide import manifest, wild_predictions

from linewatch.config.decision import DecisionSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import OutdatedWarning
from linewatch.contracts.evidence import EVIDENCE, evidence_names
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.probability import EvidenceWeight, ProbabilityModel
from linewatch.contracts.verdict import DefectState, Extent
from linewatch.decision.defects.sensitivity import Sensitivity
from linewatch.decision.rules import DecisionRules

WIDTH = 200
SPOT = (40, 50, 100, 106)  # 60 px
OUTLINED = (0.6, 0.1, 0.1)


def model(intercept: float = 0.0, tell: float = 0.0, call: float = 0.5, **weights: float) -> ProbabilityModel:
    evidence = {name: EvidenceWeight(mean=0.0, spread=1e6, weight=weight * 1e6) for name, weight in weights.items()}
    return ProbabilityModel(
        intercept=intercept,
        evidence=evidence,
        tell_probability=tell,
        call_probability=call,
        fitted_on="nothing",
        version="0",
    )


def one(prediction, rules):
    (found,) = instances(run([prediction], rules))
    return found


def test_without_a_model_an_outline_is_as_probable_as_its_peak_and_a_tile_as_its_class():
    spot = one(predict(paint(100, WIDTH, SPOT, value=150), scores=OUTLINED), RULES)
    assert (spot.extent, spot.probability) == (Extent.MASK, pytest.approx(150 / 255))
    tile = one(predict(paint(100, WIDTH), scores=OUTLINED), RULES)
    assert (tile.extent, tile.probability) == (Extent.TILE, pytest.approx(0.6))


def test_the_model_weighs_the_evidence():
    told = one(predict(paint(100, WIDTH, SPOT), scores=OUTLINED), replace(RULES, probability_model=model(-3, area=1.0)))
    assert told.probability == pytest.approx(1 / (1 + np.exp(3 - np.log(60 / 16))))
    assert dict(told.evidence)["area"] == pytest.approx(np.log(60 / 16), abs=1e-4)
    assert tuple(name for name, _ in told.evidence) == tuple(sorted(evidence_names(CLASSES)))


@pytest.mark.parametrize(("call", "tentative"), [(0.78, False), (0.79, True)])
def test_a_defect_below_the_probability_to_call_is_tentative(call, tentative):
    prediction = predict(paint(100, WIDTH, SPOT), scores=OUTLINED)  # peak 200 of 255
    assert one(prediction, replace(RULES, call_probability=call)).tentative == tentative


def test_a_defect_below_the_probability_to_tell_is_not_published():
    prediction = predict(paint(100, WIDTH, SPOT), scores=OUTLINED)
    assert events(run([prediction], replace(RULES, tell_probability=0.79))) == []
    assert len(events(run([prediction], replace(RULES, tell_probability=0.78)))) == 2


@pytest.mark.parametrize(
    ("rule", "tentative"),
    [
        ({"call_probability": 0.7}, False),
        ({"call_probability": 0.7, "classes": ["inclusion"]}, True),
        ({"call_probability": 0.7, "across_mm": [0.0, 50.0]}, True),
        ({"call_probability": 0.7, "across_mm": [50.0, 150.0]}, False),
        ({"min_area_mm2": 10.0}, True),
    ],
)
def test_a_sensitivity_rule_gives_the_probability_to_call_of_its_class_and_zone(rule, tentative):
    settings = DecisionSettings.model_validate({"sensitivity": [rule]})
    rules = replace(RULES, call_probability=0.9, sensitivity=Sensitivity.of(settings, CLASSES))
    assert one(predict(paint(100, WIDTH, SPOT), scores=OUTLINED), rules).tentative == tentative


def test_over_frames_the_log_odds_are_averaged_by_area_and_the_evidence_is_that_of_the_largest_piece():
    first, second = paint(100, WIDTH, (94, 100, 100, 106)), paint(100, WIDTH, (0, 10, 100, 112))
    frames = [predict(first, scores=OUTLINED), predict(second, first_line=100, ordinal=1, scores=OUTLINED)]
    told = events(run(frames, replace(RULES, probability_model=model(area=1.0), call_probability=0.85)))
    (defect,) = {event.defect for event in told if event.state is DefectState.CLOSED}
    areas = np.array([36, 120])
    mean = (np.log(areas / 16) * areas).sum() / areas.sum()
    assert defect.probability == pytest.approx(1 / (1 + np.exp(-mean)))
    assert dict(defect.evidence)["area"] == pytest.approx(np.log(120 / 16), abs=1e-4)
    assert [(event.state, event.defect.tentative) for event in told] == [
        (DefectState.OPENED, True),
        (DefectState.UPDATED, False),
        (DefectState.CLOSED, False),
    ]


def test_a_defect_that_becomes_probable_enough_is_published_from_then_on():
    first, second = paint(100, WIDTH, (94, 100, 100, 106)), paint(100, WIDTH, (0, 10, 100, 112))
    frames = [predict(first, scores=OUTLINED), predict(second, first_line=100, ordinal=1, scores=OUTLINED)]
    told = events(run(frames, replace(RULES, probability_model=model(area=1.0), tell_probability=0.85)))
    assert [event.state for event in told] == [DefectState.OPENED, DefectState.CLOSED]
    assert told[0].defect.frames == 2


@given(st.lists(st.integers(8, 40), min_size=1, max_size=4), st.integers(102, 250))
def test_a_defect_of_even_probability_has_the_same_however_frames_cut_it(heights, value):
    strip = paint(120, WIDTH, (4, 117, 50, 60), value=value)
    rules = replace(RULES, defect_threshold_u8=100, outlined_classes=frozenset(CLASSES))
    whole, cut = (instances(run(cut_strip(strip, rows, scores=OUTLINED), rules)) for rows in ([120], heights))
    assert [defect.probability for defect in cut] == [pytest.approx(defect.probability) for defect in whole]


def test_a_defect_of_maps_that_is_cut_by_a_frame_border_has_one_probability():
    plane = np.zeros((64, 50))
    plane[20:44, 10:14] = 0.7
    rules = replace(MAP_RULES, probability_model=model(peak=1.0))
    (whole,) = instances(run([mapped(maps_of(plane))], rules))
    halves = [mapped(maps_of(plane[32 * at : 32 * at + 32]), first_line=128 * at, ordinal=at) for at in (0, 1)]
    (cut,) = instances(run(halves, rules))
    assert (cut.frames, cut.probability) == (2, pytest.approx(whole.probability))


@pytest.mark.slow
@given(wild_predictions(), st.floats(0, 1))
def test_the_probability_to_call_changes_no_defect_but_what_becomes_of_it(predictions, call):
    decided = events(run(predictions, replace(RULES, call_probability=call)))
    plain = [replace(event, defect=replace(event.defect, tentative=False)) for event in decided]
    assert repr(plain) == repr(events(run(predictions, replace(RULES, call_probability=0.0))))
    for defect in (event.defect for event in decided):
        assert defect.tentative == (defect.probability < call)
        assert 0.0 <= defect.probability <= 1.0
        assert np.isfinite([value for _, value in defect.evidence]).all()


CASCADE = {
    Task.CLASSIFY: manifest("classify", classes=("scratches",), thresholds={"scratches": 0.3}),
    Task.SEGMENT: manifest("segment", thresholds={"defect": 0.5}),
}
INSPECT = {"classes": MAP_CLASSES, "thresholds": {"defect": 0.4}, "cell_px": 8}


def rules_of(engines, **settings) -> DecisionRules:
    return DecisionRules.from_settings(DecisionSettings(**settings), (), LineSettings(), engines)


def test_settings_replace_the_probabilities_of_the_model():
    judged = {Task.INSPECT: manifest("inspect", **INSPECT, probability=model(tell=0.1, call=0.7).model_dump())}
    told = [
        (rules.tell_probability, rules.call_probability)
        for rules in (
            rules_of(CASCADE),
            rules_of(judged),
            rules_of(judged, tell_probability=0.0, call_probability=0.0),
            rules_of(CASCADE, tell_probability=0.2, call_probability=0.8),
        )
    ]
    assert told == [(0.0, 0.5), (0.1, 0.7), (0.0, 0.0), (0.2, 0.8)]


def test_without_a_model_the_faint_pieces_of_maps_are_not_published():
    plane = np.zeros((32, 50))
    plane[4:8, 10:14], plane[4:8, 30:34] = 0.4, 0.3
    prediction = mapped(maps_of(plane))
    unjudged = rules_of({Task.INSPECT: manifest("inspect", **INSPECT | {"cell_px": 4})})
    assert [round(one.peak, 2) for one in instances(run([prediction], unjudged))] == [0.4]
    assert len(instances(run([prediction], replace(unjudged, tell_probability=0.0)))) == 2


def test_an_inspect_engine_decides_in_place_of_the_cascade():
    rules = rules_of(CASCADE | {Task.INSPECT: manifest("inspect", **INSPECT)})
    assert rules.defect_threshold_u8 == 102
    assert rules.cell_px == 8
    assert tuple(rules.class_thresholds) == MAP_CLASSES
    assert rules.outlined_classes == set(MAP_CLASSES)


def test_a_model_that_weighs_unknown_evidence_is_refused():
    with pytest.raises(ValidationError, match="weighs shine, which is no evidence"):
        manifest("inspect", **INSPECT, probability=model(shine=1.0).model_dump())


def test_weights_whose_sum_would_be_no_number_are_refused():
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        ProbabilityModel.model_validate(model(peak=1.0).model_dump() | {"intercept": 1e308})


def test_every_evidence_says_what_it_is():
    assert all(EVIDENCE.values())
    assert len(set(evidence_names(MAP_CLASSES))) == len(EVIDENCE) + len(MAP_CLASSES)


def test_old_manifests_and_settings_are_read_with_a_warning():
    limits = {"scratches": {"confidence": 0.9, "peak": 0.5, "area_px": 20}}
    old = json.loads(CASCADE[Task.CLASSIFY].model_dump_json()) | {"call_limits": limits}
    with pytest.warns(OutdatedWarning, match="call_limits"):
        assert EngineManifest.parse(json.dumps(old).encode()) == CASCADE[Task.CLASSIFY]
    with pytest.warns(OutdatedWarning, match="operating_point"):
        assert DecisionSettings.model_validate({"operating_point": "quiet"}) == DecisionSettings()
