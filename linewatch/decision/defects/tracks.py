"""Follow defects across frame borders: a physical defect keeps one id from where it was first seen to where it ends.

A piece joins a defect of earlier frames when their pixels are within the merge gap, as if both lay in one large frame.
Where the outline of either comes from a tile, both must also be of the same class, because a tile's box says little
about where in it the defect lies.

An open defect is kept as sums, a box and, for each column, its last line near the border. Its memory does not grow with
its length, so a scratch as long as the coil costs no more than a short one. At most `pieces.MAX_PIECES` defects per
frame within the merge gap are open. A defect that reaches `DecisionRules.part_mm` is closed and continues as a new part
that names the first, so no defect stays open for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from linewatch.contracts.frame import Frame
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.probability import probability_of
from linewatch.contracts.verdict import Defect, DefectEvent, DefectState, Extent, RunMask, StripBox
from linewatch.decision.defects.attributes import Beginnings, begin, highest
from linewatch.decision.defects.contrast import ContrastSums
from linewatch.decision.defects.groups import connected, members
from linewatch.decision.defects.pieces import Pieces
from linewatch.decision.defects.sensitivity import Places
from linewatch.decision.grading.severity import GradingRules, severities_of
from linewatch.decision.rules import DecisionRules, named
from linewatch.geometry.moments import Moments
from linewatch.geometry.runs import first_per_column, last_per_column, near, union

_NOTHING = np.empty((0, 3), np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A defect that the next frame may continue.

    opened: the defect was published, or will be with this frame; a defect for which `DecisionRules.reports` does not
    hold yet is not opened. born: (line, column) on the coil where it was first seen; it gives the defect its id and
    age. scores, weight: as in `Pieces`, summed over its life. odds: the sum of its pieces' log-odds, each times its
    pixels. largest_px: pixels of its largest piece, whose evidence the defect has. moments: in coil lines. border: runs
    in coil lines to which later lines can be close. cut: the defect was closed for its length; what touches its border
    begins the next part.
    """

    defect: Defect
    opened: bool
    born: tuple[int, int]
    scores: np.ndarray
    weight: float
    odds: float
    largest_px: int
    first_ordinal: int
    last_ordinal: int
    moments: Moments
    contrast: ContrastSums
    border: np.ndarray
    cut: bool = False


