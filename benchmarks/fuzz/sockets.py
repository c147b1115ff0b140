"""Fuzzes every listening socket of a line: `python -m benchmarks.fuzz.sockets --requests 20000 --seed 1`.

Real processes on a loopback of their own: a service with its three sockets and its endpoint for Prometheus, a Modbus
and an OPC UA bridge, and the page. What real clients send is recorded first, byte for byte; a request is some of that
with mutations, on a connection of its own. Meanwhile a subscriber follows the line. Held is a socket whose process goes
on, whose line published every frame, to which nobody's command was carried out, and whose memory, threads and
descriptors do not grow.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psutil
from asyncua import Client as OpcuaClient
from pymodbus.client import ModbusTcpClient
from rich.console import Console
from rich.progress import track

from benchmarks.faults import ROOT, in_namespace
from benchmarks.fuzz.mutation import mutated
from linewatch.client import Commander, Lost, Subscriber
from linewatch.wire.schema import CoilAction, FrameMessage, StatusMessage

PATIENCE_S: Final = 90.0
SETTLE_S: Final = 60.0
"""At most, until the connections that are half open have been given up."""
MOST_MORE: Final = 8
"""Threads and descriptors more than before."""
MOST_MORE_MB: Final = 20.0
"""Memory that a socket's buffers and the interpreter may take during a run, beside what grows with requests."""
_RESET: Final = struct.pack("ii", 1, 0)  # no TIME_WAIT: there are not enough ports for a million
_NAMES: Final = ("publish", "serve", "commands", "monitoring", "modbus", "opcua", "page")
_CONFIGS: Final = {
    "service": """
taxonomy = "{root}/configs/taxonomy.toml"
[line]
line_rate_hz = 300.0
[source]
type = "simulator"
length_m = 20000.0
threading_m = 0.0
[inference]
engines_dir = "{root}/engines"
chain = "cascade"
workers = 1
[journal]
dir = "{folder}/journal"
max_mb = 64
[monitoring]
port = {monitoring}
[wire]
publish = "tcp://127.0.0.1:{publish}"
serve = "tcp://127.0.0.1:{serve}"
commands = "tcp://127.0.0.1:{commands}"
""",
    "modbus": """
[service]
publish = "tcp://127.0.0.1:{publish}"
serve = "tcp://127.0.0.1:{serve}"
[listen]
port = {modbus}
[class_codes]
scratch = 8
""",
    "opcua": """
system = "fuzzed"
pki_dir = "{folder}/pki"
anonymous = true
[service]
publish = "tcp://127.0.0.1:{publish}"
serve = "tcp://127.0.0.1:{serve}"
[listen]
address = "127.0.0.1"
port = {opcua}
""",
    "page": """
taxonomy = "{root}/configs/taxonomy.toml"
line_name = "Fuzzed"
[service]
publish = "tcp://127.0.0.1:{publish}"
serve = "tcp://127.0.0.1:{serve}"
[commands]
commands = "tcp://127.0.0.1:{commands}"
[listen]
port = {page}
[access]
people_file = "{folder}/people.json"
""",
}
_COMMANDS: Final = {"service": "run", "modbus": "bridge modbus", "opcua": "bridge opcua", "page": "hmi"}
OWNERS: Final = {
    **dict.fromkeys(("publish", "serve", "commands", "monitoring"), "service"),
    **{name: name for name in ("modbus", "opcua", "page")},
}
"""The process of each socket."""


@dataclass(slots=True)
class SocketOutcome:
    """One socket. grown_mb: of its process behind a tenth of the requests. silent_s: longest between two heartbeats."""

    socket: str
    requests: int = 0
    requests_per_s: float = 0.0
    samples: int = 0
    grown_mb: float = 0.0
    threads: int = 0
    descriptors: int = 0
    silent_s: float = 0.0
    lost: int = 0
    wrong: str = ""


