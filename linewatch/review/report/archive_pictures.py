"""Pictures for the report out of the image archive, where there is no recording to cut them out of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from linewatch.contracts.verdict import Defect
from linewatch.history.archived_pictures import pictures
from linewatch.history.database import reading
from linewatch.review.coil_record import CoilRecord, IntervalMm
from linewatch.review.report.thumbnail import as_data_uri, lay_out, window_of


@dataclass(frozen=True, slots=True)
class InArchive:
    """The pictures that the history keeps in `folder`."""

    database: str
    folder: Path

    def of(self, record: CoilRecord, defects: Sequence[Defect]) -> Sequence[str | None]:
        """Raises HistoryError when the database cannot be read."""
        if record.passage is None:
            return [None] * len(defects)
        with reading(self.database) as connection:
            return stored_pictures(connection, self.folder, record.passage, defects)


def stored_pictures(
    connection: sa.Connection, folder: Path, passage: int, defects: Sequence[Defect]
) -> list[str | None]:
    """As `cut_out` gives them, for the windows of these defects of a passage; None where there is none of it."""
    found = pictures(connection, folder, passage, (defect.id for defect in defects))
    made: list[str | None] = []
    for defect in defects:
        picture = found.get(defect.id)
        image = picture.read() if picture is not None else None
        window = window_of(defect.box)
        if picture is None or image is None or not _meet(picture.box.along_mm, window.along_mm):
            made.append(None)  # of a long defect the beginning is shown: its picture may lie further on
        else:
            made.append(as_data_uri(lay_out(None, image, picture.box, window)))
    return made


def _meet(one_mm: IntervalMm, other_mm: IntervalMm) -> bool:
    return one_mm[0] < other_mm[1] and other_mm[0] < one_mm[1]
