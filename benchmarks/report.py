"""What a coil's report costs: `python -m benchmarks.report` writes verdict files of made-up coils through the service's
own writer, stores the same decisions in a history through its recorder, and prints seconds to read a coil from either,
to make the page and the tables, how large they are, and what the command takes as a user waits for it.
"""

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.coil_file import LINES, begins, closed, defect, ends, frame, opened, write
from benchmarks.history import command_s, messages, store
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.contracts.verdict import Decided, Defect, Quality, StripBox
from linewatch.review.coil_sources import VerdictFileSource
from linewatch.review.from_history import HistorySource
from linewatch.review.report.pdf import find_browser
from linewatch.review.report.write import ReportFiles, listed_masks, write_report
from linewatch.review.severities import ClassSeverities

WIDTH_MM = 800.0
T = TypeVar("T")
SIZES = ((100.0, 1_000), (2_000.0, 20_000), (2_000.0, 200_000))


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and of this process's own work: on a shared machine the first says little."""

    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} ({self.cpu_s:.2f})"


@dataclass(frozen=True)
class Cost:
    """Of one coil's report."""

    length_m: float
    defects: int
    verdicts_mb: float
    read_file: "Spent"
    read_history: "Spent"
    html: "Spent"
    csv: "Spent"
    pdf: "Spent | None"  # of which the page; None: no browser
    command_s: float  # on the clock: `linewatch report COIL --html`, of the history, from its start to its end
    html_mb: float
    csv_mb: float
    peak_mb: float


def decisions(length_m: float, defects: int, classes: tuple[str, ...], seed: int = 1) -> Iterator[Decided]:
    """A coil whose defects lie everywhere, more of them near the edges; each is seen in one frame, closed in the next;
    one frame in fifty is missed."""
    rng = np.random.default_rng(seed)
    frames = round(length_m * 1000 / LINES)
    seen = np.flatnonzero(np.arange(frames) % 50 != 49)
    per_frame = np.bincount(rng.choice(seen, defects), minlength=frames)
    yield begins()
    open_before: tuple[Defect, ...] = ()
    for ordinal in track(range(frames), "deciding", transient=True):
        found = tuple(_defect(rng, ordinal * LINES, number, classes) for number in range(per_frame[ordinal]))
        quality = Quality.MISSED if ordinal % 50 == 49 else Quality.INSPECTED
        yield frame(ordinal, (*map(closed, open_before), *map(opened, found)), quality=quality)
        open_before = found
    yield ends(frames * float(LINES), tuple(map(closed, open_before)))


def _defect(rng: np.random.Generator, first: int, number: int, classes: tuple[str, ...]) -> Defect:
    length, width = (float(side) for side in np.minimum(rng.lognormal(2.0, 0.8, 2), 120.0) + 2)
    across = WIDTH_MM * float(rng.beta(0.6, 0.6) if rng.random() < 0.5 else rng.random())
    across = min(across, WIDTH_MM - width)
    along = first + float(rng.random()) * (LINES - length - 1)
    scores = rng.random(3)
    return defect(
        f"C1/top/cam1/{first}.{number}",
        *(along, across),
        defect_class=classes[int(rng.integers(len(classes)))],
        confidence=float(scores[0]),
        box=StripBox((across, across + width), (along, along + length)),
        area_mm2=0.7 * length * width,
        edge_mm=min(across, WIDTH_MM - across - width),
        class_scores=tuple(zip(classes[:3], scores.tolist(), strict=True)),
        length_mm=max(length, width),
        width_mm=min(length, width),
        orientation_deg=12.0,
        contrast=-0.2,
    )


def cost(length_m: float, defects: int, folder: Path) -> Cost:
    taxonomy = Taxonomy.read(TAXONOMY)
    names = ("verdicts.jsonl", "history.sqlite", "coil.html", "csv", "coil.pdf")
    verdicts, history, html, csv, pdf = (folder / name for name in names)
    url = f"sqlite:///{history}"
    write(verdicts, decisions(length_m, defects, taxonomy.trained_classes))
    store(url, messages(decisions(length_m, defects, taxonomy.trained_classes)), "report")
    severities = ClassSeverities.read(TAXONOMY)
    masked = listed_masks(severities)
    _, read_file = _timed(lambda: VerdictFileSource(verdicts).record(masked))
    record, read_history = _timed(lambda: HistorySource(url, "C1").record(masked))
    assert len(record.defects) == defects
    _, html_spent = _timed(lambda: write_report(record, severities, ReportFiles(html=html)))
    _, csv_spent = _timed(lambda: write_report(record, severities, ReportFiles(csv=csv)))
    pdf_spent = _timed(lambda: write_report(record, severities, ReportFiles(pdf=pdf)))[1] if find_browser() else None
    return Cost(
        length_m,
        defects,
        _mb(verdicts),
        read_file,
        read_history,
        html_spent,
        csv_spent,
        pdf_spent,
        command_s(url, "C1", html),
        _mb(html),
        sum(_mb(path) for path in csv.iterdir()),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    )


def _timed(work: Callable[[], T]) -> tuple[T, Spent]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _mb(path: Path) -> float:
    return path.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench-report.json"))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the largest coil's files here")
    options = parser.parse_args()
    table = Table(
        *("m", "defects", "verdicts MB", "read file", "read history", "page", "tables", "page, PDF", "command"),
        *("page MB", "tables MB", "peak MB"),
        title="Report of a coil: seconds (of them this process's own)",
    )
    costs = []
    for length_m, defects in SIZES:
        with TemporaryDirectory() as folder:
            keep = options.keep if options.keep and (length_m, defects) == SIZES[-1] else Path(folder)
            keep.mkdir(parents=True, exist_ok=True)
            costs.append(cost(length_m, defects, keep))
        row = (getattr(costs[-1], field.name) for field in fields(Cost))
        table.add_row(*(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row))
    Console(width=150).print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"python": platform.python_version(), "costs": [asdict(one) for one in costs]}
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
