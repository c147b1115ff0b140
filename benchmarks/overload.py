"""What becomes of the strip when more comes than the machine can inspect? `python -m benchmarks.overload`

The service runs in an open loop at 0.5 to 4 times the rate that it sustains here. Told for each: latency from a frame's
last line to its receipt in another process, how every line was looked at, and how many of the tiles that the screen
passes at rest it still passed. Table, JSON and a picture under `out/`.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.load import simulated_frames
from benchmarks.run import DEFECTS_PER_M, LAPS, machine, on_any_port, run_service
from linewatch.contracts.verdict import Quality
from linewatch.inference.processor import available_cores

matplotlib.use("Agg")
from matplotlib import pyplot

FACTORS = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
COLOURS = {Quality.INSPECTED: "#2f7d4f", Quality.DEGRADED: "#e0a030", Quality.MISSED: "#b03a3a"}


@dataclass(frozen=True)
class Point:
    """One run. Shares are of the lines that passed; `unaccounted_lines` of them are in no span."""

    factor: float
    rate_hz: float
    latency_p50_ms: float
    latency_p99_ms: float
    shares: dict[str, float]
    unaccounted_lines: int
    screen_recall_kept: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--factors", type=float, nargs="+", default=FACTORS)
    parser.add_argument("--out", type=Path, default=Path("out/overload.json"))
    options = parser.parse_args(arguments)
    console = Console(width=120)

    settings = on_any_port(options.config)
    frames, _ = simulated_frames(options.frames, DEFECTS_PER_M, settings.line)
    rest = [run_service(settings, frames, LAPS * len(frames)) for _ in range(3)]
    sustained_hz = statistics.median(run.frames_per_s for run in rest)
    console.print(f"sustained: {sustained_hz:.1f} frames/s (median of three), {available_cores()} cores")

    points = []
    for factor in track(options.factors, "rates", console=console):
        rate_hz = factor * sustained_hz
        rounds = max(1, round(options.seconds * rate_hz / len(frames)))
        run = run_service(settings, frames, rounds * len(frames), rate_hz)
        lines = rounds * len(frames) * settings.line.frame_lines
        points.append(
            Point(
                factor,
                rate_hz,
                run.latency_p50_ms,
                run.latency_p99_ms,
                {quality: run.lines[quality] / lines for quality in Quality},
                lines - sum(run.lines.values()),
                LAPS * run.tiles_passed / (rounds * rest[0].tiles_passed),
            )
        )
    table = Table("x sustained", "frames/s", "p50 / p99 ms", *Quality, "unaccounted lines", "screen recall kept")
    for point in points:
        table.add_row(
            f"{point.factor:g}",
            f"{point.rate_hz:.0f}",
            f"{point.latency_p50_ms:.0f} / {point.latency_p99_ms:.0f}",
            *(f"{point.shares[quality]:.1%}" for quality in Quality),
            str(point.unaccounted_lines),
            f"{point.screen_recall_kept:.1%}",
        )
    console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": machine(settings, settings.inference.workers or available_cores()),
        "deadline_ms": settings.inference.deadline_ms,
        "sustained_hz": sustained_hz,
        "points": [asdict(point) for point in points],
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    draw(points, settings.inference.deadline_ms, options.out.with_suffix(".png"))
    console.print(f"{options.out}, {options.out.with_suffix('.png')}")


def draw(points: Sequence[Point], deadline_ms: float, path: Path) -> None:
    """Shares of the strip by quality, screen recall and latency, against the rate."""
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 7), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    factors = [point.factor for point in points]
    above.stackplot(
        factors,
        [[100 * point.shares[quality] for point in points] for quality in Quality],
        labels=[str(quality) for quality in Quality],
        colors=[COLOURS[quality] for quality in Quality],
        alpha=0.85,
    )
    kept = [100 * point.screen_recall_kept for point in points]
    above.plot(factors, kept, "o-", color="black", label="screen recall kept")
    above.set(ylabel="% of the strip", ylim=(0, 102), title="Overload: what is looked at, and how soon it is told")
    above.legend(loc="lower left")
    for name, values in (
        ("p99", [point.latency_p99_ms for point in points]),
        ("median", [point.latency_p50_ms for point in points]),
    ):
        below.plot(factors, values, "o-", label=name)
    below.axhline(deadline_ms, color="gray", linestyle="--", label="deadline")
    below.set(xlabel="rate, in multiples of the sustained one", ylabel="latency, ms", ylim=(0, None))
    below.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
