"""What a frame costs from its pixels to its prediction, with the cascade and with one engine that inspects the whole
frame: `python -m benchmarks.chains` prints CPU milliseconds a frame in the engines, and around them (cutting tiles,
checking answers, comparing with thresholds, drawing outlines). One thread does it all, and its CPU time is counted, so
that others on the machine count little.

Both look at the same rendered strip, and `--passed` of its tiles pass: thresholds are set so, whatever the engines'.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bare import frame_of
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Frame, StripEdges
from linewatch.contracts.manifest import DEFECT_LEVELS, EngineManifest, Task
from linewatch.contracts.ports import Backend, Executor
from linewatch.contracts.prediction import Prediction
from linewatch.geometry.stitch import cells_on_strip
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings
from linewatch.simulation.strip import SimulatedStrip

FRAMES, SETTLED = 96, 8  # the first ones are not counted
DEFECTS_PER_M = 1.0


@dataclass(frozen=True)
class ChainCost:
    """CPU time of a frame, in milliseconds, mean over the frames. engines: identities."""

    chain: str
    engines: tuple[str, ...]
    passed_share: float
    engines_ms: float
    around_ms: float
    around_p90_ms: float


@dataclass
class TimedBackend:
    """A backend whose executors add up the CPU time that they spend on the calling thread."""

    backend: Backend
    spent_ns: int = 0
    name: str = "timed"

    def identity(self, manifest: EngineManifest) -> str:
        return self.backend.identity(manifest)

    def open(
        self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int
    ) -> tuple["TimedExecutor", ...]:
        opened = self.backend.open(manifest, model, ladder, workers)
        return tuple(TimedExecutor(one, self) for one in opened)


@dataclass
class TimedExecutor:
    executor: Executor
    spends: TimedBackend = field(repr=False)

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        before_ns = time.thread_time_ns()
        answer = self.executor.run(pixels, rows, out)
        self.spends.spent_ns += time.thread_time_ns() - before_ns
        return answer

    def close(self) -> None:
        self.executor.close()


def frames_of(line: LineSettings, count: int) -> list[Frame]:
    """Return frames of rendered strip."""
    strip = SimulatedStrip(7, count * line.frame_lines * line.mm_per_line / 1000, DEFECTS_PER_M, line)
    return [
        frame_of(line, strip.lines(number * line.frame_lines, line.frame_lines), number, slot=0)
        for number in range(count)
    ]


def predict(cascade: Cascade, pool: EnginePool, frame: Frame) -> Prediction:
    """Inspect one frame on the calling thread."""
    assert frame.pixels is not None
    batches = [*cascade.feed(frame, StripEdges(0, frame.pixels.shape[1], False, False), 0)]
    while batches:
        batches += cascade.done(pool.run(0, batches.pop()), 0)
        batches += cascade.flush()
    (prediction,) = cascade.take_ready()
    return prediction


def passing(
    engines: EngineSet, settings: InferenceSettings, line: LineSettings, frames: Sequence[Frame], share: float
) -> tuple[EngineSet, InferenceSettings]:
    """Return engines and settings with which this share of the frames' tiles passes."""
    scores: list[float] = []
    with EnginePool(engines, open_backend(settings.backend, settings), settings.ladder, 1) as pool:
        cascade = Cascade(engines, settings, line)
        for frame in frames:
            prediction = predict(cascade, pool, frame)
            if prediction.maps is None:
                scores += prediction.screen_scores.tolist()
                continue
            assert prediction.edges is not None
            cell_px = cascade.lineup.cell_px
            windows = (cells_on_strip(tile, cell_px, prediction.edges) for tile in prediction.tiles)
            scores += [float(prediction.maps[1][window].max()) for window in windows if window is not None]
    level = float(np.quantile(scores, 1 - share))
    if engines.inspect is None:
        return engines, settings.model_copy(update={"screen_threshold": level})
    thresholds = {"defect": level / DEFECT_LEVELS[-1]}
    manifest = engines.inspect.manifest.model_copy(update={"thresholds": thresholds})
    return EngineSet(inspect=replace(engines.inspect, manifest=manifest)), settings


def measure(settings: InferenceSettings, line: LineSettings, share: float, count: int) -> ChainCost:
    """Inspect frames one by one, and return what they cost."""
    frames = frames_of(line, count)
    backend = open_backend(settings.backend, settings)
    engines = load_engines(settings, backend.siblings)
    engines, settings = passing(engines, settings, line, frames, share)
    timed = TimedBackend(backend)
    in_engines, around, passed = [], [], []
    with EnginePool(engines, timed, settings.ladder, 1) as pool:  # type: ignore[arg-type]
        cascade = Cascade(engines, settings, line)
        for frame in frames:
            timed.spent_ns, began_ns = 0, time.thread_time_ns()
            prediction = predict(cascade, pool, frame)
            all_ns = time.thread_time_ns() - began_ns
            in_engines.append(timed.spent_ns / 1e6)
            around.append((all_ns - timed.spent_ns) / 1e6)
            passed.append(float(prediction.passed.mean()))
        identities = tuple(pool.identity(Task(task)) for task in engines.by_task())
    return ChainCost(
        chain=settings.chain,
        engines=identities,
        passed_share=float(np.mean(passed[SETTLED:])),
        engines_ms=float(np.mean(in_engines[SETTLED:])),
        around_ms=float(np.mean(around[SETTLED:])),
        around_p90_ms=float(np.quantile(around[SETTLED:], 0.9)),
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=Path, default=Path("engines"))
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", choices=["int8", "fp32"], default="int8")
    parser.add_argument("--passed", type=float, default=0.05, help="share of tiles that pass")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # as in the service
    settings = InferenceSettings(
        engines_dir=options.engines, backend=options.backend, precision=options.precision, ladder=(1,)
    )
    costs = [
        measure(settings.model_copy(update={"chain": chain}), LineSettings(), options.passed, options.frames)
        for chain in ("cascade", "inspect")
    ]
    table = Table(title="CPU a frame, ms (mean)", title_justify="left")
    for column in ("chain", "tiles passed", "engines", "around them", "around, p90"):
        table.add_column(column)
    for one in costs:
        table.add_row(
            one.chain,
            f"{one.passed_share:.1%}",
            f"{one.engines_ms:.2f}",
            f"{one.around_ms:.3f}",
            f"{one.around_p90_ms:.3f}",
        )
    Console().print(table)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(one) for one in costs], indent=2) + "\n")


if __name__ == "__main__":
    main()
