"""What a flat field costs a frame: `python -m benchmarks.flat_field` prints milliseconds of the copy into the ring
without it, of the correction per column and per pixel, and of finding the strip's edges behind it.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.load import simulated_frames
from linewatch.capture.edges import find_edges
from linewatch.capture.flat_field import FlatFieldCorrection
from linewatch.config.calibration_part import Measured
from linewatch.config.capture import CaptureSettings
from linewatch.config.flat_field import FlatField, PackedLevels
from linewatch.config.line import LineSettings

ROUNDS = 1000
DEAD_COLUMNS = (200, 201, 800, 1400)


@dataclass(frozen=True)
class Step:
    """Milliseconds of CPU time a frame."""

    name: str
    p50_ms: float
    p99_ms: float


def flat_field(line: LineSettings, per: Literal["column", "pixel"]) -> FlatField:
    """Return a flat field of random gains from 1 to 2, with some dead columns."""
    rng = np.random.default_rng(3)
    shape = (1 if per == "column" else line.frame_lines, line.width_px)
    nothing = Measured(value=0, uncertainty=0)
    return FlatField(
        made=datetime.now(UTC),
        by="benchmark",
        source="random",
        width_px=line.width_px,
        per=per,
        target_level=200,
        shift=7,
        offset=PackedLevels.of(rng.integers(0, 6, shape, np.uint8)),
        gain=PackedLevels.of(rng.integers(128, 256, shape, np.uint8)),
        dead=tuple((0, column) for column in DEAD_COLUMNS),
        dark_level=nothing,
        bright_level=nothing,
        uneven_before=nothing,
        uneven_after=nothing,
    )


def measured(name: str, frames: list[np.ndarray], work: Callable[[np.ndarray], object]) -> Step:
    spent = []
    for number in range(ROUNDS):
        frame = frames[number % len(frames)]
        begun = time.thread_time_ns()
        work(frame)
        spent.append((time.thread_time_ns() - begun) / 1e6)
    p50, p99 = np.percentile(spent[20:], [50, 99])
    return Step(name, float(p50), float(p99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    line, settings = LineSettings(), CaptureSettings()
    frames, _ = simulated_frames(64, 1.0, line)
    out = np.empty((line.frame_lines, line.width_px), np.uint8)
    steps = [measured("copy, without a flat field", frames, lambda frame: np.copyto(out, frame))]
    for per in ("column", "pixel"):
        correction = FlatFieldCorrection(flat_field(line, per), line.frame_lines)
        steps.append(measured(f"flat field per {per}", frames, lambda frame: correction.apply(frame, out)))  # noqa: B023
    steps.append(measured("strip edges", frames, lambda frame: find_edges(frame, settings)))
    if arguments.json:
        print(json.dumps([asdict(step) for step in steps]))
        return
    table = Table(title=f"CPU time a frame of {line.frame_lines} x {line.width_px}, one thread")
    for column in ("step", "median, ms", "p99, ms"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step in steps:
        table.add_row(step.name, f"{step.p50_ms:.3f}", f"{step.p99_ms:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
