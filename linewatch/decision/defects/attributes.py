"""Attributes of defects: class, place, size, shape and contrast, computed for all defects of a frame at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.evidence import UNLIKE_NORMAL, evidence_names
from linewatch.contracts.normal import traits_of
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.probability import probability_of
from linewatch.contracts.verdict import Defect, Extent, StripBox
from linewatch.decision.defects.contrast import ContrastSums, contrast_sums
from linewatch.decision.defects.evidence import evidence_of
from linewatch.decision.defects.pieces import Pieces
from linewatch.decision.defects.probability import log_odds_of
from linewatch.decision.defects.sensitivity import Places
from linewatch.decision.grading.severity import GradingRules, columns_of, rated
from linewatch.decision.rules import DecisionRules, named
from linewatch.geometry.moments import Moments
from linewatch.geometry.strip import StripScale

CLASSES_TOLD = 3
"""Number of class scores that a defect carries, the highest ones."""
EVIDENCE_DIGITS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Beginnings:
    """The pieces of a frame as defects that begin in it, in columns of one length n.

    reported: bool, whether `DecisionRules.reports` holds. born: (line, column) on the coil. log_odds: float64, that it
    is a true defect. moments: in frame lines.
    """

    defects: list[Defect]
    reported: np.ndarray
    born: list[tuple[int, int]]
    log_odds: np.ndarray
    moments: list[Moments]
    contrasts: list[ContrastSums]


def begin(pieces: Pieces, prediction: Prediction, rules: DecisionRules, graded_by: GradingRules | None) -> Beginnings:
    """Return the defects that these pieces form on their own, before earlier frames are considered."""
    if not len(pieces):
        return Beginnings([], np.zeros(0, bool), [], np.zeros(0), [], [])
    frame, edges, classes = prediction.frame, prediction.edges, named(prediction.classes)
    scale = StripScale.of(frame)
    scales = frame.columns.mm_per_px_over(pieces.left, pieces.right)
    moments = Moments.of_each(pieces.runs, pieces.begins)
    contrasts = contrast_sums(pieces.runs, pieces.begins, frame, edges)
    places = Places.of(pieces.left, pieces.right, scale, edges)
    shares = pieces.scores / pieces.weight[:, None]
    code, confidence = rules.choose_classes(prediction.classes, shares, places)
    evidence = evidence_of(pieces, prediction, rules, confidence)
    names_of_evidence = evidence_names(prediction.classes)
    log_odds = log_odds_of(pieces, prediction, confidence, evidence, rules.probability_model)
    if rules.normal is not None:
        unlike, told = np.zeros(len(pieces)), probability_of(log_odds) >= rules.tell_probability
        # It only lowers, so what would not be told anyway need not be compared.
        unlike[told] = rules.normal.unlike_normal(log_odds[told], traits_of(names_of_evidence, evidence[told]))
        log_odds = log_odds + unlike
        names_of_evidence, evidence = (*names_of_evidence, UNLIKE_NORMAL), np.column_stack([evidence, unlike])
    probability = probability_of(log_odds)
    area_mm2 = pieces.area_px * scale.mm2_per_px(pieces.left, pieces.right)
    along_mm = np.stack([scale.along(pieces.top), scale.along(pieces.bottom)], axis=1)
    across_mm = np.stack([places.left_mm, places.right_mm], axis=1)
    names = [classes[at] for at in code.tolist()]
    tentative = rules.tentative(prediction.classes, code, probability, places).tolist()
    severities: list[int | None] = [None] * len(names)
    if graded_by is not None:
        graded = columns_of(
            graded_by,
            classes=names,
            top=np.full(len(names), frame.side == "top"),
            along_mm=along_mm,
            across_mm=across_mm,
            area_mm2=area_mm2,
            edge_mm=places.edge_mm,
            confidence=confidence,
            probability=probability,
        )
        rated_as = zip(names, rated(graded, graded_by).severity.tolist(), strict=True)
        severities = [
            None if unsure or name in graded_by.pseudo_classes else severity
            for unsure, (name, severity) in zip(tentative, rated_as, strict=True)
        ]
    born = [(frame.first_line + line, column) for line, column in pieces.born.tolist()]
    rows = zip(
        born,
        names,
        np.column_stack([confidence, pieces.peak / 255, probability]).tolist(),
        _told(names_of_evidence, evidence),
        map(StripBox, map(tuple, across_mm.tolist()), map(tuple, along_mm.tolist())),
        area_mm2.tolist(),
        [None if edge_mm != edge_mm else edge_mm for edge_mm in places.edge_mm.tolist()],  # noqa: PLR0124  # NaN
        pieces.tiled.tolist(),
        highest(prediction.classes, shares),
        [sums.spread(mm_per_px, frame.mm_per_line) for sums, mm_per_px in zip(moments, scales.tolist(), strict=True)],
        contrasts,
        severities,
        tentative,
        strict=True,
    )
    defects = [
        Defect(
            id=f"{frame.coil}/{frame.side}/{frame.camera}/{at[0]}.{at[1]}",
            coil=frame.coil,
            side=frame.side,
            camera=frame.camera,
            defect_class=name,
            confidence=judged[0],
            peak=judged[1],
            probability=judged[2],
            box=box,
            area_mm2=area,
            edge_mm=edge_mm,
            extent=Extent.TILE if tiled else Extent.MASK,
            frames=1,
            class_scores=scores,
            length_mm=spread.length_mm,
            width_mm=spread.width_mm,
            orientation_deg=spread.orientation_deg,
            contrast=sums.contrast,
            severity=severity,
            tentative=unsure,
            evidence=told,
        )
        for at, name, judged, told, box, area, edge_mm, tiled, scores, spread, sums, severity, unsure in rows
    ]
    reported = rules.reports(prediction.classes, code, confidence, probability, area_mm2, places)
    return Beginnings(defects, reported, born, log_odds, moments, contrasts)


def _told(names: tuple[str, ...], evidence: np.ndarray) -> Iterator[tuple[tuple[str, float], ...]]:
    """Return `Defect.evidence` for each row of `evidence`, by name, rounded to EVIDENCE_DIGITS decimals."""
    ordered, at = zip(*sorted(zip(names, range(evidence.shape[1]), strict=True)), strict=True)
    return (tuple(zip(ordered, row, strict=True)) for row in (evidence[:, at].round(EVIDENCE_DIGITS) + 0.0).tolist())


def highest(classes: tuple[str, ...], shares: np.ndarray) -> list[tuple[tuple[str, float], ...]]:
    """Return `Defect.class_scores` for each row of `shares`, float64 (n, classes)."""
    by_name = np.argsort(classes) if classes else np.zeros(0, np.int64)  # of equal scores the first by name
    rank = np.argsort(-shares[:, by_name], axis=1, kind="stable")[:, :CLASSES_TOLD]
    values = np.take_along_axis(shares, best := by_name[rank], axis=1).tolist()
    names = np.array(classes, object)[best].tolist()
    return [tuple(zip(*row, strict=True)) for row in zip(names, values, strict=True)]
