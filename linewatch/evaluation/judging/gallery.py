"""The worst of a judgement as one picture: pieces that were missed, instances where nothing is, wrong classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from linewatch.evaluation.judging.inspector import InspectedFrame, Inspector
from linewatch.evaluation.judging.judged import JudgedFrame, JudgedInstance
from linewatch.evaluation.judging.true_frames import FrameTruth, TrueFrame
from linewatch.metrics.plots.drawing import GREEN, ORANGE, SKY, VERMILION, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Corners = tuple[int, int, int, int]

EACH = 6
"""Examples of each kind."""
_COLUMNS = 2
_HIGH_PX, _WIDE_PX = 256, 640
_CELL_PX = 620, 290
_DARKEST = 64.0
_ON_DARK = [withStroke(linewidth=2.5, foreground="black")]
_KINDS = {
    "missed": "true pieces that are not even told, the largest",
    "false": "instances on no true piece, the most probable",
    "wrong class": "instances on pieces of another class, the most probable",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A place where the judgement is bad. weight: how bad, among mistakes of its kind."""

    frame: str
    box_px: Corners
    title: str
    weight: float


def mistakes_of(frames: Sequence[JudgedFrame]) -> dict[str, list[Mistake]]:
    """Return the worst mistakes of each kind, the worst first, no more than one of a frame."""
    found: dict[str, list[Mistake]] = {kind: [] for kind in _KINDS}
    for frame in frames:
        hit = {number for one in frame.instances if one.told for number in one.on}
        for number, piece in enumerate(frame.pieces):
            if number not in hit:
                title = f"{_words(piece.defect_class)}, {piece.area_mm2:,.0f} mm²"
                found["missed"].append(Mistake(frame.name, piece.box_px, title, piece.area_mm2))
        for one in frame.instances:
            if one.told and not one.right_class:
                kind = "wrong class" if one.right else "false"
                found[kind].append(Mistake(frame.name, one.box_px, _told(one, frame), one.probability))
    return {kind: _worst(each) for kind, each in found.items()}


def _told(one: JudgedInstance, frame: JudgedFrame) -> str:
    true = " and ".join(sorted({_words(frame.pieces[number].defect_class) for number in one.on}))
    called = "called" if one.called else "told"
    return f"{called} {_words(one.defect_class)} {one.probability:.2f}" + (f", is {true}" if true else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _worst(mistakes: Sequence[Mistake]) -> list[Mistake]:
    order = sorted(mistakes, key=lambda one: (-one.weight, one.frame, one.box_px))
    of_frame: dict[str, Mistake] = {}
    for one in order:
        of_frame.setdefault(one.frame, one)
    return list(of_frame.values())[:EACH]


def draw_gallery(
    judged: Sequence[JudgedFrame], frames: Mapping[str, TrueFrame], inspector: Inspector, out: Path
) -> bool:
    """Draw the gallery as PNG; return False, drawn nothing, where there is no mistake.

    frames: by name. The few frames that are shown are inspected again.
    """
    mistakes = mistakes_of(judged)
    rows = {kind: -(-len(each) // _COLUMNS) for kind, each in mistakes.items() if each}
    if not rows:
        return False
    seen = {one.frame: _Shown.of(frames[one.frame], inspector) for each in mistakes.values() for one in each}
    by_name = {frame.name: frame for frame in judged}
    width, height = _CELL_PX[0] * _COLUMNS, _CELL_PX[1]
    with drawing(out, width, height * sum(rows.values()) + 44 * len(rows) + 30) as sheet:
        parts = sheet.subfigures(len(rows), 1, height_ratios=[count + 44 / height for count in rows.values()])
        for part, kind in zip(np.ravel(np.array(parts, object)), rows, strict=True):
            part.suptitle(f"{kind}: {_KINDS[kind]}", x=0.01, ha="left", fontsize=13)
            axes = part.subplots(rows[kind], _COLUMNS, squeeze=False)
            for each in axes.flat:
                each.set_axis_off()
            for place, one in zip(axes.flat, mistakes[kind], strict=False):
                _draw(place, one, seen[one.frame], by_name[one.frame])
        sheet.supxlabel(
            "green: truth   red: called   orange: told   number: probability   dashed: the mistake", fontsize=10
        )
    return True


@dataclass(frozen=True)
class _Shown:
    gray: NDArray[np.uint8]
    truth: FrameTruth
    seen: InspectedFrame

    @classmethod
    def of(cls, frame: TrueFrame, inspector: Inspector) -> _Shown:
        gray = frame.gray()
        return cls(gray, frame.truth((gray.shape[0], gray.shape[1])), inspector.frame(gray))


def _draw(axes: Axes, mistake: Mistake, shown: _Shown, judged: JudgedFrame) -> None:
    lines, width = shown.gray.shape
    x0, x1 = _window(mistake.box_px[0], mistake.box_px[2], width, _WIDE_PX)
    y0, y1 = _window(mistake.box_px[1], mistake.box_px[3], lines, _HIGH_PX)
    part = shown.gray[y0:y1, x0:x1]
    bright = max(_DARKEST, float(np.percentile(part, 99.5)))  # dark strip is shown brighter
    axes.imshow(part, cmap="gray", vmin=0, vmax=bright, extent=(x0, x1, y1, y0))
    _outline(axes, shown.truth.mask > 0, GREEN)
    for _, (left, top, right, bottom) in shown.truth.boxes:
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=GREEN, linewidth=1.3)
    told = [one for one in judged.instances if one.told]
    for one in told:
        colour = VERMILION if one.called else ORANGE
        left, top, right, bottom = one.box_px
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=colour, linewidth=1.1)
        if x0 <= left < x1 and y0 <= top < y1:
            axes.annotate(f"{one.probability:.2f}", (left, top), color="white", fontsize=9, path_effects=_ON_DARK)
    left, top, right, bottom = mistake.box_px
    axes.plot(
        [left - 4, right + 4, right + 4, left - 4, left - 4],
        [top - 4, top - 4, bottom + 4, bottom + 4, top - 4],
        color=SKY,
        linewidth=1.6,
        linestyle="--",
    )
    axes.set(xlim=(x0, x1), ylim=(y1, y0))
    axes.set_title(f"{mistake.title} ({mistake.frame})", fontsize=10)


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = np.concatenate([contour, contour[:1]])[:, 0] + 0.5
        axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.3)


def _window(start: int, stop: int, extent: int, wanted: int) -> tuple[int, int]:
    """Return a stretch of `wanted` px around [start, stop), or around its middle where that is longer."""
    size = min(extent, wanted)
    first = min(max(0, (start + stop - size) // 2), extent - size)
    return first, first + size
