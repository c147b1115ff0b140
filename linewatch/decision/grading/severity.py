"""Severity of defects under the grading rules, computed on defects in columns."""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from linewatch.config.grading import UNKNOWN_SEVERITY, GradingSettings, Selection, class_severities
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.verdict import Defect


@dataclass(frozen=True, slots=True)
class GradingRules:
    """Grading rules of one file, joined with the taxonomy. identity: name@digest of the rules' content."""

    settings: GradingSettings
    identity: str
    class_severities: Mapping[str, int]  # of the real classes, in the taxonomy's order
    pseudo_classes: frozenset[str]
    ends_mm: tuple[float, float] = (0.0, 0.0)  # excluded at head and tail in addition to the rules

    def excluding(self, head_mm: float, tail_mm: float) -> Self:
        """Return the rules for a coil with these ends excluded. Where the rules exclude more, the rules hold."""
        return replace(self, ends_mm=(head_mm, tail_mm))

    @classmethod
    def of(cls, settings: GradingSettings, taxonomy: Taxonomy) -> Self:
        """Join rules that `load_grading` has checked against this taxonomy."""
        digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]
        pseudo = frozenset(taxonomy.pseudo_classes)
        return cls(settings, f"{settings.name}@{digest}", class_severities(taxonomy), pseudo)

    @property
    def head_mm(self) -> float:
        return max(self.settings.head_excluded_m * 1000, self.ends_mm[0])

    @property
    def tail_mm(self) -> float:
        return max(self.settings.tail_excluded_m * 1000, self.ends_mm[1])

    @property
    def reach_mm(self) -> float:
        """The longest stretch in which a limit counts."""
        return max((limit.within_m or 0.0 for limit in self.settings.limit), default=0.0) * 1000


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Closed defects in columns of one length n; millimetres are rounded as published.

    class_code: index of the class in `GradingRules.class_severities`, -1 for a class not in it. edge_mm: NaN where no
    strip edge was found. severity: 1..5.
    """

    ids: np.ndarray  # object, str
    class_code: np.ndarray
    top: np.ndarray  # bool: the strip's side
    begin_mm: np.ndarray
    end_mm: np.ndarray
    width_mm: np.ndarray
    area_mm2: np.ndarray
    edge_mm: np.ndarray
    confidence: np.ndarray
    probability: np.ndarray
    periodic: np.ndarray  # bool: part of a roll mark
    severity: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Self:
        """Return the rows that a mask or indices select."""
        return type(self)(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def instances_of(defects: Iterable[Defect], rules: GradingRules, periodic: Collection[str] = ()) -> Instances:
    """Return closed defects in columns, sorted by where they begin, without pseudo-defects and tentative defects.

    Pseudo-defects and tentative defects never affect a grade. periodic: ids of defects that belong to a roll mark.
    """
    real = [one for one in defects if one.defect_class not in rules.pseudo_classes and not one.tentative]
    boxes = np.array([(*defect.box.along_mm, *defect.box.across_mm) for defect in real]).reshape(-1, 4)
    found = columns_of(
        rules,
        classes=[defect.defect_class for defect in real],
        top=np.array([defect.side == "top" for defect in real], bool),
        along_mm=boxes[:, :2],
        across_mm=boxes[:, 2:],
        area_mm2=np.array([defect.area_mm2 for defect in real]),
        edge_mm=np.array([math.nan if defect.edge_mm is None else defect.edge_mm for defect in real]),
        confidence=np.array([defect.confidence for defect in real]),
        probability=np.array([defect.probability for defect in real]),
    )
    found = replace(
        found,
        ids=np.array([defect.id for defect in real], object),
        periodic=np.array([defect.id in periodic for defect in real], bool),
    )
    return rated(found.take(np.argsort(found.begin_mm, kind="stable")), rules)


def columns_of(
    rules: GradingRules,
    *,
    classes: Sequence[str],
    top: np.ndarray,
    along_mm: np.ndarray,
    across_mm: np.ndarray,
    area_mm2: np.ndarray,
    edge_mm: np.ndarray,
    confidence: np.ndarray,
    probability: np.ndarray,
) -> Instances:
    """Return defects with figures as published, in the given order, without ids, roll marks or severities.

    along_mm, across_mm: float64 (n, 2).
    """
    codes = {name: code for code, name in enumerate(rules.class_severities)}
    count = len(classes)
    figures = np.column_stack([along_mm, across_mm, area_mm2, edge_mm])
    begin_mm, end_mm, left_mm, right_mm, area_mm2, edge_mm = _published(figures, 3).T
    return Instances(
        ids=np.full(count, "", object),
        class_code=np.array([codes.get(name, -1) for name in classes], np.int16),
        top=top,
        begin_mm=begin_mm,
        end_mm=end_mm,
        width_mm=_published(right_mm - left_mm, 3),
        area_mm2=area_mm2,
        edge_mm=edge_mm,
        confidence=_published(confidence, 4),
        probability=_published(probability, 4),
        periodic=np.zeros(count, bool),
        severity=np.zeros(count, np.int8),
    )


def _published(exact: np.ndarray, digits: int) -> np.ndarray:
    """Round as Python's `round` does, which is how figures are rounded on the wire: float64."""
    scaled = exact * 10**digits
    rounded = np.rint(scaled) / 10**digits
    inexact = 1e-3 + 1e-15 * np.abs(scaled)  # scaling may have made, or hidden, a tie
    for at in np.argwhere(np.abs(scaled - np.floor(scaled) - 0.5) < inexact):
        rounded[tuple(at)] = round(float(exact[tuple(at)]), digits)
    return rounded


