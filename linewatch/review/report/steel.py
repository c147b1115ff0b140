"""Images of the steel around defects, for the report: cut out of a recording, or taken from the image archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from linewatch.config.line import LineSettings
from linewatch.contracts.ports import Camera
from linewatch.contracts.verdict import Defect
from linewatch.history.archived_images import archived_images
from linewatch.history.database import reading
from linewatch.review.coil_record import CoilRecord, IntervalMm
from linewatch.review.report.thumbnail import as_data_uri, cut_out, lay_out, window_of


class SteelImages(Protocol):
    """A source of images of the steel around defects."""

    def of(self, record: CoilRecord, defects: Sequence[Defect]) -> Sequence[str | None]:
        """Return a data URI for the window of each defect (`thumbnail.window_of`), or None. Raises LinewatchErrors."""


@dataclass(frozen=True, slots=True)
class SteelFromRecording:
    """Cuts the images out of the recording from which the coil was inspected."""

    camera: Camera
    line: LineSettings

    def of(self, record: CoilRecord, defects: Sequence[Defect]) -> Sequence[str | None]:
        return cut_out(self.camera, self.line, record.coil, [window_of(defect.box) for defect in defects])


@dataclass(frozen=True, slots=True)
class SteelFromArchive:
    """Takes the images from the archive that the history keeps in `folder`."""

    database: str
    folder: Path

    def of(self, record: CoilRecord, defects: Sequence[Defect]) -> Sequence[str | None]:
        """Return the images as `SteelImages` does. Raises HistoryError when the database cannot be read."""
        if record.passage is None:
            return [None] * len(defects)
        with reading(self.database) as connection:
            return archived_steel(connection, self.folder, record.passage, defects)


def archived_steel(
    connection: sa.Connection, folder: Path, passage: int, defects: Sequence[Defect]
) -> list[str | None]:
    """Return the archived images of a passage's defects as `cut_out` does; None for a defect without one."""
    found = archived_images(connection, folder, passage, (defect.id for defect in defects))
    made: list[str | None] = []
    for defect in defects:
        archived = found.get(defect.id)
        image = archived.read() if archived is not None else None
        window = window_of(defect.box)
        if archived is None or image is None or not _meet(archived.box.along_mm, window.along_mm):
            made.append(None)  # the report shows the beginning of a long defect, which its image may lack
        else:
            made.append(as_data_uri(lay_out(None, image, archived.box, window)))
    return made


def _meet(one_mm: IntervalMm, other_mm: IntervalMm) -> bool:
    return one_mm[0] < other_mm[1] and other_mm[0] < one_mm[1]
