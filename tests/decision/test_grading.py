"""Grades: each kind of rule by example; order and dealing out change nothing; one defect more never makes it better."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import RULES, notices, paint, predict, run

from linewatch.config.grading_file import grading_from
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoverageSpan, Defect, DefectState, Extent, Quality, StripArea, StripBox
from linewatch.decision.grading import grade as grading
from linewatch.decision.grading import looked as looked_at
from linewatch.decision.grading.grade import GradingState, finish_grading, grade_coil, observe
from linewatch.decision.grading.looked import LookedAt
from linewatch.decision.grading.severity import GradingRules, instances_of, severities_of

TAXONOMY = Taxonomy.model_validate(
    {
        "classes": {
            "scratches": {"meaning": "m", "severity": "minor"},
            "inclusion": {"meaning": "m", "severity": "major"},
            "sliver": {"meaning": "m", "severity": "critical"},
            "water": {"meaning": "m", "severity": "minor", "pseudo": True},
        },
        "sets": {},
    }
)
GRADES = ["A", "B", "C", "D"]
COIL_MM = 100_000.0


def rules(*limits: dict, severity: tuple[dict, ...] = (), **more: object) -> GradingRules:
    named = [{"name": f"l{n}", "grade": "C", **limit} for n, limit in enumerate(limits)]
    rated = [{"name": f"s{n}", **rule} for n, rule in enumerate(severity)]
    tree = {"name": "test", "product": "p", "grades": GRADES, "limit": named, "severity": rated, **more}
    return GradingRules.of(grading_from(tree, "test.toml", TAXONOMY), TAXONOMY)


def defect(
    name: str = "d",
    begin_mm: float = 1000.0,
    length_mm: float = 10.0,
    *,
    of: str = "scratches",
    left_mm: float = 100.0,
    width_mm: float = 5.0,
    area_mm2: float | None = None,
    edge_mm: float | None = 100.0,
    side: str = "top",
    confidence: float = 0.9,
    probability: float = 0.9,
) -> Defect:
    return Defect(
        id=name,
        coil="C1",
        side=side,
        camera="cam1",
        defect_class=of,
        confidence=confidence,
        peak=0.9,
        probability=probability,
        box=StripBox((left_mm, left_mm + width_mm), (begin_mm, begin_mm + length_mm)),
        area_mm2=length_mm * width_mm if area_mm2 is None else area_mm2,
        edge_mm=edge_mm,
        extent=Extent.MASK,
        frames=1,
    )


def graded(by: GradingRules, *defects: Defect, inspected=((0.0, COIL_MM),), periodic=()):
    return grade_coil(by, defects, spans(inspected), COIL_MM, periodic)


def spans(inspected) -> list[CoverageSpan]:
    """Spans of these stretches, from a record of before areas were kept; what lies between them has no record."""
    return [
        CoverageSpan(2 * n, 1, (float(begin), float(end)), Quality.INSPECTED, None)
        for n, (begin, end) in enumerate(inspected)
    ]


NOTHING_ELSE = {"more_than": 1_000_000}


@pytest.mark.parametrize(
    ("rule", "fits", "does_not"),
    [
        ({"classes": ["sliver"]}, {"of": "sliver"}, {"of": "inclusion"}),
        ({"side": "bottom"}, {"side": "bottom"}, {"side": "top"}),
        ({"min_length_mm": 10.0}, {"length_mm": 10.0}, {"length_mm": 9.999}),
        ({"max_length_mm": 10.0}, {"length_mm": 10.0}, {"length_mm": 10.001}),
        ({"min_width_mm": 0.3}, {"left_mm": 0.1, "width_mm": 0.3}, {"width_mm": 0.299}),
        ({"max_width_mm": 0.3}, {"left_mm": 0.1, "width_mm": 0.3}, {"width_mm": 0.301}),
        ({"min_area_mm2": 12.0}, {"area_mm2": 12.0}, {"area_mm2": 11.9994}),
        ({"max_area_mm2": 12.0}, {"area_mm2": 12.0004}, {"area_mm2": 12.001}),
        ({"min_confidence": 0.8}, {"confidence": 0.79996}, {"confidence": 0.7999}),
        ({"min_probability": 0.8}, {"probability": 0.79996}, {"probability": 0.7999}),
        ({"edge_zone_mm": 20.0}, {"edge_mm": 15.0}, {"edge_mm": 15.001}),
        ({"edge_zone_mm": 20.0, "edge_zone": "inside"}, {"edge_mm": 0.0}, {"edge_mm": None}),
        ({"edge_zone_mm": 20.0, "edge_zone": "touching"}, {"edge_mm": 19.999}, {"edge_mm": 20.0}),
        ({"edge_zone_mm": 20.0, "edge_zone": "outside"}, {"edge_mm": 20.0}, {"edge_mm": 19.999}),
        ({"edge_zone_mm": 20.0, "edge_zone": "outside"}, {"edge_mm": 20.0}, {"edge_mm": None}),
    ],
)
def test_a_severity_rule_takes_what_satisfies_it_and_leaves_the_rest(rule, fits, does_not):
    by = rules(NOTHING_ELSE, severity=({**rule, "severity": 1},))
    (other,) = severities_of([defect(**does_not)], rules(NOTHING_ELSE))
    assert severities_of([defect(**fits)], by) == [1]
    assert severities_of([defect(**does_not)], by) == [other]
    assert other in (2, 3)


def test_the_first_rule_that_fits_decides_and_else_the_class_does():
    by = rules(
        NOTHING_ELSE,
        severity=(
            {"classes": ["scratches"], "min_length_mm": 50.0, "severity": 4},
            {"max_area_mm2": 20.0, "severity": 1},
        ),
    )
    long, small = defect(length_mm=60.0, width_mm=0.1), defect(area_mm2=20.0)
    usual = [defect(of=name) for name in ("scratches", "inclusion", "sliver", "water", "unheard-of")]
    assert severities_of([long, small, *usual], by)[:2] != [1, 1]
    assert [severities_of([one], by)[0] for one in (long, small)] == [4, 1]
    assert [severities_of([one], by)[0] for one in usual] == [2, 3, 5, None, 3]


@given(st.floats(0, 1e9), st.integers(0, 10**9), st.sampled_from([0.0625, 0.1, 0.3, 0.4999, 0.0005]))
def test_figures_are_graded_as_they_are_published(area_mm2, steps, mm_per_step):
    found = instances_of([defect(begin_mm=steps * mm_per_step, area_mm2=area_mm2)], rules({"more_than": 0}))
    assert (found.begin_mm[0], found.area_mm2[0]) == (round(steps * mm_per_step, 3), round(area_mm2, 3))


@pytest.mark.parametrize(
    ("limit", "within", "beyond", "says"),
    [
        ({"more_than": 0}, [], [defect()], "1 defect, more than 0"),
        ({"more_than": 0, "min_severity": 3}, [defect()], [defect(of="inclusion")], "of severity 3 or more"),
        (
            {"more_than": 1, "classes": ["sliver"]},
            [defect("a"), defect("b", of="sliver")],
            [defect("a", of="sliver"), defect("b", of="sliver")],
            "2 sliver defects, more than 1",
        ),
        (
            {"more_than": 2, "within_m": 0.5},
            [defect("a", 0.0), defect("b", 400.0), defect("c", 500.0)],
            [defect("a", 0.0), defect("b", 400.0), defect("c", 499.999)],
            "3 defects in 0.5 m at 0.000 m, more than 2",
        ),
        (
            {"more_than_per_m": 0.01},
            [defect("a")],
            [defect("a"), defect("b")],
            "0.02 defects per metre (2 in 100.0 m), more than 0.01",
        ),
        (
            {"affected_over_mm": 30.0},
            [defect("a", 0.0, 20.0), defect("b", 5.0, 25.0)],
            [defect("a", 0.0, 20.0), defect("b", 21.0, 12.0)],
            "32 mm affected by defects, more than 30 mm",
        ),
        (
            {"affected_over_share": 0.5},
            [defect("a", 0.0, 50_000.0), defect("b", 10_000.0, 30_000.0)],
            [defect("a", 0.0, 50_000.0), defect("b", 10_000.0, 50_000.0)],
            "60.00% of the length affected by defects (60.0 m of 100.0 m), more than 50.00%",
        ),
    ],
)
def test_a_limit_gives_its_grade_when_it_is_exceeded_and_says_why(limit, within, beyond, says):
    by = rules(limit)
    assert graded(by, *within).grade == "A"
    assert graded(by, *within).reasons == ()
    worse = graded(by, *beyond)
    assert worse.grade == "C"
    (reason,) = worse.reasons
    assert says in reason.text
    assert reason.rule == "l0"
    assert reason.defect_ids
    assert set(reason.defect_ids) <= {one.id for one in beyond}


def test_a_limit_may_be_about_roll_marks():
    by = rules({"more_than": 0, "periodic": True})
    assert graded(by, defect("a")).grade == "A"
    assert graded(by, defect("a"), periodic=["a"]).grade == "C"


def test_pseudo_defects_are_not_graded():
    grade = graded(rules({"more_than": 0}), defect(of="water"))
    assert (grade.grade, grade.defects_by_severity) == ("A", {})


def test_tentative_defects_are_not_graded():
    unsure = replace(defect("a"), tentative=True)
    grade = graded(rules({"more_than": 0}), unsure, defect("b"))
    assert (grade.grade, grade.reasons[0].defect_ids) == ("C", ("b",))
    assert sum(grade.defects_by_severity.values()) == 1
    assert graded(rules({"more_than": 0}), unsure).grade == "A"


def test_the_worst_grade_counts_and_every_reason_is_told():
    by = rules(
        {"more_than": 0, "grade": "B"},
        {"more_than": 1, "grade": "D"},
        {"more_than": 0, "classes": ["sliver"], "grade": "C"},
    )
    grade = graded(by, defect("a"), defect("b", of="sliver"))
    assert grade.grade == "D"
    assert [reason.rule for reason in grade.reasons] == ["l1", "l2", "l0"]
    assert grade.reasons[0].defect_ids == ("b", "a")  # the worst first
    assert grade.defects_by_severity == {2: 1, 5: 1}


def test_a_reason_names_few_of_many():
    many = [defect(f"d{n:03}", area_mm2=float(n)) for n in range(50)]
    (reason,) = graded(rules({"more_than": 0}), *many).reasons
    assert reason.defect_ids == tuple(f"d{n:03}" for n in range(49, 41, -1))


def test_the_excluded_ends_do_not_count():
    by = rules({"more_than": 0}, head_excluded_m=1.0, tail_excluded_m=2.0)
    assert graded(by, defect("a", 0.0, 1000.0), defect("b", 98_000.0, 10.0)).grade == "A"
    assert graded(by, defect("a", 990.0, 10.001)).grade == "C"
    assert graded(by, defect("a", 97_999.0, 500.0)).grade == "C"
    length = rules({"affected_over_mm": 20.0}, head_excluded_m=1.0, tail_excluded_m=2.0)
    assert graded(length, defect("a", 0.0, 1010.0), defect("b", 97_990.0, 500.0)).grade == "A"  # 10 mm and 10 mm
    assert graded(length, defect("a", 0.0, 1011.0), defect("b", 97_990.0, 500.0)).grade == "C"


def test_a_grade_says_what_it_was_told_from():
    by = rules({"inspected_below_share": 0.95}, {"more_than": 0, "grade": "D"}, head_excluded_m=10.0)
    whole = graded(by)
    assert (whole.grade, whole.text, whole.graded_mm) == ("A", "A, of 100.0 % inspected", (10_000.0, COIL_MM))
    some = graded(by, inspected=[(0.0, 50_000.0), (52_529.0, COIL_MM)])
    assert (some.text, some.inspected_share) == ("A, of 97.1 % inspected", 0.9719)
    little = graded(by, inspected=[(0.0, 50_000.0)])
    assert little.grade == "C"
    assert little.reasons[0].text == "44.44% of the graded strip was inspected, less than 95.00%"
    almost = graded(by, inspected=[(0.0, COIL_MM - 1.0)])
    assert almost.text == "A, of 99.9 % inspected"  # never rounded up to all of it


@pytest.mark.parametrize("inspected", [[], [(0.0, 500.0)]])
def test_a_coil_that_nobody_looked_at_has_no_grade(inspected):
    by = rules({"more_than": 0}, head_excluded_m=1.0)
    assert graded(by, inspected=inspected).grade == "ungraded"
    short = grade_coil(by, [], spans([(0.0, 900.0)]), 900.0)
    assert (short.grade, short.text) == ("ungraded", "ungraded: no strip between the excluded ends")
    looked = rules({"inspected_below_share": 0.95}, head_excluded_m=1.0)
    assert grade_coil(looked, [], spans([(0.0, 900.0)]), 900.0).reasons == ()  # nothing is lacking of nothing


def test_the_rules_identity_follows_their_content():
    one, other = rules({"more_than": 0}), rules({"more_than": 1})
    assert one.identity == rules({"more_than": 0}).identity
    assert one.identity != other.identity
    assert one.identity.startswith("test@")


WILD = rules(
    {"more_than": 6, "min_severity": 2, "grade": "B"},
    {"more_than": 2, "within_m": 1.0, "grade": "C"},
    {"more_than_per_m": 0.2, "grade": "C", "classes": ["inclusion"]},
    {"affected_over_mm": 3_000.0, "grade": "B"},
    {"affected_over_share": 0.2, "grade": "D", "min_severity": 3},
    {"more_than": 0, "min_severity": 5, "grade": "D", "edge_zone_mm": 50.0, "edge_zone": "outside"},
    {"inspected_below_share": 0.5, "grade": "D"},
    severity=(
        {"max_area_mm2": 100.0, "severity": 1},
        {"classes": ["scratches"], "min_length_mm": 500.0, "severity": 5},
    ),
    head_excluded_m=2.0,
    tail_excluded_m=3.0,
)
LENGTH_MM = 20_000.0


@st.composite
def wild_defects(draw):
    count = draw(st.integers(0, 24))
    places = st.integers(0, 20_000).map(float)
    return [
        defect(
            f"d{n}",
            draw(places),
            draw(st.sampled_from([0.5, 10.0, 200.0, 800.0, 3000.0])),
            of=draw(st.sampled_from(["scratches", "inclusion", "sliver", "water"])),
            width_mm=draw(st.sampled_from([0.5, 5.0, 40.0])),
            edge_mm=draw(st.sampled_from([None, 0.0, 30.0, 80.0])),
        )
        for n in range(count)
    ]


def grade_of(defects, inspected=((0.0, LENGTH_MM),)):
    return grade_coil(WILD, defects, spans(inspected), LENGTH_MM)


@pytest.mark.slow
@given(wild_defects(), wild_defects())
def test_one_defect_more_never_makes_a_grade_better(some, others):
    more = [replace(one, id=f"x{one.id}") for one in others]
    few, many = grade_of(some), grade_of([*some, *more])
    assert GRADES.index(many.grade) >= GRADES.index(few.grade)
    assert {reason.rule for reason in few.reasons} <= {reason.rule for reason in many.reasons}


@pytest.mark.slow
@given(wild_defects(), st.randoms())
def test_their_order_does_not_matter(defects, random):
    shuffled = random.sample(defects, len(defects))
    assert grade_of(shuffled) == grade_of(defects)


@pytest.mark.slow
@given(wild_defects(), st.integers(1, 7), st.integers(1, 5))
def test_a_coil_graded_as_it_goes_by_grades_as_the_whole(defects, kept, pending):
    """Also where next to nothing is kept: the sums say the same as the defects did."""
    in_order = sorted(defects, key=lambda one: one.box.along_mm[0])
    state, end_mm = GradingState.begin(WILD), 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "KEPT", kept)
        patch.setattr(grading, "_PENDING", pending)
        for end_mm in np.arange(256.0, LENGTH_MM + 256.0, 256.0).clip(max=LENGTH_MM).tolist():
            begun = [one for one in in_order if one.box.along_mm[0] < end_mm]
            in_order = in_order[len(begun) :]
            first = int(max(0.0, end_mm - 256.0))
            span = CoverageSpan(first, 256, (float(first), end_mm), Quality.INSPECTED, None)
            state = observe(state, begun, [span], end_mm)
        state = observe(state, in_order, (), end_mm)
    assert finish_grading(state) == grade_of(defects)


@pytest.mark.slow
def test_what_is_kept_of_a_coil_does_not_grow_with_it():
    """30 km with 120,000 defects: the state holds what it may and no more, and the sums are right."""
    by = rules(
        {"more_than": 119_960, "grade": "B"},
        {"more_than": 4, "within_m": 1.0},
        {"affected_over_share": 0.0399, "grade": "D"},
        tail_excluded_m=10.0,
    )
    state = GradingState.begin(by)
    sizes = []
    for metre in range(30_000):
        at_mm = metre * 1000.0
        closed = [defect(f"{metre}.{n}", at_mm + 250 * n, 10.0) for n in range(4)]
        span = CoverageSpan(metre, 1, (at_mm, at_mm + 1000.0), Quality.INSPECTED, None)
        state = observe(state, closed, [span], at_mm + 1000.0)
        if metre % 1000 == 999:
            sizes.append((len(state.rows), len(state.pending), max(len(one.affected.kept) for one in state.sums)))
    rows, pending, stretches = np.array(sizes).max(axis=0)
    assert rows <= 2 * grading.KEPT + 1_024
    assert pending < 1_024
    assert stretches <= grading.MAX_STRETCHES
    assert (len(state.looked.rows), len(state.looked.newest)) == (0, 1)
    grade = finish_grading(state)
    assert sum(grade.defects_by_severity.values()) == 4 * 29_990
    assert [reason.rule for reason in grade.reasons] == ["l2"]  # 4.00 % affected; 119,960 defects; four in any metre


def test_decide_grades_a_coil_at_its_end_and_rates_every_defect():
    by = rules({"more_than": 0, "min_severity": 2, "grade": "B"}, {"more_than": 0, "min_severity": 5, "grade": "D"})
    first = paint(100, 200, (10, 40, 20, 30), (60, 100, 100, 110))
    second = paint(100, 200, (0, 20, 100, 110))
    strip = [predict(first), predict(second, first_line=100, ordinal=1)]
    strip.append(predict(paint(0, 200), first_line=200, ordinal=2, lines=50, fault=Cause.LOST))
    decided = run(strip, replace(RULES, grading=by))
    started, ended = notices(decided)
    assert started.grade is None
    assert ended.grade.text == "ungraded: too little was inspected, 80.0 %; its defects alone give B"
    assert ended.grade.defects_by_severity == {2: 2}
    closed = [e.defect for item in decided for e in item.defects if e.state is DefectState.CLOSED]
    assert sorted(ended.grade.reasons[0].defect_ids) == sorted(one.id for one in closed)
    assert [one.severity for one in closed] == [2, 2]
    assert all(notice.grade is None for notice in notices(run(strip)))
    assert grade_coil(by, closed, spans([(0.0, 200.0)]), 250.0) == ended.grade


def test_no_edge_is_nan_and_not_zero():
    found = instances_of([defect(edge_mm=None), defect("e", 2000.0, edge_mm=0.0)], WILD)
    assert math.isnan(found.edge_mm[0])
    assert found.edge_mm[1] == 0.0
    assert all(one <= other for one, other in pairwise(found.begin_mm))


def covered(*shares: float, area_mm2: float = 1000.0) -> list[CoverageSpan]:
    """Spans of 10 m each, of whose area these shares were inspected."""
    return [
        CoverageSpan(
            10_000 * n,
            10_000,
            (10_000.0 * n, 10_000.0 * (n + 1)),
            Quality.INSPECTED if share == 1 else Quality.DEGRADED,
            None if share == 1 else (Cause.NARROW, Cause.DARK)[n % 2],  # so that no two are joined
            StripArea(share * area_mm2, 0.0, (1 - share) * area_mm2),
        )
        for n, share in enumerate(shares)
    ]


def test_the_inspected_share_is_of_the_area_and_only_of_the_graded_part():
    by = rules({"inspected_below_share": 0.5}, head_excluded_m=10.0, tail_excluded_m=15.0)
    assert grade_coil(by, [], covered(0.0, 0.5, 1.0, 0.0), 40_000.0).inspected_share == 0.6666
    assert grade_coil(by, [], covered(1.0, 1.0, 1.0, 0.0), 40_000.0).inspected_share == 1.0
    assert grade_coil(by, [], covered(1.0, 1.0), 60_000.0).inspected_share == 0.2857  # no record from 20 to 45 m


@pytest.mark.parametrize("share", [0.0, 0.3, 0.94])
def test_too_little_inspected_is_no_grade_but_a_reject_stays_one(share):
    """A coil that its defects reject is rejected however little was inspected, and both are said."""
    by = rules({"more_than": 0, "grade": "B"}, {"more_than": 2, "grade": "D"})
    looked = f"{100 * share:.1f} %"
    none, some, many = (
        grade_coil(by, [defect(str(n), 2000.0 * n) for n in range(count)], covered(share), 10_000.0)
        for count in (0, 1, 3)
    )
    assert (none.grade, none.text) == ("ungraded", f"ungraded: too little was inspected, {looked}")
    assert (some.grade, some.text) == ("ungraded", f"{none.text}; its defects alone give B")
    assert (many.grade, many.text) == ("D", f"D by its defects, though too little was inspected: {looked}")
    assert grade_coil(by, [], covered(0.96), 10_000.0).grade == "A"


def test_the_rules_say_how_much_must_be_inspected():
    less = rules({"more_than": 0, "grade": "B"}, min_inspected_share=0.5)
    assert grade_coil(less, [], covered(0.6), 10_000.0).text == "A, of 60.0 % inspected"
    assert grade_coil(less, [], covered(0.4), 10_000.0).grade == "ungraded"
    limit = rules({"inspected_below_share": 0.95})
    assert grade_coil(limit, [], covered(0.4), 10_000.0).grade == "C"
    assert grade_coil(limit, [], covered(0.0), 10_000.0).grade == "ungraded"


@given(st.lists(st.sampled_from([0.0, 0.4, 1.0]), max_size=40), st.integers(0, 4), st.integers(1, 8))
def test_what_was_inspected_is_summed_in_bounded_memory(shares, head, most):
    """The same share whether all spans are kept or next to none, and whether they came one by one or at once."""
    spans_ = covered(*shares)
    begin_mm, end_mm = 10_000.0 * head, 10_000.0 * len(shares)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looked_at, "_PENDING", 2)
        patch.setattr(looked_at, "MAX_SPANS", most)
        state = LookedAt()
        for span in spans_:
            state = state.plus([span]).settle(begin_mm, end_mm)
            assert len(state.rows) <= max(most, 1)
        graded_part = shares[head:]
        expected = sum(graded_part) / len(graded_part) if graded_part else 0.0
        assert state.share(begin_mm, end_mm) == pytest.approx(expected)
    assert LookedAt().plus(spans_).share(begin_mm, end_mm) == pytest.approx(expected)
