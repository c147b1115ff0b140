"""Draws the worst differences of two records: a sheet of crops with both outlines, and a map of each strip."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera
from linewatch.contracts.verdict import StripBox
from linewatch.geometry.runs import to_mask
from linewatch.geometry.straighten import straightened
from linewatch.review.coil_picture import CoilPicture, write_picture
from linewatch.review.comparison import KINDS, ComparedDefect, Comparison
from linewatch.review.pairing import FoundDefect, hull
from linewatch.review.strips import StripFindings, StripKey

WORST = 8
"""How many differences of each kind are drawn, the largest first."""
SHEET, MAP = "worst.png", "map.png"

A_COLOUR, B_COLOUR = (40, 140, 255), (255, 215, 50)
_TEXT, _QUIET, _GROUND, _NOTHING = (235, 235, 235), (165, 165, 165), 24, 60
_WIDTH_PX, _HEIGHT_PX = 380, 240
_COLUMNS, _GAP_PX, _HEADING_PX, _CAPTION_PX = 4, 12, 30, 36
_REACH_PX = (5, 2)  # distance from a defect to the outlines of A and B
_MOST_PX_PER_MM = 4.0
_LONGEST_MM = 1500.0  # length of a crop; of a longer defect it shows the middle
_MARGIN = 1.5  # size of a crop over that of the defect, to show the steel around it
_MAP_PX, _MAP_ROWS, _MAP_PX_PER_MM = 1600, 96, 0.25


@dataclass(frozen=True, slots=True)
class SideStrips:
    """One side of the comparison: its name and its strips."""

    name: str
    strips: Sequence[StripFindings]


def draw_differences(
    comparison: Comparison, a: SideStrips, b: SideStrips, camera: Camera, line: LineSettings, out: Path
) -> tuple[Path, ...]:
    """Write `worst.png` (where there is a difference) and `map.png` (`map-2.png`, ... of further strips) into `out`.

    camera, line: the recording from which both were made. Along runs to the right. Raises SourceError when the source
    shows none of the strips that are compared, or a picture cannot be written.
    """
    crops = [_Crop.around(kind, defect, line) for kind in KINDS for defect in getattr(comparison, kind)[:WORST]]
    maps = {key: _map(key, comparison, (a, b), line) for key in comparison.compared}
    seen = False
    with camera:
        for key, grab in _grabs(camera, line):
            if key not in maps or grab.image is None or grab.image.ndim != 2:
                continue
            seen = True
            maps[key].add_lines(straightened(grab.image, line.across), grab.along_mm, grab.mm_per_line)
            for crop in crops:
                if crop.defect.strip == key:
                    crop.paste(crop.pixels, grab.image, grab.along_mm, grab.mm_per_line, cv2.INTER_AREA)
    if not seen:
        raise SourceError(
            f"the source shows none of the strips compared ({', '.join(map(str, maps))}); give the recording that was "
            "replayed"
        )
    for number, side in enumerate((a, b)):
        _outline(crops, side, number)
    written = []
    if crops:
        write_picture(_sheet(crops, a.name, b.name, several=len(maps) > 1), out / SHEET)
        written.append(out / SHEET)
    for number, (key, picture) in enumerate(maps.items(), start=1):
        path = out / (MAP if number == 1 else MAP.replace(".", f"-{number}."))
        _add_differences(picture, key, comparison)
        picture.write(path)
        written.append(path)
    return tuple(written)


@dataclass(frozen=True, slots=True)
class _Crop:
    """A piece of strip at `px_per_mm`, from (along_mm, across_mm) on.

    pixels: uint8 (height, width). outlines: of A and B, each uint8 (height, width): 2 on the difference itself, 1 on
    other defects.
    """

    kind: str
    defect: ComparedDefect
    line: LineSettings
    along_mm: float
    across_mm: float
    px_per_mm: float
    pixels: np.ndarray = field(default_factory=lambda: np.full((_HEIGHT_PX, _WIDTH_PX), _NOTHING, np.uint8))
    outlines: tuple[np.ndarray, np.ndarray] = field(
        default_factory=lambda: (
            np.zeros((_HEIGHT_PX, _WIDTH_PX), np.uint8),
            np.zeros((_HEIGHT_PX, _WIDTH_PX), np.uint8),
        )
    )

    @classmethod
    def around(cls, kind: str, defect: ComparedDefect, line: LineSettings) -> "_Crop":
        box = hull((*defect.a, *defect.b))
        size = [_MARGIN * (high - low) for low, high in (box.along_mm, box.across_mm)]
        scale = min(_WIDTH_PX / min(size[0], _LONGEST_MM), _HEIGHT_PX / size[1], _MOST_PX_PER_MM)
        along_mm, across_mm = (
            (low + high) / 2 - pixels / scale / 2
            for (low, high), pixels in ((box.along_mm, _WIDTH_PX), (box.across_mm, _HEIGHT_PX))
        )
        left, right = line.across_offset_mm, line.across_offset_mm + line.width_px * line.mm_per_px
        across_mm = max(min(across_mm, right - _HEIGHT_PX / scale), left)  # within the camera's field
        return cls(kind, defect, line, max(along_mm, 0.0), across_mm, scale)

    def paste(
        self, canvas: np.ndarray, pixels: np.ndarray, along_mm: float, mm_per_line: float, interpolation: int
    ) -> None:
        """Lay camera pixels (lines, width), whose first line is at `along_mm`, over the canvas."""
        pixels = straightened(pixels, self.line.across, interpolation)
        rows = self._edges(along_mm - self.along_mm, mm_per_line, len(pixels), _WIDTH_PX)
        columns = self._edges(
            self.line.across_offset_mm - self.across_mm, self.line.mm_per_px, pixels.shape[1], _HEIGHT_PX
        )
        if rows is None or columns is None:
            return
        (first, last, x0, x1), (left, right, y0, y1) = rows, columns
        piece = np.ascontiguousarray(pixels[first:last, left:right].T)
        canvas[y0:y1, x0:x1] = cv2.resize(piece, (x1 - x0, y1 - y0), interpolation=interpolation)

    def _edges(self, begin_mm: float, mm_per_px: float, count: int, size_px: int) -> tuple[int, int, int, int] | None:
        """Return (first, last, low, high): source pixels [first, last) of `count` land on [low, high) of the crop."""
        first = max(int(np.floor(-begin_mm / mm_per_px)), 0)
        last = min(int(np.ceil((size_px / self.px_per_mm - begin_mm) / mm_per_px)), count)
        low, high = (round((begin_mm + n * mm_per_px) * self.px_per_mm) for n in (first, last))
        low, high = max(low, 0), min(high, size_px)
        return (first, last, low, high) if first < last and low < high else None

    def drawn(self) -> np.ndarray:
        """Return BGR (height, width, 3): the steel with the outlines of both sides, A's outside of B's."""
        picture = cv2.cvtColor(self.pixels, cv2.COLOR_GRAY2BGR)
        sides = zip(self.outlines, (self.defect.a, self.defect.b), (A_COLOUR, B_COLOUR), _REACH_PX, strict=True)
        for mask, defects, colour, reach_px in sides:
            subject = mask == 2
            if not subject.any():
                for defect in defects:  # those without a mask
                    (x0, y0), (x1, y1) = self._corners(defect.box)
                    subject[max(y0, 0) : y1, max(x0, 0) : x1] = True
            for pixels, shade, thickness in (
                (mask == 1, tuple(value // 2 for value in colour), 1),
                (subject, colour, 2),
            ):
                around = np.ones((2 * reach_px + 1,) * 2, np.uint8)
                larger = cv2.dilate(pixels.astype(np.uint8), around)
                found = cv2.findContours(larger, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
                cv2.drawContours(picture, found, -1, shade, thickness, cv2.LINE_AA)
        return picture

    def _corners(self, box: StripBox) -> tuple[tuple[int, int], tuple[int, int]]:
        (x0, x1), (y0, y1) = (
            [round((mm - origin) * self.px_per_mm) for mm in interval]
            for interval, origin in ((box.along_mm, self.along_mm), (box.across_mm, self.across_mm))
        )
        return (x0, y0), (x1, y1)


def _grabs(camera: Camera, line: LineSettings) -> Iterator[tuple[StripKey, Grab]]:
    passages: dict[str, int] = {}
    coil = None
    while (grab := camera.read()) is not None:
        if grab.coil != coil:
            coil = grab.coil
            passages[coil] = passages.get(coil, -1) + 1
        yield StripKey(coil, line.side, line.camera, passages[coil]), grab


def _outline(crops: Sequence[_Crop], side: SideStrips, number: int) -> None:
    """Lay the masks of one side over the crops that they meet."""
    for strip in side.strips:
        along_mm = strip.record.defects["along_mm"]
        for crop in crops:
            if crop.defect.strip != strip.key:
                continue
            end_mm = crop.along_mm + _WIDTH_PX / crop.px_per_mm
            subjects = {one.id for one in (crop.defect.a, crop.defect.b)[number]}
            begins_mm, ends_mm = along_mm.T
            here = (begins_mm < end_mm) & (ends_mm > crop.along_mm) & (ends_mm > begins_mm)
            for row in np.flatnonzero(here).tolist():
                name = strip.record.defects["id"][row]
                if parts := strip.record.masks.get(name):
                    layer = _laid(crop, np.concatenate(parts), *along_mm[row].tolist())
                    subject = strip.owner[row] in subjects
                    np.maximum(crop.outlines[number], layer * (1 + subject), out=crop.outlines[number])


def _laid(crop: _Crop, runs: np.ndarray, begin_mm: float, end_mm: float) -> np.ndarray:
    """Return the mask, which fills [begin_mm, end_mm) along, as uint8 in the crop's shape."""
    first, lines = int(runs[:, 0].min()), int(np.ptp(runs[:, 0])) + 1
    mm_per_line = (end_mm - begin_mm) / lines
    reach_mm = np.array([crop.along_mm, crop.along_mm + _WIDTH_PX / crop.px_per_mm]) - begin_mm
    low, high = np.clip(np.rint(reach_mm / mm_per_line + (-1, 1)), 0, lines).astype(int).tolist()
    runs = runs[(runs[:, 0] >= first + low) & (runs[:, 0] < first + high)]
    layer = np.zeros_like(crop.pixels)
    if high > low and len(runs):
        mask = to_mask(runs - np.array([first + low, 0, 0], np.int32), high - low, crop.line.width_px)
        crop.paste(layer, mask.astype(np.uint8), begin_mm + low * mm_per_line, mm_per_line, cv2.INTER_NEAREST)
    return layer


