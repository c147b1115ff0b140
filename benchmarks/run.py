"""How fast is the service? `python -m benchmarks.run` prints tables and JSON, and fails when a budget is broken.

Frames are made before the clock starts and repeat; the subscriber is a real one in its own process, on the same cores.
`--sustain-s 600` (`make sustain`): the fixed line rate for that long, and nothing else.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import backends
from benchmarks.bare import BareEngines
from benchmarks.listener import Heard, Listener
from benchmarks.load import MemoryCamera, real_frames, simulated_frames
from benchmarks.plain import PlainLoop, on_onnxruntime, on_torch
from benchmarks.ratio import median_ratio
from linewatch.capture.clock import MonotonicClock
from linewatch.contracts.verdict import Quality
from linewatch.daemon.service import Service, open_service
from linewatch.inference.processor import available_cores, instruction_set
from linewatch.service_settings import ServiceSettings, load_settings

FRAMES = 400
PLAIN_FRAMES, TORCH_FRAMES = 100, 25  # of a round's frames, drawn by chance: slow loops
TORCH_CHOICE_MOST_S, TORCH_MOST_S = 5.0, 30.0  # where other work slows torch's threads a hundredfold
LAPS = 4
"""Of the frames in a round of the service: in a shorter one the 64 frames on their way at its end count for much."""
DEFECTS_PER_M = 0.8
"""So that about 5 % of the rendered tiles are defective; the share that came of it is printed."""
RATE_ON_4_CORES_HZ = 160.0  # 20 m/s at 0.5 mm per line and 256 lines a frame
STAGES = ("captured", "queued", "screened", "predicted", "decided", "published")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run of the whole service. Latencies run from a frame's last line to its receipt in another process."""

    frames: int
    frames_per_s: float
    tiles_per_s: float
    tiles_passed_share: float
    lines: dict[str, int]  # by quality
    tiles_passed: int
    missed_at_s: list[float]  # since the first frame
    lost_messages: int
    latency_p50_ms: float
    latency_p99_ms: float
    latency_p999_ms: float
    cpu_ms_per_frame: float
    others_cores: float  # cores that all other processes used meanwhile, the listener's among them
    cpu_share_by_thread: dict[str, float]  # of the service's CPU time
    stage_p50_ms: dict[str, float]  # time between leaving the stage before and leaving this one
    rss_mb: float
    rss_slope_mb_per_min: float | None  # over the second half of a run


class Meter:
    """CPU time of each thread and memory, read a few times a second while the service runs."""

    def __init__(self) -> None:
        self._first: dict[int, int] = _ticks()
        self._last: dict[int, int] = dict(self._first)
        self._names: dict[int, str] = {}
        self._started = (time.monotonic(), time.process_time(), _busy_s())
        self.others_cores = 0.0
        self.cpu_s = 0.0  # of the whole process
        self.rss_mb: list[tuple[float, float]] = []

    def look(self, service: Service) -> None:
        self._names |= {t.native_id: t.name.partition("-")[0] for t in threading.enumerate() if t.native_id}
        self._last |= _ticks()
        self.finish()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.rss_mb.append((service.runner.elapsed_s, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))

    def finish(self) -> None:
        """Take the CPU time of this process, and of all others, as it stands."""
        wall_s, own_s, busy_s = self._started
        self.cpu_s = time.process_time() - own_s
        self.others_cores = (_busy_s() - busy_s - self.cpu_s) / max(1e-3, time.monotonic() - wall_s)

    def by_thread_s(self) -> dict[str, float]:
        spent: dict[str, float] = {}
        for thread, ticks in self._last.items():
            name = self._names.get(thread, "unnamed (zmq, runtime)")
            spent[name] = spent.get(name, 0.0) + (ticks - self._first.get(thread, 0)) / TICKS_PER_S
        return dict(sorted(spent.items(), key=lambda item: -item[1]))

    def slope_mb_per_min(self) -> float | None:
        half = [point for point in self.rss_mb if point[0] > self.rss_mb[-1][0] / 2]
        if len(half) < 20:
            return None
        seconds, mb = np.array(half).T
        return float(np.polyfit(seconds, mb, 1)[0] * 60)


