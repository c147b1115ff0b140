"""Inconsistent grading rules are refused at load, every fault in a line with found, expected and remedy."""

from pathlib import Path

import pytest

from linewatch.check.kinds import kind_of
from linewatch.config.grading import GradingSettings
from linewatch.config.grading_file import grading_from, load_grading
from linewatch.config.history import HistorySettings
from linewatch.config.load import read_toml
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.service_settings import ServiceSettings

ROOT = Path(__file__).parents[2]
TAXONOMY = Taxonomy.read(ROOT / "configs" / "taxonomy.toml")
LIMIT = {"name": "any", "more_than": 0, "grade": "B"}


def tree(*severity: dict, limit: tuple[dict, ...] = (LIMIT,), **more: object) -> dict:
    rules = [{"name": f"s{n}", "severity": 2, **rule} for n, rule in enumerate(severity)]
    limits = [{"name": f"l{n}", "grade": "B", **rule} for n, rule in enumerate(limit)]
    return {"name": "r", "product": "p", "grades": ["A", "B", "C"], "severity": rules, "limit": limits, **more}


def refusal(found: dict) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        grading_from(found, "r.toml", TAXONOMY)
    lines = str(refused.value).splitlines()
    assert all(line.startswith("r.toml: ") for line in lines)
    return lines


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (tree({"classes": ["scrach"]}), "[[severity]] 's0': class 'scrach' is unknown, expected some of crazing, incl"),
        (tree({"classes": ["water"]}), "[[severity]] 's0': class 'water' is a pseudo-defect, which is never graded"),
        (
            tree({"min_length": 3}),
            "'s0': min_length: unknown key; its unit is missing: write min_length_mm",
        ),
        (tree({"min_width_cm": 3}), "min_width_cm: unknown key; the unit here is millimetres: write min_width_mm"),
        (
            tree({"min_width_mm": "3 mm"}),
            "found '3 mm', expected a valid number without quotes or unit, in milli",
        ),
        (tree({"min_width_mm": 30_000.0}), "found 30000.0, expected less than or equal to 3000, in millimetres"),
        (tree({"min_area_mm2": -1.0}), "found -1.0, expected greater than or equal to 0, in square millimetres"),
        (tree({"min_area_mm2": float("nan")}), "expected a finite number"),
        (tree({"edge_zone_mm": 2000.0}), "expected less than or equal to 1500, in millimetres"),
        (tree({"severity": 6}), "found 6, expected less than or equal to 5"),
        (tree({"edge_zone": "left"}), "expected 'inside', 'touching' or 'outside'"),
        (tree({"min_length_mm": 9, "max_length_mm": 3}), "min_length_mm 9 is above max_length_mm 3; no defect can fit"),
        (
            tree({"max_length_mm": 3, "max_width_mm": 3, "min_area_mm2": 10}),
            "min_area_mm2 10 is more than max_length_mm x max_width_mm, 9; no defect can fit",
        ),
        (tree({"edge_zone": "outside"}), "edge_zone without edge_zone_mm; add the width of the zone"),
        (tree({"edge_zone_mm": 5, "min_width_mm": 6}), "does not fit inside an edge zone of 5 mm"),
        (
            tree({"classes": ["scratch"]}, {"classes": ["scratch"], "min_length_mm": 9}),
            "[[severity]] 's1': never applies, since 's0' before it fits every such defect; put it first",
        ),
        (
            tree({"min_probability": 0.5}, {"classes": ["scratch"], "min_probability": 0.6}),
            "[[severity]] 's1': never applies, since 's0' before it fits every such defect; put it first",
        ),
        (
            tree({"classes": ["scratch"]}, {"classes": ["ash"]}, {"classes": ["ash", "scratch"]}),
            "'s2': never applies, since 's0' and 's1' before it",
        ),
        (
            tree({"edge_zone_mm": 9, "edge_zone": "touching"}, {"edge_zone_mm": 5}),
            "'s1': never applies, since 's0' before it",
        ),
        (tree({"name": "same"}, {"name": "same", "side": "top"}), "'same': two rules have this name"),
        (tree(limit=()), "no [[limit]], so every coil would have the best grade"),
        (tree(limit=({},)), "[[limit]] 'l0': has no measure, expected exactly one of more_than, more_than_per_m"),
        (tree(limit=({"more_than": 1, "affected_over_mm": 3},)), "has more_than and affected_over_mm, expected exact"),
        (tree(limit=({"affected_over_mm": 3, "within_m": 1},)), "within_m without more_than"),
        (tree(limit=({"more_than": 0, "grade": "D"},)), "grade 'D' is unknown, expected one of A, B, C"),
        (tree(limit=({"more_than": 0, "grade": "A"},)), "gives 'A', the best grade, which a coil has without it"),
        (
            tree(limit=({"inspected_below_share": 0.9, "classes": ["ash"]},)),
            "inspected_below_share is about the strip, not about defects; remove classes",
        ),
        (
            tree(limit=({"more_than": 0, "classes": ["scratch"], "min_severity": 4},)),
            "min_severity 4 is never reached, the highest severity of these defects is 2",
        ),
        (
            tree(limit=({"more_than": 3, "grade": "C"}, {"more_than": 5, "classes": ["ash"]})),
            "[[limit]] 'l1': never decides, 'l0' gives 'C' for the same or less",
        ),
        (
            tree(limit=({"more_than": 3, "within_m": 2.0}, {"more_than": 4, "within_m": 1.0})),
            "[[limit]] 'l1': never decides, 'l0' gives 'B' for the same or less",
        ),
        (
            tree(limit=({"inspected_below_share": 0.5}, {"inspected_below_share": 0.9, "grade": "C"})),
            "[[limit]] 'l0': never decides, 'l1' gives 'C'",
        ),
        (tree(grades=["A", "B", "A"]), "grades: 'A' stands twice"),
        (tree(grades=["A", "B", "ungraded"]), "grades: 'ungraded' stands for a coil that was not inspected"),
        (tree(grades="AB"), "grades: found 'AB', expected"),
        (tree(head_excluded=3), "head_excluded: unknown key; its unit is missing: write head_excluded_m, in metres"),
        (tree(product=3), "product: found 3, expected"),
        ({**tree(), "severity": {"name": "x"}}, "expected rules, each under its own [[severity]]"),
    ],
)
def test_refused_with_found_expected_and_remedy(found: dict, said: str) -> None:
    assert any(said in line for line in refusal(found)), refusal(found)