def severities_of(defects: Sequence[Defect], rules: GradingRules) -> list[int | None]:
    """Return the severity of each defect as known so far; None for a pseudo-defect or a tentative defect."""
    found = instances_of(defects, rules)
    by_id = dict(zip(found.ids.tolist(), found.severity.tolist(), strict=True))
    return [by_id.get(defect.id) for defect in defects]


def joined(one: Instances, other: Instances) -> Instances:
    """Return the rows of both, sorted by where they begin."""
    both = Instances(*(np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(one)))
    return both.take(np.argsort(both.begin_mm, kind="stable"))


def rated(rows: Instances, rules: GradingRules) -> Instances:
    """Return the rows with severities: that of the first rule that fits, otherwise that of the class."""
    defaults = np.array([*rules.class_severities.values(), UNKNOWN_SEVERITY], np.int8)  # code -1 is the last
    severity = defaults[rows.class_code]
    for rule in reversed(rules.settings.severity):
        severity = np.where(fits(rule, rows, rules), np.int8(rule.severity), severity)
    return replace(rows, severity=severity)


def fits(rule: Selection, rows: Instances, rules: GradingRules) -> np.ndarray:
    """Return which rows match the rule, bool (n,), disregarding the `min_severity` of a limit."""
    fitting = np.ones(len(rows), bool)
    if rule.classes:
        named = np.array([*(name in rule.classes for name in rules.class_severities), False])  # code -1 is the last
        fitting &= named[rows.class_code]
    if rule.side is not None:
        fitting &= rows.top == (rule.side == "top")
    sizes = {"area_mm2": rows.area_mm2, "length_mm": rows.end_mm - rows.begin_mm, "width_mm": rows.width_mm}
    for name, size in sizes.items():
        least, most = getattr(rule, f"min_{name}"), getattr(rule, f"max_{name}")
        if least:
            fitting &= size >= least - 5e-7  # the difference of two rounded figures carries a rounding error
        if most is not None:
            fitting &= size <= most + 5e-7
    if rule.min_confidence:
        fitting &= rows.confidence >= rule.min_confidence
    if rule.min_probability:
        fitting &= rows.probability >= rule.min_probability
    if rule.edge_zone_mm is not None:
        if rule.edge_zone == "inside":
            fitting &= rows.edge_mm + rows.width_mm <= rule.edge_zone_mm + 5e-7
        elif rule.edge_zone == "touching":
            fitting &= rows.edge_mm < rule.edge_zone_mm
        else:
            fitting &= rows.edge_mm >= rule.edge_zone_mm
    if rule.periodic is not None:
        fitting &= rows.periodic == rule.periodic
    return fitting
