"""Read a file of grading rules. A file with faults is refused, with all of them at once."""

from collections.abc import Iterable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

from linewatch.config.grading import (
    MEASURES,
    SEVERITIES,
    UNGRADED,
    UNKNOWN_SEVERITY,
    GradingSettings,
    LimitRule,
    Selection,
    SeverityRule,
)
from linewatch.config.load import read_toml, validated
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError

R = TypeVar("R", bound=Selection)

_UNNAMED = ""
"""Stands for the class of defects that have none of the taxonomy."""

_SIZES = ("area_mm2", "length_mm", "width_mm")


def load_grading(path: Path, taxonomy: Taxonomy) -> GradingSettings:
    """Return the rules in the TOML file `path`.

    Raises ConfigError with a line for each fault: unknown keys, classes and grades, wrong units, impossible sizes,
    rules that contradict themselves, rules that never apply.
    """
    return grading_from(read_toml(path), str(path), taxonomy)


def grading_from(tree: Mapping[str, Any], origin: str, taxonomy: Taxonomy) -> GradingSettings:
    """Return the rules of a TOML tree; `origin` names it in errors. Raises ConfigError as `load_grading` does."""
    severities, severity_faults = _sound(SeverityRule, "severity", tree, origin, taxonomy)
    limits, limit_faults = _sound(LimitRule, "limit", tree, origin, taxonomy)
    frame = {key: value for key, value in tree.items() if key not in ("severity", "limit")}
    placeholder = {"name": "x", "grade": "x", "more_than": 0}
    _, head_faults = validated(GradingSettings, frame | {"limit": [placeholder]}, origin)
    faults = [*head_faults, *severity_faults, *limit_faults]
    if not tree.get("limit"):
        faults.append(
            f"{origin}: no [[limit]], so every coil would have the best grade; add a limit that makes it worse"
        )
    inconsistent = [*_rule_faults([*severities, *limits]), *_severity_faults(severities, taxonomy)]
    grades = tree.get("grades")
    known = tuple(grades) if isinstance(grades, list) and all(isinstance(grade, str) for grade in grades) else None
    inconsistent += _limit_faults(limits, severities, known or None, taxonomy)
    inconsistent += _grade_faults(known or ())
    faults += [f"{origin}: {fault}" for fault in inconsistent]
    if faults:
        raise ConfigError("\n".join(faults))
    return GradingSettings.model_validate(dict(tree))


DEFAULT = ""
"""Stands for the name of a recipe: the rules of coils that no recipe fits."""


def _sound(
    model: type[R], key: str, tree: Mapping[str, Any], origin: str, taxonomy: Taxonomy
) -> tuple[list[R], list[str]]:
    """Return the well-formed rules under `key`, and the faults of the others, unknown classes included."""
    found = tree.get(key, [])
    if not isinstance(found, list):
        return [], [f"{origin}: {key}: found {found!r:.40}, expected rules, each under its own [[{key}]]"]
    rules, faults = [], []
    for number, item in enumerate(found, start=1):
        name = item.get("name") if isinstance(item, dict) else None
        where = f"{origin}: [[{key}]] {repr(name) if name else number}"
        rule, wrong = validated(model, item, where)
        rules += [rule] if rule else []
        classes = item.get("classes", ()) if isinstance(item, dict) else ()
        faults += wrong + [f"{where}: {fault}" for fault in _class_faults(classes, taxonomy)]
    return rules, faults


def _class_faults(classes: object, taxonomy: Taxonomy) -> list[str]:
    real = [name for name, one in taxonomy.classes.items() if not one.pseudo]
    named = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    return [
        f"class {name!r} is {'a pseudo-defect, which is never graded' if name in taxonomy.classes else 'unknown'}, "
        f"expected some of {', '.join(real)}"
        for name in named
        if name not in real
    ]


