"""What a defect must reach to be reported can be raised or lowered per class, zone and product."""

from dataclasses import replace

import pytest
from hypothesis import given
from known_strip import CLASSES, cut_strip, events, instances, paint, predict, run
from known_strip import RULES as TILED
from test_decide import WILD_RULES, wild_predictions

from linewatch.config.decision import DecisionSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.verdict import Extent
from linewatch.decision.defects.sensitivity import Sensitivity
from linewatch.service_settings import settings_from

RULES = replace(TILED, outlined_classes=frozenset({"scratches"}))
WIDTH = 200
EDGES = StripEdges(10, 190, True, True)


def sensitive(*rows: dict, product: str | None = None, **more: object):
    settings = DecisionSettings.model_validate({"sensitivity": list(rows), "product": product})
    return replace(RULES, sensitivity=Sensitivity.of(settings, CLASSES), **more)


def found(rules, *rectangles, scores=(0.6, 0.1, 0.1), columns=None):
    prediction = predict(paint(100, WIDTH, *rectangles), edges=EDGES, scores=scores, columns=columns)
    return [(one.defect_class, one.box.across_mm[0]) for one in instances(run([prediction], rules))]


BY_EDGE, MIDDLE = (40, 50, 12, 18), (40, 50, 100, 106)


def told(decided):
    masks = [event.mask and event.mask.runs.tobytes() for event in events(decided)]
    return repr([replace(item, defects=()) for item in decided]), repr([e.defect for e in events(decided)]), masks


@pytest.mark.slow
@given(wild_predictions())
def test_without_rules_and_with_rules_that_say_the_usual_verdicts_are_the_same_bytes(predictions):
    usual = DecisionSettings.model_validate({"sensitivity": [{"min_area_mm2": WILD_RULES.min_area_mm2}]})
    rules = replace(WILD_RULES, sensitivity=Sensitivity.of(usual, CLASSES))
    elsewhere = DecisionSettings.model_validate({"sensitivity": [{"min_confidence": 1.0, "across_mm": [900.0, 901.0]}]})
    other = replace(WILD_RULES, sensitivity=Sensitivity.of(elsewhere, CLASSES))
    assert told(run(predictions, WILD_RULES)) == told(run(predictions, rules)) == told(run(predictions, other))


def test_old_settings_have_no_sensitivity():
    settings = settings_from({}, "c.toml").decision
    assert Sensitivity.of(settings, CLASSES) == Sensitivity()
    assert RULES.sensitivity == Sensitivity()


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"min_confidence": 0.7}, []),
        ({"min_confidence": 0.55}, [12.0, 100.0]),
        ({"min_confidence": 0.7, "classes": ["scratches"]}, []),
        ({"min_confidence": 0.7, "classes": ["inclusion"]}, [12.0, 100.0]),
        ({"min_confidence": 0.7, "edge_zone_mm": 8.0}, [100.0]),
        ({"min_confidence": 0.7, "edge_zone_mm": 7.0}, [12.0, 100.0]),
        ({"min_confidence": 0.7, "across_mm": [100.0, 106.0]}, [12.0]),
        ({"min_confidence": 0.7, "across_mm": [100.0, 105.0]}, [12.0, 100.0]),
        ({"min_area_mm2": 61.0}, []),
        ({"min_area_mm2": 60.0}, [12.0, 100.0]),
        ({"min_area_mm2": 61.0, "edge_zone_mm": 8.0}, [100.0]),
    ],
)
def test_a_zone_and_a_class_can_ask_for_more(row, kept):
    assert [left for _, left in found(sensitive(row), BY_EDGE, MIDDLE)] == kept


def test_the_datum_is_the_mills():
    rules = sensitive({"min_confidence": 0.7, "across_mm": [1100.0, 1106.0]})
    assert found(rules, BY_EDGE, MIDDLE, columns=AcrossMap(1000.0, 1.0, WIDTH)) == [("scratches", 1012.0)]


