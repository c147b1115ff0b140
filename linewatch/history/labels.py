"""Labels that people give to defects, kept for learning with their author and time. The newest per defect counts."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import sqlalchemy as sa

from linewatch.contracts.bounds import printable
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import StripBox
from linewatch.files import write_file
from linewatch.history.archived_images import archived_images
from linewatch.history.queries import DefectRow, defect_rows, masks, passage, spans
from linewatch.history.tables import COIL, DEFECT, LABEL, SERVICE
from linewatch.spreadsheet import csv_text


class LabelVerdict(StrEnum):
    """What a person says of a defect that was found, or that one was missed."""

    RIGHT = "right"
    WRONG_CLASS = "wrong-class"
    NOT_A_DEFECT = "not-a-defect"
    MISSED = "missed"  # nothing was found there


@dataclass(frozen=True, slots=True)
class Label:
    """One label of one defect, with what is needed to find the defect in a recording."""

    verdict: str
    found_class: str  # empty: it was missed
    right_class: str | None  # None: it is no defect
    service: str
    coil: str
    side: str
    camera: str
    begun_unix_ns: int  # of the coil: distinguishes passages of one id
    name: str  # the defect's id on the wire; of a missed one an id that no found one has
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
    verdict, or the class that was found. `missed` stores what was not found.
    """
    if verdict is LabelVerdict.MISSED:
        raise HistoryError("a missed defect has no number; say where it lies: `linewatch missed`")
    row = _find(connection, defect)
    if (verdict is LabelVerdict.WRONG_CLASS) != (right_class is not None):
        need = "needs --class, the right one" if right_class is None else "takes no --class"
        raise HistoryError(f"{verdict} {need}")
    for text in (right_class, who):
        if text is not None:
            _check_printable(text)
    if right_class == row.defect_class:
        raise HistoryError(f"defect {defect} was found as {right_class}: that is not another class")
    if verdict is LabelVerdict.RIGHT:
        right_class = row.defect_class
    values = {name: row._mapping[name] for name in _FIELDS if name in row._mapping}
    values |= {"verdict": verdict.value, "found_class": row.defect_class, "right_class": right_class}
    values |= {"who": who, "said_unix_ns": time.time_ns()}
    connection.execute(sa.insert(LABEL).values(defect_id=row.id, **values))
    return Label(**values)


def take_back(connection: sa.Connection, defect: int, who: str) -> Label:
    """Delete the newest label of the defect of this number, which `who` gave; the one before it counts again.

    Raises HistoryError where nobody has labelled it, and where somebody else labelled it last.
    """
    of_defect = sa.select(*(LABEL.c[name] for name in _FIELDS), LABEL.c.id).where(LABEL.c.defect_id == defect)
    newest = connection.execute(of_defect.order_by(LABEL.c.id.desc()).limit(1)).first()
    if newest is None:
        raise HistoryError(f"defect {defect} has no label to take back")
    if newest.who != who:
        raise HistoryError(f"defect {defect} was labelled last by {newest.who}, not by {who}: label it anew instead")
    connection.execute(sa.delete(LABEL).where(LABEL.c.id == newest.id))
    return Label(**{name: newest._mapping[name] for name in _FIELDS})


def labels_of(connection: sa.Connection, defects: Sequence[int]) -> dict[int, Label]:
    """Return the newest label of each of these defects that has one, by its number; at most some thousands."""
    newest = sa.select(sa.func.max(LABEL.c.id)).where(LABEL.c.defect_id.in_(defects)).group_by(LABEL.c.defect_id)
    wanted = sa.select(*(LABEL.c[name] for name in _FIELDS), LABEL.c.defect_id).where(LABEL.c.id.in_(newest))
    found = {}
    for row in connection.execute(wanted):
        values = dict(row._mapping)
        number = values.pop("defect_id")
        found[number] = Label(**values)
    return found


def labels_by(connection: sa.Connection, who: str, since_unix_ns: int) -> int:
    """Return how many defects a person has labelled since then."""
    by_person = LABEL.c.who == who, LABEL.c.said_unix_ns >= since_unix_ns, LABEL.c.defect_id.is_not(None)
    return connection.execute(sa.select(sa.func.count(LABEL.c.defect_id.distinct())).where(*by_person)).scalar_one()


def missed(connection: sa.Connection, number: int, box: StripBox, right_class: str, who: str) -> Label:
    """Store that a defect of this class was missed at this place of a passage. The same place again replaces it.

    number: of the passage. Raises HistoryError for an unknown passage, and a box that is empty or not on its strip.
    """
    at = passage(connection, number)
    for text in (right_class, who):
        _check_printable(text)
    (left, right), (begin, end) = box.across_mm, box.along_mm
    if not (0 <= left < right < math.inf and 0 <= begin < end <= at.passed_mm):
        raise HistoryError(
            f"across {left:g} to {right:g} mm, along {begin:g} to {end:g} mm: expected two rising positions each, from "
            f"0 on, along up to the {at.passed_mm:g} mm that passed"
        )
    said = Label(
        verdict=LabelVerdict.MISSED.value,
        found_class="",
        right_class=right_class,
        service=at.service,
        coil=at.coil,
        side=at.side,
        camera=at.camera,
        begun_unix_ns=at.begun_unix_ns,
        name=f"{at.coil}/{at.side}/{at.camera}/missed-{begin:.1f}-{left:.1f}",
        across_begin_mm=left,
        across_end_mm=right,
        along_begin_mm=begin,
        along_end_mm=end,
        confidence=0.0,
        who=who,
        said_unix_ns=time.time_ns(),
    )
    connection.execute(sa.insert(LABEL).values(defect_id=None, **asdict(said)))
    return said


@dataclass(frozen=True, slots=True)
class LabelledDefect:
    """A label and its defect as last reported. engines: the identities that looked at the place where it begins."""

    label: Label
    row: DefectRow
    engines: tuple[str, ...]


def labelled_defects(connection: sa.Connection) -> Iterator[LabelledDefect]:
    """Yield the newest label of each defect that is still stored, in the order in which they were given."""
    numbered = [(newest, number) for newest, number in _newest(connection) if number is not None]
    rows = {row.number: row for row in defect_rows(connection, [number for _, number in numbered])}
    of_passage = {number: spans(connection, number) for number in {row.passage for row in rows.values()}}
    for newest, number in numbered:
        if number in rows:
            row, along_mm = rows[number], newest.along_begin_mm
            here = (span for span in of_passage[row.passage] if span.span.along_mm[0] <= along_mm)
            engines = max(here, key=lambda span: span.span.along_mm[0], default=None)
            yield LabelledDefect(newest, row, engines.engines if engines else ())


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
