"""Frames after inspection: every instance that was found, with its evidence, and whether it is true.

A found defect and a true piece are the same where their boxes meet, as `linewatch.geometry.matching` pairs them
everywhere (5 mm of tolerance). Strip that was not inspected holds no instance, so its pieces count as not found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import Defect, Extent
from linewatch.datasets.errors import DatasetError
from linewatch.evaluation.judging.inspector import InspectedFrame, Inspector, OutlinedDefect
from linewatch.evaluation.judging.true_frames import FrameTruth, RefusedFrame, TrueFrame
from linewatch.geometry.matching import match
from linewatch.geometry.runs import places
from linewatch.geometry.strip import StripScale
from linewatch.metrics.tiles import DARK, STEEL_SHARE
from linewatch.review.against_truth import TOLERANCE_MM
from linewatch.simulation.truth import TrueDefect

ANY = "any"
"""The name of all classes together."""


@dataclass(frozen=True, slots=True)
class JudgedInstance:
    """A found defect.

    box_px: (x0, y0, x1, y1) in the frame. told: it is published. called: and not tentative. on: the numbers of the true
    pieces that it lies on. right_class: one of them is of its class. evidence: by name, as the defect carries it.
    """

    defect_class: str
    probability: float
    told: bool
    called: bool
    tile: bool
    area_mm2: float
    box_px: tuple[int, int, int, int]
    on: tuple[int, ...]
    right_class: bool
    evidence: dict[str, float]

    @property
    def right(self) -> bool:
        """Whether it lies on a true piece of any class."""
        return bool(self.on)


@dataclass(frozen=True, slots=True)
class JudgedPiece:
    """A true piece of a defect."""

    defect_class: str
    area_mm2: float
    box_px: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class JudgedFrame:
    """A frame: what was found, and what is true.

    group: frames of one group may show the same steel. outlined: the truth is an outline, not a box, so that areas and
    tiles are known. areas_px: for `told` and `called` by class, and under `any`, the pixels that are both found and
    true, found, and true. tiles: (the screen's score, whether the tile is defective), without those that are neither
    clean nor defective. inspected_m2, strip_m2: area of strip that was inspected, and that passed.
    """

    name: str
    group: str
    outlined: bool
    instances: tuple[JudgedInstance, ...]
    pieces: tuple[JudgedPiece, ...]
    areas_px: dict[str, dict[str, tuple[int, int, int]]]
    tiles: tuple[tuple[float, bool], ...]
    inspected_m2: float
    strip_m2: float
    uninspected_m2: dict[str, float]

    @property
    def clean(self) -> bool:
        return not self.pieces


def judge_frames(
    frames: Iterable[tuple[TrueFrame, str]], inspector: Inspector, line: LineSettings, refused: list[RefusedFrame]
) -> Iterator[JudgedFrame]:
    """Inspect frames, each with the name of its group, and yield them judged.

    Every frame is a coil of its own, so that nothing joins over frames. What cannot be read is appended to `refused`.
    """
    for frame, group in frames:
        try:
            gray = frame.gray()
            truth = frame.truth((gray.shape[0], gray.shape[1]))
        except DatasetError as error:
            refused.append(RefusedFrame(frame.name, str(error)))
            continue
        seen, pseudo = inspector.frame(gray), inspector.rules.pseudo_classes
        yield judge_frame(frame.name, group, truth, seen, line, pseudo, tiles=tuple(tiles_of(gray, truth, seen)))


def judge_frame(
    name: str,
    group: str,
    truth: FrameTruth,
    seen: InspectedFrame,
    line: LineSettings,
    pseudo: Collection[str] = (),
    tiles: tuple[tuple[float, bool], ...] = (),
) -> JudgedFrame:
    """Return the judgement of one frame. pseudo: classes that are no defects. tiles: as of `tiles_of`."""
    pieces = truth.defects(line, pseudo)
    found = [one for one in seen.found if one.defect.defect_class not in pseudo]
    pairs = match([one.defect.box for one in found], [one.box for one in pieces], tolerance_mm=TOLERANCE_MM).pairs
    on: list[list[int]] = [[] for _ in found]
    for pair in pairs:
        on[pair.found].append(pair.true)
    # Frames of one folder tell no common width, so that what is dark beside the strip is none of it.
    narrow = Cause.NARROW.value
    beside = {} if line.strip_width_mm else {narrow: seen.uninspected_mm2.get(narrow, 0.0)}
    instances = tuple(_instance(one, numbers, pieces, line) for one, numbers in zip(found, on, strict=True))
    return JudgedFrame(
        name=name,
        group=group,
        outlined=truth.outlined,
        instances=instances,
        pieces=tuple(JudgedPiece(one.defect_class, one.area_mm2, _px(one, line)) for one in pieces),
        areas_px={
            point: _areas(truth, [one for one, each in zip(found, instances, strict=True) if getattr(each, point)])
            for point in ("told", "called")
        },
        tiles=tiles,
        inspected_m2=seen.area.inspected_mm2 / 1e6,
        strip_m2=(seen.area.passed_mm2 - sum(beside.values())) / 1e6,
        uninspected_m2={cause: mm2 / 1e6 for cause, mm2 in seen.uninspected_mm2.items() if cause not in beside},
    )


def _instance(
    found: OutlinedDefect, on: Sequence[int], pieces: Sequence[TrueDefect], line: LineSettings
) -> JudgedInstance:
    defect = found.defect
    return JudgedInstance(
        defect_class=defect.defect_class,
        probability=defect.probability,
        told=found.told,
        called=found.told and not defect.tentative,
        tile=defect.extent is Extent.TILE,
        area_mm2=defect.area_mm2,
        box_px=_px(defect, line),
        on=tuple(on),
        right_class=any(pieces[number].defect_class == defect.defect_class for number in on),
        evidence=dict(defect.evidence),
    )


def _px(one: TrueDefect | Defect, line: LineSettings) -> tuple[int, int, int, int]:
    scale = StripScale(0.0, line.mm_per_line, line.across)
    (x0, x1), (y0, y1) = one.box.across_mm, one.box.along_mm
    return round(scale.column(x0)), round(scale.line(y0)), round(scale.column(x1)), round(scale.line(y1))


def _areas(truth: FrameTruth, found: Sequence[OutlinedDefect]) -> dict[str, tuple[int, int, int]]:
    lines, width = truth.mask.shape
    planes: dict[str, NDArray[np.bool_]] = {}
    for one in found:
        plane = planes.setdefault(one.defect.defect_class, np.zeros((lines, width), bool))
        plane.ravel()[places(_within(one.runs, lines, width), width)] = True
    masks = {name: truth.mask == value for value, name in enumerate(truth.classes, 1)}
    blank = np.zeros((lines, width), bool)
    called, true = planes.values(), masks.values()
    planes, masks = (
        {**planes, ANY: np.any([blank, *called], axis=0)},
        {**masks, ANY: np.any([blank, *true], axis=0)},
    )
    areas = {}
    for name in sorted({*planes, *masks}):
        ours, theirs = planes.get(name, blank), masks.get(name, blank)
        if ours.any() or theirs.any():
            areas[name] = int((ours & theirs).sum()), int(ours.sum()), int(theirs.sum())
    return areas


def _within(runs: NDArray[np.int32], lines: int, width: int) -> NDArray[np.int32]:
    """Return the part of the runs that lies in the image."""
    kept = runs.clip(None, [lines, width, width]).astype(np.int32)
    return kept[(kept[:, 0] < lines) & (kept[:, 1] < kept[:, 2])]


def tiles_of(gray: NDArray[np.uint8], truth: FrameTruth, seen: InspectedFrame) -> Iterator[tuple[float, bool]]:
    """Yield the screen's score of the tiles that are defective or clean, as `linewatch.metrics.tiles` defines them.

    A frame without outlines tells nothing of its tiles.
    """
    if not truth.outlined:
        return
    for tile, score in zip(seen.tiles, seen.screen_scores.tolist(), strict=True):
        window = np.s_[tile.y : tile.y + tile.lines, tile.x : tile.x + tile.width]
        defective = bool(truth.mask[window].any())
        if defective or (np.median(gray[window], axis=0) > DARK).mean() >= STEEL_SHARE:
            yield score, defective


@dataclass(frozen=True)
class InstanceTable:
    """All instances of judged frames, a row each, for fitting a `ProbabilityModel`.

    names: of the evidence. evidence: float64 (n, names), NaN where it is not known. right: bool (n,), it lies on a true
    piece. right_class: bool (n,), on one of its class. told, called: bool (n,). probability: float64 (n,). frame:
    int64 (n,), the number of its frame in `frames`. group: int64 (n,), of that frame; a group is never
    divided.
    """

    frames: tuple[JudgedFrame, ...]
    names: tuple[str, ...]
    evidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    right_class: NDArray[np.bool_]
    told: NDArray[np.bool_]
    called: NDArray[np.bool_]
    probability: NDArray[np.float64]
    frame: NDArray[np.int64]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, frames: Sequence[JudgedFrame]) -> Self:
        """Gather the instances of all frames, in order."""
        rows = [(number, frame.group, one) for number, frame in enumerate(frames) for one in frame.instances]
        each = [one for _, _, one in rows]
        names = tuple(dict.fromkeys(name for one in each for name in one.evidence))
        return cls(
            frames=tuple(frames),
            names=names,
            evidence=np.array([[one.evidence.get(name, np.nan) for name in names] for one in each], np.float64).reshape(
                len(each), len(names)
            ),
            right=np.array([one.right for one in each], bool),
            right_class=np.array([one.right_class for one in each], bool),
            told=np.array([one.told for one in each], bool),
            called=np.array([one.called for one in each], bool),
            probability=np.array([one.probability for one in each], np.float64),
            frame=np.array([number for number, _, _ in rows], np.int64),
            group=np.unique([group for _, group, _ in rows], return_inverse=True)[1].astype(np.int64),
        )
