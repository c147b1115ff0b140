"""How soon does the plant see a defect that is under the camera? `python -m benchmarks.plant`

The real service at a fixed rate over frames in memory, one bridge at a time in a process of its own, and a client of
its protocol in another one. A latency runs from `timing.captured_ns` of the frame that called a defect, when its last
line was taken, to the moment at which the client has the defect. A Subscriber in a process of its own says how much of
it the inspection and the wire take. All on one host, so on one clock.

A protocol is one entry of `LINKS`: a function that starts its bridge and its client, and returns a `Link`.
"""

import argparse
import json
import os
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
from rich.console import Console
from rich.table import Table

from benchmarks.load import MemoryCamera, in_folder, simulated_frames
from benchmarks.modbus import Peer, open_bridge, poll
from benchmarks.mqtt import mqtt
from benchmarks.opcua import OpcuaLink
from benchmarks.playback import PlayedService
from benchmarks.run import DEFECTS_PER_M, machine
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Lost, Subscriber
from linewatch.daemon.service import open_service
from linewatch.inference.processor import available_cores
from linewatch.plant.plc.codes import DEFECTS_SHOWN
from linewatch.plant.s7.layout import STATUS
from linewatch.service_settings import ServiceSettings, load_settings
from linewatch.wire.schema import DefectMessage

SETTLE_S = 3.0
POLL_MS = 10.0
"""A PLC's cycle, in which it reads."""
AIM_P99_MS = 150.0

Seen = Mapping[int, int] | Mapping[str, int]
"""When the client had each defect, in monotonic ns: by the defect's id, or by its number, where the bridge counts."""


@dataclass(frozen=True)
class Link:
    """A started bridge with its client. `seen` ends the client and tells what it saw; `close` ends the bridge."""

    seen: Callable[[], Seen]
    close: Callable[[], None]


Start = Callable[[Path, str, str], Link]
"""Takes (a folder to write in, the service's publish, its serve)."""


def modbus(folder: Path, publish: str, serve: str) -> Link:
    """A PLC that reads the defect registers in each of its cycles."""
    bridge, port = open_bridge(folder, publish, serve)
    plc = Peer(poll, port, POLL_MS)

    def close() -> None:
        bridge.terminate()
        bridge.communicate(timeout=10)

    return Link(lambda: plc.found()[0], close)  # type: ignore[index]


def s7(folder: Path, publish: str, serve: str) -> Link:
    """A PLC, in which python-snap7's server stands for the CPU: its program looks at the data block in each cycle."""
    plc = Peer(s7_plc)
    config = folder / "s7.toml"
    config.write_text(
        f'[service]\npublish = "{publish}"\nserve = "{serve}"\n[plc]\naddress = "127.0.0.1"\nport = {plc.started}\n'
        "[class_codes]\nscratch = 1\n"
    )
    bridge = subprocess.Popen(
        [sys.executable, "-m", "linewatch.cli", "bridge", "s7", str(config)], stderr=subprocess.PIPE, text=True
    )
    assert bridge.stderr is not None
    for line in bridge.stderr:
        if json.loads(line)["event"] == "plc_served":
            break

    def close() -> None:
        bridge.terminate()
        bridge.communicate(timeout=20)

    return Link(plc.found, close)  # type: ignore[arg-type,return-value]


def s7_plc(pipe: Connection) -> None:
    """Tells its port, then {number: seen_ns}."""
    from snap7.server import Server
    from snap7.type import SrvArea

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    block, seen = bytearray(STATUS.size), dict[int, int]()
    numbers = [STATUS.offset(f"defect_{n}_number") for n in range(1, DEFECTS_SHOWN + 1)]
    server = Server(log=False)
    server.host = "127.0.0.1"
    server.register_area(SrvArea.DB, 100, block)
    server.start(tcp_port=port)
    pipe.send(port)
    while not pipe.poll():
        now_ns = time.monotonic_ns()
        for at in numbers:
            if number := int.from_bytes(block[at : at + 4], "big"):
                seen.setdefault(number, now_ns)
        time.sleep(POLL_MS / 1000)
    pipe.send(seen)


def mqtt_topic(folder: Path, publish: str, serve: str) -> Link:
    """A subscriber to the topic of defects at mosquitto."""
    return Link(*mqtt(folder, publish, serve))


def opcua(folder: Path, publish: str, serve: str) -> Link:
    """An OPC UA client that monitors the slots of the newest defects."""
    link = OpcuaLink(folder, publish, serve, DEFECTS_SHOWN)
    return Link(lambda: link.seen()[0], link.close)


LINKS: Mapping[str, Start] = {
    "modbus": modbus,
    "mqtt": mqtt_topic,
    "opcua": opcua,
    "s7": s7,
}


@dataclass(frozen=True)
class LinkLatency:
    """Milliseconds from the last line of the frame that called the defect."""

    link: str
    rate_hz: float
    defects: int
    unseen: int  # that the client never had
    p50_ms: float
    p99_ms: float
    max_ms: float


