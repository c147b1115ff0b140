"""CSV tables for spreadsheets, in which no text can act as a formula."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

_BEGINS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def inert(cell: Any) -> Any:
    """Return a cell as it is written: a text that a spreadsheet would take for a formula gets an apostrophe before it.

    So does a text that reads like one with apostrophes before it, so that `original` can tell the two apart. Numbers
    stay numbers. See OWASP, "CSV Injection".
    """
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip("'").startswith(_BEGINS_FORMULA) else cell


def original(cell: str) -> str:
    """Return the text of a cell that `inert` made."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_BEGINS_FORMULA) else cell


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table with a line of headings (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([inert(name) for name in columns])
    writer.writerows([inert(cell) for cell in row] for row in rows)
    return text.getvalue()


def csv_rows(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that `csv_text` made, by heading."""
    for row in csv.DictReader(io.StringIO(text, newline="")):
        yield {original(name): original(cell) for name, cell in row.items()}