def _map(
    key: StripKey, comparison: Comparison, sides: tuple[SideStrips, SideStrips], line: LineSettings
) -> CoilPicture:
    """Return an empty map of a strip, with as few rows as can be read."""
    strips = [strip for side in sides for strip in side.strips if strip.key == key]
    ends = [part[-1, 1] for strip in strips for part in (strip.inspected, strip.degraded, strip.missed) if len(part)]
    length_mm = float(max(ends))
    scale = min(_MAP_PX_PER_MM, _MAP_PX * _MAP_ROWS / length_mm)
    return CoilPicture(
        length_mm,
        line.width_px * line.mm_per_px,
        across_mm=line.across_offset_mm,
        px_per_mm=scale,
        row_mm=_MAP_PX / scale,
    )


def _add_differences(picture: CoilPicture, key: StripKey, comparison: Comparison) -> None:
    at = 0.0
    for begin, end in [*comparison.compared[key].tolist(), (picture.length_mm,) * 2]:
        if begin > at:
            picture.add_missed((at, begin))
        at = end
    boxes = [(kind, hull((*one.a, *one.b))) for kind in KINDS for one in getattr(comparison, kind) if one.strip == key]
    picture.add_found(boxes, KINDS)
    picture.add_note("hatched: not compared, as at most one of the two inspected it")


