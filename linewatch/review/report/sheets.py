"""Writes the report's tables for a spreadsheet: `defects.csv`, `spans.csv`, `alarms.csv`; headings give units."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from linewatch.contracts.defect_fields import DEFECT_FIELDS, to_columns, to_flat
from linewatch.contracts.verdict import Defect, StripArea
from linewatch.files import write_file
from linewatch.review.coil_record import CoilRecord
from linewatch.review.defect_table import UNREAD
from linewatch.review.severities import RatedDefects
from linewatch.spreadsheet import csv_text

HEADINGS = {"defect_class": "class", "severity": "severity_0_to_5"}
"""Headings that differ from the column's name. The severity is the one by which the report rates."""

_AREAS = tuple(field.name for field in fields(StripArea))
SPAN_COLUMNS = ("coil", "first_line", "lines", "along_begin_mm", "along_end_mm", "quality", "cause", *_AREAS)
ALARM_COLUMNS = ("coil", "id", "rule", "state", "latched", "along_mm", "defects", "text")

Cell = str | float | int | bool | None


def write_sheets(record: CoilRecord, rated: RatedDefects, folder: Path) -> None:
    """Write the three tables, the worst defects first. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    severities = rated.severity.tolist()
    headings = [HEADINGS.get(name, name) for field in DEFECT_FIELDS if field.name != UNREAD for name in field.columns]
    rows = (_defect(one, severity, record) for one, severity in zip(rated.defects, severities, strict=True))
    _write(folder / "defects.csv", [*headings, "still_open"], (row.values() for row in rows))
    _write(
        folder / "spans.csv",
        SPAN_COLUMNS,
        (
            (
                *(record.coil, span.first_line, span.lines, *span.along_mm, span.quality, span.cause),
                *(getattr(span.area, name, None) for name in _AREAS),
            )
            for span in record.spans
        ),
    )
    _write(
        folder / "alarms.csv",
        ALARM_COLUMNS,
        (
            (
                *(record.coil, one.id, one.rule, one.state, one.latched, one.along_mm),
                *(" ".join(one.defect_ids), one.text),
            )
            for one in record.alarms
        ),
    )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Cell]]) -> None:
    write_file(path, csv_text(columns, rows).encode())


def _defect(defect: Defect, severity: int, record: CoilRecord) -> dict[str, Cell]:
    """Return the cells by heading."""
    columns = to_columns(to_flat(defect)) | {"severity": severity, "still_open": defect.id in record.still_open}
    del columns[UNREAD]
    columns["class_scores"] = " ".join(f"{name}={score:g}" for name, score in defect.class_scores)
    return {HEADINGS.get(name, name): value for name, value in columns.items()}