def listen(pipe: Connection, publish: str, serve: str) -> None:
    """(id, captured_ns, received_ns) of every defect when it was first called, and the number of gaps."""
    called: dict[str, tuple[int, int]] = {}
    lost, greeted = 0, False
    with Subscriber(publish, serve, ["defect"], since="epoch") as subscriber:
        while not pipe.poll():
            message = subscriber.poll(0.1)
            if not greeted and subscriber.heartbeat_age_s < 1.0:
                pipe.send("hearing")
                greeted = True
            if isinstance(message, DefectMessage) and not message.tentative:
                called.setdefault(message.id, (message.timing.captured_ns, time.monotonic_ns()))
            lost += isinstance(message, Lost)
    pipe.send(([(name, *stamps) for name, stamps in called.items()], lost))


def measure(
    name: str, settings: ServiceSettings, seconds: float, rate_hz: float, recording: Path | None = None
) -> list[LinkLatency]:
    """One run over one protocol; the wire's own latency first. recording: is played instead of inspecting."""
    clock = MonotonicClock()
    frames, _ = simulated_frames(200, DEFECTS_PER_M, settings.line)
    with TemporaryDirectory(prefix="linewatch-plant-") as temporary:
        folder = Path(temporary)
        settings, publish, serve = in_folder(settings, folder)
        played = PlayedService(recording, folder) if recording else None
        if played:
            publish, serve = played.publish, played.serve
        link = LINKS[name](folder, publish, serve)
        listener: list[Peer] = []
        camera = MemoryCamera(frames, round(seconds * rate_hz), settings.line, clock, rate_hz)
        try:
            if played:
                played.run(lambda: listener.append(Peer(listen, publish, serve)), seconds, rate_hz, SETTLE_S)
            else:
                with open_service(settings, camera, clock) as service:
                    service.run(lambda: listener.append(Peer(listen, publish, serve)), hold_s=SETTLE_S)
            seen = link.seen()
            called, lost = listener[0].found()  # type: ignore[misc]
        finally:
            link.close()
    if lost or not called:
        raise SystemExit(f"{len(called)} defects and {lost} gaps on the wire; nothing can be told of latency")
    captured = {key: stamp for key, stamp, _ in called}
    wire_ms = [(received - stamp) / 1e6 for _, stamp, received in called]
    seen_ms = [(at - captured[key]) / 1e6 for key, at in _by_id(seen, [key for key, *_ in called]).items()]
    return [
        _latency("the wire alone", rate_hz, wire_ms, 0),
        _latency(name, rate_hz, seen_ms, len(called) - len(seen_ms)),
    ]


def _by_id(seen: Seen, called: Sequence[str]) -> dict[str, int]:
    """Return when each defect was seen, by its id. called: the ids in the order in which bridges number them."""
    newest = max((key for key in seen if isinstance(key, int)), default=0)
    before = len(called) - newest  # called before the bridge was connected: the greatest number is the last defect
    found = {key if isinstance(key, str) else called[before + key - 1]: at for key, at in seen.items()}
    return {key: at for key, at in found.items() if key in called}


def _latency(link: str, rate_hz: float, values_ms: Sequence[float], unseen: int) -> LinkLatency:
    if not values_ms:
        raise SystemExit(f"{link}: the client saw no defect")
    p50, p99 = np.percentile(values_ms, [50, 99])
    return LinkLatency(link, rate_hz, len(values_ms), unseen, float(p50), float(p99), max(values_ms))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, nargs="+", default=[40.0, 160.0], help="frames per second")
    parser.add_argument("--links", nargs="+", choices=sorted(LINKS), default=sorted(LINKS))
    parser.add_argument("--played", type=Path, help="folder of recordings to play instead of inspecting")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/plant.json"))
    options = parser.parse_args(arguments)
    console = Console(width=120)

    settings = load_settings(options.config)
    inference = settings.inference.model_copy(update={"workers": options.workers})
    settings = settings.model_copy(update={"inference": inference})
    rows: list[LinkLatency] = []
    for rate_hz in options.rate_hz:
        for name in options.links:
            rows += measure(name, settings, options.seconds, rate_hz, options.played)
    table = Table(
        "frames/s", "link", "defects", "unseen", "p50 ms", "p99 ms", "max ms",
        title=f"from the camera to the plant, on {available_cores()} cores; aim: p99 <= {AIM_P99_MS:g} ms",
    )  # fmt: skip
    for row in rows:
        figures = (f"{value:.1f}" for value in (row.p50_ms, row.p99_ms, row.max_ms))
        table.add_row(f"{row.rate_hz:g}", row.link, str(row.defects), str(row.unseen), *figures)
    console.print(table)
    report = {"machine": machine(settings, options.workers or available_cores()), "load_after": os.getloadavg()[0]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**report, "latencies": [asdict(row) for row in rows]}, indent=1) + "\n")
    console.print(options.out)


if __name__ == "__main__":
    main()
