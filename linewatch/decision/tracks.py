"""Defects over frame borders: one physical defect keeps one id from where it was first seen to where it ends.

A piece joins a defect of earlier frames when their pixels are within the merge gap, as in one large frame. Where one
of the two has its outline from a tile, they must also be of one class: a tile's box says little about where in it the
defect is.

An open defect is sums, a box and, of each column, its last line near the border: its size does not grow with its
length, so a scratch as long as the coil costs no more than a short one. There are at most `components.MAX_PIECES` of
them per frame within the merge gap. One that has grown to `DecisionRules.part_mm` is closed all the same, and what
goes on is a part that names the first: nothing is held open for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from linewatch.contracts.frame import Frame
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Defect, DefectEvent, DefectState, Extent, RunMask, StripBox
from linewatch.decision.components import Piece
from linewatch.decision.groups import groups
from linewatch.decision.rules import DecisionRules
from linewatch.decision.sensitivity import Place
from linewatch.decision.tone import Tone, tones_of
from linewatch.geometry.moments import Moments
from linewatch.geometry.runs import first_per_column, last_per_column, near, union
from linewatch.geometry.strip import StripScale

_NOTHING = np.empty((0, 3), np.int32)
CLASSES_TOLD = 3
"""A defect tells the scores of so many classes, the most likely ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A defect that the next frame may continue.

    opened: it was published (of a defect that began in this frame: it will be); until then it does not reach what a
    defect must (`DecisionRules.reports`) and may never.
    born: (line, column) on the coil where it was first seen: what makes its id, and its age.
    scores, weight: as in `Piece`, over its life. moments: in coil lines. border: runs in coil lines, what later lines
    can be near to. cut: it was closed for its length, and what is near to its border begins the next part.
    """

    defect: Defect
    opened: bool
    born: tuple[int, int]
    scores: np.ndarray
    weight: int
    first_ordinal: int
    last_ordinal: int
    moments: Moments
    tone: Tone
    border: np.ndarray
    cut: bool = False


def follow(
    tracks: tuple[Track, ...],
    pieces: Sequence[Piece],
    prediction: Prediction,
    rules: DecisionRules,
    *,
    continues: bool,
) -> tuple[tuple[Track, ...], tuple[DefectEvent, ...]]:
    """Carry the open defects through one frame, whose first line follows the last one that they know of.

    Returns those that the next frame may continue, oldest first, and what happened, oldest defect first: `opened` or
    `updated` with the mask in this frame, then `closed` for what the next frame cannot continue; that is everything
    unless the frame `continues`, because nobody knows how a defect went on where the strip was not looked at. Of
    defects that turn out to be one, the oldest published id survives; the others close with `merged_into`.
    """
    frame = prediction.frame
    reach_lines = rules.reach(frame.mm_per_line)
    next_line = frame.first_line + frame.lines
    fresh = _begin(pieces, prediction, rules)
    nodes = [*tracks, *fresh]
    kept: list[Track] = []
    steps: list[tuple[Track, list[DefectEvent]]] = []
    for members in groups(len(nodes), _continuations(tracks, pieces, fresh, frame, rules)):
        old = [nodes[i] for i in members if i < len(tracks)]
        new = [i - len(tracks) for i in members if i >= len(tracks)]
        events: list[DefectEvent] = []
        if old:
            cut, live = [track for track in old if track.cut], [track for track in old if not track.cut]
            track = _merge([*live, *(replace(fresh[i], opened=False) for i in new)] or cut, rules, prediction)
            if new and (track.opened or rules.reports(track.defect)):
                mask = RunMask(frame.first_line, union([pieces[i].runs for i in new]))
                track, events = _published(track, mask, live, cut)
        else:
            (at,) = new  # pieces of one frame that are near each other are one already
            track = fresh[at]
            if track.opened:
                events = [DefectEvent(DefectState.OPENED, track.defect, RunMask(frame.first_line, pieces[at].runs))]
        border = _NOTHING
        if continues and len(track.border):
            border = track.border[next_line - track.border[:, 0] <= reach_lines]
        begin_mm, end_mm = track.defect.box.along_mm
        ends_part = new and track.opened and end_mm - begin_mm >= rules.part_mm
        if ends_part or not len(border):
            events.extend(close_all((track,)))
        if len(border):
            kept.append(replace(track, border=border, cut=track.cut or bool(ends_part)))
        steps.append((track, events))
    kept.sort(key=lambda track: track.born)
    steps.sort(key=lambda step: step[0].born)
    return tuple(kept), tuple(event for _, events in steps for event in events)


def close_all(tracks: tuple[Track, ...]) -> tuple[DefectEvent, ...]:
    """What is open ends here: behind it lies strip that was not looked at, or the coil's end."""
    return tuple(
        DefectEvent(DefectState.CLOSED, track.defect, None) for track in tracks if track.opened and not track.cut
    )


