"""What a GigE Vision camera costs: `python -m benchmarks.cameras` prints the CPU time of capture for each frame of
Aravis' fake camera on loopback, and whether frames were lost, alone and beside the engines.

Capture is the camera's thread in linewatch and Aravis' own: reading packets, joining them, marking buffers, the window.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import structlog
from rich.console import Console
from rich.table import Table

from linewatch.capture.cameras.genicam import GenicamCamera, GenicamSource
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.genicam.discovery import answers
from linewatch.capture.genicam.mono import MONO_FORMATS, MonoReader
from linewatch.capture.lasting import THREAD, LastingCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Grab
from linewatch.daemon.service import open_service
from linewatch.service_settings import ServiceSettings, settings_from

ADDRESS, SERIAL = "127.0.0.1", "BENCH"
FRAMES_PER_S = 160.0
LINE = LineSettings(line_rate_hz=FRAMES_PER_S * 256)
BUDGET_MS = 1.0
"""CPU time of capture for each frame."""
REPEATS = 100
WARM_UP_S = 5.0
"""Until the engines know how long they take."""


@dataclass(frozen=True)
class CameraCost:
    """One run. cpu_ms: of capture, for each frame. starved: packets for which no buffer was free."""

    what: str
    packet_bytes: int
    frames_per_s: float
    cpu_ms: float
    frames: int
    lost: int
    incomplete: int
    starved: int


@dataclass(frozen=True)
class FormatCost:
    """The window of one pixel format, for each frame."""

    pixel_format: str
    ms: float


@dataclass(frozen=True)
class CameraCounts:
    """Frames given, lost before those, incomplete among them; packets without a free buffer."""

    given: int = 0
    lost: int = 0
    incomplete: int = 0
    starved: int = 0


class CountedCamera(GenicamCamera):
    """Counts what it gives."""

    def __init__(self, source: GenicamSource) -> None:
        super().__init__(source, LINE, MonotonicClock())
        self.counts = CameraCounts()
        self._before = -1

    def read(self) -> Grab | None:
        grab = super().read()
        if grab is not None:
            counts = self.counts
            self.counts = CameraCounts(
                counts.given + 1,
                counts.lost + grab.sequence - self._before - 1,
                counts.incomplete + (grab.fault is not None),
                self._connection.starved if self._connection is not None else counts.starved,
            )
            self._before = grab.sequence
        return grab


@contextmanager
def fake_camera() -> Iterator[None]:
    """Run Aravis' fake camera."""
    with subprocess.Popen(
        ["arv-fake-gv-camera-0.8", "-i", ADDRESS, "-s", SERIAL], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as camera:
        while not answers(ADDRESS):
            time.sleep(0.05)
        try:
            yield
        finally:
            camera.kill()


def source(packet_bytes: int) -> GenicamSource:
    return GenicamSource(type="genicam", camera=ADDRESS, trigger="free", packet_size=packet_bytes)


def capture_cpu_s() -> float:
    """Return the CPU time of the camera's threads so far: ours by its name, and Aravis' own."""
    ours = {one.native_id for one in threading.enumerate() if one.name in {THREAD, "MainThread"}}
    known = {one.native_id for one in threading.enumerate()}
    spent_ns = 0
    for task in Path("/proc/self/task").iterdir():
        name = (task / "comm").read_text().strip()
        if int(task.name) in ours or (int(task.name) not in known and name.startswith("arv")):
            spent_ns += int((task / "schedstat").read_text().split()[0])
    return spent_ns / 1e9


def alone(what: str, packet_bytes: int, seconds: float) -> CameraCost:
    """Read frames on the main thread, and do nothing with them."""
    with fake_camera(), CountedCamera(source(packet_bytes)) as camera:
        camera.read()
        began_s, began_cpu_s, before = time.monotonic(), capture_cpu_s(), camera.counts
        while time.monotonic() - began_s < seconds:
            camera.read()
        return _cost(what, packet_bytes, before, camera, time.monotonic() - began_s, capture_cpu_s() - began_cpu_s)


def beside_engines(what: str, packet_bytes: int, seconds: float) -> CameraCost:
    """Run the whole service on the camera; its engines have the rest of the machine."""
    settings: ServiceSettings = settings_from(
        {"wire": {"publish": "tcp://127.0.0.1:*", "serve": "tcp://127.0.0.1:*"}}, "benchmark"
    )
    with fake_camera(), TemporaryDirectory(prefix="linewatch-bench-") as folder:
        journal = settings.journal.model_copy(update={"dir": Path(folder)})
        settings = settings.model_copy(update={"journal": journal, "line": LINE})
        counted: list[CountedCamera] = []

        def reopen() -> CountedCamera:
            counted.append(CountedCamera(source(packet_bytes)))
            return counted[-1]

        found: list[CameraCost] = []
        clock = MonotonicClock()
        with LastingCamera(reopen, LINE, clock, 300.0) as camera, open_service(settings, camera, clock) as service:

            def watch() -> None:
                time.sleep(WARM_UP_S)
                began_s, began_cpu_s, before = time.monotonic(), capture_cpu_s() - _main_s(), counted[0].counts
                time.sleep(seconds)
                cpu_s = capture_cpu_s() - _main_s() - began_cpu_s
                found.append(_cost(what, packet_bytes, before, counted[0], time.monotonic() - began_s, cpu_s))
                service.stop()

            threading.Thread(target=watch, name="watch", daemon=True).start()
            service.run()
        return found[0]


def formats() -> list[FormatCost]:
    """The window of each format, on the levels of noise."""
    costs = []
    for form in MONO_FORMATS:
        reader = MonoReader(form, LINE.frame_lines, LINE.width_px, 0, round(0.8 * form.top))
        data = np.random.default_rng(1).integers(0, 256, reader.image_bytes, dtype=np.uint8)
        spent_ms = []
        for _ in range(REPEATS):
            began_ns = time.thread_time_ns()
            reader.gray(data, LINE.frame_lines)
            spent_ms.append((time.thread_time_ns() - began_ns) / 1e6)
        costs.append(FormatCost(form.name, round(float(np.median(spent_ms)), 3)))
    return costs


def _main_s() -> float:
    """CPU time of the main thread, which waits while a service runs."""
    main = threading.main_thread().native_id
    return int(Path(f"/proc/self/task/{main}/schedstat").read_text().split()[0]) / 1e9


def _cost(
    what: str, packet_bytes: int, before: CameraCounts, camera: CountedCamera, elapsed_s: float, cpu_s: float
) -> CameraCost:
    after = camera.counts
    frames = after.given - before.given
    return CameraCost(
        what=what,
        packet_bytes=packet_bytes,
        frames_per_s=round(frames / elapsed_s, 1),
        cpu_ms=round(cpu_s / max(1, frames) * 1e3, 3),
        frames=frames,
        lost=after.lost - before.lost,
        incomplete=after.incomplete - before.incomplete,
        starved=after.starved - before.starved,
    )


RUNS = {
    "alone": alone,
    "beside the engines": beside_engines,
}


def _without_raw_sockets(arguments: list[str]) -> dict[str, Any]:
    """Run one of `RUNS` in a process without CAP_NET_RAW, as under the systemd unit, and return its result."""
    command = [sys.executable, "-m", "benchmarks.cameras", *arguments]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("out/cameras.json"))
    parser.add_argument("--only", choices=RUNS, help="one run, printed as JSON")
    parser.add_argument("--packet", type=int, default=9000)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if options.only:
        print(json.dumps(asdict(RUNS[options.only](options.only, options.packet, options.seconds))))
        return 0
    costs: list[CameraCost] = []
    for what in RUNS:
        for packet_bytes in (9000, 1500):
            arguments = ["--only", what, "--packet", str(packet_bytes), "--seconds", str(options.seconds)]
            costs.append(CameraCost(**_without_raw_sockets(arguments)))
    told = formats()
    _show(costs, told)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = {"budget_ms": BUDGET_MS, "runs": [asdict(one) for one in costs], "formats": [asdict(one) for one in told]}
    options.out.write_text(json.dumps(rows, indent=1))
    return int(any(one.cpu_ms > BUDGET_MS or one.starved for one in costs))


def _show(costs: list[CameraCost], told: list[FormatCost]) -> None:
    console = Console()
    table = Table(
        title=f"capture of a GigE camera, {LINE.width_px} px x {LINE.frame_lines} lines", title_justify="left"
    )
    for column in ("run", "packets, bytes", "frames/s", "CPU, ms a frame", "lost", "incomplete", "starved"):
        table.add_column(column)
    for one in costs:
        table.add_row(
            one.what,
            *(str(one.packet_bytes), f"{one.frames_per_s:.0f}", f"{one.cpu_ms:.2f}"),
            *(str(one.lost), str(one.incomplete), str(one.starved)),
        )
    console.print(table)
    window = Table(title="the window to 8 bits, ms a frame", title_justify="left")
    for one in told:
        window.add_column(one.pixel_format)
    window.add_row(*(f"{one.ms:.2f}" for one in told))
    console.print(window)


if __name__ == "__main__":
    sys.exit(main())