def _sheet(crops: Sequence[_Crop], a: str, b: str, *, several: bool) -> np.ndarray:
    """Lay out the crops in rows, each kind below its heading."""
    by_kind = {kind: list(those) for kind, those in groupby(crops, key=lambda crop: crop.kind)}
    columns = min(max(2, *map(len, by_kind.values())), _COLUMNS)
    parts = [_legend(a, b, columns)]
    for kind, those in by_kind.items():
        parts.append(_heading(kind, columns))
        tiles = [_captioned(crop, several=several) for crop in those]
        blank = np.full_like(tiles[0], _GROUND)
        for first in range(0, len(tiles), columns):
            row = [*tiles[first : first + columns], *[blank] * columns][:columns]
            parts.append(np.hstack(row))
    return np.vstack(parts)


def _captioned(crop: _Crop, *, several: bool) -> np.ndarray:
    tile = np.full((_HEIGHT_PX + _CAPTION_PX + _GAP_PX, _WIDTH_PX + 2 * _GAP_PX, 3), _GROUND, np.uint8)
    tile[:_HEIGHT_PX, _GAP_PX : _GAP_PX + _WIDTH_PX] = crop.drawn()
    box = hull((*crop.defect.a, *crop.defect.b))
    where = f"{box.along_mm[0] / 1000:.3f} m, {box.across_mm[0]:.0f} mm across"
    if several:
        where = f"{crop.defect.strip.coil}: {where}"
    bar_mm = next(mm for mm in (500, 200, 100, 50, 20, 10) if mm * crop.px_per_mm <= _WIDTH_PX / 4 or mm == 10)
    bar_px = round(bar_mm * crop.px_per_mm)
    y, right = _HEIGHT_PX + 28, _GAP_PX + _WIDTH_PX
    cv2.line(tile, (right - bar_px, y), (right, y), _TEXT, 2)
    _write_text(tile, f"{bar_mm} mm", (right - bar_px - 56, y + 4), _QUIET)
    _write_text(tile, _caption(crop.defect), (_GAP_PX, _HEIGHT_PX + 15), _TEXT)
    _write_text(tile, where, (_GAP_PX, _HEIGHT_PX + 32), _QUIET)
    return tile


