"""No text in a table acts as a formula, and each is read back as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.spreadsheet import csv_rows, csv_text, inert, original

FORMULAS = ["=1+1", "+1", "-5", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x","y")', "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_that_begins_like_a_formula_becomes_text(text):
    written = csv_text(["coil", text], [[text, -5.0]])
    heads, cells = csv.reader(io.StringIO(written, newline=""))
    assert (heads[1], cells[0]) == (f"'{text}", f"'{text}")
    assert cells[1] == "-5.0"  # a number is none
    assert list(csv_rows(written)) == [{"coil": text, text: "-5.0"}]


@given(st.text())
def test_every_text_is_read_back(text):
    assert original(inert(text)) == text


@pytest.mark.parametrize("text", ["'=x", "''=x", "'", "'x", "x'=", ""])
def test_apostrophes_are_kept(text):
    assert list(csv_rows(csv_text(["who"], [[text], ["end"]]))) == [{"who": text}, {"who": "end"}]
