"""Does each of 50 subscribers get every frame, and how soon? `python -m benchmarks.mqtt`

The real service at a fixed rate over frames in memory, the MQTT bridge in its own process, Debian's mosquitto, and as
many `mosquitto_sub`, each in a process of its own. A latency runs from `timing.captured_ns` of a frame, when its last
line was taken, to the moment at which a subscriber has its message. All on one host, so on one clock.

`mqtt` is the same with one subscriber to defects, for `benchmarks.plant`.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from benchmarks.load import MemoryCamera, in_folder, simulated_frames
from benchmarks.modbus import Peer
from benchmarks.playback import PlayedService
from benchmarks.run import DEFECTS_PER_M, machine
from linewatch.capture.clock import MonotonicClock
from linewatch.daemon.service import open_service
from linewatch.inference.processor import available_cores
from linewatch.service_settings import ServiceSettings, load_settings

SETTLE_S = 3.0
PREFIX = "bench/line1"
_NAME = re.compile(rb'"epoch":(\d+),"sequence":(\d+)')
_CAPTURED = re.compile(rb'"captured_ns":(\d+)')
_AT = re.compile(rb"^(\d+)\.(\d{9})")


@dataclass(frozen=True)
class SubscriberFigures:
    """What all subscribers got together. missed: messages that one did not get, summed."""

    rate_hz: float
    subscribers: int
    frames: int
    missed: int
    out_of_order: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class OpenedBridge:
    """A broker and a bridge that publishes to it; both end with `close`."""

    def __init__(self, folder: Path, publish: str, serve: str, topics: Sequence[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        broker, config = folder / "mosquitto.conf", folder / "mqtt.toml"
        broker.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        config.write_text(
            f'[service]\npublish = "{publish}"\nserve = "{serve}"\n[broker]\nurl = "mqtt://127.0.0.1:{self.port}"\n'
            f'[store]\nfile = "{folder}/mqtt.sqlite"\n[plain]\nprefix = "{PREFIX}"\n'
            f"topics = {json.dumps(list(topics))}\n"
        )
        self._broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", broker], stderr=subprocess.DEVNULL)
        self._bridge = subprocess.Popen(
            [sys.executable, "-m", "linewatch.cli", "bridge", "mqtt", str(config)], stderr=subprocess.PIPE, text=True
        )
        self.wait_for("broker_connected")

    def wait_for(self, event: str) -> None:
        """Return once the bridge has logged an event."""
        assert self._bridge.stderr is not None
        if not any(f'"{event}"' in line for line in self._bridge.stderr):
            raise SystemExit(f"the bridge ended before {event}")

    def close(self) -> None:
        self._bridge.terminate()
        self._bridge.communicate(timeout=10)
        self._broker.terminate()
        self._broker.wait(10)


def mqtt(folder: Path, publish: str, serve: str) -> tuple[Callable[[], Mapping[str, int]], Callable[[], None]]:
    """Start a broker, a bridge and a subscriber; return what tells when it had each defect, and what ends them."""
    opened = OpenedBridge(folder, publish, serve, ["defect"])
    subscriber = Peer(hear, opened.port)
    return subscriber.found, opened.close  # type: ignore[return-value]


def hear(pipe: Connection, port: int) -> None:
    """{id: heard_ns} of every defect when it was first called."""
    heard: dict[str, int] = {}

    def take(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        if not body["tentative"]:
            heard.setdefault(body["id"], time.monotonic_ns())

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_subscribe = lambda *_: pipe.send("subscribed")
    client.on_connect = lambda connected, *_: connected.subscribe(f"{PREFIX}/defect", 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    while not pipe.poll():
        time.sleep(0.05)
    client.loop_stop()
    pipe.send(heard)


def measure(
    settings: ServiceSettings, seconds: float, rate_hz: float, subscribers: int, recording: Path | None = None
) -> SubscriberFigures:
    """One run: every subscriber with every frame. recording: is played instead of inspecting."""
    clock = MonotonicClock()
    frames, _ = simulated_frames(200, DEFECTS_PER_M, settings.line)
    with TemporaryDirectory(prefix="linewatch-mqtt-") as name:
        folder = Path(name)
        settings, publish, serve = in_folder(settings, folder)
        played = PlayedService(recording, folder) if recording else None
        if played:
            publish, serve = played.publish, played.serve
        opened = OpenedBridge(folder, publish, serve, ["frame"])
        files = [folder / f"subscriber-{number}" for number in range(subscribers)]
        running = [_subscribe(opened.port, file) for file in files]
        time.sleep(1.0)  # for the last one's subscription
        count = round(seconds * rate_hz)
        camera = MemoryCamera(frames, count, settings.line, clock, rate_hz)
        unix_less_monotonic_ns = time.time_ns() - time.monotonic_ns()
        try:
            if played:
                played.run(lambda: opened.wait_for("synchronised"), seconds, rate_hz, SETTLE_S)
            else:
                with open_service(settings, camera, clock) as service:
                    service.run(lambda: opened.wait_for("synchronised"), hold_s=SETTLE_S)
            _wait_until_still(files)
        finally:
            for process in running:
                process.terminate()
                process.wait(10)
            opened.close()
        heard = [_heard(file, unix_less_monotonic_ns) for file in files]
    latencies = np.concatenate([latencies_ms for _, latencies_ms in heard])
    p50, p99 = np.percentile(latencies, [50, 99])
    expected = set(range(count))
    return SubscriberFigures(
        rate_hz,
        subscribers,
        count,
        sum(len(expected - set(sequences)) for sequences, _ in heard),
        sum(sequences != sorted(sequences) for sequences, _ in heard),
        float(p50),
        float(p99),
        float(latencies.max()),
    )


def _wait_until_still(files: Sequence[Path]) -> None:
    """Return when nothing has come for a second: on a busy machine, some of it is on its way for long."""
    before = -1
    while (now := sum(file.stat().st_size for file in files)) != before:
        before = now
        time.sleep(1.0)


def _subscribe(port: int, file: Path) -> subprocess.Popen[bytes]:
    with file.open("wb") as out:
        command = ["mosquitto_sub", "-p", str(port), "-q", "1", "-t", f"{PREFIX}/frame", "-F", "%U %p"]
        return subprocess.Popen(command, stdout=out)


def _heard(file: Path, unix_less_monotonic_ns: int) -> tuple[list[int], np.ndarray]:
    """Return the sequences in the order in which they came, and how many milliseconds each took."""
    sequences, latencies = [], []
    for line in file.read_bytes().splitlines():
        at, name, captured = _AT.match(line), _NAME.search(line), _CAPTURED.search(line)
        if at is None or name is None or captured is None:
            continue  # the last line, where the subscriber was ended
        at_ns = int(at[1]) * 10**9 + int(at[2]) - unix_less_monotonic_ns
        sequences.append(int(name[2]))
        latencies.append((at_ns - int(captured[1])) / 1e6)
    return sequences, np.array(latencies)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, nargs="+", default=[40.0, 160.0], help="frames per second")
    parser.add_argument("--subscribers", type=int, default=50)
    parser.add_argument("--played", type=Path, help="folder of recordings to play instead of inspecting")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/mqtt.json"))
    options = parser.parse_args(arguments)
    console = Console(width=120)

    settings = load_settings(options.config)
    inference = settings.inference.model_copy(update={"workers": options.workers})
    settings = settings.model_copy(update={"inference": inference})
    rows = [
        measure(settings, options.seconds, rate_hz, options.subscribers, options.played) for rate_hz in options.rate_hz
    ]
    table = Table(
        "frames/s", "subscribers", "frames", "missed", "out of order", "p50 / p99 / max ms",
        title=f"every frame to every subscriber, on {available_cores()} cores",
    )  # fmt: skip
    for row in rows:
        ms = f"{row.p50_ms:.1f} / {row.p99_ms:.1f} / {row.max_ms:.1f}"
        counts = (row.subscribers, row.frames, row.missed, row.out_of_order)
        table.add_row(f"{row.rate_hz:g}", *map(str, counts), ms)
    console.print(table)
    report = {"machine": machine(settings, options.workers or available_cores()), "load_after": os.getloadavg()[0]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**report, "runs": [asdict(row) for row in rows]}, indent=1) + "\n")
    console.print(options.out)


if __name__ == "__main__":
    main()