class RecordingProxy:
    """Listens, passes everything on to a port and back, and keeps what each client sent, in pieces as it came."""

    def __init__(self, port: int) -> None:
        self.sent: list[bytes] = []
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for source, sink, kept in ((client, server, self.sent), (server, client, None)):
                    threading.Thread(target=self._pass, args=(source, sink, kept), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, kept: list[bytes] | None) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if kept is not None:
                    kept.append(data)
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class FuzzedLine:
    """The processes, and a subscriber that follows the service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [socket.create_server(("127.0.0.1", 0)) for _ in _NAMES]
        self.ports = {name: int(one.getsockname()[1]) for name, one in zip(_NAMES, found, strict=True)}
        for one in found:
            one.close()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, text in _CONFIGS.items():
            config = folder / f"{name}.toml"
            config.write_text(text.format(root=ROOT, folder=folder, **self.ports))
            with (folder / f"{name}.log").open("wb") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "linewatch.cli", *_COMMANDS[name].split(), str(config)],
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
        self.frames = self.lost = 0
        self.silent_s = 0.0
        self._beat_s = time.monotonic()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def wait_until_ready(self) -> None:
        """Wait until every socket listens and a frame has come. Raises SystemExit."""
        end_s = time.monotonic() + PATIENCE_S
        waiting = set(_NAMES)
        while waiting or not self.frames:
            for name in list(waiting):
                with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[name]), 1.0):
                    waiting.discard(name)
            if time.monotonic() > end_s:
                raise SystemExit(f"not ready within {PATIENCE_S:g} s: {', '.join(waiting) or 'no frame came'}")
            time.sleep(0.1)

    def begin(self) -> None:
        """Count what the subscriber misses from now on."""
        self.lost, self.silent_s, self._beat_s = 0, 0.0, time.monotonic()

    def _watch(self) -> None:
        ends = [f"tcp://127.0.0.1:{self.ports[name]}" for name in ("publish", "serve")]
        with Subscriber(ends[0], ends[1], ["status", "frame"]) as wire:
            while not self._over.is_set():
                message = wire.poll(0.1)
                if isinstance(message, Lost):
                    self.lost += 1
                elif isinstance(message, FrameMessage):
                    self.frames += 1
                elif isinstance(message, StatusMessage):
                    now_s = time.monotonic()
                    self.silent_s, self._beat_s = max(self.silent_s, now_s - self._beat_s), now_s

    def accepted(self) -> int:
        """Return how many commands the service has carried out."""
        lines = [line for path in (self.folder / "journal" / "audit").glob("*.jsonl") for line in path.open()]
        return sum(json.loads(line).get("outcome") == "accepted" for line in lines)

    def end(self) -> None:
        self._over.set()
        self._watching.join(10)
        for process in self.processes.values():
            process.kill()
            process.wait()


def _ask_wire(line: FuzzedLine, name: str, port: int) -> None:
    ends = {one: f"tcp://127.0.0.1:{port if one == name else line.ports[one]}" for one in ("publish", "serve")}
    if name == "commands":
        with suppress(Exception), Commander(f"tcp://127.0.0.1:{port}") as commander:
            commander.coil(CoilAction.END, "NO-SUCH-COIL", by="nobody")
        return
    with Subscriber(ends["publish"], ends["serve"], ["frame", "alarm"], since="journal") as wire:
        end_s = time.monotonic() + 3.0
        while time.monotonic() < end_s:
            wire.poll(0.1)


def _ask_modbus(port: int) -> None:
    client = ModbusTcpClient("127.0.0.1", port=port, timeout=2)
    client.connect()
    client.read_input_registers(0, count=60)
    client.read_discrete_inputs(0, count=16)
    client.read_coils(0, count=8)
    client.write_coil(0, True)
    client.read_holding_registers(0, count=10)
    client.close()


async def _ask_opcua(port: int) -> None:
    async with OpcuaClient(f"opc.tcp://127.0.0.1:{port}/", timeout=10) as client:
        await client.nodes.objects.get_children()
        await client.get_namespace_array()
        await client.nodes.server_state.read_value()


def _ask_http(port: int, *paths: str) -> None:
    for path in paths:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read()
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/login", data=b"name=a&password=b&token=c", timeout=5).read()


def recorded(line: FuzzedLine, name: str) -> list[bytes]:
    """Return what real clients send to a socket, in pieces, and the whole of it."""
    tap = RecordingProxy(line.ports[name])
    clients: dict[str, Callable[[], object]] = {
        "monitoring": lambda: _ask_http(tap.port, "/metrics", "/"),
        "modbus": lambda: _ask_modbus(tap.port),
        "opcua": lambda: asyncio.run(_ask_opcua(tap.port)),
        "page": lambda: _ask_http(tap.port, "/", "/login", "/live", "/alarms?class=scratch", "/static/none.js"),
    }
    try:
        with suppress(Exception):  # a client that is refused has sent something, too
            clients.get(name, lambda: _ask_wire(line, name, tap.port))()
    finally:
        tap.close()
    if not tap.sent:
        raise SystemExit(f"{name}: no client sent anything")
    return [*tap.sent, b"".join(tap.sent)]


def fuzz(line: FuzzedLine, name: str, requests: int, chance: random.Random, console: Console) -> SocketOutcome:
    """Send so many requests to a socket, each on a connection of its own."""
    samples = recorded(line, name)
    outcome = SocketOutcome(name, samples=len(samples))
    process = line.processes[OWNERS[name]]
    watched = psutil.Process(process.pid)
    before = (watched.num_threads(), watched.num_fds())
    accepted, settled_mb = line.accepted(), 0.0
    line.begin()
    began_s = time.monotonic()
    for number in track(range(requests), description=f"{name:<10}", console=console):
        if number == requests // 10:
            settled_mb = watched.memory_info().rss / 1e6
        _send(line.ports[name], samples, chance)
        outcome.requests += 1
        if process.poll() is not None:
            outcome.wrong = f"ended with {process.returncode}"
            break
    outcome.requests_per_s = round(outcome.requests / (time.monotonic() - began_s), 1)
    end_s = time.monotonic() + SETTLE_S
    while time.monotonic() < end_s and process.poll() is None and watched.num_fds() > before[1] + MOST_MORE:
        time.sleep(0.5)
    if process.poll() is None:
        outcome.grown_mb = round(watched.memory_info().rss / 1e6 - settled_mb, 1)
        after = (watched.num_threads(), watched.num_fds())
        outcome.threads, outcome.descriptors = after[0] - before[0], after[1] - before[1]
    outcome.silent_s, outcome.lost = round(line.silent_s, 2), line.lost
    if not outcome.wrong:
        outcome.wrong = "; ".join(_wrong(outcome, line.accepted() - accepted))
    return outcome


def _send(port: int, samples: list[bytes], chance: random.Random) -> None:
    """Send what a client sends first, now and then, then something mutated; look whether there is an answer."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 2.0) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if chance.random() < 0.5:
            for piece in samples[: chance.randint(1, len(samples) - 1)]:
                peer.sendall(piece)
        peer.sendall(mutated(samples, chance))
        if chance.random() < 0.1:
            peer.settimeout(0.02)
            peer.recv(4096)