def test_a_zone_can_ask_for_less_area():
    rules = sensitive({"min_area_mm2": 20.0, "edge_zone_mm": 30.0}, min_area_mm2=100.0)
    assert found(replace(rules, sensitivity=Sensitivity()), BY_EDGE, MIDDLE) == []
    assert found(rules, BY_EDGE, MIDDLE) == [("scratches", 12.0)]


def test_a_class_that_is_asked_for_less_is_claimed_by_its_tile_and_named():
    """0.3 for an inclusion is below the engine's 0.5: no tile claims it, until the rule says so."""
    scores = (0.35, 0.3, 0.1)
    assert found(RULES, scores=scores) == []
    rules = sensitive({"min_confidence": 0.3 - 1e-6, "classes": ["inclusion"]})
    assert found(rules, scores=scores) == [("inclusion", 10.0)]


def test_a_class_that_is_asked_for_more_leaves_the_place_to_one_that_is_claimed():
    rules = sensitive({"min_confidence": 0.9, "classes": ["scratches"]})
    assert found(rules, MIDDLE, scores=(0.8, 0.7, 0.1)) == [("inclusion", 100.0)]
    assert found(rules, MIDDLE, scores=(0.8, 0.4, 0.1)) == []


def test_the_first_rule_that_fits_decides_and_products_choose_theirs():
    rows = (
        {"min_area_mm2": 10.0, "product": "exposed"},
        {"min_area_mm2": 61.0, "edge_zone_mm": 8.0},
        {"min_area_mm2": 62.0},
    )
    assert found(sensitive(*rows, product="exposed"), BY_EDGE, MIDDLE) == [("scratches", 12.0), ("scratches", 100.0)]
    assert found(sensitive(*rows, product="other"), BY_EDGE, MIDDLE) == []
    assert found(sensitive(rows[1], product="other"), BY_EDGE, MIDDLE) == [("scratches", 100.0)]


def test_a_defect_is_reported_whole_once_it_reaches_what_it_must():
    strip = paint(60, WIDTH, (5, 55, 100, 106))
    rules = sensitive({"min_area_mm2": 150.0})
    decided = run(cut_strip(strip, [20, 20], edges=EDGES), rules)
    (one,) = instances(decided)
    assert (one.area_mm2, one.frames, one.extent) == (300.0, 3, Extent.MASK)
    assert [len(item.defects) for item in decided if hasattr(item, "lines")] == [0, 1, 2]
    assert events(decided)[0].defect.area_mm2 == 210.0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"classes": ["crack"], "min_area_mm2": 1.0}],
            "class 'crack' is unknown; the engines' classes are",
        ),
        (
            [{"min_area_mm2": 1.0}, {"min_area_mm2": 2.0, "classes": ["water"]}],
            "2 is never reached: rule 1 before it covers every case",
        ),
        (
            [{"min_area_mm2": 1.0, "edge_zone_mm": 9.0}, {"min_area_mm2": 2.0, "edge_zone_mm": 5.0}],
            "2 is never reached",
        ),
    ],
)
def test_rules_that_can_never_decide_are_refused(rows, said):
    with pytest.raises(ConfigError, match=r"\[\[decision.sensitivity\]\]") as refused:
        sensitive(*rows)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"classes": ["x"]}, "changes nothing; give one of them"),
        ({"min_area_mm2": 1.0, "across_mm": [5.0, 5.0]}, "across_mm [5.0, 5.0] is empty, expected [from, to]"),
        ({"min_confidence": 1.5}, "found 1.5, expected less than or equal to 1"),
        ({"min_confidence": 0.0}, "expected greater than 0"),
        ({"min_area": 1.0}, "its unit is missing: write min_area_mm2"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(row, said):
    with pytest.raises(ConfigError) as refused:
        settings_from({"decision": {"sensitivity": [row]}}, "c.toml")
    assert said in str(refused.value)
