"""Thumbnails of single defects in strip millimetres: the outline, over an image of the steel where there is one."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.ports import Camera
from linewatch.contracts.verdict import Defect, StripBox
from linewatch.geometry.straighten import straightened
from linewatch.review.coil_record import CoilRecord, IntervalMm
from linewatch.review.report.axes import round_step

ASPECT = 1.6
"""Length along over width across, of every thumbnail."""

LEAST_MM, LARGEST_MM = 32.0, 640.0
"""Bounds of the length along: small defects are not enlarged further, of a longer one the beginning is shown."""

_MARGIN = 1.3
_RASTER_PX = 160
_CROP_PX = (288, 180)
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 82)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A window on the strip. outline: SVG path in millimetres from the window's corner, x along, y across.

    steel: image of the whole window as a data URI; None without one. cut: the defect is longer than the window.
    """

    window: StripBox
    outline: str
    exact: bool  # the outline is the mask's, not the box
    cut: bool
    bar_mm: float  # a round length to draw as a scale
    steel: str | None = None

    @property
    def size_mm(self) -> IntervalMm:
        """Size of the window along and across."""
        return _size(self.window.along_mm), _size(self.window.across_mm)


def thumbnails(record: CoilRecord, defects: Sequence[Defect], images: Sequence[str | None] = ()) -> list[Thumbnail]:
    """Make one thumbnail per defect. images: of the steel, one per defect, or none at all."""
    made = []
    for defect, steel in zip(defects, images or [None] * len(defects), strict=True):
        window = window_of(defect.box)
        parts = record.masks.get(defect.id)
        cut = defect.box.along_mm[1] > window.along_mm[1]
        bar_mm = round_step(_size(window.along_mm), 4)
        outline = _mask_path(np.concatenate(parts), defect.box, window) if parts else ""
        exact = bool(outline)
        made.append(Thumbnail(window, outline or _box_path(defect.box, window), exact, cut, bar_mm, steel))
    return made


def window_of(box: StripBox) -> StripBox:
    """Return the window of a defect's thumbnail: the defect with a margin."""
    along, across = box.along_mm, box.across_mm
    length = max(_size(along) * _MARGIN, _size(across) * _MARGIN * ASPECT, LEAST_MM)
    length = min(length, LARGEST_MM)
    begin = (along[0] + along[1] - length) / 2
    if _size(along) > length:
        begin = along[0] - 0.05 * length
    middle = (across[0] + across[1]) / 2
    width = length / ASPECT
    return StripBox((middle - width / 2, middle + width / 2), (begin, begin + length))


def cut_out(camera: Camera, line: LineSettings, coil: str, windows: Sequence[StripBox]) -> list[str | None]:
    """Return the steel in each window as a JPEG's data URI, along to the right; None where no frame shows any of it.

    Reads the camera once, up to the last window. Raises SourceError when it does not show the coil at all.
    """
    last_mm = max((window.along_mm[1] for window in windows), default=0.0)
    canvases: list[np.ndarray | None] = [None] * len(windows)
    seen: set[str] = set()
    with camera:
        while (grab := camera.read()) is not None:
            seen.add(grab.coil)
            if grab.coil != coil or grab.image is None or grab.image.ndim != 2:
                continue
            if grab.along_mm > last_mm:
                break
            lines, columns = grab.image.shape
            across_mm = line.across_offset_mm, line.across_offset_mm + columns * line.mm_per_px
            seen_box = StripBox(across_mm, (grab.along_mm, grab.along_mm + lines * grab.mm_per_line))
            for number, window in enumerate(windows):
                if window.along_mm[0] < seen_box.along_mm[1] and window.along_mm[1] > grab.along_mm:
                    image = straightened(grab.image, line.across)
                    canvases[number] = lay_out(canvases[number], image, seen_box, window)
    if windows and coil not in seen:
        shown = ", ".join(sorted(repr(name) for name in seen)[:10]) or "nothing"
        raise SourceError(f"the source shows {shown}, not coil {coil!r}; give the recording that was replayed")
    return [None if canvas is None else as_data_uri(canvas) for canvas in canvases]


