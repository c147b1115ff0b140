"""Scores of the defects that were found against a known truth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match
from linewatch.simulation.truth import CoilTruth

TOLERANCE_MM = 5.0
"""An outline that lies this far from the true one still counts as the same defect."""


@dataclass(frozen=True, slots=True)
class TruthScores:
    """Counts of a match with the rendered truth. A pseudo-defect that is found counts as a false call."""

    true: int
    hit: int
    found: int
    right: int
    false_calls_on_pseudo: int
    hit_by_class: dict[str, tuple[int, int]]  # class -> (hit, true)

    @property
    def recall(self) -> float:
        return self.hit / self.true if self.true else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0


def score_against_truth(found: Sequence[StripBox], truth: CoilTruth) -> TruthScores:
    """Match the boxes that were found with those of the truth."""
    matching = match(found, [defect.box for defect in truth.defects], tolerance_mm=TOLERANCE_MM)
    pseudo = match(found, [defect.box for defect in truth.pseudo_defects], tolerance_mm=TOLERANCE_MM)
    right = set(matching.right)
    true = Counter(defect.defect_class for defect in truth.defects)
    hit = Counter(truth.defects[i].defect_class for i in matching.hit)
    return TruthScores(
        true=matching.true_count,
        hit=len(matching.hit),
        found=matching.found_count,
        right=len(right),
        false_calls_on_pseudo=len(set(pseudo.right) - right),
        hit_by_class={name: (hit[name], count) for name, count in sorted(true.items())},
    )
