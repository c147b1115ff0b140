"""A progress bar on the terminal: one line that is redrawn."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from linewatch.daemon.totals import Totals
from linewatch.terminal import percent


@contextmanager
def progress_bar(about: str, total: int | None, *columns: ProgressColumn) -> Iterator[Callable[[int, str], None]]:
    """Show a bar on stderr if that is a terminal, else nothing; yield a function of (steps done, a note)."""
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


class ProgressNote:
    """ "12.3 m  coverage 100.00 %  41 defects  78 frames/s" of a running service."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._before = (time.monotonic(), 0)

    def __call__(self) -> str:
        totals, now_s = self._totals, time.monotonic()
        since_s, frames = self._before
        rate = (totals.frames - frames) / max(1e-6, now_s - since_s)
        if now_s - since_s > 1:
            self._before = (now_s, totals.frames)
        return (
            f"{totals.along_mm / 1000:8.1f} m  coverage {percent(totals.coverage):>7}  "
            f"{totals.opened} defects  {totals.alarms_raised} alarms  {rate:5.1f} frames/s"
        )
