"""What a new second stage would have changed on past coils, from the evidence that the history has stored of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import sqlalchemy as sa

from linewatch.contracts.probability import ProbabilityModel, probability_of
from linewatch.history.queries import MAX_PAGE, coils, defects, spans
from linewatch.inference.engines import Engine
from linewatch.learning.labelled import evidence_of, found_by

LAST_COILS = 20


class Standing(StrEnum):
    """What a defect is by its probability."""

    CALLED = "called"
    TENTATIVE = "tentative"
    UNTOLD = "not told"

    @classmethod
    def of(cls, probability: float, model: ProbabilityModel) -> Standing:
        if probability >= model.call_probability:
            return cls.CALLED
        return cls.TENTATIVE if probability >= model.tell_probability else cls.UNTOLD


@dataclass(frozen=True)
class Judgement:
    """One stored defect by both second stages, each with its own operating point."""

    passage: int
    defect: int
    name: str
    defect_class: str
    along_begin_mm: float
    before: float
    after: float
    stood: Standing
    stands: Standing

    @property
    def changed(self) -> bool:
        return self.stood is not self.stands


@dataclass(frozen=True)
class Changes:
    """passages: those looked at. skipped: their defects that cannot be judged: found by other engines, or without
    stored evidence.
    """

    passages: tuple[int, ...]
    judgements: tuple[Judgement, ...]
    skipped: int

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of defects by class, and then by what they were and are, such as "tentative to called"."""
        found: dict[str, Counter[str]] = {}
        for one in self.judgements:
            found.setdefault(one.defect_class, Counter())[f"{one.stood} to {one.stands}"] += 1
        return {name: dict(sorted(found[name].items())) for name in sorted(found)}

    def as_json(self) -> dict[str, Any]:
        return {
            "passages": self.passages,
            "defects": len(self.judgements),
            "skipped": self.skipped,
            "by_class": self.counts(),
            "changed": [asdict(one) for one in self.judgements if one.changed],
        }


def what_changes(
    connection: sa.Connection,
    engines: Sequence[Engine],
    before: ProbabilityModel,
    after: ProbabilityModel,
    last: int = LAST_COILS,
) -> Changes:
    """Judge the defects of the last passages by both models.

    The history holds what was told. What the engine found and did not tell is not in it, so a lower `tell_probability`
    shows nothing here. Limits by class, zone and `[decision]` are left aside for both.
    """
    passages = [row.passage for row in coils(connection, limit=last)]
    names = tuple(after.evidence)
    rows, evidence, skipped = [], [], 0
    for passage in passages:
        stretches = spans(connection, passage)
        begins = np.array([one.span.along_mm[0] for one in stretches])
        for row in _all_defects(connection, passage):
            at = int(np.searchsorted(begins, row.defect.box.along_mm[0], "right")) - 1
            here = stretches[at].engines if at >= 0 else ()
            found = evidence_of(row.defect, names) if found_by(here, engines) is not None else None
            if found is None:
                skipped += 1
            else:
                rows.append(row)
                evidence.append(found)
    table = np.array(evidence, np.float64).reshape(len(rows), len(names))
    ours = table[:, [names.index(name) for name in before.evidence]]
    both = zip(rows, probability_of(before.log_odds(ours)), probability_of(after.log_odds(table)), strict=True)
    judgements = (
        Judgement(
            row.passage,
            row.number,
            row.defect.id,
            row.defect.defect_class,
            row.defect.box.along_mm[0],
            round(float(was), 4),
            round(float(now), 4),
            Standing.of(was, before),
            Standing.of(now, after),
        )
        for row, was, now in both
    )
    return Changes(tuple(passages), tuple(judgements), skipped)


def _all_defects(connection: sa.Connection, passage: int) -> Iterable[Any]:
    after = None
    while page := defects(connection, [passage], after=after, limit=MAX_PAGE):
        yield from page
        after = page[-1].number
        if len(page) < MAX_PAGE:
            return
