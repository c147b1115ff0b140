"""Draws a coil as a picture: the strip in rows, found defects outlined, missed stretches hatched."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from linewatch.capture.calibrated import FindCalibration, no_calibration
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.ports import Camera
from linewatch.contracts.verdict import Quality, StripBox, from_tail
from linewatch.files import write_file
from linewatch.geometry.straighten import straightened
from linewatch.review.coil_record import CoilRecord
from linewatch.review.recorded_frames import recorded_frames

PALETTE = (
    *((66, 135, 245), (60, 180, 75), (245, 130, 48), (240, 50, 230), (70, 240, 240), (40, 200, 255)),
    *((180, 105, 255), (0, 215, 160), (255, 190, 120), (120, 120, 255), (140, 200, 60), (200, 160, 255)),
)
TRUTH = (255, 255, 255)
MISSED = (40, 40, 230)
MARGIN_PX = 8
LEGEND_PX = 34
RULER_PX = 16
RULER_LABEL_PX = 60  # least distance of two numbers
RULER_M = (1, 2, 5, 10, 20, 50, 100)


class CoilPicture:
    """A drawing of a coil of `length_mm` by `width_mm`: along runs to the right, `row_mm` to a row.

    Boxes are strip millimetres; the picture begins at `across_mm`. Whatever lies outside the coil is cut off. Add the
    pixels first: boxes are drawn over them.
    """

    def __init__(
        self,
        length_mm: float,
        width_mm: float,
        *,
        across_mm: float = 0.0,
        px_per_mm: float = 0.25,
        row_mm: float = 6400.0,
    ) -> None:
        self.length_mm = length_mm
        self._scale = px_per_mm
        self._across_mm = across_mm
        self._row_mm = min(row_mm, max(length_mm, 1.0))
        rows = max(1, int(np.ceil(length_mm / self._row_mm)))
        self._strip_px = round(width_mm * px_per_mm)
        self._pitch_px = self._strip_px + RULER_PX + MARGIN_PX
        columns = round(self._row_mm * px_per_mm)
        self._canvas = np.full((LEGEND_PX + rows * self._pitch_px, columns + 2 * MARGIN_PX, 3), 24, np.uint8)
        self._counts: Counter[str] = Counter()
        self._legend_end = MARGIN_PX
        for row in range(rows):
            self._ruler(row)

    def add_lines(self, pixels: np.ndarray, along_mm: float, mm_per_line: float) -> None:
        """Lay uint8 (lines, width) pixels at `along_mm`."""
        length_px = max(1, round(pixels.shape[0] * mm_per_line * self._scale))
        small = cv2.resize(pixels, (self._strip_px, length_px), interpolation=cv2.INTER_AREA)
        turned = cv2.cvtColor(cv2.convertScaleAbs(cv2.transpose(small), alpha=1.15), cv2.COLOR_GRAY2BGR)
        for column, piece in enumerate(np.split(turned, turned.shape[1], axis=1)):
            row, x = self._place(along_mm + column / self._scale)
            y = self._top(row)
            if y + self._strip_px <= self._canvas.shape[0] and x < self._canvas.shape[1]:
                self._canvas[y : y + self._strip_px, x : x + 1] = piece

    def add_missed(self, along_mm: tuple[float, float]) -> None:
        """Hatch a stretch that was missed."""
        for row, x0, x1 in self._pieces(along_mm):
            y = self._top(row)
            band = self._canvas[y : y + self._strip_px, x0:x1]
            if not band.size:
                continue
            ys, xs = np.indices(band.shape[:2])
            band[(xs + ys) % 8 < 2] = MISSED

    def add_found(
        self, boxes: Sequence[tuple[str, StripBox]], classes: Sequence[str], tentative: Sequence[bool] | None = None
    ) -> None:
        """Outline found defects in the colour of their class, which is that of its place in `classes`.

        tentative: of each box, whether it gets a thin line; None: none does.
        """
        for (name, box), thin in zip(boxes, tentative or [False] * len(boxes), strict=True):
            self._counts[name] += 1
            self._outline(box, PALETTE[classes.index(name) % len(PALETTE)], grow_px=3, thickness=1 if thin else 2)
        x = MARGIN_PX
        for name in classes:
            if not self._counts[name]:
                continue
            text = f"{name} {self._counts[name]}"
            cv2.rectangle(self._canvas, (x, 10), (x + 14, 24), PALETTE[classes.index(name) % len(PALETTE)], 2)
            cv2.putText(
                self._canvas, text, (x + 20, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA
            )
            x += 34 + 8 * len(text)
        self._legend_end = x

    def add_note(self, text: str) -> None:
        """Write a text to the right of the legend."""
        at = (self._legend_end, 22)
        cv2.putText(self._canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (170, 170, 170), 1, cv2.LINE_AA)

    def add_truth(self, boxes: Iterable[StripBox]) -> None:
        """Outline the true defects, thin and white."""
        for box in boxes:
            self._outline(box, TRUTH, grow_px=1, thickness=1)

    def write(self, path: Path) -> None:
        """Write the picture; the file's ending selects the format. Raises SourceError when it cannot be written."""
        write_picture(self._canvas, path)

    def _outline(self, box: StripBox, colour: tuple[int, int, int], *, grow_px: int, thickness: int) -> None:
        low, high = (round((mm - self._across_mm) * self._scale) for mm in box.across_mm)
        for row, x0, x1 in self._pieces(box.along_mm):
            y = self._top(row)
            top, bottom = y + max(0, low - grow_px), y + min(self._strip_px, high + grow_px)
            cv2.rectangle(self._canvas, (x0 - grow_px, top), (x1 + grow_px, bottom), colour, thickness)

    def _pieces(self, along_mm: tuple[float, float]) -> list[tuple[int, int, int]]:
        first, last = int(along_mm[0] // self._row_mm), int(max(along_mm[0], along_mm[1] - 1e-6) // self._row_mm)
        pieces = []
        for row in range(first, last + 1):
            start = max(along_mm[0], row * self._row_mm) - row * self._row_mm
            stop = min(along_mm[1], (row + 1) * self._row_mm) - row * self._row_mm
            pieces.append((row, MARGIN_PX + round(start * self._scale), MARGIN_PX + round(stop * self._scale)))
        return pieces

    def _place(self, along_mm: float) -> tuple[int, int]:
        row = int(along_mm // self._row_mm)
        return row, MARGIN_PX + int((along_mm - row * self._row_mm) * self._scale)

    def _top(self, row: int) -> int:
        return LEGEND_PX + row * self._pitch_px

    def _ruler(self, row: int) -> None:
        y = self._top(row) + self._strip_px
        step_m = next(step for step in RULER_M if step * 1000 * self._scale >= RULER_LABEL_PX or step == RULER_M[-1])
        begin, end = np.array([row, row + 1]) * self._row_mm / 1000 / step_m
        for metre in np.arange(np.ceil(begin), end + 1e-9) * step_m:
            if metre * 1000 > self.length_mm:
                break
            x = MARGIN_PX + round((metre * 1000 - row * self._row_mm) * self._scale)
            cv2.line(self._canvas, (x, y), (x, y + 4), (150, 150, 150), 1)
            cv2.putText(
                self._canvas,
                f"{metre:.0f} m",
                (x + 3, y + 12),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.35,
                (170, 170, 170),
                1,
                cv2.LINE_AA,
            )


def write_picture(pixels: np.ndarray, path: Path) -> None:
    """Write BGR pixels; the file's ending selects the format. Raises SourceError when they cannot be written."""
    try:
        _, data = cv2.imencode(path.suffix, pixels)
    except cv2.error as error:  # OpenCV does not know the ending
        raise SourceError(f"{path}: is no picture by its ending; expected .png") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data.tobytes())
    except OSError as error:
        raise SourceError(f"{path}: the picture cannot be written ({error.strerror}); name another file") from error


def draw_coil(
    camera: Camera,
    line: LineSettings,
    record: CoilRecord,
    truth: Sequence[StripBox],
    path: Path,
    *,
    tail_first: bool = False,
    find: FindCalibration = no_calibration,
) -> None:
    """Draw the coil with the defects found, the stretches missed and the true defects into `path`.

    tail_first: begin at the tail of the coil. find: finds the calibration that is applied to the pixels.

    Raises SourceError when the source cannot be read or the file written.
    """

    def placed(along_mm: tuple[float, float]) -> tuple[float, float]:
        return from_tail(along_mm, record.length_mm) if tail_first else along_mm

    picture = CoilPicture(record.length_mm, line.width_px * line.mm_per_px, across_mm=line.across_offset_mm)
    for frame in recorded_frames(camera, line, find):
        if frame.pixels is not None and frame.coil == record.coil:
            pixels = straightened(frame.pixels[: frame.valid_lines], frame.columns)
            along_mm = placed((frame.along_mm, frame.along_mm + len(pixels) * frame.mm_per_line))
            picture.add_lines(pixels[::-1] if tail_first else pixels, along_mm[0], frame.mm_per_line)
    for span in record.spans:
        if span.quality is Quality.MISSED:
            picture.add_missed(placed(span.along_mm))
    picture.add_truth(StripBox(box.across_mm, placed(box.along_mm)) for box in truth)
    found = [(one.defect_class, StripBox(one.box.across_mm, placed(one.box.along_mm))) for one in record.defects]
    tentative = record.defects["tentative"].tolist()
    picture.add_found(found, sorted({name for name, _ in found}), tentative)
    if any(tentative):
        picture.add_note(f"{sum(tentative)} of them tentative: thin lines")
    picture.write(path)
