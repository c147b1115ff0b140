"""What defects tell of themselves: class, place, size, shape and contrast, of all that begin in a frame at once."""

from dataclasses import dataclass

import numpy as np

from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Defect, Extent, StripBox
from linewatch.decision.components import Pieces
from linewatch.decision.rules import DecisionRules, named
from linewatch.decision.sensitivity import Places
from linewatch.decision.tone import Tone, tones_of
from linewatch.geometry.moments import Moments
from linewatch.geometry.strip import StripScale

CLASSES_TOLD = 3
"""A defect tells the scores of so many classes, the most likely ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Beginnings:
    """A frame's pieces as defects that begin in it, in columns of one length n.

    reported: bool, which reach what a defect must (`DecisionRules.reports`). born: (line, column) on the coil.
    moments: in the frame's lines.
    """

    defects: list[Defect]
    reported: np.ndarray
    born: list[tuple[int, int]]
    moments: list[Moments]
    tones: list[Tone]


def begin(pieces: Pieces, prediction: Prediction, rules: DecisionRules) -> Beginnings:
    """The defects that these pieces are by themselves."""
    if not len(pieces):
        return Beginnings([], np.zeros(0, bool), [], [], [])
    frame, edges, classes = prediction.frame, prediction.edges, named(prediction.classes)
    scale = StripScale.of(frame, rules.across_offset_mm)
    moments = Moments.of_each(pieces.runs, pieces.begins)
    tones = tones_of(pieces.runs, pieces.begins, frame, edges)
    places = Places.of(pieces.left, pieces.right, scale, edges)
    shares = pieces.scores / pieces.weight[:, None]
    code, confidence = rules.choose_classes(prediction.classes, shares, places)
    area_mm2 = pieces.area_px * scale.mm2_per_px
    born = [(frame.first_line + line, column) for line, column in pieces.born.tolist()]
    columns = zip(
        born,
        code.tolist(),
        confidence.tolist(),
        (pieces.peak / 255).tolist(),
        zip(places.left_mm.tolist(), places.right_mm.tolist(), strict=True),
        zip(scale.along(pieces.top).tolist(), scale.along(pieces.bottom).tolist(), strict=True),
        area_mm2.tolist(),
        [None if edge_mm != edge_mm else edge_mm for edge_mm in places.edge_mm.tolist()],  # noqa: PLR0124  # NaN
        pieces.tiled.tolist(),
        highest(prediction.classes, shares),
        [sums.spread(frame.mm_per_px, frame.mm_per_line) for sums in moments],
        tones,
        strict=True,
    )
    defects = [
        Defect(
            id=f"{frame.coil}/{frame.side}/{frame.camera}/{line}.{column}",
            coil=frame.coil,
            side=frame.side,
            camera=frame.camera,
            defect_class=classes[at],
            confidence=score,
            peak=peak,
            box=StripBox(across_mm, along_mm),
            area_mm2=area,
            edge_mm=edge_mm,
            extent=Extent.TILE if tiled else Extent.MASK,
            frames=1,
            class_scores=told,
            length_mm=spread.length_mm,
            width_mm=spread.width_mm,
            orientation_deg=spread.orientation_deg,
            contrast=tone.contrast,
        )
        for (line, column), at, score, peak, across_mm, along_mm, area, edge_mm, tiled, told, spread, tone in columns
    ]
    reported = rules.reports(prediction.classes, code, confidence, area_mm2, places)
    return Beginnings(defects, reported, born, moments, tones)


def highest(classes: tuple[str, ...], shares: np.ndarray) -> list[tuple[tuple[str, float], ...]]:
    """`Defect.class_scores` of each row of `shares`, float64 (n, classes)."""
    by_name = np.argsort(classes) if classes else np.zeros(0, np.int64)  # of equal scores the first by name
    rank = np.argsort(-shares[:, by_name], axis=1, kind="stable")[:, :CLASSES_TOLD]
    values = np.take_along_axis(shares, best := by_name[rank], axis=1).tolist()
    names = np.array(classes, object)[best].tolist()
    return [tuple(zip(*row, strict=True)) for row in zip(names, values, strict=True)]
