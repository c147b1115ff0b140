"""Severity: how bad each defect is by the grading rules; defects in columns."""

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
    """A file of rules, joined with the taxonomy. `identity` is name@digest of the rules' content."""

    settings: GradingSettings
    identity: str
    class_severities: Mapping[str, int]  # of the real classes, in the taxonomy's order
    pseudo_classes: frozenset[str]
    ends_mm: tuple[float, float] = (0.0, 0.0)  # excluded at head and tail whatever the rules say

    def excluding(self, head_mm: float, tail_mm: float) -> Self:
        """The same for a coil of which these ends are excluded; where the rules exclude more, they do."""
        return replace(self, ends_mm=(head_mm, tail_mm))

    @classmethod
    def of(cls, settings: GradingSettings, taxonomy: Taxonomy) -> Self:
        """Of rules that `load_grading` has checked against this taxonomy."""
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
    """Closed defects in columns of one length n; millimetres as they are published.

    class_code: the class's place in `GradingRules.class_severities`, -1 for one that is not there. edge_mm: NaN where
    no edge was seen. severity: 1..5.
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
    periodic: np.ndarray  # bool: part of a roll mark
    severity: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Self:
        """Those of a mask or of places."""
        return type(self)(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def instances_of(defects: Iterable[Defect], rules: GradingRules, periodic: Collection[str] = ()) -> Instances:
    """The columns of closed defects, by where they begin; pseudo-defects are left out: they are never graded.

    periodic: ids of those that belong to a roll mark.
    """
    codes = {name: code for code, name in enumerate(rules.class_severities)}
    rows = [
        (
            defect.id,
            codes.get(defect.defect_class, -1),
            defect.side == "top",
            round(defect.box.along_mm[0], 3),
            round(defect.box.along_mm[1], 3),
            round(round(defect.box.across_mm[1], 3) - round(defect.box.across_mm[0], 3), 3),
            round(defect.area_mm2, 3),
            math.nan if defect.edge_mm is None else round(defect.edge_mm, 3),
            round(defect.confidence, 4),
            defect.id in periodic,
        )
        for defect in defects
        if defect.defect_class not in rules.pseudo_classes
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 10
    types = (object, np.int16, bool, *[np.float64] * 6, bool)
    arrays = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    found = Instances(*[*arrays, np.zeros(len(rows), np.int8)])
    return rated(found.take(np.argsort(found.begin_mm, kind="stable")), rules)


def severities_of(defects: Sequence[Defect], rules: GradingRules) -> list[int | None]:
    """The severity of each defect as it is known so far; None for a pseudo-defect."""
    found = instances_of(defects, rules)
    by_id = dict(zip(found.ids.tolist(), found.severity.tolist(), strict=True))
    return [by_id.get(defect.id) for defect in defects]


def joined(one: Instances, other: Instances) -> Instances:
    """Both, by where they begin."""
    both = Instances(*(np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(one)))
    return both.take(np.argsort(both.begin_mm, kind="stable"))


def rated(rows: Instances, rules: GradingRules) -> Instances:
    """With their severities: of the first rule that fits, else of the class."""
    defaults = np.array([*rules.class_severities.values(), UNKNOWN_SEVERITY], np.int8)  # code -1 is the last
    severity = defaults[rows.class_code]
    for rule in reversed(rules.settings.severity):
        severity = np.where(fits(rule, rows, rules), np.int8(rule.severity), severity)
    return replace(rows, severity=severity)


def fits(rule: Selection, rows: Instances, rules: GradingRules) -> np.ndarray:
    """bool (n,): which rows satisfy the rule; a limit's `min_severity` apart."""
    fitting = np.ones(len(rows), bool)
    if rule.classes:
        fitting &= np.isin(
            rows.class_code, [code for code, name in enumerate(rules.class_severities) if name in rule.classes]
        )
    if rule.side is not None:
        fitting &= rows.top == (rule.side == "top")
    sizes = {"area_mm2": rows.area_mm2, "length_mm": rows.end_mm - rows.begin_mm, "width_mm": rows.width_mm}
    for name, size in sizes.items():
        least, most = getattr(rule, f"min_{name}"), getattr(rule, f"max_{name}")
        if least:
            fitting &= size >= least - 5e-7  # a difference of two published figures is not quite a published figure
        if most is not None:
            fitting &= size <= most + 5e-7
    if rule.min_confidence:
        fitting &= rows.confidence >= rule.min_confidence
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