def _begin(pieces: Sequence[Piece], prediction: Prediction, rules: DecisionRules) -> list[Track]:
    if not pieces:
        return []
    parts = [piece.runs for piece in pieces]
    runs, begins = np.concatenate(parts), np.cumsum([0, *(len(part) for part in parts[:-1])])
    of_each = zip(
        pieces,
        np.minimum.reduceat(runs[:, 1], begins).tolist(),
        np.maximum.reduceat(runs[:, 2], begins).tolist(),
        Moments.of_each(parts),
        tones_of(parts, prediction.frame, prediction.edges),
        strict=True,
    )
    return [_begun(*one, prediction, rules) for one in of_each]


def _begun(
    piece: Piece, left: int, right: int, moments: Moments, tone: Tone, prediction: Prediction, rules: DecisionRules
) -> Track:
    frame = prediction.frame
    scale = StripScale.of(frame, rules.across_offset_mm)
    line, column = frame.first_line + piece.born[0], piece.born[1]
    place = Place.of(left, right, scale, prediction.edges)
    defect_class, confidence = rules.choose_class(prediction.classes, piece.scores / piece.weight, place)
    border = _NOTHING
    if piece.bottom > frame.lines - rules.reach(frame.mm_per_line):
        border = last_per_column(piece.runs[piece.runs[:, 0] >= frame.lines - rules.reach(frame.mm_per_line)])
        border = border + np.array([frame.first_line, 0, 0], dtype=np.int32)
    defect = Defect(
        id=f"{frame.coil}/{frame.side}/{frame.camera}/{line}.{column}",
        coil=frame.coil,
        side=frame.side,
        camera=frame.camera,
        defect_class=defect_class,
        confidence=confidence,
        peak=piece.peak / 255,
        box=scale.box(left, right, piece.top, piece.bottom),
        area_mm2=moments.count * scale.mm2_per_px,
        edge_mm=place.edge_mm,
        extent=piece.extent,
        frames=1,
        **_told(moments, tone, piece.scores, piece.weight, prediction),
    )
    return Track(
        defect=defect,
        opened=rules.reports(defect),
        born=(line, column),
        scores=piece.scores,
        weight=piece.weight,
        first_ordinal=frame.ordinal,
        last_ordinal=frame.ordinal,
        moments=moments.moved(frame.first_line),
        tone=tone,
        border=border,
    )


def _continuations(
    tracks: tuple[Track, ...], pieces: Sequence[Piece], fresh: Sequence[Track], frame: Frame, rules: DecisionRules
) -> list[tuple[int, int]]:
    """Pairs (track, len(tracks) + piece) that are one defect."""
    reach_lines = rules.reach(frame.mm_per_line)
    heads = [first_per_column(piece.runs[piece.runs[:, 0] < reach_lines]) for piece in pieces]
    if not tracks or not any(len(head) for head in heads):
        return []
    border, track_of = _stacked([track.border for track in tracks])
    head, piece_of = _stacked(heads)
    touching = near(border - [frame.first_line, 0, 0], head, rules.reach(frame.mm_per_px), reach_lines)
    rows, columns = np.nonzero(touching)
    joined = np.zeros((len(tracks), len(pieces)), dtype=bool)
    joined[track_of[rows], piece_of[columns]] = True
    return [
        (i, len(tracks) + j) for i, j in np.argwhere(joined).tolist() if _compatible(tracks[i].defect, fresh[j].defect)
    ]