def _busy_s() -> float:
    """CPU time that all processes of the machine have used."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def _ticks() -> dict[int, int]:
    spent = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        spent[int(task.name)] = int(fields[11]) + int(fields[12])
    return spent


def run_service(settings: ServiceSettings, frames: list[np.ndarray], grabs: int, rate_hz: float | None = None) -> Run:
    """The real service over frames in memory, with a real journal and a real subscriber."""
    clock = MonotonicClock()
    listener: Listener | None = None
    with TemporaryDirectory(prefix="linewatch-bench-") as folder:
        settings = settings.model_copy(update={"journal": settings.journal.model_copy(update={"dir": Path(folder)})})
        camera = MemoryCamera(frames, grabs, settings.line, clock, rate_hz)
        with open_service(settings, camera, clock) as service:
            meter: list[Meter] = []

            def ready() -> None:
                nonlocal listener
                listener = Listener(service.publisher.endpoint, service.server.endpoint)
                meter.append(Meter())

            service.run(ready, lambda: meter[0].look(service) if meter else None, hold_s=1.0)
            meter[0].finish()
    assert listener is not None
    heard = listener.heard()
    return _sum_up(service, meter[0], heard)


def _sum_up(service: Service, meter: Meter, heard: Heard) -> Run:
    totals, elapsed_s = service.totals, service.runner.elapsed_s
    stamps = np.array([[getattr(t, f"{stage}_ns") for stage in STAGES] for t in heard.timings], np.float64)
    latencies_ms = (np.array(heard.received_ns, np.float64) - stamps[:, 0]) / 1e6
    p50, p99, p999 = np.percentile(latencies_ms, [50, 99, 99.9])
    cpu_s = meter.by_thread_s()
    total_s = sum(cpu_s.values())
    steps = np.diff(stamps, axis=1) / 1e6
    return Run(
        frames=totals.frames,
        frames_per_s=totals.frames / elapsed_s,
        tiles_per_s=totals.tiles / elapsed_s,
        tiles_passed_share=totals.tiles_passed / max(1, totals.tiles),
        lines={quality.value: lines for quality, lines in totals.lines.items()},
        tiles_passed=totals.tiles_passed,
        missed_at_s=[round((at - stamps[0, 0]) / 1e9, 1) for at in heard.missed_ns],
        lost_messages=heard.lost,
        latency_p50_ms=float(p50),
        latency_p99_ms=float(p99),
        latency_p999_ms=float(p999),
        cpu_ms_per_frame=1e3 * meter.cpu_s / totals.frames,
        others_cores=meter.others_cores,
        cpu_share_by_thread={name: spent / total_s for name, spent in cpu_s.items()},
        stage_p50_ms={stage: float(np.median(steps[:, i])) for i, stage in enumerate(STAGES[1:])},
        rss_mb=max(mb for _, mb in meter.rss_mb),
        rss_slope_mb_per_min=meter.slope_mb_per_min(),
    )


@dataclass(frozen=True)
class Ratio:
    """End to end over bare engines, in alternating rounds on the same frames."""

    service_frames_per_s: list[float]
    bare_frames_per_s: list[float]
    ratio: float  # median of rounds
    low: float  # bootstrap of that median, 95 %
    high: float
    cpu_ratio: float  # engines' CPU time per frame over the service's: other work on the machine hardly moves it
    plain_frames_per_s: list[float]  # of the loop that one would write
    plain_ratio: float  # service over it, median of rounds
    plain_low: float
    plain_high: float
    torch_frames_per_s: list[float]  # of the same loop in torch eager
    torch_ratio: float
    torch_low: float
    torch_high: float
    torch_threads: int  # its own number or one, whichever was faster


def throughput(settings: ServiceSettings, frames: list[np.ndarray], rounds: int, workers: int) -> tuple[Ratio, Run]:
    """Alternating rounds; each service round stands between two bare ones and is held against their mean."""
    from benchmarks.eager import choose_threads  # here: the memory of a long run is the service's alone, without torch

    bare = BareEngines(settings, frames, workers)
    plain_loop, torch_loop = PlainLoop(settings, on_onnxruntime), PlainLoop(settings, on_torch)
    bare.frames_per_s()
    plain_loop.frames_per_s(frames[:20])
    torch_threads = choose_threads(lambda: torch_loop.frames_per_s(frames[:TORCH_FRAMES], TORCH_CHOICE_MOST_S))
    runs, before, service, alone, cpu_ms, plain, torch = [], bare.frames_per_s(), [], [], [], [], []
    for number in range(rounds):
        runs.append(run_service(settings, frames, LAPS * len(frames)))
        started_s = time.process_time()
        after = bare.frames_per_s()
        cpu_ms.append(1e3 * (time.process_time() - started_s) / len(frames))
        service.append(runs[-1].frames_per_s)
        alone.append((before + after) / 2)
        before = after
        drawn = random.Random(number).sample(frames, min(PLAIN_FRAMES, len(frames)))
        plain.append(plain_loop.frames_per_s(drawn))
        torch.append(torch_loop.frames_per_s(drawn[:TORCH_FRAMES], TORCH_MOST_S))
    ratio = Ratio(
        service,
        alone,
        *median_ratio(service, alone),
        statistics.median(cpu_ms) / statistics.median(run.cpu_ms_per_frame for run in runs),
        plain,
        *median_ratio(service, plain),
        torch,
        *median_ratio(service, torch),
        torch_threads,
    )
    return ratio, sorted(runs, key=lambda run: run.frames_per_s)[rounds // 2]


def broken(report: dict[str, object], budgets: dict[str, float]) -> list[str]:
    """Which budgets do not hold, in words."""
    faults = []
    ratio, paced = report.get("throughput"), report["open_loop"]
    if isinstance(ratio, Ratio) and ratio.ratio < budgets["throughput_ratio_min"]:
        faults.append(f"throughput ratio {ratio.ratio:.3f} < {budgets['throughput_ratio_min']}")
    if isinstance(paced, Run):
        if paced.latency_p99_ms > budgets["latency_p99_ms_max"]:
            faults.append(f"latency p99 {paced.latency_p99_ms:.0f} ms > {budgets['latency_p99_ms_max']:.0f} ms")
        for quality in (Quality.DEGRADED, Quality.MISSED):
            if paced.lines[quality] > budgets[f"{quality}_lines_max"]:
                faults.append(f"{paced.lines[quality]} lines {quality} > {budgets[f'{quality}_lines_max']}")
    return faults


def on_any_port(config: Path) -> ServiceSettings:
    """Return a configuration with sockets of its own."""
    settings = load_settings(config)
    wire = settings.wire.model_copy(update={"publish": "tcp://127.0.0.1:*", "serve": "tcp://127.0.0.1:*"})
    return settings.model_copy(update={"wire": wire})


def machine(settings: ServiceSettings, workers: int) -> dict[str, object]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cores": available_cores(),
        "cpu": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?"),
        "isa": instruction_set(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "backend": settings.inference.backend,
        "workers": workers,
        "ladder": list(settings.inference.ladder),
    }


def show(title: str, run: Run, console: Console) -> None:
    table = Table("figure", "value", title=title)
    table.add_row("frames/s, tiles/s", f"{run.frames_per_s:.1f}, {run.tiles_per_s:.0f}")
    table.add_row("tiles passed by the screen", f"{run.tiles_passed_share:.2%}")
    table.add_row("lines", ", ".join(f"{lines} {quality}" for quality, lines in run.lines.items()))
    table.add_row("missed at s; messages lost", f"{run.missed_at_s}; {run.lost_messages}")
    latencies = f"{run.latency_p50_ms:.1f} / {run.latency_p99_ms:.1f} / {run.latency_p999_ms:.1f} ms"
    table.add_row("latency p50 / p99 / p99.9", latencies)
    table.add_row("CPU per frame", f"{run.cpu_ms_per_frame:.1f} ms; other processes {run.others_cores:.1f} cores")
    table.add_row("CPU by thread", ", ".join(f"{n} {s:.1%}" for n, s in run.cpu_share_by_thread.items() if s > 0.002))
    table.add_row("stage p50", ", ".join(f"{name} {ms:.1f} ms" for name, ms in run.stage_p50_ms.items()))
    slope = "" if run.rss_slope_mb_per_min is None else f", {run.rss_slope_mb_per_min:+.1f} MB/min"
    table.add_row("RSS", f"{run.rss_mb:.0f} MB{slope}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--rounds", type=int, default=5, help="of service against bare engines")
    parser.add_argument("--paced-s", type=float, default=20.0, help="open loop at the fixed line rate")
    parser.add_argument("--sustain-s", type=float, help="only the open loop, this long")
    parser.add_argument("--rate-hz", type=float, help="frames per second; default 160 x cores / 4, at most 160")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--no-backends", action="store_true", help="leave their table out")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"))
    options = parser.parse_args(arguments)
    console = Console(width=120)

    settings = on_any_port(options.config)
    workers = options.workers or settings.inference.workers or available_cores()
    inference = settings.inference.model_copy(update={"workers": workers})
    settings = settings.model_copy(update={"inference": inference})
    rate_hz = options.rate_hz or RATE_ON_4_CORES_HZ * min(1.0, available_cores() / 4)

    frames, defective = simulated_frames(options.frames, DEFECTS_PER_M, settings.line)
    report: dict[str, object] = {
        "machine": machine(settings, workers),
        "defective_tiles": defective,
        "rate_hz": rate_hz,
    }
    console.print(report)
    if options.sustain_s is None:
        report["throughput"], report["as_fast_as_read"] = throughput(settings, frames, options.rounds, workers)
        ratio = report["throughput"]
        assert isinstance(ratio, Ratio)
        assert isinstance(report["as_fast_as_read"], Run)
        console.print(
            f"end to end {statistics.median(ratio.service_frames_per_s):.1f} frames/s, bare engines "
            f"{statistics.median(ratio.bare_frames_per_s):.1f}: ratio {ratio.ratio:.3f} "
            f"({ratio.low:.3f} to {ratio.high:.3f}, {options.rounds} rounds); of CPU time {ratio.cpu_ratio:.3f}"
        )
        console.print(
            f"a plain FP32 loop {statistics.median(ratio.plain_frames_per_s):.1f} frames/s: "
            f"we are {ratio.plain_ratio:.2f} times as fast ({ratio.plain_low:.2f} to {ratio.plain_high:.2f})"
        )
        console.print(
            f"the same in torch eager ({ratio.torch_threads} threads) "
            f"{statistics.median(ratio.torch_frames_per_s):.1f} frames/s: "
            f"we are {ratio.torch_ratio:.2f} times as fast ({ratio.torch_low:.2f} to {ratio.torch_high:.2f})"
        )
        show("As fast as read (median round)", report["as_fast_as_read"], console)
    paced_s = options.sustain_s or options.paced_s
    report["open_loop"] = paced = run_service(settings, frames, round(paced_s * rate_hz), rate_hz)
    show(f"Open loop, {rate_hz:.1f} frames/s for {paced_s:.0f} s", paced, console)
    real = real_frames(settings.line) if options.sustain_s is None else []
    real *= -(-options.frames // max(1, len(real)))  # long enough for the start and the end not to count
    if real:
        report["real_throughput"], report["real"] = throughput(settings, real, options.rounds, workers)
        real_ratio = report["real_throughput"]
        assert isinstance(real_ratio, Ratio)
        assert isinstance(report["real"], Run)
        console.print(
            f"real frames: ratio {real_ratio.ratio:.3f} ({real_ratio.low:.3f} to {real_ratio.high:.3f})"
            f"; of CPU time {real_ratio.cpu_ratio:.3f}; to the plain loop {real_ratio.plain_ratio:.2f}, "
            f"to torch eager ({real_ratio.torch_threads} threads) {real_ratio.torch_ratio:.2f} "
            f"({real_ratio.torch_low:.2f} to {real_ratio.torch_high:.2f})"
        )
        show(f"Coil of {len(real)} real frames, as fast as read", report["real"], console)

    report["load_after"] = os.getloadavg()[0]
    if options.sustain_s is None and not options.no_backends:
        report["backends"] = backends.measure(settings.inference.engines_dir, console)
    faults = broken(report, tomllib.loads(Path(__file__).with_name("budgets.toml").read_text())["budgets"])
    report["broken_budgets"] = faults
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, default=asdict) + "\n")
    for fault in faults:
        console.print(f"BROKEN BUDGET: {fault}", style="red")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