def _rule_faults(rules: Iterable[Selection]) -> list[str]:
    """Return the faults of rules by themselves."""
    faults = []
    named: set[str] = set()
    for rule in rules:
        where = _place(rule)
        if rule.name in named:
            faults.append(f"{where}: two rules have this name; give each its own, since reasons name the rule")
        named.add(rule.name)
        for size in _SIZES:
            least, most = getattr(rule, f"min_{size}"), getattr(rule, f"max_{size}")
            if most is not None and least > most:
                faults.append(f"{where}: min_{size} {least:g} is above max_{size} {most:g}; no defect can fit")
        if rule.max_length_mm is not None and rule.max_width_mm is not None:
            room_mm2 = rule.max_length_mm * rule.max_width_mm
            if rule.min_area_mm2 > room_mm2:
                faults.append(
                    f"{where}: min_area_mm2 {rule.min_area_mm2:g} is more than max_length_mm x max_width_mm, "
                    f"{room_mm2:g}; no defect can fit"
                )
        if rule.edge_zone_mm is None and "edge_zone" in rule.model_fields_set:
            faults.append(f"{where}: edge_zone without edge_zone_mm; add the width of the zone, in millimetres")
        if rule.edge_zone_mm is not None and rule.edge_zone == "inside" and rule.min_width_mm > rule.edge_zone_mm:
            faults.append(
                f"{where}: min_width_mm {rule.min_width_mm:g} does not fit inside an edge zone of "
                f'{rule.edge_zone_mm:g} mm; write edge_zone = "touching", or a wider zone'
            )
    return faults


def _severity_faults(rules: list[SeverityRule], taxonomy: Taxonomy) -> list[str]:
    faults = []
    for place, rule in enumerate(rules):
        hiding = [
            next(
                (earlier for earlier in rules[:place] if _takes(earlier, name) and _holds_wherever(earlier, rule)), None
            )
            for name in _classes(rule, taxonomy)
        ]
        names = dict.fromkeys(f"'{earlier.name}'" for earlier in hiding if earlier is not None)
        if hiding and None not in hiding:
            faults.append(
                f"{_place(rule)}: never applies, since {' and '.join(names)} before it fits every such defect; "
                "put it first, narrow the other, or remove it"
            )
    return faults


def _limit_faults(
    limits: list[LimitRule], severities: list[SeverityRule], grades: tuple[str, ...] | None, taxonomy: Taxonomy
) -> list[str]:
    faults = []
    for limit in limits:
        where = _place(limit)
        measures = [name for name in MEASURES if getattr(limit, name) is not None]
        if len(measures) != 1:
            faults.append(
                f"{where}: has {' and '.join(measures) or 'no measure'}, expected exactly one of {', '.join(MEASURES)}"
            )
        if limit.within_m is not None and limit.more_than is None:
            faults.append(
                f"{where}: within_m without more_than; add the number of defects that is allowed in such a stretch"
            )
        narrowed = limit.model_fields_set - {"name", "grade", "inspected_below_share"}
        if limit.inspected_below_share is not None and narrowed - set(MEASURES):
            faults.append(
                f"{where}: inspected_below_share is about the strip, not about defects; remove "
                f"{', '.join(sorted(narrowed - set(MEASURES)))}"
            )
        if grades is not None and limit.grade not in grades:
            faults.append(f"{where}: grade {limit.grade!r} is unknown, expected one of {', '.join(grades)}")
        elif grades is not None and limit.grade == grades[0]:
            faults.append(
                f"{where}: gives {limit.grade!r}, the best grade, which a coil has without it; name a worse grade"
            )
        reached = max((_worst(name, severities, taxonomy) for name in _classes(limit, taxonomy)), default=5)
        if limit.min_severity > reached:
            faults.append(
                f"{where}: min_severity {limit.min_severity} is never reached, the highest severity of these defects "
                f"is {reached}; lower it, or add a [[severity]] rule"
            )
    if grades is not None:
        rank = {grade: place for place, grade in enumerate(grades)}
        reported: set[str] = set()
        for wide, narrow in permutations((limit for limit in limits if limit.grade in rank), 2):
            alike = _exceeds_wherever(narrow, wide, taxonomy) and wide.grade == narrow.grade  # the first one stays
            hidden = rank[wide.grade] >= rank[narrow.grade] and _exceeds_wherever(wide, narrow, taxonomy)
            if hidden and narrow.name not in reported and not (alike and limits.index(narrow) < limits.index(wide)):
                reported.add(narrow.name)
                faults.append(
                    f"{_place(narrow)}: never decides, '{wide.name}' gives {wide.grade!r} for the same or less; "
                    "change a limit or a grade, or remove it"
                )
    return faults