@pytest.mark.parametrize(
    "found",
    [
        tree({"classes": ["scratch"], "min_length_mm": 9}, {"classes": ["scratch"]}),
        tree({"edge_zone_mm": 9}, {"edge_zone_mm": 5, "edge_zone": "touching"}),
        tree({"min_area_mm2": 9}, {"max_area_mm2": 9}),
        tree({"side": "top"}, {"side": "bottom"}, {"periodic": True}, {"min_confidence": 0.5}, {}),
        tree({"severity": 4}, limit=({"more_than": 0, "classes": ["scratch"], "min_severity": 4},)),
        tree(limit=({"more_than": 3}, {"more_than": 5, "grade": "C"})),
        tree(limit=({"more_than": 3, "within_m": 1.0}, {"more_than": 5})),
        tree(limit=({"more_than": 3, "classes": ["ash"]}, {"more_than": 5})),
        tree(limit=({"affected_over_mm": 3}, {"affected_over_share": 0.5})),
    ],
)
def test_rules_that_overlap_and_can_all_decide_are_accepted(found: dict) -> None:
    assert grading_from(found, "r.toml", TAXONOMY).name == "r"


def test_all_faults_are_reported_at_once() -> None:
    bad = tree({"classes": ["x"]}, {"min_length": 3}, limit=({"more_than": 0, "grade": "Z"},), customr="y")
    assert len(refusal(bad)) == 4


def test_of_two_limits_alike_the_second_is_refused_once() -> None:
    (line,) = refusal(tree(limit=({"more_than": 3}, {"more_than": 3})))
    assert "'l1': never decides, 'l0'" in line


def test_every_shipped_file_of_rules_is_accepted_and_distinguished_from_a_configuration() -> None:
    shipped = sorted((ROOT / "configs" / "grading").glob("*.toml"))
    assert shipped
    for path in shipped:
        load_grading(path, TAXONOMY)
        assert kind_of(read_toml(path)) is GradingSettings
    for name, kind in (
        ("simulator.toml", ServiceSettings),
        ("history.toml", HistorySettings),
        ("plant/modbus.toml", ModbusSettings),
        ("taxonomy.toml", Taxonomy),
    ):
        assert kind_of(read_toml(ROOT / "configs" / name)) is kind
    assert kind_of({}) is ServiceSettings