def lay_out(canvas: np.ndarray | None, image: np.ndarray, shown: StripBox, window: StripBox) -> np.ndarray:
    """Return the canvas (along, across) of a window with the part that an image (lines, columns) of `shown` has of it.

    Without a canvas it begins with a gray one.
    """
    columns, rows = _CROP_PX
    if canvas is None:
        canvas = np.full((columns, rows), 225, np.uint8)
    at_along = window.along_mm[0] + (np.arange(columns) + 0.5) / columns * _size(window.along_mm)
    at_across = window.across_mm[0] + (np.arange(rows) + 0.5) / rows * _size(window.across_mm)
    lines = np.floor((at_along - shown.along_mm[0]) / _size(shown.along_mm) * image.shape[0]).astype(int)
    pixels = np.floor((at_across - shown.across_mm[0]) / _size(shown.across_mm) * image.shape[1]).astype(int)
    here, there = (lines >= 0) & (lines < image.shape[0]), (pixels >= 0) & (pixels < image.shape[1])
    canvas[np.ix_(here, there)] = image[np.ix_(lines[here], pixels[there])]
    return canvas


def as_data_uri(canvas: np.ndarray) -> str:
    """Return a canvas as a JPEG, along to the right."""
    _, data = cv2.imencode(".jpg", canvas.T, _JPEG)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _mask_path(runs: np.ndarray, box: StripBox, window: StripBox) -> str:
    """Return the outlines of the mask, which fills the box, within the window; "" for a mask without pixels."""
    if len(runs) == 0:
        return ""
    line, start, stop = runs.astype(np.float64).T
    mm_per_line = _size(box.along_mm) / (line.max() - line.min() + 1)
    mm_per_px = _size(box.across_mm) / (stop.max() - start.min())
    begin = box.along_mm[0] + (line - line.min()) * mm_per_line
    inside = begin < window.along_mm[1]
    begin, left, right = begin[inside], (start - start.min())[inside] * mm_per_px, (stop - start.min())[inside]
    right = right * mm_per_px
    length, width = max(float(begin.max() - begin.min()) + mm_per_line, 1e-6), max(float(right.max()), 1e-6)
    px_per_mm = min(_RASTER_PX / max(length, width), 4 / min(mm_per_line, mm_per_px))
    raster = _painted(begin - begin.min(), mm_per_line, left, right, px_per_mm)
    outlines, _ = cv2.findContours(raster, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    x0, y0 = float(begin.min()) - window.along_mm[0], box.across_mm[0] - window.across_mm[0]
    parts = []
    for outline in outlines:
        points = (outline[:, 0, :] + 0.5) / px_per_mm + (x0, y0)  # from pixel centres
        parts.append("M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points.tolist()) + "z")
    return "".join(parts)


def _painted(
    begin_mm: np.ndarray, length_mm: float, left_mm: np.ndarray, right_mm: np.ndarray, px_per_mm: float
) -> np.ndarray:
    """Return uint8 (across, along): every run as a rectangle of its true size, at least one pixel."""
    x0 = np.floor(begin_mm * px_per_mm).astype(int)
    x1 = np.maximum(np.ceil((begin_mm + length_mm) * px_per_mm - 1e-6).astype(int), x0 + 1)
    y0 = np.floor(left_mm * px_per_mm).astype(int)
    y1 = np.maximum(np.ceil(right_mm * px_per_mm - 1e-6).astype(int), y0 + 1)
    corners = np.zeros((y1.max() + 1, x1.max() + 1), np.int32)
    for x, y, sign in ((x0, y0, 1), (x1, y0, -1), (x0, y1, -1), (x1, y1, 1)):
        np.add.at(corners, (y, x), sign)
    return (corners.cumsum(0).cumsum(1)[:-1, :-1] > 0).astype(np.uint8)


def _box_path(box: StripBox, window: StripBox) -> str:
    left, right = (min(mm, window.along_mm[1]) - window.along_mm[0] for mm in box.along_mm)
    top, bottom = (mm - window.across_mm[0] for mm in box.across_mm)
    return f"M{left:.2f} {top:.2f}H{right:.2f}V{bottom:.2f}H{left:.2f}z"


def _size(interval_mm: IntervalMm) -> float:
    return interval_mm[1] - interval_mm[0]
