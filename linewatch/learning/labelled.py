"""A history's labels as instances to learn from, and whether they are enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import Defect
from linewatch.history.labels import LabelledDefect, LabelVerdict
from linewatch.inference.engines import Engine
from linewatch.learning.instances import LabelledInstances

LEAST_OF_EACH = 5
"""True, and false, defects below which nothing is learned."""
LEAST_COILS = 2


@dataclass(frozen=True)
class MillLabels:
    """What a history's labels say. instances: the labelled defects whose evidence is stored. left_out: labelled defects
    that cannot be learned from, by the reason. found_by: which of the engines found most of them, by its place.
    """

    instances: LabelledInstances
    left_out: dict[str, int]
    found_by: int


def mill_labels(labelled: Iterable[LabelledDefect], engines: Sequence[Engine], names: Sequence[str]) -> MillLabels:
    """Return the labels of defects that one of these engines has found. names: the evidence of its second stage.

    A defect of the wrong class is a true one: the second stage tells whether something is there, as it does for the
    instances that it was made with. What the class is the networks say, which learn from labels in a full training.
    Defects of one passage are one group.
    """
    rows, right, group, key, left_out = [], [], [], [], Counter[str]()
    finders = Counter[int]()
    for one in labelled:
        finder = found_by(one.engines, engines)
        if finder is None:
            left_out["found by other engines"] += 1
        elif (row := evidence_of(one.row.defect, names)) is None:
            left_out["its evidence is not stored"] += 1
        else:
            finders[finder] += 1
            rows.append(row)
            right.append(one.label.verdict != LabelVerdict.NOT_A_DEFECT)
            group.append(one.row.passage)
            key.append(f"{one.label.service} {one.label.begun_unix_ns} {one.label.name}")
    evidence = np.array(rows, np.float64).reshape(len(rows), len(names))
    instances = LabelledInstances.of(
        names, evidence, np.array(right, bool), np.array(group, np.int64), label=np.array(key, np.str_)
    )
    most = max(finders, key=finders.__getitem__, default=0)
    return MillLabels(instances, dict(left_out), most)


def found_by(identities: Iterable[str], engines: Sequence[Engine]) -> int | None:
    """Return the place of the engine whose model is among those with these identities, under whatever name; or None."""
    running = tuple(identities)
    for place, engine in enumerate(engines):
        if any(f"@{engine.manifest.model.sha256[:12]}/" in identity for identity in running):
            return place
    return None


def evidence_of(defect: Defect, names: Sequence[str]) -> list[float] | None:
    """Return the defect's evidence in this order; None where some of it is not stored, or no finite number."""
    stored = dict(defect.evidence)
    row = [stored.get(name, np.nan) for name in names]
    return row if np.isfinite(row).all() else None


def check_enough(labels: MillLabels) -> None:
    """Raise HistoryError, which says what is lacking, for labels that are too few or too one-sided to learn from."""
    instances = labels.instances
    true = int(instances.right.sum())
    false, coils = len(instances) - true, len(np.unique(instances.group))
    lacking = [
        f"{least - found} more {what}"
        for what, found, least in (
            ("of true defects (`right` or `wrong-class`)", true, LEAST_OF_EACH),
            ("of false ones (`not-a-defect`)", false, LEAST_OF_EACH),
            ("of another passage of a coil", coils, LEAST_COILS),
        )
        if found < least
    ]
    if lacking:
        left = "".join(f"; {count} left out: {why}" for why, count in sorted(labels.left_out.items()))
        raise HistoryError(
            f"too few labels to learn from: {true} of true defects and {false} of false ones, of {coils} "
            f"passages{left}. Lacking: {', '.join(lacking)}; label them: `linewatch label NUMBER right`"
        )
