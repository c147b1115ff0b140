"""What a coil's report costs: `python -m benchmarks.report` writes verdict files of made-up coils through the service's
own writer, and prints seconds to read one, to make the page and the tables, and how large they are.
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

from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import (
    CoilNotice,
    CoilState,
    CoverageSpan,
    Decided,
    Defect,
    DefectEvent,
    DefectState,
    Extent,
    Quality,
    RunMask,
    StripBox,
    Verdict,
)
from linewatch.history.coil import ClassSeverities
from linewatch.history.report.pdf import find_browser
from linewatch.history.report.write import ReportFiles, write_report
from linewatch.history.verdicts import read_coil
from linewatch.wire.verdict_file import VerdictFile

COIL = ("BENCH-1", "top", "cam1")
FRAME_LINES = 256
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
    read: "Spent"
    html: "Spent"
    csv: "Spent"
    pdf: "Spent | None"  # of which the page; None: no browser
    html_mb: float
    csv_mb: float
    peak_mb: float


def decisions(length_m: float, defects: int, classes: tuple[str, ...], seed: int = 1) -> Iterator[Decided]:
    """A coil whose defects lie everywhere, more of them near the edges; each is seen in one frame, closed in the next;
    one frame in fifty is missed."""
    rng = np.random.default_rng(seed)
    frames = round(length_m * 1000 / FRAME_LINES)
    seen = np.flatnonzero(np.arange(frames) % 50 != 49)
    per_frame = np.bincount(rng.choice(seen, defects), minlength=frames)
    yield _notice(CoilState.STARTED, 0.0, ())
    open_before: tuple[Defect, ...] = ()
    for ordinal in track(range(frames), "writing", transient=True):
        first = ordinal * FRAME_LINES
        found = tuple(_defect(rng, first, number, classes) for number in range(per_frame[ordinal]))
        closed = [DefectEvent(DefectState.CLOSED, defect, None) for defect in open_before]
        opened = [DefectEvent(DefectState.OPENED, defect, _mask(defect, first)) for defect in found]
        missed = ordinal % 50 == 49
        yield _verdict(ordinal, (*closed, *opened), missed)
        open_before = found
    last = tuple(DefectEvent(DefectState.CLOSED, defect, None) for defect in open_before)
    yield _notice(CoilState.ENDED, frames * float(FRAME_LINES), last)


def _defect(rng: np.random.Generator, first: int, number: int, classes: tuple[str, ...]) -> Defect:
    length, width = (float(side) for side in np.minimum(rng.lognormal(2.0, 0.8, 2), 120.0) + 2)
    across = WIDTH_MM * float(rng.beta(0.6, 0.6) if rng.random() < 0.5 else rng.random())
    across = min(across, WIDTH_MM - width)
    along = first + float(rng.random()) * (FRAME_LINES - length)
    scores = rng.random(3)
    name = classes[int(rng.integers(len(classes)))]
    return Defect(
        f"{'/'.join(COIL)}/{first}.{number}",
        *COIL,
        name,
        confidence=float(scores[0]),
        peak=0.99,
        box=StripBox((across, across + width), (along, along + length)),
        area_mm2=0.7 * length * width,
        edge_mm=min(across, WIDTH_MM - across - width),
        extent=Extent.MASK,
        frames=1,
        class_scores=tuple(zip(classes[:3], scores.tolist(), strict=True)),
        length_mm=max(length, width),
        width_mm=min(length, width),
        orientation_deg=12.0,
        contrast=-0.2,
    )


def _mask(defect: Defect, first: int) -> RunMask:
    (left, right), (begin, end) = defect.box.across_mm, defect.box.along_mm
    lines = np.arange(int(begin), max(int(begin) + 1, int(end))) - first
    runs = np.stack([lines, np.full_like(lines, int(2 * left)), np.full_like(lines, int(2 * right) + 1)], axis=1)
    return RunMask(first, runs.astype(np.int32))


def _verdict(ordinal: int, events: tuple[DefectEvent, ...], missed: bool) -> Verdict:
    first = ordinal * FRAME_LINES
    along = (float(first), float(first + FRAME_LINES))
    quality, cause = (Quality.MISSED, Cause.LOST) if missed else (Quality.INSPECTED, None)
    return Verdict(
        ordinal=ordinal,
        sequence=ordinal,
        coil=COIL[0],
        side=COIL[1],
        camera=COIL[2],
        first_line=first,
        lines=FRAME_LINES,
        valid_lines=0 if missed else FRAME_LINES,
        along_mm=along,
        encoded=True,
        strip_mm=None if missed else (0.0, WIDTH_MM),
        spans=(CoverageSpan(first, FRAME_LINES, along, quality, cause),),
        tiles=7,
        tiles_passed=min(7, len(events)),
        screen_peak=0.5,
        defects=events,
        alarms=(),
        engines=("screen@1", "classify@2", "segment@3"),
        timing=Timing(),
    )


def _notice(state: CoilState, along_mm: float, events: tuple[DefectEvent, ...]) -> CoilNotice:
    return CoilNotice(state, *COIL, along_mm, along_mm, 0.0, 0.0, {}, {}, events, (), Timing())


def cost(length_m: float, defects: int, folder: Path) -> Cost:
    taxonomy = Taxonomy.read(TAXONOMY)
    verdicts, html, csv, pdf = (folder / name for name in ("verdicts.jsonl", "coil.html", "csv", "coil.pdf"))
    with VerdictFile(verdicts) as file:
        for decided in decisions(length_m, defects, taxonomy.trained_classes):
            file.write(decided)
    record, read = _timed(lambda: read_coil(verdicts, ClassSeverities.read(TAXONOMY)))
    assert len(record.defects) == defects
    _, html_spent = _timed(lambda: write_report(record, ReportFiles(html=html)))
    _, csv_spent = _timed(lambda: write_report(record, ReportFiles(csv=csv)))
    pdf_spent = _timed(lambda: write_report(record, ReportFiles(pdf=pdf)))[1] if find_browser() else None
    return Cost(
        length_m,
        defects,
        _mb(verdicts),
        read,
        html_spent,
        csv_spent,
        pdf_spent,
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
        *("m", "defects", "verdicts MB", "read", "page", "tables", "page, PDF", "page MB", "tables MB", "peak MB"),
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
    Console(width=130).print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"python": platform.python_version(), "costs": [asdict(one) for one in costs]}
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
