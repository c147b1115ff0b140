"""What figures for Prometheus, and traces, cost: `python -m benchmarks.monitoring` (an idle machine; a minute).

A service inspects frames in memory as fast as it can. Then CPU time is measured of what its threads count for each
frame (durations of steps, batches and syncs, strip as decided), as a share of the service's own CPU time a frame, and
of making one scrape from its figures, in either format, as a share of a core when it comes every five seconds. Last,
of tracing one frame in so many, with sending it to a collector in another process (needs the extra `tracing`).
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from rich.console import Console
from rich.table import Table

from benchmarks.load import MemoryCamera, in_folder, simulated_frames
from linewatch.capture.clock import MonotonicClock
from linewatch.config.tracing import TracingSettings
from linewatch.contracts.frame import Cause
from linewatch.contracts.histogram import DurationHistogram
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import CoverageSpan, Quality, StripArea
from linewatch.daemon.frame_times import FrameTimes
from linewatch.daemon.service import open_service
from linewatch.daemon.totals import StripAsDecided
from linewatch.monitoring.traces import steps_of, traced
from linewatch.service_settings import load_settings

ROUNDS, CALLS = 30, 1_000
TRACED = 2_000
SENT_TOGETHER = 50
COLLECTOR = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): ...
server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
BATCHES = 8
"""Counted a frame: a cascade runs one of the screen, and a few of the other engines."""
EVERY_S = 5.0


def cpu_s(step: Callable[[], object], calls: int) -> float:
    """Return the CPU time of one call, the median over rounds of calls."""
    spent = []
    for _ in range(ROUNDS):
        begin = time.thread_time()
        for _ in range(calls):
            step()
        spent.append((time.thread_time() - begin) / calls)
    return statistics.median(spent)


def counting() -> Callable[[], None]:
    """Return what the service's threads count for a frame."""
    times, batch, decided = FrameTimes(), DurationHistogram(), StripAsDecided()
    timing = Timing(captured_ns=1, queued_ns=2, screened_ns=3_000_000, predicted_ns=9_000_000, decided_ns=9_500_000)
    area = StripArea(100.0, 5.0, 1.0)
    span = CoverageSpan(0, 256, (0.0, 256.0), Quality.DEGRADED, Cause.OVERLOAD, area, ((Cause.OVERLOAD, 6.0),))

    def step() -> None:
        times.add(timing, 9_900_000)
        decided.add(span)
        for _ in range(BATCHES + 1):  # and a sync of the journal
            batch.add(0.004)

    return step


def traced_s() -> float:
    """Return the CPU time of all threads of this process for one traced frame, until the collector has it."""
    collector = subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True)
    try:
        assert collector.stdout is not None
        settings = TracingSettings(endpoint=f"http://127.0.0.1:{int(collector.stdout.readline())}/v1/traces")
        with traced(settings, "cam1") as traces:
            assert traces is not None
            timing = Timing(captured_ns=1, queued_ns=2, screened_ns=3, predicted_ns=4, decided_ns=5)
            begin_s = time.process_time()
            for ordinal in range(TRACED):
                traces.add(steps_of(timing, 6), {"linewatch.coil": "C-1", "linewatch.ordinal": ordinal})
                if ordinal % SENT_TOGETHER == 0:
                    time.sleep(0.02)  # or more spans would wait than may
        return (time.process_time() - begin_s) / TRACED
    finally:
        collector.kill()
        collector.wait()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--frames", type=int, default=400)
    options = parser.parse_args()
    settings, clock = load_settings(options.config), MonotonicClock()
    frames, _ = simulated_frames(100, 1.0, settings.line)
    with TemporaryDirectory(prefix="linewatch-monitoring-") as folder:
        settings, _, _ = in_folder(settings, Path(folder))
        camera = MemoryCamera(frames, options.frames, settings.line, clock)
        with open_service(settings, camera, clock) as service:
            begin_s = time.process_time()
            service.run()
            frame_s = (time.process_time() - begin_s) / options.frames

            class MeasuredFigures(Collector):
                collect = staticmethod(service.figures)  # type: ignore[assignment]

            registry = CollectorRegistry(auto_describe=False)
            registry.register(MeasuredFigures())
            encoders = {one: choose_encoder(one)[0] for one in ("text/plain", "application/openmetrics-text")}
            scrapes_s = {name: cpu_s(lambda encode=encode: encode(registry), 1) for name, encode in encoders.items()}
    counted_s = cpu_s(counting(), CALLS)
    table = Table("what", "CPU time", "share")
    table.add_row("counting, a frame", f"{1e6 * counted_s:.1f} us", f"{counted_s / frame_s:.3%} of a frame's CPU time")
    for name, scrape_s in scrapes_s.items():
        share = f"{scrape_s / EVERY_S:.3%} of a core, every {EVERY_S:g} s"
        table.add_row(f"a scrape, {name}", f"{1e3 * scrape_s:.1f} ms", share)
    every = TracingSettings().every_frames
    trace_s = traced_s()
    share = f"{trace_s / every / frame_s:.3%} of a frame's CPU time, one in {every} traced"
    table.add_row("tracing a frame, and sending it", f"{1e6 * trace_s:.0f} us", share)
    table.add_row("the service, a frame", f"{1e3 * frame_s:.1f} ms", "")
    Console().print(table)


if __name__ == "__main__":
    main()
