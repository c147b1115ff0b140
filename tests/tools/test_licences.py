"""No package under a copyleft licence is locked unless it is allowed here by name, and the table is up to date."""

import re

import pytest

from tools.licences import PAGE, page

COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EUPL|EPL|Eclipse|CDDL|OSL|SSPL|CC-BY-SA", re.IGNORECASE)
ALLOWED = {
    "certifi": "MPL-2.0; a list of authorities, imported by requests, not changed, only for traces",
    "hypothesis": "MPL-2.0; used by tests, not distributed",
    "paho-mqtt": "EPL-2.0 or BSD-3-Clause, as its user chooses",
    "pathspec": "MPL-2.0; used by mypy, not distributed",
    "asyncua": "LGPL-3.0; imported, not changed, only for the OPC UA server",
    "psycopg": "LGPL-3.0; imported, not changed, only for a history on PostgreSQL",
    "psycopg-binary": "LGPL-3.0; imported, not changed, only for a history on PostgreSQL",
    "pycairo": "LGPL-2.1; needed by PyGObject's installation, never imported",
    "pygobject": "LGPL-2.1; imported, not changed, only for GenICam cameras",
    "tqdm": "MPL-2.0 and MIT; imported by lightning, not changed",
}


def rows() -> list[list[str]]:
    """The package, version, licence and part of every row."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_copyleft_is_allowed_by_name_only() -> None:
    assert {name for name, _, licence, _ in rows() if COPYLEFT.search(licence)} == ALLOWED.keys()


def test_the_base_has_no_copyleft_and_no_unknown_licence() -> None:
    licences = {name: licence for name, _, licence, part in rows() if part == "base"}
    assert {"numpy", "onnxruntime", "pyzmq"} <= licences.keys()
    assert not {name for name, licence in licences.items() if COPYLEFT.search(licence) or licence == "UNKNOWN"}


@pytest.mark.slow
def test_the_table_is_up_to_date() -> None:
    assert page() == PAGE.read_text(), "run make licences"