def _grade_faults(grades: tuple[str, ...]) -> list[str]:
    faults = [
        f"grades: {grade!r} stands twice, expected each once, best first"
        for grade in dict.fromkeys(grades)
        if grades.count(grade) > 1
    ]
    if UNGRADED in grades:
        faults.append(f"grades: {UNGRADED!r} stands for a coil that was not inspected; choose another name")
    return faults


def _exceeds_wherever(wide: LimitRule, narrow: LimitRule, taxonomy: Taxonomy) -> bool:
    """Return whether every coil that exceeds `narrow` exceeds `wide`; False for limits of different measures."""
    measure = next((name for name in MEASURES if getattr(narrow, name) is not None), None)
    if measure is None or getattr(wide, measure) is None:
        return False
    if measure == "inspected_below_share":
        return getattr(wide, measure) >= getattr(narrow, measure)
    stretch_fits = wide.within_m is None or (narrow.within_m is not None and narrow.within_m <= wide.within_m)
    return (
        getattr(wide, measure) <= getattr(narrow, measure)
        and stretch_fits
        and wide.min_severity <= narrow.min_severity
        and all(_takes(wide, name) for name in _classes(narrow, taxonomy))
        and _holds_wherever(wide, narrow)
    )


def _holds_wherever(wide: Selection, narrow: Selection) -> bool:
    """Return whether every defect that satisfies `narrow` satisfies `wide`, classes aside."""
    sizes = all(
        getattr(wide, f"min_{size}") <= getattr(narrow, f"min_{size}")
        and _at_most(getattr(narrow, f"max_{size}"), getattr(wide, f"max_{size}"))
        for size in _SIZES
    )
    return (
        sizes
        and wide.side in (None, narrow.side)
        and wide.min_confidence <= narrow.min_confidence
        and wide.min_probability <= narrow.min_probability
        and wide.periodic in (None, narrow.periodic)
        and _zone_within(narrow, wide)
    )


def _at_most(narrow: float | None, wide: float | None) -> bool:
    return wide is None or (narrow is not None and narrow <= wide)


def _zone_within(narrow: Selection, wide: Selection) -> bool:
    if wide.edge_zone_mm is None:
        return True
    if narrow.edge_zone_mm is None:
        return False
    if (narrow.edge_zone, wide.edge_zone) == ("outside", "outside"):
        return narrow.edge_zone_mm >= wide.edge_zone_mm
    nested = {("inside", "inside"), ("touching", "touching"), ("inside", "touching")}
    return (narrow.edge_zone, wide.edge_zone) in nested and narrow.edge_zone_mm <= wide.edge_zone_mm


def _classes(rule: Selection, taxonomy: Taxonomy) -> list[str]:
    """Return the classes of a rule. Unknown classes are a fault of their own, and left out here."""
    real = [name for name, one in taxonomy.classes.items() if not one.pseudo]
    return [name for name in real if name in rule.classes] if rule.classes else [*real, _UNNAMED]


def _takes(rule: Selection, name: str) -> bool:
    return not rule.classes or name in rule.classes


def _worst(name: str, rules: list[SeverityRule], taxonomy: Taxonomy) -> int:
    default = SEVERITIES[taxonomy.classes[name].severity] if name else UNKNOWN_SEVERITY
    return max([default, *(rule.severity for rule in rules if _takes(rule, name))])


def _place(rule: Selection) -> str:
    return f"[[{'severity' if isinstance(rule, SeverityRule) else 'limit'}]] '{rule.name}'"
