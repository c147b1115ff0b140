"""Recipes: the most specific one decides, in whatever order they stand; what would leave it open is refused."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.config.recipe import RecipeSettings, choose_recipe, recipe_faults
from linewatch.contracts.coil import CoilData
from linewatch.contracts.errors import ConfigError
from linewatch.service_settings import settings_from

WORDS = st.one_of(st.none(), st.sampled_from(["a", "b"]))
EDGES = st.sampled_from([0.0, 0.5, 1.0, 1.5])
RANGES = st.one_of(st.none(), st.tuples(EDGES, EDGES).filter(lambda ends: ends[0] < ends[1]))
DATA = st.builds(
    CoilData,
    coil=st.just("C-1"),
    product=WORDS,
    steel_grade=WORDS,
    customer=WORDS,
    thickness_mm=st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])),
)


@st.composite
def recipe_lists(draw: st.DrawFn) -> list[RecipeSettings]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        facts = {
            "product": draw(WORDS),
            "steel_grade": draw(WORDS),
            "customer": draw(WORDS),
            "thickness_mm": draw(RANGES),
        }
        if any(value is not None for value in facts.values()):
            found.append(RecipeSettings(name=f"r{number}", **facts))
    return found


@given(recipe_lists(), DATA)
def test_of_recipes_that_are_let_in_one_decides_and_it_is_the_most_specific(recipes, data):
    fitting = [one for one in recipes if one.fits(data)]
    chosen = choose_recipe(recipes, data)
    assert choose_recipe(recipes, None) is None
    if chosen is not None:
        assert all(chosen.within(other) for other in fitting)
    if not recipe_faults(recipes):
        assert (chosen is None) == (not fitting)
        for order in permutations(recipes):
            assert choose_recipe(order, data) is chosen


@given(recipe_lists(), DATA)
def test_to_be_within_another_is_to_fit_no_coil_that_it_does_not(recipes, data):
    for one in recipes:
        for other in recipes:
            if one.fits(data) and one.within(other):
                assert other.fits(data)
            if one.fits(data) and other.fits(data):
                assert one.overlaps(other)


def service(*recipes: dict) -> dict:
    return {"recipe": [{"name": f"r{number}", **one} for number, one in enumerate(recipes)]}


def test_two_that_contend_are_let_in_with_a_third_for_what_they_share():
    two = ({"product": "p", "thickness_mm": [0.5, 1.0]}, {"customer": "c", "thickness_mm": [0.7, 2.0]})
    both = {"product": "p", "customer": "c", "thickness_mm": [0.7, 1.0]}
    with pytest.raises(ConfigError, match=r"product 'p' with customer 'c' with thickness_mm \[0.7, 1\]"):
        settings_from(service(*two), "x.toml")
    found = settings_from(service(*two, both), "x.toml").recipe
    chosen = choose_recipe(found, CoilData("C-1", product="p", customer="c", thickness_mm=0.8))
    assert chosen is not None
    assert chosen.name == "r2"


@pytest.mark.parametrize(
    ("recipes", "says"),
    [
        (({},), "for every coil"),
        (({"product": "p"}, {"product": "p"}), "fit the same coils"),
        (({"product": "p", "name": "x"}, {"product": "q", "name": "x"}), "two \\[\\[recipe\\]\\] are named 'x'"),
        (({"thickness": [1.0, 2.0]},), "its unit is missing: write thickness_mm"),
        (({"thickness_mm": [2.0, 1.0]},), "no range of strip"),
        (({"thickness_mm": [0.0, 1e6]},), "no range of strip"),
        (({"product": "p", "head_excluded_mm": 3.0},), "the unit here is metres: write head_excluded_m"),
        (({"product": "p", "engines": {"sreen": "x"}},), "did you mean screen"),
        (({"product": "p", "engines": {"screen": "../x"}},), "screen"),
        (({"product": "p", "sensitivity": [{"product": "q", "min_area_mm2": 3.0}]},), "never holds"),
        (({"product": "p", "sensitivity": [{"classes": ["scratch"]}]},), "changes nothing"),
        (tuple({"product": f"p{n}"} for n in range(65)), "64"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(recipes, says):
    with pytest.raises(ConfigError, match=says):
        settings_from(service(*recipes), "x.toml")


def test_the_identity_of_settings_changes_with_a_recipe_and_with_the_rules_that_it_names(tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text("a")
    by = service({"product": "p", "grading": str(rules)})
    before = settings_from(by, "x.toml").identity()
    assert before != settings_from({}, "x.toml").identity()
    rules.write_text("b")
    assert before != settings_from(by, "x.toml").identity()
