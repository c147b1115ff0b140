"""1,000 monitored items on the OPC UA server while the line runs: `python -m benchmarks.opcua`

The real service at a fixed rate over frames in memory, the bridge in a process of its own, and a client of asyncua in
another one that monitors every variable of `newest_defects` slots, encrypted. Reported: frames decided and missed, the
notifications that the client got, the processor time of the bridge, and how soon the client had a defect after its
last line was taken. All on one host, so on one clock. The client needs about as much processor time as the bridge.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from asyncua import Client, ua
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from rich.console import Console
from rich.table import Table

from benchmarks.load import MemoryCamera, in_folder, simulated_frames
from benchmarks.modbus import Peer
from benchmarks.playback import PlayedService
from benchmarks.run import DEFECTS_PER_M
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Subscriber
from linewatch.contracts.verdict import Quality
from linewatch.daemon.service import open_service
from linewatch.plant.opcua.values import DEFECT
from linewatch.service_settings import load_settings
from linewatch.wire.schema import DefectMessage, FrameMessage

SLOTS = 72  # of 14 variables each: 1,008 monitored items
PUBLISH_MS = 20.0
SETTLE_S = 3.0
_URI = "urn:benchmark:client"


@dataclass(frozen=True)
class OpcuaLoad:
    """One run. latency: milliseconds from the last line of the frame that called a defect."""

    rate_hz: float
    items: int
    frames: int
    frames_missed: int  # with a line that nobody looked at
    notifications_per_s: float
    bridge_cores: float
    defects: int
    unseen: int
    p50_ms: float
    p99_ms: float


class OpcuaLink:
    """The bridge and its client. `seen` ends the client."""

    def __init__(self, folder: Path, publish: str, serve: str, slots: int = SLOTS) -> None:
        self._make_certificates(folder)
        config = folder / "opcua.toml"
        config.write_text(
            f'pki_dir = "{folder}/pki"\nanonymous = true\nnewest_defects = {slots}\n'
            f'[service]\npublish = "{publish}"\nserve = "{serve}"\n[listen]\nport = 0\n'
        )
        command = [sys.executable, "-m", "linewatch.cli", "bridge", "opcua", str(config)]
        self._bridge = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._bridge.stderr is not None
        events = (json.loads(line) for line in self._bridge.stderr)
        port = next(event["port"] for event in events if event["event"] == "listening")
        self.process = psutil.Process(self._bridge.pid)
        self._client = Peer(monitor, str(folder), port, slots)

    def seen(self) -> tuple[dict[str, int], int]:
        """Return when the client had each defect, in monotonic ns by id, and how many notifications it got."""
        return self._client.found()  # type: ignore[return-value]

    def close(self) -> None:
        """End the bridge."""
        self._bridge.terminate()
        self._bridge.communicate(timeout=30)

    @staticmethod
    def _make_certificates(folder: Path) -> None:
        key = generate_private_key()
        names: list[Any] = [x509.UniformResourceIdentifier(_URI)]
        certificate = generate_self_signed_app_certificate(key, "client", {}, names, [ExtendedKeyUsageOID.CLIENT_AUTH])
        (folder / "pki" / "trusted").mkdir(parents=True)
        for path in (folder / "client.der", folder / "pki" / "trusted" / "client.der"):
            path.write_bytes(certificate.public_bytes(Encoding.DER))
        (folder / "client.pem").write_bytes(dump_private_key_as_pem(key))


class _Seen:
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self.defects: dict[str, int] = {}
        self.notifications = 0

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.notifications += 1
        if value and self._names.get(node.nodeid.Identifier) == "Id":
            self.defects.setdefault(value, time.monotonic_ns())


def monitor(pipe: Connection, folder: str, port: int, slots: int) -> None:
    """Monitor every variable of the newest defects; send ({id: seen_ns}, notifications)."""
    pipe.send(asyncio.run(_monitor(pipe, Path(folder), port, slots)))


async def _monitor(pipe: Connection, folder: Path, port: int, slots: int) -> tuple[dict[str, int], int]:
    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=60)
    client.application_uri = _URI
    await client.set_security(
        SecurityPolicyBasic256Sha256,
        str(folder / "client.der"),
        str(folder / "client.pem"),
        server_certificate=str(folder / "pki" / "own" / "certificate.der"),
    )
    async with client:
        own = await client.get_namespace_index("urn:linewatch:opcua")
        names = {f"NewestDefects.Defect{n}.{one.name}": one.name for n in range(1, slots + 1) for one in DEFECT}
        seen = _Seen(names)
        subscription = await client.create_subscription(PUBLISH_MS, seen, queue_maxsize=100_000)
        await subscription.subscribe_data_change(
            [client.get_node(ua.NodeId(name, own)) for name in names], queuesize=20
        )
        pipe.send(f"{len(names)} items")
        while not pipe.poll():
            await asyncio.sleep(0.1)
        return seen.defects, seen.notifications


def listen(pipe: Connection, publish: str, serve: str) -> None:
    """Send ({id: captured_ns} of called defects, frames, frames with a missed line)."""
    called: dict[str, int] = {}
    frames, missed, greeted = 0, 0, False
    with Subscriber(publish, serve, ["defect", "frame"], since="epoch") as subscriber:
        while not pipe.poll():
            message = subscriber.poll(0.1)
            if not greeted and subscriber.heartbeat_age_s < 1.0:
                pipe.send("hearing")
                greeted = True
            if isinstance(message, DefectMessage) and not message.tentative:
                called.setdefault(message.id, message.timing.captured_ns)
            elif isinstance(message, FrameMessage):
                frames += 1
                missed += any(span.quality is Quality.MISSED for span in message.spans)
    pipe.send((called, frames, missed))


def measure(config: Path, seconds: float, rate_hz: float, slots: int, recording: Path | None = None) -> OpcuaLoad:
    """One run. recording: is played instead of inspecting."""
    settings, clock = load_settings(config), MonotonicClock()
    frames, _ = simulated_frames(200, DEFECTS_PER_M, settings.line)
    with TemporaryDirectory(prefix="linewatch-opcua-") as name:
        folder = Path(name)
        settings, publish, serve = in_folder(settings, folder)
        played = PlayedService(recording, folder) if recording else None
        if played:
            publish, serve = played.publish, played.serve
        link = OpcuaLink(folder, publish, serve, slots)
        listener: list[Peer] = []
        camera = MemoryCamera(frames, round(seconds * rate_hz), settings.line, clock, rate_hz)
        try:
            before_s, began_s = sum(link.process.cpu_times()[:2]), time.monotonic()
            if played:
                played.run(lambda: listener.append(Peer(listen, publish, serve)), seconds, rate_hz, SETTLE_S)
            else:
                with open_service(settings, camera, clock) as service:
                    service.run(lambda: listener.append(Peer(listen, publish, serve)), hold_s=SETTLE_S)
            used_s, took_s = sum(link.process.cpu_times()[:2]) - before_s, time.monotonic() - began_s
            seen, notifications = link.seen()
            called, decided, missed = listener[0].found()  # type: ignore[misc]
        finally:
            link.close()
    latencies = [(seen[key] - captured) / 1e6 for key, captured in called.items() if key in seen]
    p50, p99 = np.percentile(latencies or [float("nan")], [50, 99])
    return OpcuaLoad(
        rate_hz,
        slots * len(DEFECT),
        decided,
        missed,
        notifications / took_s,
        used_s / took_s,
        len(called),
        len(called) - len(latencies),
        float(p50),
        float(p99),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, nargs="+", default=[40.0])
    parser.add_argument("--slots", type=int, default=SLOTS, help="of 14 items each")
    parser.add_argument("--played", type=Path, help="folder of recordings to play instead of inspecting")
    parser.add_argument("--out", type=Path, default=Path("out/opcua.json"))
    options = parser.parse_args(arguments)
    rows = [
        measure(options.config, options.seconds, rate_hz, options.slots, options.played) for rate_hz in options.rate_hz
    ]
    table = Table(*(name.replace("_", " ") for name in asdict(rows[0])))
    for row in rows:
        table.add_row(*(f"{value:.4g}" for value in asdict(row).values()))
    console = Console(width=160)
    console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    console.print(options.out)


if __name__ == "__main__":
    main()
