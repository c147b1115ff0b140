"""No field of a defect is forgotten between the decision, the wire, the verdict file, the history and the tables."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from records import record_of
from stored_coils import messages_of, store_messages

from benchmarks.coil_file import begins, closed, ends, frame, opened, write
from linewatch.contracts.defect_fields import DEFECT_FIELDS, DefectField, from_columns, from_flat, to_columns, to_flat
from linewatch.contracts.verdict import Defect
from linewatch.history.database import writing
from linewatch.history.queries import defects
from linewatch.review.defect_table import UNREAD
from linewatch.review.from_history import HistorySource
from linewatch.review.from_verdicts import read_coil
from linewatch.review.report.write import ReportFiles, write_report
from linewatch.review.severities import ClassSeverities

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]


def some_value(field: DefectField) -> object:
    """A value within all bounds that is no field's default."""
    by_kind = {str: field.name, float: 0.5, int: 3, bool: True, tuple: (1.0, 2.0), dict: {"scratch": 0.5}}
    return by_kind[field.kind] if field.kind in by_kind else list(field.kind)[-1]


@pytest.fixture
def full() -> Defect:
    """A defect without a default value."""
    values = {field.name: some_value(field) for field in DEFECT_FIELDS}
    assert all(values[field.name] != field.default for field in DEFECT_FIELDS)
    return from_flat(values | {"coil": "C1", "side": "top", "camera": "cam1"})


def test_a_flat_record_and_its_columns_lead_back_to_the_defect(full: Defect) -> None:
    assert from_flat(from_columns(to_columns(to_flat(full)))) == full


def test_every_field_comes_back_from_a_verdict_file_and_from_the_history(full: Defect, tmp_path: Path) -> None:
    decisions = [begins(), frame(0, [opened(full), closed(full)]), ends(256.0)]
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    with writing(url) as engine:
        store_messages(engine, messages_of(*decisions))
        with engine.connect() as connection:
            (stored,) = defects(connection, [1])
    assert stored.defect == full
    read = replace(full, **{UNREAD: ()})
    assert tuple(read_coil(write(tmp_path / "v.jsonl", decisions)).defects) == (read,)
    assert tuple(HistorySource(url, "C1").record().defects) == (read,)


def test_every_field_has_a_heading_in_the_table(full: Defect, tmp_path: Path) -> None:
    write_report(record_of([full]), ClassSeverities(), ReportFiles(csv=tmp_path))
    with (tmp_path / "defects.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    renamed = {"defect_class": "class", "severity": "severity_0_to_5"}
    assert {renamed.get(name, name) for name in to_columns(to_flat(full)) if name != UNREAD} | {"still_open"} == set(
        row
    )
    assert row["class_scores"] == "scratch=0.5"
    assert [row[f"along_{end}_mm"] for end in ("begin", "end")] == ["1.0", "2.0"]


NEW_FIELD = """
import dataclasses, json, sys, typing, pydantic
from linewatch.contracts import verdict

gloss = ("gloss", typing.Annotated[float, pydantic.Field(ge=0, description="of the steel")], 0.0)
verdict.Defect = dataclasses.make_dataclass("Defect", [gloss], bases=(verdict.Defect,), frozen=True, slots=True)

import csv, pathlib
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from benchmarks.coil_file import begins, closed, defect, frame, opened, write
from records import record_of
from stored_coils import messages_of, store_messages
from linewatch.history.database import reading, writing
from linewatch.history.listing import defects_json
from linewatch.history.queries import coils, defects
from linewatch.history.tables import METADATA
from linewatch.review.from_history import HistorySource
from linewatch.review.from_verdicts import read_coil
from linewatch.review.report.sheets import write_sheets
from linewatch.review.severities import ClassSeverities, RatedDefects
from linewatch.wire.json_schema import wire_schema

folder = pathlib.Path(sys.argv[1])
decisions = [begins(), frame(0, [opened(one := defect("a", 1.0, 2.0, gloss=0.5)), closed(one)])]
url = f"sqlite:///{folder / 'h.sqlite'}"
with writing(url) as engine:
    with engine.begin() as connection:
        missing = compare_metadata(MigrationContext.configure(connection), METADATA)
        connection.exec_driver_sql("ALTER TABLE defect ADD COLUMN gloss DOUBLE NOT NULL DEFAULT 0")
    store_messages(engine, messages_of(*decisions))
with reading(url) as connection:
    (row,) = defects(connection, [1])
    listed = json.loads(defects_json(coils(connection), 0, [row], 10))["defects"][0]["gloss"]
record = HistorySource(url, "C1").record()
write_sheets(record, RatedDefects.of(record.defects, ClassSeverities()), folder)
print(json.dumps({
    "asked of a migration": [(change[0], change[2], change[3].name) for change in missing],
    "values": [
        *(one.gloss for one in read_coil(write(folder / "v.jsonl", decisions)).defects),
        *(one.gloss for one in record.defects),
        listed,
        float(next(csv.DictReader((folder / "defects.csv").open()))["gloss"]),
    ],
    "schema": json.loads(wire_schema())["$defs"]["DefectMessage"]["properties"]["gloss"],
}))
"""


def test_a_new_field_needs_its_declaration_and_a_migration_only(tmp_path: Path) -> None:
    """As one line in the contract would: it is on the wire, in files, rows and tables, and the migration is missed."""
    ended = subprocess.run(
        [sys.executable, "-c", NEW_FIELD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"},
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["asked of a migration"] == [["add_column", "defect", "gloss"]]
    assert found["values"] == [0.5] * 4
    assert found["schema"] == {
        "default": 0.0,
        "description": "of the steel",
        "minimum": 0,
        "title": "Gloss",
        "type": "number",
    }
