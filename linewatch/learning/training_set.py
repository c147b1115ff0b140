"""A history's labels as a set of labelled images, for a full training: `linewatch learn --from history --full`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from linewatch.contracts.errors import HistoryError
from linewatch.files import write_file
from linewatch.history.archived_images import archived_images
from linewatch.history.labels import labelled_defects
from linewatch.history.queries import masks
from linewatch.spreadsheet import csv_text

CLEAN = "ok"
"""The class of an image on which the mill sees no defect."""


@dataclass(frozen=True)
class TrainingSet:
    """What was written. without_image: labelled defects whose image the history does not keep."""

    folder: Path
    by_class: dict[str, int]
    without_image: int


def write_training_set(connection: sa.Connection, images: Path, folder: Path) -> TrainingSet:
    """Write the images of the labelled defects, with class and mask, in the layout `csv` of a set of one's own.

    images: the history's archive. folder: is made, and must be empty. Raises HistoryError where it holds something or
    cannot be written, and for labels without a single image.
    """
    rows: list[tuple[str, str]] = []
    without_image = 0
    try:
        if folder.exists() and any(folder.iterdir()):
            raise HistoryError(
                f"--out {folder}: is not empty; name a new folder, so that no image of another set stays"
            )
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for one in labelled_defects(connection):
            name = one.row.defect.id
            image = archived_images(connection, images, one.row.passage, [name]).get(name)
            gray = None if image is None else image.read()
            if image is None or gray is None:
                without_image += 1
                continue
            defect_class = one.label.right_class or CLEAN
            file = f"{len(rows) + 1:06}.png"
            rows.append((file, defect_class))
            _write(folder / "images" / file, gray)
            parts = [part for _, part in masks(connection, [one.row.number])] if defect_class != CLEAN else []
            _write(folder / "masks" / file, image.mask(parts))
        if rows:
            write_file(folder / "labels.csv", csv_text(("file", "class"), rows).encode())
    except OSError as error:
        raise HistoryError(f"--out {folder}: cannot be written ({error.strerror})") from error
    if not rows:
        raise HistoryError(
            f"no labelled defect has an image ({without_image} without); add [images] here, and [crops] to the service"
        )
    classes = [defect_class for _, defect_class in rows]
    return TrainingSet(folder, {name: classes.count(name) for name in sorted(set(classes))}, without_image)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    _, packed = cv2.imencode(".png", pixels)
    write_file(path, packed.tobytes())