def _caption(defect: ComparedDefect) -> str:
    def of(defects: tuple[FoundDefect, ...]) -> str:
        pieces = Counter(one.defect_class for one in defects)
        names = " + ".join(f"{count} x {name}" if count > 1 else name for name, count in pieces.items())
        return f"{names} {sum(one.area_mm2 for one in defects):.0f} mm2"

    return " -> ".join(of(side) for side in (defect.a, defect.b) if side)


def _legend(a: str, b: str, columns: int) -> np.ndarray:
    band = np.full((_HEADING_PX + 22, columns * (_WIDTH_PX + 2 * _GAP_PX), 3), _GROUND, np.uint8)
    notes = ("outlines stand off the defects", "dark: other defects that A and B found")
    for number, (letter, name, colour) in enumerate((("A", a, A_COLOUR), ("B", b, B_COLOUR))):
        y = 18 + 20 * number
        cv2.line(band, (_GAP_PX, y - 4), (_GAP_PX + 26, y - 4), colour, 2, cv2.LINE_AA)
        _write_text(band, f"{letter}  {name}", (_GAP_PX + 36, y), _TEXT)
        _write_text(band, notes[number], (band.shape[1] - 320, y), _QUIET)
    return band


def _heading(kind: str, columns: int) -> np.ndarray:
    band = np.full((_HEADING_PX, columns * (_WIDTH_PX + 2 * _GAP_PX), 3), _GROUND, np.uint8)
    headings = {
        "lost": "lost: in A only",
        "new": "new: in B only",
        "reclassified": "reclassified: in both, with different classes",
        "resized": "changed in size",
    }
    cv2.putText(band, headings[kind], (_GAP_PX, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _TEXT, 1, cv2.LINE_AA)
    return band


def _write_text(picture: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.43, colour, 1, cv2.LINE_AA)
