"""Shows the progress of a build on a terminal: a bar per phase, nested as in TensorRT."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from linewatch.inference.backends.tensorrt.build import BuildWatch


@contextmanager
def build_progress() -> Iterator[BuildWatch]:
    """Show bars on stderr where it is a terminal, nothing otherwise."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description:<45}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        yield _Phases(bars)


class _Phases:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._running: dict[str, tuple[TaskID, int]] = {}  # phase -> its line and depth

    def phase_started(self, phase: str, parent: str | None, steps: int) -> None:
        depth = self._running[parent][1] + 1 if parent in self._running else 0
        self._running[phase] = self._bars.add_task("  " * depth + phase, total=steps), depth

    def step_done(self, phase: str, step: int) -> None:
        if phase in self._running:
            self._bars.update(self._running[phase][0], completed=step + 1)

    def phase_ended(self, phase: str) -> None:
        if phase in self._running:
            self._bars.remove_task(self._running.pop(phase)[0])