def follow(
    tracks: tuple[Track, ...],
    pieces: Pieces,
    prediction: Prediction,
    rules: DecisionRules,
    graded_by: GradingRules | None,
    *,
    continues: bool,
) -> tuple[tuple[Track, ...], tuple[DefectEvent, ...]]:
    """Carry the open defects through one frame, whose first line follows the last line that they cover.

    Return the defects that the next frame may continue, oldest first, and the events, oldest defect first: `opened` or
    `updated` with the mask in this frame, then `closed` for defects that the next frame cannot continue. Unless the
    frame `continues`, these are all of them, because it is unknown how a defect goes on where the strip was not
    inspected. When several defects turn out to be one, the oldest published id survives; the others close with
    `merged_into`.
    """
    if not tracks and not len(pieces):
        return (), ()
    frame, masks = prediction.frame, pieces.masks
    reach_lines = rules.reach(frame.mm_per_line)
    next_line = frame.first_line + frame.lines
    fresh = begin(pieces, prediction, rules, graded_by)
    old, new = _continuations(tracks, pieces, fresh.defects, frame, rules)
    lasting = np.zeros(len(pieces), bool)  # the others show in this frame only
    lasting[new] = True
    if continues and len(pieces):
        lasting |= pieces.bottom > frame.lines - reach_lines
    steps = [
        (
            fresh.born[i],
            [
                DefectEvent(DefectState.OPENED, fresh.defects[i], RunMask(frame.first_line, masks[i])),
                DefectEvent(DefectState.CLOSED, fresh.defects[i], None),
            ],
        )
        for i in np.flatnonzero(fresh.reported & ~lasting).tolist()
    ]
    nodes = [*tracks, *(_track(i, fresh, pieces, frame, reach_lines) for i in np.flatnonzero(lasting).tolist())]
    of_node = [None] * len(tracks) + [masks[i] for i in np.flatnonzero(lasting).tolist()]
    kept: list[Track] = []
    for group in members(connected(len(nodes), old, len(tracks) + np.cumsum(lasting)[new] - 1)):
        known = [nodes[i] for i in group if i < len(tracks)]
        added = [nodes[i] for i in group if i >= len(tracks)]
        runs = [mask for i in group if (mask := of_node[i]) is not None]
        events: list[DefectEvent] = []
        if known:
            cut, live = [track for track in known if track.cut], [track for track in known if not track.cut]
            track = _merge([*live, *(replace(one, opened=False) for one in added)] or cut, rules, prediction, graded_by)
            if added and (track.opened or _reported(track, rules, prediction)):
                track, events = _published(track, RunMask(frame.first_line, union(runs)), live, cut)
        else:
            (track,) = added  # pieces of one frame that are near each other are one already
            if track.opened:
                events = [DefectEvent(DefectState.OPENED, track.defect, RunMask(frame.first_line, runs[0]))]
        border = _NOTHING
        if continues and len(track.border):
            border = track.border[next_line - track.border[:, 0] <= reach_lines]
        begin_mm, end_mm = track.defect.box.along_mm
        ends_part = bool(added) and track.opened and end_mm - begin_mm >= rules.part_mm
        if ends_part or not len(border):
            events.extend(close_all((track,)))
        if len(border):
            kept.append(replace(track, border=border, cut=track.cut or ends_part))
        steps.append((track.born, events))
    kept.sort(key=lambda track: track.born)
    steps.sort(key=lambda step: step[0])
    return tuple(kept), tuple(event for _, events in steps for event in events)


def close_all(tracks: tuple[Track, ...]) -> tuple[DefectEvent, ...]:
    """Close every open defect: the strip behind it was not inspected, or the coil has ended."""
    return tuple(
        DefectEvent(DefectState.CLOSED, track.defect, None) for track in tracks if track.opened and not track.cut
    )


def _track(i: int, fresh: Beginnings, pieces: Pieces, frame: Frame, reach_lines: int) -> Track:
    runs = pieces.masks[i]
    border = last_per_column(runs[runs[:, 0] >= frame.lines - reach_lines])
    return Track(
        defect=fresh.defects[i],
        opened=bool(fresh.reported[i]),
        born=fresh.born[i],
        scores=pieces.scores[i],
        weight=pieces.weight[i].item(),
        odds=float(fresh.log_odds[i]) * fresh.moments[i].count,
        largest_px=fresh.moments[i].count,
        first_ordinal=frame.ordinal,
        last_ordinal=frame.ordinal,
        moments=fresh.moments[i].moved(frame.first_line),
        contrast=fresh.contrasts[i],
        border=border + np.array([frame.first_line, 0, 0], dtype=np.int32),
    )


