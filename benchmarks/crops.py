"""What pictures of defects cost: `python -m benchmarks.crops` prints the decision thread's share by defects in a frame,
a picture's encoding, and the whole service's CPU time with and without `[crops]`, in turns.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.decision import DEFECTS, FRAMES, VARIANTS, Strip
from benchmarks.load import real_frames, simulated_frames
from benchmarks.ratio import median_ratio
from benchmarks.run import DEFECTS_PER_M, on_any_port, run_service
from linewatch.config.crops import CropSettings
from linewatch.config.line import LineSettings
from linewatch.daemon.crops import PNG, DefectCrops
from linewatch.decision.decide import DecisionState, decide

SIZES = ((64, 64), (128, 128), (256, 256), (256, 512))
ENCODINGS = {
    "PNG, ours": (".png", PNG),
    "PNG, level 6": (".png", (cv2.IMWRITE_PNG_COMPRESSION, 6)),
    "JPEG 90": (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 90)),
}
WINDOWS = 100


@dataclass(frozen=True)
class Cut:
    """Of one frame, on the decision's thread."""

    defects_per_frame: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Encoded:
    """One picture on the outlet's thread."""

    size: str
    encoding: str
    ms: float
    kb: float


def cut(strip: Strip, defects: int) -> Cut:
    variants = [strip.prediction(defects, seed) for seed in range(VARIANTS)]
    state, crops, spent_ms = DecisionState.initial(), DefectCrops(CropSettings()), []
    for number in range(FRAMES):
        prediction = strip.at(variants[number % VARIANTS], number)
        state, decided = decide(state, prediction, strip.rules)
        spent_ms.append(_cpu_ms(lambda: crops.follow(prediction.frame, decided)))  # noqa: B023 - called at once
        crops.make(number * 10**9)
    p50, p99 = np.percentile(spent_ms[10:], [50, 99])
    return Cut(defects, float(p50), float(p99))


def encoded(frames: list[np.ndarray]) -> list[Encoded]:
    rng, found = np.random.default_rng(1), []
    for lines, columns in SIZES:
        windows = []
        for _ in range(WINDOWS):
            frame = frames[int(rng.integers(len(frames)))]
            top, left = int(rng.integers(256 - lines + 1)), int(rng.integers(1600 - columns + 1))
            windows.append(np.ascontiguousarray(frame[top : top + lines, left : left + columns]))
        for name, (ending, parameters) in ENCODINGS.items():
            sizes: list[int] = []

            def encode(window: np.ndarray) -> None:
                sizes.append(len(cv2.imencode(ending, window, parameters)[1]))  # noqa: B023 - called at once

            spent = [_cpu_ms(lambda: encode(window)) for window in windows]  # noqa: B023
            found.append(Encoded(f"{lines} x {columns}", name, float(np.median(spent)), float(np.mean(sizes)) / 1e3))
    return found


def _cpu_ms(work: Callable[[], None]) -> float:
    started = time.thread_time()
    work()
    return 1e3 * (time.thread_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate-hz", type=float, help="live, at this rate; else as fast as it is read")
    parser.add_argument("--out", type=Path, default=Path("out/bench-crops.json"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    console, settings = Console(width=120), on_any_port(options.config)

    strip = Strip(options.config)
    cuts = [cut(strip, defects) for defects in DEFECTS]
    table = Table("defects a frame", "p50 ms", "p99 ms", title="Cutting out, CPU time of the decision's thread")
    for one in cuts:
        table.add_row(str(one.defects_per_frame), f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}")
    console.print(table)

    frames, _ = simulated_frames(300, DEFECTS_PER_M, LineSettings())
    real = real_frames(LineSettings())
    pictures = encoded(real or frames)
    table = Table(
        "lines x columns", "encoding", "ms", "kB", title=f"A picture, of {'real' if real else 'rendered'} steel"
    )
    for picture in pictures:
        table.add_row(picture.size, picture.encoding, f"{picture.ms:.2f}", f"{picture.kb:.1f}")
    console.print(table)

    runs: dict[str, list[dict[str, object]]] = {"with": [], "without": []}
    for _ in range(options.rounds):
        for name, crops in (("with", CropSettings()), ("without", None)):
            run = run_service(settings.model_copy(update={"crops": crops}), frames, 600, options.rate_hz)
            runs[name].append(asdict(run))
            console.print(
                f"{name:8} {run.cpu_ms_per_frame:.2f} ms CPU/frame, p50 {run.latency_p50_ms:.1f} ms", run.lines
            )
    spent = {name: [float(str(run["cpu_ms_per_frame"])) for run in of] for name, of in runs.items()}
    ratio = median_ratio(spent["with"], spent["without"])
    console.print(f"CPU time with over without: {ratio.ratio:.3f} ({ratio.low:.3f}-{ratio.high:.3f})")
    report = {"cuts": [asdict(one) for one in cuts], "pictures": [asdict(one) for one in pictures], "runs": runs}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
