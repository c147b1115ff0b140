"""What a defect must reach to be reported: per class, zone and product."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from linewatch.config.decision import DecisionSettings, SensitivityRule
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import StripEdges
from linewatch.geometry.strip import StripScale


@dataclass(frozen=True, slots=True)
class Place:
    """Where a defect lies across the strip. edge_mm: from the nearest strip edge that was seen; None when none was."""

    across_mm: tuple[float, float]
    edge_mm: float | None

    @classmethod
    def of(cls, left_px: int, right_px: int, scale: StripScale, edges: StripEdges | None) -> Self:
        """Of columns [left_px, right_px)."""
        distances = []
        if edges is not None:
            distances += [(left_px - edges.left_px) * scale.mm_per_px] if edges.left_found else []
            distances += [(edges.right_px - right_px) * scale.mm_per_px] if edges.right_found else []
        return cls((scale.across(left_px), scale.across(right_px)), min(distances) if distances else None)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The rules for the product on the line, in their order; none of them: the usual thresholds."""

    rules: tuple[SensitivityRule, ...] = ()

    @classmethod
    def of(cls, settings: DecisionSettings, classes: Collection[str]) -> Self:
        """Raises ConfigError for a class that no engine names, or a rule that another hides."""
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
                        f"[[decision.sensitivity]] {number} is never reached: rule {place} before it takes all that it "
                        "would; put it first, or take it out"
                    )
        return cls(tuple(rule for rule in settings.sensitivity if rule.product in (None, settings.product)))

    def rule_for(self, name: str, place: Place) -> SensitivityRule | None:
        """The rule that decides of a defect of this class and place."""
        return next((rule for rule in self.rules if _fits(rule, name, place)), None)

    def thresholds(self, classes: tuple[str, ...], usual: Mapping[str, float], place: Place) -> np.ndarray:
        """float64 (len(classes),): the score from which each class is claimed there."""
        found = [usual[name] for name in classes]
        if self.rules:
            for i, name in enumerate(classes):
                rule = self.rule_for(name, place)
                if rule is not None and rule.min_confidence is not None:
                    found[i] = rule.min_confidence
        return np.array(found)

    def least_area_mm2(self, usual_mm2: float) -> float:
        """No defect is reported below it, wherever it lies."""
        return min([usual_mm2, *(rule.min_area_mm2 for rule in self.rules if rule.min_area_mm2 is not None)])


def _fits(rule: SensitivityRule, name: str, place: Place) -> bool:
    left_mm, right_mm = place.across_mm
    return (
        (not rule.classes or name in rule.classes)
        and (
            rule.edge_zone_mm is None
            or (place.edge_mm is not None and place.edge_mm + right_mm - left_mm <= rule.edge_zone_mm)
        )
        and (rule.across_mm is None or (rule.across_mm[0] <= left_mm and right_mm <= rule.across_mm[1]))
    )


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
