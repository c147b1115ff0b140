"""Prints the history's lists as tables for people and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from linewatch.contracts.defect_fields import PASSAGE_FIELDS, to_flat
from linewatch.history.queries import CoilRow, DefectRow, GapRow
from linewatch.terminal import percent


def coils_json(rows: Sequence[CoilRow], gaps: Sequence[GapRow]) -> str:
    """Return one object: `coils`, and the `gaps` of the whole history."""
    coils = [asdict(row) | {"inspected_share": round(row.inspected_share, 6)} for row in rows]
    return json.dumps({"coils": coils, "gaps": [asdict(gap) for gap in gaps]}, indent=1)


def coils_table(rows: Sequence[CoilRow], gaps: Sequence[GapRow]) -> Group:
    """Return a table with a line per passage, followed by the gaps."""
    table = Table()
    columns = "passage", "coil", "side", "camera", "begun (UTC)", "length", "inspected", "grade", "defects", "alarms"
    for column in columns:
        table.add_column(column)
    for row in rows:
        parts = {"degraded": row.degraded_mm, "missed": row.missed_mm, "not recorded": row.unrecorded_mm}
        others = "".join(f", {_metres(mm)} {name}" for name, mm in parts.items() if mm)
        counts = sorted(row.defects_by_class.items(), key=lambda count: -count[1])
        table.add_row(
            str(row.passage),
            row.coil,
            row.side,
            row.camera,
            f"{datetime.fromtimestamp(row.begun_unix_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}",
            _metres(row.passed_mm) + ("" if row.ended_unix_ns else " so far"),
            f"{percent(row.inspected_share)}{others}",
            row.grade or "",
            ", ".join(f"{name} {count}" for name, count in counts) or "none",
            str(row.alarms),
        )
    lost = [
        Text(
            f"lost: {gap.service}, {gap.topic} of epoch {gap.epoch} from {gap.first}"
            f"{'' if gap.end is None else f' to {gap.end}'}: {gap.reason}",
            "yellow",
        )
        for gap in gaps
    ]
    return Group(table, *lost)


def defects_json(
    passages: Sequence[CoilRow],
    older: int,
    rows: Sequence[DefectRow],
    limit: int,
    images: Mapping[int, Path] | None = None,
) -> str:
    """Return one object: `passages`, the number of `older_passages`, `defects`, and `after` for the next page or null.

    images: paths by the defect's number; with it each defect has an `image`, a path or null.
    """
    defects = [_defect_json(row) for row in rows]
    for defect in defects if images is not None else ():
        path = images.get(defect["defect"]) if images else None
        defect["image"] = None if path is None else str(path)
    page = {
        "passages": [asdict(row) for row in passages],
        "older_passages": older,
        "defects": defects,
        "after": _after(rows, limit),
    }
    return json.dumps(page, indent=1)


def _defect_json(row: DefectRow) -> dict[str, Any]:
    values = to_flat(row.defect)
    named = {"defect": row.number, "passage": row.passage, "name": values.pop("id"), "state": row.state}
    return named | {name: value for name, value in values.items() if name not in PASSAGE_FIELDS} | {"more": row.more}


def defects_table(
    passages: Sequence[CoilRow],
    older: int,
    rows: Sequence[DefectRow],
    limit: int,
    images: Mapping[int, Path] | None = None,
) -> Group:
    """Return a table with a line per defect, and how to list the rest. images: as for JSON; adds a column."""
    named = {row.passage: row for row in passages}
    table = Table()
    for column in (
        "defect",
        "side",
        "camera",
        "class",
        "probability",
        "confidence",
        "along",
        "across",
        "area",
        "from edge",
        "state",
    ):
        table.add_column(column)
    if images is not None:
        table.add_column("image", no_wrap=True)
    for row in rows:
        coil, defect = named[row.passage], row.defect
        table.add_row(
            str(row.number),
            coil.side,
            coil.camera,
            f"{defect.defect_class} (tentative)" if defect.tentative else defect.defect_class,
            f"{defect.probability:.2f}",
            f"{defect.confidence:.2f}",
            f"{defect.box.along_mm[0] / 1000:.3f} to {defect.box.along_mm[1] / 1000:.3f} m",
            f"{defect.box.across_mm[0]:.1f} to {defect.box.across_mm[1]:.1f} mm",
            f"{defect.area_mm2:.1f} mm²",
            "" if defect.edge_mm is None else f"{defect.edge_mm:.1f} mm",
            row.state,
            *([_below(images.get(row.number))] if images is not None else []),
        )
    notes = []
    if older:
        notes.append(
            f"{older} older passages of this coil: `linewatch coils --coil`, then `linewatch defects --passage`"
        )
    for folder in sorted({path.parents[2] for path in (images or {}).values()}):
        notes.append(f"images are in {folder}")
    if (after := _after(rows, limit)) is not None:
        notes.append(f"there may be more: --after {after}")
    return Group(table, *(Text(note, "yellow") for note in notes))


def _below(image: Path | None) -> str:
    """Return the path below the archive's folder: day, passage, file."""
    return "/".join(image.parts[-3:]) if image is not None else ""


def _after(rows: Sequence[DefectRow], limit: int) -> int | None:
    return rows[-1].number if len(rows) == limit else None


def _metres(length_mm: float) -> str:
    return f"{length_mm / 1000:.1f} m"
