"""Limits of grading rules: sums over the defects that a limit refers to, and the reason when it is exceeded."""

from dataclasses import dataclass, field

import numpy as np

from linewatch.config.grading import LimitRule
from linewatch.contracts.verdict import GradeReason
from linewatch.decision.grading.severity import GradingRules, Instances, fits
from linewatch.geometry.stretches import Stretches

NAMED = 8
"""Most defects that a reason names."""


@dataclass(frozen=True, slots=True)
class LimitSums:
    """Sums over the defects that one limit refers to.

    worst: (-severity, -area_mm2, begin_mm, id) of the worst ones, ascending. crowd: the stretch that holds most of the
    defects, as (count, where it begins, ids).
    """

    count: int = 0
    worst: tuple[tuple[int, float, float, str], ...] = ()
    crowd: tuple[int, float, tuple[str, ...]] = (0, 0.0, ())
    affected: Stretches = field(default_factory=Stretches)


def summed(
    limit: LimitRule,
    before: LimitSums,
    rows: Instances,
    rules: GradingRules,
    new: np.ndarray,
    around: np.ndarray,
    order: np.ndarray,
) -> LimitSums:
    """Return `before` plus those of the rows `new`, bool (n,), that the limit refers to.

    around: rows that also count in a stretch that begins at a new one. order: all rows, the worst first.
    """
    if limit.inspected_below_share is not None:
        return before
    about = fits(limit, rows, rules) & (rows.severity >= limit.min_severity)
    chosen = about & new
    if not chosen.any():
        return before
    crowd, affected = before.crowd, before.affected
    if limit.within_m is not None:
        fullest = _crowd(rows, np.flatnonzero(about & around), chosen, limit.within_m * 1000, order)
        crowd = min(crowd, fullest, key=_rank)
    if limit.affected_over_mm is not None or limit.affected_over_share is not None:
        begins = np.maximum(rows.begin_mm[chosen], rules.head_mm)
        affected = affected.add(np.stack([begins, rows.end_mm[chosen]], axis=1))
    return LimitSums(
        count=before.count + int(chosen.sum()),
        worst=tuple(sorted([*before.worst, *_worst(rows, chosen, order)])[:NAMED]),
        crowd=crowd,
        affected=affected,
    )


def _rank(crowd: tuple[int, float, tuple[str, ...]]) -> tuple[int, float]:
    return -crowd[0], crowd[1]


def _crowd(
    rows: Instances, places: np.ndarray, starts: np.ndarray, within_mm: float, order: np.ndarray
) -> tuple[int, float, tuple[str, ...]]:
    """Return the fullest stretch of `within_mm` that begins at one of `starts`, the first one of equals.

    A defect counts where it begins. places: ascending rows that count. starts: bool (n,).
    """
    begins = rows.begin_mm[places]
    counts = np.searchsorted(begins, begins + within_mm - 5e-7) - np.searchsorted(begins, begins)
    counts[~starts[places]] = 0
    best = int(np.argmax(counts))
    members = np.zeros(len(rows), bool)
    first = int(np.searchsorted(begins, begins[best]))
    members[places[first : first + int(counts[best])]] = True
    named = tuple(name for *_, name in sorted(_worst(rows, members, order))[:NAMED])
    return int(counts[best]), float(begins[best]), named


def _worst(rows: Instances, chosen: np.ndarray, order: np.ndarray) -> list[tuple[int, float, float, str]]:
    """Return the NAMED worst of the chosen rows and all that equal the last of them, so that ids break ties."""
    ranked = order[chosen[order]]
    keys = np.stack([-rows.severity[ranked].astype(np.float64), -rows.area_mm2[ranked], rows.begin_mm[ranked]], axis=1)
    alike = (keys[NAMED:] == keys[NAMED - 1]).all(axis=1) if len(ranked) > NAMED else np.zeros(0, bool)
    more = int(np.argmin(np.append(alike, False)))
    return [
        (int(key[0]), float(key[1]), float(key[2]), str(name))
        for key, name in zip(keys[: NAMED + more], rows.ids[ranked[: NAMED + more]], strict=True)
    ]


def reason_of(limit: LimitRule, sums: LimitSums, length_mm: float, end_mm: float, share: float) -> GradeReason | None:
    """Return why the limit is exceeded, or None if it is not."""
    text, ids = None, tuple(name for *_, name in sums.worst)
    count, at_mm, crowded = sums.crowd
    affected_mm = round(sums.affected.length_mm(end_mm), 3)
    if limit.more_than is not None and limit.within_m is not None:
        if count > limit.more_than:
            stretch = f"in {limit.within_m:g} m at {at_mm / 1000:.3f} m"
            text, ids = f"{count} {_in_words(limit, count)} {stretch}, more than {limit.more_than}", crowded
    elif limit.more_than is not None:
        if sums.count > limit.more_than:
            text = f"{sums.count} {_in_words(limit, sums.count)}, more than {limit.more_than}"
    elif limit.more_than_per_m is not None:
        if length_mm and sums.count / (length_mm / 1000) > limit.more_than_per_m:
            mean = sums.count / (length_mm / 1000)
            of = f"{sums.count} in {metres(length_mm)}"
            text = f"{mean:.3g} {_in_words(limit)} per metre ({of}), more than {limit.more_than_per_m:g}"
    elif limit.affected_over_mm is not None:
        if affected_mm > limit.affected_over_mm:
            text = f"{affected_mm:.0f} mm affected by {_in_words(limit)}, more than {limit.affected_over_mm:g} mm"
    elif limit.affected_over_share is not None:
        if length_mm and affected_mm / length_mm > limit.affected_over_share:
            of = f"{metres(affected_mm)} of {metres(length_mm)}"
            text = (
                f"{affected_mm / length_mm:.2%} of the length affected by {_in_words(limit)} ({of}), "
                f"more than {limit.affected_over_share:.2%}"
            )
    elif limit.inspected_below_share is not None and length_mm and share < limit.inspected_below_share:
        text = f"{share:.2%} of the graded strip was inspected, less than {limit.inspected_below_share:.2%}"
    return None if text is None else GradeReason(limit.name, limit.grade, text, ids)


def metres(mm: float) -> str:
    """Return a length as text in metres."""
    return f"{mm / 1000:.1f} m"


def _in_words(limit: LimitRule, count: int = 2) -> str:
    """Describe what a limit counts: `scratch or sliver defects of severity 4 or more of at least 300 mm long`."""
    words = [*([" or ".join(limit.classes)] if limit.classes else []), "defect" if count == 1 else "defects"]
    if limit.side is not None:
        words.append(f"on the {limit.side} side")
    if limit.min_severity > 1:
        words.append(f"of severity {limit.min_severity}" + (" or more" if limit.min_severity < 5 else ""))
    if limit.periodic is not None:
        words.append("in a roll mark" if limit.periodic else "in no roll mark")
    for name, unit, adjective in (("length", "mm", " long"), ("width", "mm", " wide"), ("area", "mm2", "")):
        least, most = getattr(limit, f"min_{name}_{unit}"), getattr(limit, f"max_{name}_{unit}")
        words += [f"of at least {least:g} {unit}{adjective}"] if least else []
        words += [f"of at most {most:g} {unit}{adjective}"] if most is not None else []
    if limit.edge_zone_mm is not None:
        words.append(f"{limit.edge_zone} the edge zone of {limit.edge_zone_mm:g} mm")
    if limit.min_confidence:
        words.append(f"of confidence {limit.min_confidence:g} or more")
    if limit.min_probability:
        words.append(f"of probability {limit.min_probability:g} or more")
    return " ".join(words)
