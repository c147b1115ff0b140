"""What commands of all rooms share: the `--json` option, tables, progress bars, and the remedy for a missing extra."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.contracts.coil import checked_coil_name
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilGrade, GradeReason

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.")]

_FILE_COLUMNS = 160
"""Width of a table that is written to a file or a pipe."""


def plain_console(width: int | None = None) -> "Console":
    """Return a console that prints every text as it is: a coil may be named `[red]` or `:ok:`."""
    from rich.console import Console

    return Console(width=width, markup=False, emoji=False)


def wide_console() -> "Console":
    """Return a console for tables with many columns: as wide as the terminal, or wide enough for a file."""
    return plain_console(None if sys.stdout.isatty() else _FILE_COLUMNS)


def print_pairs(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a table of names and values without a header."""
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left", box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    plain_console().print(table)


def percent(share: float) -> str:
    """Return a share rounded down, so that only the whole reads 100.00%."""
    return f"{math.floor(share * 10_000 + 1e-6) / 100:.2f}%"


def grade_rows(grade: CoilGrade | None) -> list[tuple[str, str]]:
    """Return the grade and, below it, its reasons; no rows where a coil is not graded."""
    if grade is None:
        return []
    reasons = [f"{reason.grade}, {reason.rule}: {reason.text}{_worst_defect(reason)}" for reason in grade.reasons]
    return [(f"grade by {grade.rules}", grade.text), *(("", reason) for reason in reasons)]


def coil_named(text: str) -> str:
    """Return the coil's name that a user gave, in the form in which coils are stored. Raises ConfigError."""
    try:
        return checked_coil_name(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn the import error of a package of the extra `name` into a ConfigError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("linewatch"):
            raise
        raise ConfigError(f"needs {error.name}, which is not installed; pip install 'linewatch[{name}]'") from error


@contextmanager
def progress_bar(about: str, total: int | None, *columns: "ProgressColumn") -> Iterator[Callable[[int, str], None]]:
    """Show a bar on stderr if that is a terminal, else nothing; yield a function of (steps done, a note)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    bar = Progress(
        TextColumn(f"{about:<10}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        *columns,
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(about, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def _worst_defect(reason: GradeReason) -> str:
    ids = reason.defect_ids
    return f" (worst: {ids[0]}{', ...' if len(ids) > 1 else ''})" if ids else ""