def _continuations(
    tracks: tuple[Track, ...], pieces: Pieces, fresh: list[Defect], frame: Frame, rules: DecisionRules
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (track, piece) that are one defect."""
    reach_lines = rules.reach(frame.mm_per_line)
    at_head = np.flatnonzero(pieces.top < reach_lines).tolist() if tracks and len(pieces) else []
    if not at_head:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    heads = [pieces.masks[i] for i in at_head]
    border, track_of = _stacked([track.border for track in tracks])
    head, head_of = _stacked([first_per_column(runs[runs[:, 0] < reach_lines]) for runs in heads])
    touching = near(border - [frame.first_line, 0, 0], head, rules.reach(frame.mm_per_px), reach_lines)
    rows, columns = np.nonzero(touching)
    joined = np.zeros((len(tracks), len(heads)), dtype=bool)
    joined[track_of[rows], head_of[columns]] = True
    pairs = [(i, at_head[j]) for i, j in np.argwhere(joined).tolist()]
    pairs = [(i, j) for i, j in pairs if _compatible(tracks[i].defect, fresh[j])]
    old, new = np.array(pairs, np.int64).reshape(-1, 2).T
    return old, new


def _stacked(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _compatible(one: Defect, other: Defect) -> bool:
    return one.extent is other.extent is Extent.MASK or one.defect_class == other.defect_class


def _merge(tracks: list[Track], rules: DecisionRules, prediction: Prediction, graded_by: GradingRules | None) -> Track:
    """Join tracks into one, with the id of the oldest published one, or of the oldest if none was published."""
    if len(tracks) == 1:
        return tracks[0]
    tracks = sorted(tracks, key=lambda track: (not track.opened, track.born))
    joined = replace(
        tracks[0],
        scores=np.sum([track.scores for track in tracks], axis=0),
        weight=sum(track.weight for track in tracks),
        odds=sum(track.odds for track in tracks),
        largest_px=max(track.largest_px for track in tracks),
        first_ordinal=min(track.first_ordinal for track in tracks),
        last_ordinal=max(track.last_ordinal for track in tracks),
        moments=sum((track.moments for track in tracks), Moments()),
        contrast=sum((track.contrast for track in tracks), ContrastSums()),
        border=last_per_column(union([track.border for track in tracks])),
    )
    defect = _merged_defect([track.defect for track in tracks], joined, rules, prediction)
    largest = max(tracks, key=lambda track: track.largest_px)  # of equal ones the first
    defect = replace(defect, evidence=largest.defect.evidence)
    if graded_by is not None:
        defect = replace(defect, severity=severities_of([defect], graded_by)[0])
    return replace(joined, defect=defect)


def _merged_defect(defects: list[Defect], joined: Track, rules: DecisionRules, prediction: Prediction) -> Defect:
    """Return these defects joined into one, its severity not yet computed. joined: the sums over all of them."""
    box = StripBox.hull(defect.box for defect in defects)
    edge_mm = min((defect.edge_mm for defect in defects if defect.edge_mm is not None), default=None)
    place, shares = Places.one(box.across_mm, edge_mm), (joined.scores / joined.weight)[None]
    code, confidence = rules.choose_classes(prediction.classes, shares, place)
    probability = probability_of(np.array([joined.odds / joined.moments.count]))
    columns = prediction.frame.columns
    mm_per_px = columns.mm_per_px_over(*(columns.column(mm) for mm in box.across_mm))
    spread = joined.moments.spread(mm_per_px, prediction.frame.mm_per_line)
    return replace(
        defects[0],
        defect_class=named(prediction.classes)[int(code[0])],
        confidence=float(confidence[0]),
        peak=max(defect.peak for defect in defects),
        probability=float(probability[0]),
        box=box,
        area_mm2=sum(defect.area_mm2 for defect in defects),
        edge_mm=edge_mm,
        extent=Extent.MASK if all(defect.extent is Extent.MASK for defect in defects) else Extent.TILE,
        frames=joined.last_ordinal - joined.first_ordinal + 1,
        class_scores=highest(prediction.classes, shares)[0],
        length_mm=spread.length_mm,
        width_mm=spread.width_mm,
        orientation_deg=spread.orientation_deg,
        contrast=joined.contrast.contrast,
        tentative=bool(rules.tentative(prediction.classes, code, probability, place)[0]),
    )


def _published(
    track: Track, mask: RunMask, live: Sequence[Track], cut: Sequence[Track]
) -> tuple[Track, list[DefectEvent]]:
    """Return the published track and its events. live: the tracks it was made of. cut: the parts that it continues."""
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


def _reported(track: Track, rules: DecisionRules, prediction: Prediction) -> bool:
    defect, classes = track.defect, prediction.classes
    code = np.array([named(classes).index(defect.defect_class)])
    confidence, probability, area_mm2 = np.array([[defect.confidence], [defect.probability], [defect.area_mm2]])
    place = Places.one(defect.box.across_mm, defect.edge_mm)
    return bool(rules.reports(classes, code, confidence, probability, area_mm2, place)[0])