def _stacked(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _compatible(one: Defect, other: Defect) -> bool:
    return one.extent is other.extent is Extent.MASK or one.defect_class == other.defect_class


def _merge(parts: list[Track], rules: DecisionRules, prediction: Prediction) -> Track:
    """One track of several, with the id of the oldest that was published (else of the oldest)."""
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=lambda track: (not track.opened, track.born))
    defects = [track.defect for track in parts]
    scores = np.sum([track.scores for track in parts], axis=0)
    weight = sum(track.weight for track in parts)
    moments = sum((track.moments for track in parts), Moments())
    tone = sum((track.tone for track in parts), Tone())
    box, edges = _hull([defect.box for defect in defects]), [d.edge_mm for d in defects if d.edge_mm is not None]
    edge_mm = min(edges) if edges else None
    defect_class, confidence = rules.choose_class(prediction.classes, scores / weight, Place(box.across_mm, edge_mm))
    first, last = min(track.first_ordinal for track in parts), max(track.last_ordinal for track in parts)
    return replace(
        parts[0],
        defect=replace(
            defects[0],
            defect_class=defect_class,
            confidence=confidence,
            peak=max(defect.peak for defect in defects),
            box=box,
            area_mm2=sum(defect.area_mm2 for defect in defects),
            edge_mm=edge_mm,
            extent=Extent.MASK if all(defect.extent is Extent.MASK for defect in defects) else Extent.TILE,
            frames=last - first + 1,
            **_told(moments, tone, scores, weight, prediction),
        ),
        scores=scores,
        weight=weight,
        first_ordinal=first,
        last_ordinal=last,
        moments=moments,
        tone=tone,
        border=last_per_column(union([track.border for track in parts])),
    )


def _hull(boxes: list[StripBox]) -> StripBox:
    return StripBox(
        across_mm=(min(box.across_mm[0] for box in boxes), max(box.across_mm[1] for box in boxes)),
        along_mm=(min(box.along_mm[0] for box in boxes), max(box.along_mm[1] for box in boxes)),
    )


def _published(
    track: Track, mask: RunMask, live: Sequence[Track], cut: Sequence[Track]
) -> tuple[Track, list[DefectEvent]]:
    """live: what it was made of; cut: the parts before it, if it goes on from some."""
    if cut and track.defect.part_of is None:
        before = min(cut, key=lambda part: part.born).defect
        track = replace(track, defect=replace(track.defect, part_of=before.part_of or before.id))
    state = DefectState.UPDATED if track.opened else DefectState.OPENED
    absorbed = [
        DefectEvent(DefectState.CLOSED, part.defect, None, merged_into=track.defect.id)
        for part in live
        if part.opened and part.born != track.born
    ]
    return replace(track, opened=True), [DefectEvent(state, track.defect, mask), *absorbed]


def _told(moments: Moments, tone: Tone, scores: np.ndarray, weight: int, prediction: Prediction) -> dict[str, Any]:
    """What a defect's sums say of it, as fields of `Defect`."""
    spread = moments.spread(prediction.frame.mm_per_px, prediction.frame.mm_per_line)
    shares = sorted(zip((-scores / weight).tolist(), prediction.classes, strict=True))
    return {
        "class_scores": tuple((name, -share) for share, name in shares[:CLASSES_TOLD]),
        "length_mm": spread.length_mm,
        "width_mm": spread.width_mm,
        "orientation_deg": spread.orientation_deg,
        "contrast": tone.contrast,
    }
