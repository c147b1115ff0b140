"""Reads images from the image archive."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import sqlalchemy as sa

from linewatch.contracts.verdict import RunMask, StripBox
from linewatch.geometry.runs import to_mask
from linewatch.history.tables import IMAGE
from linewatch.pictures.error import PictureError
from linewatch.pictures.reading import read_gray

_NAMES_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """An image file and its window: strip lines [first_line, +lines), camera columns [left_px, +columns).

    scale: image pixels per camera pixel, along and across.
    """

    path: Path
    first_line: int
    lines: int
    left_px: int
    columns: int
    scale: float
    box: StripBox

    def read(self) -> np.ndarray | None:
        """Return uint8 (lines, columns), scaled; None when the file is damaged or was removed meanwhile."""
        try:
            return read_gray(self.path)
        except PictureError:
            return None

    def mask(self, parts: Iterable[RunMask]) -> np.ndarray:
        """Return uint8 of the image's shape: 255 where the defect's mask, in these parts, lies on it."""
        drawn = np.zeros((self.lines, self.columns), np.uint8)
        for part in parts:
            line = part.runs[:, 0] + part.first_line - self.first_line
            span = (part.runs[:, 1:] - self.left_px).clip(0, self.columns)
            within = (line >= 0) & (line < self.lines) & (span[:, 0] < span[:, 1])
            drawn[to_mask(np.column_stack([line, span])[within], self.lines, self.columns)] = 255
        if self.scale == 1.0:
            return drawn
        lines, columns = (max(1, round(length * self.scale)) for length in drawn.shape)
        scaled: np.ndarray = cv2.resize(drawn, (columns, lines), interpolation=cv2.INTER_AREA)
        return np.where(scaled >= 128, 255, 0).astype(np.uint8)


def archived_images(
    connection: sa.Connection, folder: Path, passage: int, names: Iterable[str]
) -> dict[str, ArchivedImage]:
    """Return the archive's images by defect id, for those of the named defects that have one. folder: the archive's."""
    wanted, found = sorted(set(names)), {}
    for at in range(0, len(wanted), _NAMES_AT_ONCE):
        of_these = IMAGE.c.name.in_(wanted[at : at + _NAMES_AT_ONCE])
        for row in connection.execute(sa.select(IMAGE).where(IMAGE.c.coil_id == passage, of_these)):
            found[row.name] = _image(row, folder)
    return {name: image for name, image in found.items() if image.path.is_file()}


def _image(row: Any, folder: Path) -> ArchivedImage:
    across_mm = row.across_begin_mm, row.across_end_mm
    along_mm = row.along_begin_mm, row.along_end_mm
    return ArchivedImage(
        path=folder / row.path,
        first_line=row.first_line,
        lines=row.lines,
        left_px=row.left_px,
        columns=row.columns,
        scale=row.scale,
        box=StripBox(across_mm, along_mm),
    )
