"""`[[recipe]]`: how coils of some kind are inspected; chosen by what Level 2 says of the coil.

The most specific recipe that fits decides, wherever it stands in the file. Recipes that overlap without one of them
being the more specific are refused at load, unless a third is about just what they share.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.decision import SensitivityRule
from linewatch.contracts.coil import CoilData

THICKEST_STRIP_MM = 100.0
MOST_RECIPES = 64

Words = Annotated[str, Field(min_length=1, max_length=64)]
EngineName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]


class RecipeEngines(Settings):
    """`[recipe.engines]`: engines in place of those of [inference], from the coil's first frame on."""

    screen: EngineName | None = None
    classify: EngineName | None = None
    segment: EngineName | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are named."""
        return tuple(name for name in (self.screen, self.classify, self.segment) if name is not None)


class RecipeSettings(Settings):
    """Which coils it is about (each condition narrows it), and what holds for them in place of the default."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    product: Words | None = None
    steel_grade: Words | None = None
    customer: Words | None = None
    thickness_mm: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        default=None, description="from, and below"
    )
    sensitivity: Annotated[tuple[SensitivityRule, ...], Field(strict=False)] = Field(
        default=(), description="where there is one, these in place of [[decision.sensitivity]]"
    )
    grading: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="in place of [decision] grading"
    )
    head_excluded_m: float | None = Field(
        default=None, ge=0, le=1_000, description="in place of [decision] head_excluded_m"
    )
    tail_excluded_m: float | None = Field(
        default=None, ge=0, le=200, description="in place of [decision] tail_excluded_m"
    )
    engines: RecipeEngines = RecipeEngines()

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if not any(self.words) and self.thickness_mm is None:
            raise ValueError(
                "a recipe for every coil; say for which by product, steel_grade, customer or thickness_mm, or make it "
                "the default, in [decision]"
            )
        if self.thickness_mm is not None and not 0 <= self.thickness_mm[0] < self.thickness_mm[1] <= THICKEST_STRIP_MM:
            raise ValueError(
                f"thickness_mm {list(self.thickness_mm)} is no range of strip, expected [from, below], ascending, in "
                f"millimetres up to {THICKEST_STRIP_MM:g}"
            )
        for rule in self.sensitivity:
            if self.product is not None and rule.product not in (None, self.product):
                raise ValueError(
                    f"a sensitivity for product {rule.product!r} in a recipe for {self.product!r} never holds; "
                    "take its product out"
                )
        return self

    @property
    def words(self) -> tuple[str | None, ...]:
        """The conditions that are words; None: any."""
        return self.product, self.steel_grade, self.customer

    @property
    def range_mm(self) -> tuple[float, float]:
        """[from, below) of the thickness; all of it without a condition."""
        return self.thickness_mm or (float("-inf"), float("inf"))

    def fits(self, data: CoilData) -> bool:
        """Whether it is about this coil. What is not known of the coil fits no condition."""
        low, high = self.range_mm
        told = data.product, data.steel_grade, data.customer
        thick = self.thickness_mm is None or (data.thickness_mm is not None and low <= data.thickness_mm < high)
        return thick and all(ours in (None, theirs) for ours, theirs in zip(self.words, told, strict=True))

    def within(self, other: Self) -> bool:
        """Whether `other` is about every coil that this one is about."""
        (low, high), (least, most) = self.range_mm, other.range_mm
        words = all(theirs in (None, ours) for ours, theirs in zip(self.words, other.words, strict=True))
        # No thickness known fits no range: a recipe without a range lies in none.
        return words and least <= low and high <= most

    def meets(self, other: Self) -> bool:
        """Whether some coil fits both."""
        (low, high), (least, most) = self.range_mm, other.range_mm
        words = all(None in pair or pair[0] == pair[1] for pair in zip(self.words, other.words, strict=True))
        return words and max(low, least) < min(high, most)


def choose_recipe(recipes: Sequence[RecipeSettings], data: CoilData | None) -> RecipeSettings | None:
    """The most specific of those that fit; None: none does. Of recipes without `recipe_faults` there is one."""
    fitting = [recipe for recipe in recipes if data is not None and recipe.fits(data)]
    return next((one for one in fitting if all(one.within(other) for other in fitting)), None)


def recipe_faults(recipes: Sequence[RecipeSettings]) -> list[str]:
    """What is wrong with recipes that each are sound: names that stand twice, coils for which two contend."""
    faults = []
    for one, other in combinations(recipes, 2):
        if one.name == other.name:
            faults.append(f"two [[recipe]] are named '{one.name}'; give each its own name")
        elif one.within(other) and other.within(one):
            faults.append(f"[[recipe]] '{one.name}' and '{other.name}' are about the same coils; keep one of them")
        elif _contend(one, other) and not any(_settles(third, one, other) for third in recipes):
            faults.append(
                f"[[recipe]] '{one.name}' and '{other.name}' both fit {_shared(one, other)}, and neither is the "
                "more specific; add a recipe for just that, or narrow one of them"
            )
    return faults


def _contend(one: RecipeSettings, other: RecipeSettings) -> bool:
    return one.meets(other) and not one.within(other) and not other.within(one)


def _settles(third: RecipeSettings, one: RecipeSettings, other: RecipeSettings) -> bool:
    """Whether `third` is about just what both are about."""
    words = tuple(ours or theirs for ours, theirs in zip(one.words, other.words, strict=True))
    return third.words == words and third.range_mm == _shared_mm(one, other)


def _shared_mm(one: RecipeSettings, other: RecipeSettings) -> tuple[float, float]:
    (low, high), (least, most) = one.range_mm, other.range_mm
    return max(low, least), min(high, most)


def _shared(one: RecipeSettings, other: RecipeSettings) -> str:
    names = ("product", "steel_grade", "customer")
    words = [
        f"{name} {ours or theirs!r}"
        for name, ours, theirs in zip(names, one.words, other.words, strict=True)
        if ours or theirs
    ]
    low, high = _shared_mm(one, other)
    words += [f"thickness_mm [{low:g}, {high:g}]"] if one.thickness_mm or other.thickness_mm else []
    return " with ".join(words)
