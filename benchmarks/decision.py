"""What the decision stage costs: `python -m benchmarks.decision` prints CPU milliseconds a frame by defects in it, and
whether its memory stays flat over 100 km of strip (`--km`): a scratch that never ends, a roll mark and random defects.
The stage is one thread that waits for nothing: by CPU time, others on the machine count less than by the clock.

Decided by the rules of `configs/simulator.toml` (alarms, grading) with two rolls and the shipped engines' thresholds:
all that the service does between a prediction and its verdict. Of the frames that are timed no two are alike, or equal
defects would stand in rows that no strip has.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from linewatch.config.decision import AlarmRule
from linewatch.config.grading_file import DEFAULT
from linewatch.config.roll import RollSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Frame, StripEdges
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Verdict
from linewatch.daemon.recipes import RuleFiles, rules_of
from linewatch.decision.decide import DecisionState, decide
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.geometry.stitch import cut
from linewatch.inference.engines import load_engines
from linewatch.service_settings import load_settings

CONFIG = Path("configs/simulator.toml")
ROLLS = tuple(
    RollSettings(
        name=stand,
        stand=stand,
        diameter_min_mm=600,
        diameter_max_mm=680,
        forward_slip=0.04,
        h_stand_mm=h_mm,
        h_exit_mm=2.5,
    )
    for stand, h_mm in (("F6", 3.3), ("F7", 2.5))
)
DEFECTS = (0, 1, 10, 100)
FRAMES, SETTLED = 400, 100  # the first ones fill what the state remembers, and do not count
VARIANTS = 64  # of the frames with defects that the long strip is made of
MARK_EVERY = 8  # frames: the pitch of its roll mark


@dataclass(frozen=True)
class DecisionCost:
    """Of one frame in the decision stage."""

    defects_per_frame: int
    found_per_frame: float  # after merging what is near
    p50_ms: float
    p99_ms: float


class Strip:
    """Frames of the configured line as inference would give them, and the rules that decide them."""

    def __init__(self, config: Path) -> None:
        settings = load_settings(config)
        taxonomy = Taxonomy.read(settings.taxonomy) if settings.taxonomy else None
        engines = load_engines(settings.inference)
        roll_mark = AlarmRule(name="roll-mark", roll_mark=True, min_count=4)
        settings = settings.model_copy(update={"roll": ROLLS, "alarm": (*settings.alarm, roll_mark)})
        self.line = settings.line
        files = RuleFiles.read(settings, taxonomy)
        self.rules: DecisionRules = rules_of(files, engines, taxonomy, grading=files.gradings.get(DEFAULT))
        self._classify = engines.classify.manifest

    def prediction(self, defects: int, seed: int, *, scratch: bool = False, mark: bool = False) -> Prediction:
        """A frame with so many small defects at random places; with `scratch` one from its first line to its last,
        with `mark` one in its middle, beside these.
        """
        rng = np.random.default_rng(seed)
        lines, width = self.line.frame_lines, self.line.width_px
        probability = np.zeros((lines, width), np.uint8)
        for _ in range(defects):
            x, y = int(rng.integers(8, width - 8)), int(rng.integers(8, lines - 8))
            cv2.ellipse(probability, (x, y), (int(rng.integers(2, 6)), 2), float(rng.integers(180)), 0, 360, 220, -1)
        if scratch:
            probability[:, 700:703] = 200
        if mark:
            cv2.ellipse(probability, (width // 4, lines // 2), (9, 7), 0, 0, 360, 220, -1)
        edges = StripEdges(0, width, False, False)
        classify = self._classify
        tiles = tiles_on(tile_grid(lines, width, classify.input.lines, classify.input.width, 16), edges)
        parts = [cut(probability, tile) for tile in tiles]
        passed = np.array([bool(part.any()) for part in parts])
        return Prediction(
            frame=self._frame(rng.integers(90, 150, (lines, width), dtype=np.uint8)),
            edges=edges,
            tiles=tiles,
            screen_scores=passed.astype(np.float32),
            passed=passed,
            class_scores=rng.random((int(passed.sum()), len(classify.classes))).astype(np.float32),
            probability=np.stack([part for part, one in zip(parts, passed, strict=True) if one])
            if passed.any()
            else np.zeros((0, classify.input.lines, classify.input.width), np.uint8),
            classes=tuple(classify.classes),
            engines=("screen", "classify", "segment"),
            scored_px=lines * width,
        )

    def _frame(self, pixels: np.ndarray) -> Frame:
        return Frame(
            pixels=pixels,
            slot=None,
            ordinal=0,
            coil="BENCH",
            side=self.line.side,
            camera=self.line.camera,
            sequence=0,
            first_line=0,
            lines=self.line.frame_lines,
            valid_lines=self.line.frame_lines,
            encoder_count=0,
            along_mm=0.0,
            mm_per_line=self.line.mm_per_line,
            columns=self.line.across,
            captured_ns=0,
        )

    def at(self, prediction: Prediction, number: int) -> Prediction:
        """The same frame as number `number` of the coil."""
        first_line = number * self.line.frame_lines
        frame = replace(
            prediction.frame,
            ordinal=number,
            sequence=number,
            first_line=first_line,
            encoder_count=first_line,
            along_mm=first_line * self.line.mm_per_line,
        )
        return replace(prediction, frame=frame)

    def cost(self, defects: int) -> DecisionCost:
        state, spent_ms, found = DecisionState.initial(), [], 0
        for number in range(FRAMES):
            prediction = self.at(self.prediction(defects, number), number)
            started = time.thread_time()
            state, decided = decide(state, prediction, self.rules)
            spent_ms.append(1e3 * (time.thread_time() - started))
            found += sum(
                event.mask is not None for item in decided if isinstance(item, Verdict) for event in item.defects
            )
        p50, p99 = np.percentile(spent_ms[SETTLED:], [50, 99])
        return DecisionCost(defects, found / FRAMES, float(p50), float(p99))

    def resident_mb(self, km: float) -> list[float]:
        """Resident memory at the start of one coil and at each tenth of its length."""
        frames = round(km * 1e6 / (self.line.frame_lines * self.line.mm_per_line))
        clean = self.prediction(0, 0, scratch=True)
        marked = [self.prediction(2, 1 + seed, scratch=True, mark=True) for seed in range(VARIANTS)]
        order = np.random.default_rng(0)
        state, found = DecisionState.initial(), [_resident_mb()]
        for number in track(range(frames), f"{km:g} km", transient=True):
            prediction = clean if number % MARK_EVERY else marked[int(order.integers(VARIANTS))]
            state, _ = decide(state, self.at(prediction, number), self.rules)
            if (number + 1) % max(1, frames // 10) == 0:
                found.append(_resident_mb())
        return found


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _shown(costs: Iterable[DecisionCost]) -> Table:
    table = Table("defects a frame", "found", "p50 ms", "p99 ms", title="CPU time of the decision of a frame")
    for one in costs:
        figures = (f"{value:.2f}" for value in (one.found_per_frame, one.p50_ms, one.p99_ms))
        table.add_row(str(one.defects_per_frame), *figures)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--km", type=float, default=100.0, help="of strip over which memory is looked at; 0: not")
    parser.add_argument("--out", type=Path, default=Path("out/bench-decision.json"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(width=120)
    strip = Strip(CONFIG)
    costs = [strip.cost(defects) for defects in DEFECTS]
    console.print(_shown(costs))
    resident = strip.resident_mb(options.km) if options.km else []
    console.print(f"{options.km:g} km, MB at the start and each tenth: {', '.join(f'{mb:.1f}' for mb in resident)}")
    report = {"python": platform.python_version(), "costs": [asdict(one) for one in costs], "resident_mb": resident}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
