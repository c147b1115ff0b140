"""The report's tables for a spreadsheet: `defects.csv`, `spans.csv`, `alarms.csv`; units in the columns' names."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from linewatch.contracts.verdict import Defect
from linewatch.review.coil_record import CoilRecord
from linewatch.review.severities import RatedDefects

DEFECT_COLUMNS = (
    *("id", "coil", "side", "camera", "class", "severity_0_to_5", "confidence", "peak"),
    *("along_begin_mm", "along_end_mm", "across_begin_mm", "across_end_mm", "edge_mm"),
    *("length_mm", "width_mm", "orientation_deg", "area_mm2", "contrast"),
    *("extent", "frames", "part_of", "still_open", "tentative", "excluded", "class_scores"),
)
SPAN_COLUMNS = ("coil", "first_line", "lines", "along_begin_mm", "along_end_mm", "quality", "cause")
ALARM_COLUMNS = ("coil", "id", "rule", "state", "latched", "along_mm", "defects", "text")

Cell = str | float | int | bool | None


def write_sheets(record: CoilRecord, rated: RatedDefects, folder: Path) -> None:
    """Write the three tables, the worst defects first. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    severities = rated.severity.tolist()
    rows = (_defect(one, severity, record) for one, severity in zip(rated.defects, severities, strict=True))
    _write(folder / "defects.csv", DEFECT_COLUMNS, rows)
    _write(
        folder / "spans.csv",
        SPAN_COLUMNS,
        (
            (_inert(record.coil), span.first_line, span.lines, *span.along_mm, span.quality, span.cause)
            for span in record.spans
        ),
    )
    _write(
        folder / "alarms.csv",
        ALARM_COLUMNS,
        (
            (
                *(_inert(record.coil), _inert(one.id), _inert(one.rule), one.state, one.latched, one.along_mm),
                *(_inert(" ".join(one.defect_ids)), _inert(one.text)),
            )
            for one in record.alarms
        ),
    )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _inert(text: str) -> str:
    """What a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _defect(defect: Defect, severity: int, record: CoilRecord) -> tuple[Cell, ...]:
    return (
        *map(_inert, (defect.id, defect.coil, defect.side, defect.camera, defect.defect_class)),
        severity,
        *(defect.confidence, defect.peak, *defect.box.along_mm, *defect.box.across_mm, defect.edge_mm),
        *(defect.length_mm, defect.width_mm, defect.orientation_deg, defect.area_mm2, defect.contrast),
        *(defect.extent, defect.frames, _inert(defect.part_of or ""), defect.id in record.still_open),
        *(defect.tentative, defect.excluded),
        _inert(" ".join(f"{name}={score:g}" for name, score in defect.class_scores)),
    )
