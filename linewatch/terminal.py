"""What the commands of all rooms share: the `--json` option, tables for people, and the remedy for a missing extra."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilGrade, GradeReason

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.")]

_FILE_COLUMNS = 160
"""Width of a table that is written to a file or a pipe."""


def wide_console() -> "Console":
    """Return a console for tables with many columns: as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)


def print_pairs(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a table of names and values without a header."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, show_header=False, title_justify="left", box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name), Text(value))  # not markup: `[inference]` is a word
    Console().print(table)


def grade_rows(grade: CoilGrade | None) -> list[tuple[str, str]]:
    """Return the grade and, below it, its reasons; no rows where a coil is not graded."""
    if grade is None:
        return []
    reasons = [f"{reason.grade}, {reason.rule}: {reason.text}{_worst_defect(reason)}" for reason in grade.reasons]
    return [(f"grade by {grade.rules}", grade.text), *(("", reason) for reason in reasons)]


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn the import error of a package of the extra `name` into a ConfigError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("linewatch"):
            raise
        raise ConfigError(f"needs {error.name}, which is not installed; pip install 'linewatch[{name}]'") from error


def _worst_defect(reason: GradeReason) -> str:
    ids = reason.defect_ids
    return f" (worst: {ids[0]}{', ...' if len(ids) > 1 else ''})" if ids else ""
