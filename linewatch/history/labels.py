"""What people say of instances: kept for retraining, by whom and when. The newest word about an instance counts."""

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from linewatch.contracts.errors import HistoryError
from linewatch.history.tables import COIL, DEFECT, LABEL, SERVICE


class LabelVerdict(StrEnum):
    """What is wrong with an instance."""

    WRONG_CLASS = "wrong-class"
    NOT_A_DEFECT = "not-a-defect"


@dataclass(frozen=True, slots=True)
class Label:
    """One word about one instance, with what is needed to find it again in a recording."""

    verdict: str
    found_class: str
    right_class: str | None  # None: it is no defect
    service: str
    coil: str
    side: str
    camera: str
    begun_unix_ns: int  # of the coil: tells passages of one id apart
    name: str  # the instance's id on the wire
    across_begin_mm: float
    across_end_mm: float
    along_begin_mm: float
    along_end_mm: float
    confidence: float
    who: str
    said_unix_ns: int


_FIELDS = [field.name for field in fields(Label)]


def label(connection: sa.Connection, defect: str, verdict: LabelVerdict, right_class: str | None, who: str) -> Label:
    """Keep what `who` says of the defect: its number, or its id on the wire.

    Raises HistoryError for an unknown or ambiguous defect, and for a right class that is missing, out of place or no
    other than the one that was found.
    """
    row = _find(connection, defect)
    if (verdict is LabelVerdict.WRONG_CLASS) != (right_class is not None):
        need = "needs --class, the right one" if right_class is None else "takes no --class"
        raise HistoryError(f"{verdict} {need}")
    if right_class == row.defect_class:
        raise HistoryError(f"defect {defect} was found as {right_class}: that is not another class")
    told = {name: row._mapping[name] for name in _FIELDS if name in row._mapping}
    told |= {"verdict": verdict.value, "found_class": row.defect_class, "right_class": right_class}
    told |= {"who": who, "said_unix_ns": time.time_ns()}
    connection.execute(sa.insert(LABEL).values(defect_id=row.id, **told))
    return Label(**told)


def newest_labels(connection: sa.Connection) -> Iterator[Label]:
    """The newest word about each instance, in the order in which they were said."""
    newest = sa.select(sa.func.max(LABEL.c.id)).group_by(LABEL.c.service, LABEL.c.begun_unix_ns, LABEL.c.name)
    wanted = sa.select(*(LABEL.c[name] for name in _FIELDS)).where(LABEL.c.id.in_(newest)).order_by(LABEL.c.id)
    for row in connection.execute(wanted):
        yield Label(**row._mapping)


def export_labels(connection: sa.Connection, out: Path) -> int:
    """Write the newest labels, as CSV for a name that ends in .csv and JSON lines for .jsonl; how many they are.

    Raises HistoryError for another name, or a file that cannot be written.
    """
    if out.suffix not in (".csv", ".jsonl"):
        raise HistoryError(f"--out {out}: expected a name that ends in .csv or .jsonl")
    count = 0
    try:
        with out.open("w", newline="") as file:
            table = csv.DictWriter(file, _FIELDS)
            if out.suffix == ".csv":
                table.writeheader()
            for count, said in enumerate(newest_labels(connection), start=1):  # noqa: B007 - counts
                if out.suffix == ".csv":
                    table.writerow(asdict(said))
                else:
                    file.write(json.dumps(asdict(said)) + "\n")
    except OSError as error:
        raise HistoryError(f"--out {out}: cannot be written ({error.strerror})") from error
    return count


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
    if not defect.isdecimal():  # by its coil: names alone have no index
        wanted = wanted.where(COIL.c.coil == defect.rsplit("/", maxsplit=3)[0])
    rows = connection.execute(wanted.limit(10)).all()
    if not rows:
        raise HistoryError(f"no defect {defect!r} in this history; `linewatch defects --coil ID` lists a coil's")
    if len(rows) > 1:
        numbers = ", ".join(str(row.id) for row in rows)
        raise HistoryError(f"{defect!r} came more than once, as defects {numbers}: name one by its number")
    return rows[0]
