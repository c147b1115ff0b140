"""How soon does a PLC read a defect that was published? `python -m benchmarks.modbus`

The real service at a fixed rate over frames in memory, the bridge in its own process, and for each polling interval a
Modbus client in a process of its own that reads the defect registers. A latency runs from `timing.published_ns` of the
message that opened a defect to the answer in which a PLC first finds its number; a Subscriber in a process of its own
says how much of it is the wire alone. All on one host, so on one clock.
"""

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pymodbus.client import ModbusTcpClient
from rich.console import Console
from rich.table import Table

from benchmarks.load import MemoryCamera, in_folder, simulated_frames
from benchmarks.run import DEFECTS_PER_M, machine
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Lost, Subscriber
from linewatch.daemon.service import open_service
from linewatch.inference.processor import available_cores
from linewatch.plant.modbus.registers import REGISTERS
from linewatch.plant.plc.codes import DEFECTS_SHOWN
from linewatch.service_settings import ServiceSettings, load_settings
from linewatch.wire.schema import DefectMessage

FIRST = next(register.address for register in REGISTERS if register.name == "defect_1_class")
SLOT = next(register.address for register in REGISTERS if register.name == "defect_2_class") - FIRST
NUMBER = next(register.address for register in REGISTERS if register.name == "defect_1_number") - FIRST
SETTLE_S = 3.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds from publication."""

    who: str
    defects: int
    unseen: int  # pushed out of the registers between two reads
    p50_ms: float
    p99_ms: float
    max_ms: float
    request_p50_ms: float | None  # of one read, from its request to its answer
    request_p99_ms: float | None
    requests_per_s: float | None


class Peer:
    """A process that starts with `work(pipe, *arguments)` and sends what it found when it is told to end."""

    def __init__(self, work: object, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
        self._process.start()
        if not self._pipe.poll(60):
            raise SystemExit(f"{work} did not start")
        self.started = self._pipe.recv()
        """What it sent when it had started."""

    def found(self) -> object:
        self._pipe.send("end")
        found = self._pipe.recv()
        self._process.join(10)
        return found


def listen(pipe: Connection, publish: str, serve: str) -> None:
    """(published_ns, received_ns) of every defect as it was first called, and messages lost."""
    opened, called, lost, greeted = [], set[str](), 0, False
    with Subscriber(publish, serve, ["defect"], since="epoch") as subscriber:
        while not pipe.poll():
            message = subscriber.poll(0.1)
            if not greeted and subscriber.heartbeat_age_s < 1.0:
                pipe.send("hearing")
                greeted = True
            if isinstance(message, DefectMessage) and not message.tentative and message.id not in called:
                called.add(message.id)  # from here on it has a number
                opened.append((message.timing.published_ns, time.monotonic_ns()))
            lost += isinstance(message, Lost)
    pipe.send((opened, lost))


def poll(pipe: Connection, port: int, poll_ms: float) -> None:
    """{number: seen_ns}, and how long each request took."""
    seen: dict[int, int] = {}
    took_ns = []
    chance = random.Random(poll_ms)
    with ModbusTcpClient("127.0.0.1", port=port) as plc:
        pipe.send("connected")
        begun_s = next_s = time.monotonic()
        while not pipe.poll():
            asked_ns = time.monotonic_ns()
            registers = plc.read_input_registers(FIRST, count=DEFECTS_SHOWN * SLOT).registers
            now_ns = time.monotonic_ns()
            took_ns.append(now_ns - asked_ns)
            for at in range(NUMBER, len(registers), SLOT):
                if number := registers[at] << 16 | registers[at + 1]:
                    seen.setdefault(number, now_ns)
            next_s = max(
                next_s + poll_ms / 1000 * chance.uniform(0.5, 1.5), time.monotonic()
            )  # never in step with frames
            time.sleep(max(0.0, next_s - time.monotonic()))
        pipe.send((seen, took_ns, time.monotonic() - begun_s))


def open_bridge(folder: Path, publish: str, serve: str) -> tuple[subprocess.Popen[str], int]:
    """The bridge, and the port where it answers."""
    config = folder / "modbus.toml"
    config.write_text(
        f'[service]\npublish = "{publish}"\nserve = "{serve}"\n[listen]\nport = 0\n[class_codes]\nscratch = 1\n'
    )
    bridge = subprocess.Popen(
        [sys.executable, "-m", "linewatch.cli", "bridge", "modbus", str(config)], stderr=subprocess.PIPE, text=True
    )
    assert bridge.stderr is not None
    for line in bridge.stderr:
        event = json.loads(line)
        if event["event"] == "listening":
            return bridge, event["port"]
    raise SystemExit("the bridge did not start")


def measure(settings: ServiceSettings, seconds: float, rate_hz: float, polls_ms: Sequence[float]) -> list[Latency]:
    """One run; the wire first, then a PLC for each polling interval."""
    clock = MonotonicClock()
    frames, _ = simulated_frames(200, DEFECTS_PER_M, settings.line)
    with TemporaryDirectory(prefix="linewatch-modbus-") as name:
        folder = Path(name)
        settings, publish, serve = in_folder(settings, folder)
        bridge, port = open_bridge(folder, publish, serve)
        plcs = [Peer(poll, port, poll_ms) for poll_ms in polls_ms]
        listener: list[Peer] = []
        camera = MemoryCamera(frames, round(seconds * rate_hz), settings.line, clock, rate_hz)
        try:
            with open_service(settings, camera, clock) as service:
                service.run(lambda: listener.append(Peer(listen, publish, serve)), hold_s=SETTLE_S)
            polled = [plc.found() for plc in plcs]
            opened, lost = listener[0].found()  # type: ignore[misc]
        finally:
            bridge.terminate()
            bridge.communicate(timeout=10)
    if lost:
        raise SystemExit(f"{lost} gaps on the wire; nothing can be told of latency")
    stamps = np.array(opened, np.float64)
    found = [_latency("wire alone", (stamps[:, 1] - stamps[:, 0]) / 1e6, 0)]
    for poll_ms, (seen, took_ns, elapsed_s) in zip(polls_ms, polled, strict=True):  # type: ignore[misc]
        before = len(opened) - max(seen)  # opened before the bridge was connected: the last number is the last opened
        latencies_ms = [(at_ns - opened[before + number - 1][0]) / 1e6 for number, at_ns in seen.items()]
        found.append(
            _latency(
                f"PLC, every {poll_ms:g} ms",
                np.array(latencies_ms),
                max(seen) - len(seen),
                np.array(took_ns) / 1e6,
                len(took_ns) / elapsed_s,
            )
        )
    return found


def _latency(
    who: str,
    values_ms: np.ndarray,
    unseen: int,
    took_ms: np.ndarray | None = None,
    requests_per_s: float | None = None,
) -> Latency:
    p50, p99 = np.percentile(values_ms, [50, 99])
    asked = [None, None] if took_ms is None else [float(value) for value in np.percentile(took_ms, [50, 99])]
    return Latency(who, len(values_ms), unseen, float(p50), float(p99), float(values_ms.max()), *asked, requests_per_s)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=40.0, help="frames per second")
    parser.add_argument("--poll-ms", type=float, nargs="+", default=[5.0, 50.0], help="one PLC each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/modbus.json"))
    options = parser.parse_args(arguments)
    console = Console(width=120)

    settings = load_settings(options.config)
    inference = settings.inference.model_copy(update={"workers": options.workers})
    settings = settings.model_copy(update={"inference": inference})
    report = {"machine": machine(settings, options.workers or available_cores()), "rate_hz": options.rate_hz}
    latencies = measure(settings, options.seconds, options.rate_hz, options.poll_ms)
    table = Table(
        "published to", "defects", "unseen", "p50 / p99 / max ms", "request p50 / p99 ms", "requests/s",
        title=f"{options.rate_hz:g} frames/s for {options.seconds:g} s",
    )  # fmt: skip
    for row in latencies:
        request = "" if row.request_p50_ms is None else f"{row.request_p50_ms:.2f} / {row.request_p99_ms:.2f}"
        rate = "" if row.requests_per_s is None else f"{row.requests_per_s:.0f}"
        ms = f"{row.p50_ms:.1f} / {row.p99_ms:.1f} / {row.max_ms:.1f}"
        table.add_row(row.who, str(row.defects), str(row.unseen), ms, request, rate)
    console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in latencies]
    options.out.write_text(json.dumps({**report, "load_after": os.getloadavg()[0], "latencies": rows}, indent=1) + "\n")
    console.print(options.out)


if __name__ == "__main__":
    main()
