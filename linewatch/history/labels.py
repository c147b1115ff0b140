"""Labels that people give to defects, kept for retraining with their author and time. The newest per defect counts."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import sqlalchemy as sa

from linewatch.contracts.bounds import printable
from linewatch.contracts.errors import HistoryError
from linewatch.files import write_file
from linewatch.history.archived_images import archived_images
from linewatch.history.queries import masks
from linewatch.history.tables import COIL, DEFECT, LABEL, SERVICE
from linewatch.spreadsheet import csv_text


class LabelVerdict(StrEnum):
    """What is wrong with a defect that was found."""

    WRONG_CLASS = "wrong-class"
    NOT_A_DEFECT = "not-a-defect"


@dataclass(frozen=True, slots=True)
class Label:
    """One label of one defect, with what is needed to find the defect in a recording."""

    verdict: str
    found_class: str
    right_class: str | None  # None: it is no defect
    service: str
    coil: str
    side: str
    camera: str
    begun_unix_ns: int  # of the coil: distinguishes passages of one id
    name: str  # the defect's id on the wire
    across_begin_mm: float
    across_end_mm: float
    along_begin_mm: float
    along_end_mm: float
    confidence: float
    who: str
    said_unix_ns: int


_FIELDS = [field.name for field in fields(Label)]


def label(connection: sa.Connection, defect: str, verdict: LabelVerdict, right_class: str | None, who: str) -> Label:
    """Store a label by `who`. defect: its number in the history, or its id on the wire.

    Raises HistoryError for an unknown or ambiguous defect, and for a right class that is missing, not allowed with the
    verdict, or the class that was found.
    """
    row = _find(connection, defect)
    if (verdict is LabelVerdict.WRONG_CLASS) != (right_class is not None):
        need = "needs --class, the right one" if right_class is None else "takes no --class"
        raise HistoryError(f"{verdict} {need}")
    for text in (right_class, who):
        if text is not None:
            _check_printable(text)
    if right_class == row.defect_class:
        raise HistoryError(f"defect {defect} was found as {right_class}: that is not another class")
    values = {name: row._mapping[name] for name in _FIELDS if name in row._mapping}
    values |= {"verdict": verdict.value, "found_class": row.defect_class, "right_class": right_class}
    values |= {"who": who, "said_unix_ns": time.time_ns()}
    connection.execute(sa.insert(LABEL).values(defect_id=row.id, **values))
    return Label(**values)


def _check_printable(text: str) -> None:
    try:
        printable(text)
    except ValueError as error:
        raise HistoryError(str(error)) from error


def newest_labels(connection: sa.Connection) -> Iterator[Label]:
    """Return the newest label of each defect, in the order in which they were given."""
    return (newest for newest, _ in _newest(connection))


def _newest(connection: sa.Connection) -> Iterator[tuple[Label, int | None]]:
    """Yield them with the number of the defect; None when its coil has expired."""
    newest = sa.select(sa.func.max(LABEL.c.id)).group_by(LABEL.c.service, LABEL.c.begun_unix_ns, LABEL.c.name)
    columns = (LABEL.c[name] for name in _FIELDS)
    for row in connection.execute(
        sa.select(*columns, LABEL.c.defect_id).where(LABEL.c.id.in_(newest)).order_by(LABEL.c.id)
    ):
        values = dict(row._mapping)
        number = values.pop("defect_id")
        yield Label(**values), number


def export_labels(connection: sa.Connection, out: Path, images: Path | None = None) -> int:
    """Write the newest labels and return their number: as CSV if the name ends in .csv, as JSON lines if in .jsonl.

    images: the archive's folder. With it, the image of each labelled defect and its mask are written to the folder
    `out` + "-images", and the label's `image` and `mask` name the files there. `spreadsheet.csv_rows` reads the CSV.

    Raises HistoryError for a name with another ending, or a file that cannot be written.
    """
    if out.suffix not in (".csv", ".jsonl"):
        raise HistoryError(f"--out {out}: expected a name that ends in .csv or .jsonl")
    rows: list[dict[str, Any]] = []
    try:
        for count, (newest, number) in enumerate(_newest(connection), start=1):
            row = asdict(newest) | {"image": None, "mask": None}
            if images is not None and number is not None:
                row |= _export_image(connection, images, number, out.with_name(f"{out.stem}-images"), count)
            rows.append(row)
    except OSError as error:
        raise HistoryError(f"--out {out}: the images cannot be written ({error.strerror})") from error
    if out.suffix == ".csv":
        text = csv_text([*_FIELDS, "image", "mask"], (row.values() for row in rows))
    else:
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
    try:
        write_file(out, text.encode())
    except OSError as error:
        raise HistoryError(f"--out {out}: cannot be written ({error.strerror})") from error
    return len(rows)


def _export_image(connection: sa.Connection, images: Path, defect: int, folder: Path, count: int) -> dict[str, str]:
    """Return the names of the files that were written; none when there is no image."""
    row = connection.execute(sa.select(DEFECT.c.coil_id, DEFECT.c.name).filter_by(id=defect)).one()
    image = archived_images(connection, images, row.coil_id, [row.name]).get(row.name)
    if image is None or (pixels := image.read()) is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    written = {"image": folder / f"{count:06}.png", "mask": folder / f"{count:06}-mask.png"}
    mask = image.mask(part for _, part in masks(connection, [defect]))
    for name, written_pixels in (("image", pixels), ("mask", mask)):
        _, packed = cv2.imencode(".png", written_pixels)
        write_file(written[name], packed.tobytes())
    return {name: f"{folder.name}/{path.name}" for name, path in written.items()}


def _find(connection: sa.Connection, defect: str) -> Any:
    wanted = (
        sa.select(
            DEFECT,
            *(COIL.c[name] for name in ("coil", "side", "camera", "begun_unix_ns")),
            SERVICE.c.name.label("service"),
        )
        .select_from(DEFECT.join(COIL).join(SERVICE))
        .where(DEFECT.c.id == int(defect) if defect.isdecimal() else DEFECT.c.name == defect)
    )
    if not defect.isdecimal():  # narrowed by its coil: ids alone have no index
        wanted = wanted.where(COIL.c.coil == defect.rsplit("/", maxsplit=3)[0])
    rows = connection.execute(wanted.limit(10)).all()
    if not rows:
        raise HistoryError(f"no defect {defect!r} in this history; `linewatch defects --coil ID` lists a coil's")
    if len(rows) > 1:
        numbers = ", ".join(str(row.id) for row in rows)
        raise HistoryError(f"{defect!r} is the id of several defects, {numbers}: name one by its number")
    return rows[0]
