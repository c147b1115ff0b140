"""`[[recipe]]`: how coils of some kind are inspected. The data of the coil choose the recipe.

The most specific recipe that fits a coil decides, wherever it stands in the file. Two recipes that overlap, neither
more specific than the other, are refused at load unless a third one covers exactly their overlap.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings, ShortText
from linewatch.config.decision import SensitivityRule
from linewatch.contracts.coil import CoilData

THICKEST_STRIP_MM = 100.0
MOST_RECIPES = 64

EngineName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]


class RecipeEngines(Settings):
    """Engines that replace those of [inference], from the first frame of the coil."""

    screen: EngineName | None = Field(default=None, description="replaces [inference] screen")
    classify: EngineName | None = Field(default=None, description="replaces [inference] classify")
    segment: EngineName | None = Field(default=None, description="replaces [inference] segment")
    inspect: EngineName | None = Field(default=None, description="replaces [inference] inspect")

    @property
    def names(self) -> tuple[str, ...]:
        """The engines that are named."""
        return tuple(name for name in (self.screen, self.classify, self.segment, self.inspect) if name is not None)


class RecipeSettings(Settings):
    """The conditions that a coil must meet, all of them, and the settings that hold for it in place of the defaults."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="unique")
    product: ShortText | None = Field(default=None, description="condition: the product of the coil")
    steel_grade: ShortText | None = Field(default=None, description="condition: the steel grade of the coil")
    customer: ShortText | None = Field(default=None, description="condition: the customer of the coil")
    thickness_mm: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        default=None, description="condition: the thickness of the strip, from the first value to below the second"
    )
    sensitivity: Annotated[tuple[SensitivityRule, ...], Field(strict=False)] = Field(
        default=(), description="not empty: replaces [[decision.sensitivity]]"
    )
    grading: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="replaces [decision] grading"
    )
    head_excluded_m: float | None = Field(
        default=None, ge=0, le=1_000, description="replaces [decision] head_excluded_m"
    )
    tail_excluded_m: float | None = Field(default=None, ge=0, le=200, description="replaces [decision] tail_excluded_m")
    engines: RecipeEngines = RecipeEngines()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not any(self.texts) and self.thickness_mm is None:
            raise ValueError(
                "a recipe for every coil; give it a condition (product, steel_grade, customer or thickness_mm), or "
                "write its settings in [decision]"
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
                    "remove the product of the sensitivity"
                )
        return self

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The conditions on product, steel grade and customer; None: any."""
        return self.product, self.steel_grade, self.customer

    @property
    def range_mm(self) -> tuple[float, float]:
        """The half-open range of the thickness, in millimetres; unbounded without a condition."""
        return self.thickness_mm or (float("-inf"), float("inf"))

    def fits(self, data: CoilData) -> bool:
        """Return whether the coil meets every condition. Unknown data meet none."""
        low, high = self.range_mm
        known = data.product, data.steel_grade, data.customer
        thick = self.thickness_mm is None or (data.thickness_mm is not None and low <= data.thickness_mm < high)
        return thick and all(ours in (None, theirs) for ours, theirs in zip(self.texts, known, strict=True))

    def within(self, other: Self) -> bool:
        """Return whether every coil that fits this recipe fits `other`."""
        (low, high), (least, most) = self.range_mm, other.range_mm
        texts = all(theirs in (None, ours) for ours, theirs in zip(self.texts, other.texts, strict=True))
        # An unknown thickness fits no range, so a recipe without a range lies within none.
        return texts and least <= low and high <= most

    def overlaps(self, other: Self) -> bool:
        """Return whether some coil fits both recipes."""
        (low, high), (least, most) = self.range_mm, other.range_mm
        texts = all(None in pair or pair[0] == pair[1] for pair in zip(self.texts, other.texts, strict=True))
        return texts and max(low, least) < min(high, most)


def choose_recipe(recipes: Sequence[RecipeSettings], data: CoilData | None) -> RecipeSettings | None:
    """Return the most specific recipe that fits, None where none does. Without `recipe_faults` there is one."""
    fitting = [recipe for recipe in recipes if data is not None and recipe.fits(data)]
    return next((one for one in fitting if all(one.within(other) for other in fitting)), None)


def recipe_faults(recipes: Sequence[RecipeSettings]) -> list[str]:
    """Return the faults between recipes: a name twice, and coils that two recipes fit, neither more specific."""
    faults = []
    for one, other in combinations(recipes, 2):
        if one.name == other.name:
            faults.append(f"two [[recipe]] are named '{one.name}'; give each its own name")
        elif one.within(other) and other.within(one):
            faults.append(f"[[recipe]] '{one.name}' and '{other.name}' fit the same coils; keep one of them")
        elif _conflict(one, other) and not any(_resolves(third, one, other) for third in recipes):
            faults.append(
                f"[[recipe]] '{one.name}' and '{other.name}' both fit {_shared(one, other)}, and neither is the "
                "more specific; add a recipe for exactly that, or narrow one of them"
            )
    return faults


def _conflict(one: RecipeSettings, other: RecipeSettings) -> bool:
    return one.overlaps(other) and not one.within(other) and not other.within(one)


def _resolves(third: RecipeSettings, one: RecipeSettings, other: RecipeSettings) -> bool:
    """Return whether `third` covers exactly the overlap of both."""
    texts = tuple(ours or theirs for ours, theirs in zip(one.texts, other.texts, strict=True))
    return third.texts == texts and third.range_mm == _shared_mm(one, other)


def _shared_mm(one: RecipeSettings, other: RecipeSettings) -> tuple[float, float]:
    (low, high), (least, most) = one.range_mm, other.range_mm
    return max(low, least), min(high, most)


def _shared(one: RecipeSettings, other: RecipeSettings) -> str:
    names = ("product", "steel_grade", "customer")
    conditions = [
        f"{name} {ours or theirs!r}"
        for name, ours, theirs in zip(names, one.texts, other.texts, strict=True)
        if ours or theirs
    ]
    low, high = _shared_mm(one, other)
    conditions += [f"thickness_mm [{low:g}, {high:g}]"] if one.thickness_mm or other.thickness_mm else []
    return " with ".join(conditions)