def _wrong(outcome: SocketOutcome, accepted: int) -> Iterator[str]:
    if accepted:
        yield f"{accepted} commands of nobody were carried out"
    if outcome.lost:
        yield f"{outcome.lost} times messages were lost"
    if outcome.grown_mb > MOST_MORE_MB:
        yield f"memory grew by {outcome.grown_mb} MB"
    if max(outcome.descriptors, outcome.threads) > MOST_MORE:
        yield f"{outcome.threads} threads and {outcome.descriptors} descriptors more"


@contextmanager
def _line(folder: Path, out: Path) -> Iterator[FuzzedLine]:
    line = FuzzedLine(folder)
    try:
        line.wait_until_ready()
        yield line
    finally:
        line.end()
        for log in folder.glob("*.log"):
            (out / log.name).write_bytes(log.read_bytes()[-5_000_000:])


def main() -> int:
    """Fuzz, print a table and write it. Exit code 1: a socket did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000, help="to each socket")
    parser.add_argument("--socket", nargs="*", choices=_NAMES, default=_NAMES, help="which")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz-sockets"), help="folder of the table and the logs")
    arguments = parser.parse_args()
    if (code := in_namespace("benchmarks.fuzz.sockets", sys.argv[1:])) is not None:
        return code
    console, outcomes = Console(soft_wrap=True), []
    arguments.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="linewatch-sockets-") as name, _line(Path(name), arguments.out) as line:
        for one in arguments.socket:
            outcomes.append(fuzz(line, one, arguments.requests, random.Random(f"{arguments.seed} {one}"), console))
            (arguments.out / "sockets.json").write_text(json.dumps([asdict(each) for each in outcomes], indent=1))
    console.print(table(outcomes))
    (arguments.out / "sockets.md").write_text(table(outcomes))
    return 1 if any(one.wrong for one in outcomes) else 0


def table(outcomes: list[SocketOutcome]) -> str:
    """Return the outcomes as Markdown."""
    rows = ["| socket | requests | a second | memory grew, MB | threads, descriptors more | longest silence | held |"]
    rows.append(f"|{'---|' * 7}")
    rows += [
        f"| {one.socket} | {one.requests:,} | {one.requests_per_s:,.0f} | {one.grown_mb} | {one.threads}, "
        f"{one.descriptors} | {one.silent_s} s | {one.wrong or 'yes'} |"
        for one in outcomes
    ]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
