"""What a defect must reach to be reported and to be called, by class, zone and product."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from linewatch.config.decision import DecisionSettings, SensitivityRule
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import StripEdges
from linewatch.geometry.strip import StripScale

Limit = Literal["min_confidence", "min_area_mm2", "call_probability"]
"""A limit that a sensitivity rule may give."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where defects lie across the strip, float64 (n,) each. edge_mm: distance to the nearest strip edge that was
    found; NaN when none was found.
    """

    left_mm: np.ndarray
    right_mm: np.ndarray
    edge_mm: np.ndarray

    @classmethod
    def of(cls, left_px: np.ndarray, right_px: np.ndarray, scale: StripScale, edges: StripEdges | None) -> Self:
        """Return the places of columns [left_px, right_px)."""
        edge_mm = np.full(len(left_px), np.nan)
        if edges is not None and edges.left_found:
            edge_mm = np.fmin(edge_mm, scale.columns.width_mm(np.full_like(left_px, edges.left_px), left_px))
        if edges is not None and edges.right_found:
            edge_mm = np.fmin(edge_mm, scale.columns.width_mm(right_px, np.full_like(right_px, edges.right_px)))
        return cls(scale.across(left_px), scale.across(right_px), edge_mm)

    @classmethod
    def one(cls, across_mm: tuple[float, float], edge_mm: float | None) -> Self:
        """Return the place of a single defect."""
        left_mm, right_mm = across_mm
        return cls(*np.array([[left_mm], [right_mm], [np.nan if edge_mm is None else edge_mm]]))

    def __len__(self) -> int:
        return len(self.left_mm)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Sensitivity rules of the product on the line, in order. Where none fits, the usual thresholds hold."""

    rules: tuple[SensitivityRule, ...] = ()

    @classmethod
    def of(cls, settings: DecisionSettings, classes: Collection[str]) -> Self:
        """Select the rules of the product. Raises ConfigError for an unknown class or a rule that is never reached."""
        for number, rule in enumerate(settings.sensitivity, start=1):
            for name in rule.classes:
                if name not in classes:
                    raise ConfigError(
                        f"[[decision.sensitivity]] {number}: class '{name}' is unknown; the engines' classes are "
                        f"{', '.join(sorted(classes)) or 'none'}: name some of these, or none for all of them"
                    )
            for place, earlier in enumerate(settings.sensitivity[: number - 1], start=1):
                if _hides(earlier, rule):
                    raise ConfigError(
                        f"[[decision.sensitivity]] {number} is never reached: rule {place} before it covers every "
                        "case; move it before that rule, or remove it"
                    )
        return cls(tuple(rule for rule in settings.sensitivity if rule.product in (None, settings.product)))

    def minima(self, limit: Limit, classes: tuple[str, ...], places: Places) -> np.ndarray:
        """Return this limit of each class at each place: float64 (len(places), len(classes)), NaN for none."""
        minima = np.full((len(places), len(classes)), np.nan)
        for rule in reversed(self.rules):  # the first rule that fits wins
            meant = np.array([not rule.classes or name in rule.classes for name in classes])
            given = getattr(rule, limit)
            minima[np.ix_(_within(rule, places), meant)] = np.nan if given is None else given
        return minima

    def least_area_mm2(self, usual_mm2: float) -> float:
        """Return the area below which no defect is reported anywhere."""
        return min([usual_mm2, *(rule.min_area_mm2 for rule in self.rules if rule.min_area_mm2 is not None)])


def _within(rule: SensitivityRule, places: Places) -> np.ndarray:
    """Return which places lie in the rule's zone: bool (len(places),)."""
    within = np.ones(len(places), bool)
    if rule.edge_zone_mm is not None:
        within &= places.edge_mm + places.right_mm - places.left_mm <= rule.edge_zone_mm
    if rule.across_mm is not None:
        within &= (rule.across_mm[0] <= places.left_mm) & (places.right_mm <= rule.across_mm[1])
    return within


def _hides(earlier: SensitivityRule, later: SensitivityRule) -> bool:
    return (
        (not earlier.classes or (bool(later.classes) and set(later.classes) <= set(earlier.classes)))
        and earlier.product in (None, later.product)
        and (
            earlier.edge_zone_mm is None
            or (later.edge_zone_mm is not None and later.edge_zone_mm <= earlier.edge_zone_mm)
        )
        and (
            earlier.across_mm is None
            or (
                later.across_mm is not None
                and earlier.across_mm[0] <= later.across_mm[0]
                and later.across_mm[1] <= earlier.across_mm[1]
            )
        )
    )
