"""What the decision stage costs: `python -m benchmarks.decision` prints milliseconds a frame by defects in it, and
whether its memory stays flat over 100 km of strip (`--km`), with a scratch that never ends among other defects.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Frame, StripEdges
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Verdict
from linewatch.decision.decide import DecisionState, decide
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.geometry.stitch import cut

LINE = LineSettings()
TILE_PX, OVERLAP_PX = 256, 16
CLASSES = ("scratches", "inclusion", "patches", "pitted_surface")
RULES = DecisionRules(
    defect_threshold_u8=128,
    class_thresholds=dict.fromkeys(CLASSES, 0.5),
    min_area_mm2=4.0,
    merge_gap_mm=2.0,
    outlined_classes=frozenset(CLASSES),
    part_mm=100_000.0,
)
DEFECTS = (0, 1, 10, 100)
FRAMES = 200
VARIANTS = 16  # frames that differ


@dataclass(frozen=True)
class Cost:
    """Of one frame in the decision stage."""

    defects_per_frame: int
    found_per_frame: float  # after merging what is near
    p50_ms: float
    p99_ms: float


def prediction_of(defects: int, seed: int, *, scratch: bool = False) -> Prediction:
    """A frame with so many small defects at random places; with `scratch` also one from its first line to its last."""
    rng = np.random.default_rng(seed)
    lines, width = LINE.frame_lines, LINE.width_px
    probability = np.zeros((lines, width), np.uint8)
    for _ in range(defects):
        x, y = int(rng.integers(8, width - 8)), int(rng.integers(8, lines - 8))
        cv2.ellipse(probability, (x, y), (int(rng.integers(2, 6)), 2), float(rng.integers(180)), 0, 360, 220, -1)
    if scratch:
        probability[:, 700:703] = 200
    pixels = rng.integers(90, 150, (lines, width), dtype=np.uint8)
    edges = StripEdges(0, width, False, False)
    tiles = tiles_on(tile_grid(lines, width, TILE_PX, TILE_PX, OVERLAP_PX), edges)
    parts = [cut(probability, tile) for tile in tiles]
    passed = np.array([bool(part.any()) for part in parts])
    return Prediction(
        frame=_frame(pixels),
        edges=edges,
        tiles=tiles,
        screen_scores=passed.astype(np.float32),
        passed=passed,
        class_scores=rng.random((int(passed.sum()), len(CLASSES))).astype(np.float32),
        probability=np.stack([part for part, one in zip(parts, passed, strict=True) if one])
        if passed.any()
        else np.zeros((0, TILE_PX, TILE_PX), np.uint8),
        classes=CLASSES,
        engines=("screen", "classify", "segment"),
    )


def _frame(pixels: np.ndarray) -> Frame:
    return Frame(
        pixels=pixels,
        slot=None,
        ordinal=0,
        coil="BENCH",
        side=LINE.side,
        camera=LINE.camera,
        sequence=0,
        first_line=0,
        lines=LINE.frame_lines,
        valid_lines=LINE.frame_lines,
        encoder_count=0,
        along_mm=0.0,
        mm_per_line=LINE.mm_per_line,
        mm_per_px=LINE.mm_per_px,
        captured_ns=0,
    )


def at(prediction: Prediction, number: int) -> Prediction:
    """The same frame as number `number` of the coil."""
    first_line = number * LINE.frame_lines
    frame = replace(
        prediction.frame,
        ordinal=number,
        sequence=number,
        first_line=first_line,
        encoder_count=first_line,
        along_mm=first_line * LINE.mm_per_line,
    )
    return replace(prediction, frame=frame)


def cost(defects: int) -> Cost:
    variants = [prediction_of(defects, seed) for seed in range(VARIANTS)]
    state, spent_ms, found = DecisionState.initial(), [], 0
    for number in range(FRAMES):
        prediction = at(variants[number % VARIANTS], number)
        started = time.perf_counter()
        state, decided = decide(state, prediction, RULES)
        spent_ms.append(1e3 * (time.perf_counter() - started))
        found += sum(event.mask is not None for item in decided if isinstance(item, Verdict) for event in item.defects)
    p50, p99 = np.percentile(spent_ms[10:], [50, 99])
    return Cost(defects, found / FRAMES, float(p50), float(p99))


def resident_mb(km: float) -> list[float]:
    """Resident memory at each tenth of the way, of frames with a defect in every twentieth and one endless scratch."""
    frames = round(km * 1e6 / (LINE.frame_lines * LINE.mm_per_line))
    clean, marked = prediction_of(0, 0, scratch=True), prediction_of(3, 1, scratch=True)
    state, found = DecisionState.initial(), []
    for number in track(range(frames), f"{km:g} km", transient=True):
        state, _ = decide(state, at(marked if number % 20 == 0 else clean, number), RULES)
        if (number + 1) % max(1, frames // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--km", type=float, default=100.0)
    parser.add_argument("--out", type=Path, default=Path("out/bench-decision.json"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(width=120)
    costs = [cost(defects) for defects in DEFECTS]
    table = Table("defects a frame", "found", "p50 ms", "p99 ms", title="Decision of a frame of 256 x 1600")
    for one in costs:
        figures = (f"{value:.2f}" for value in (one.found_per_frame, one.p50_ms, one.p99_ms))
        table.add_row(str(one.defects_per_frame), *figures)
    console.print(table)
    resident = resident_mb(options.km)
    console.print(f"{options.km:g} km, MB at each tenth: {', '.join(f'{mb:.1f}' for mb in resident)}")
    report = {"python": platform.python_version(), "costs": [asdict(one) for one in costs], "resident_mb": resident}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
