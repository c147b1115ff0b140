"""How soon is a service there, and there again after a kill? `python -m benchmarks.restart`

The real service on simulated strip that runs on while it is down. *Start*: from the start of the process to READY=1,
which systemd waits for. *First frame*: from the start of the process to the first inspected frame that a subscriber
has. *After a kill*: from SIGKILL of the process, started again at once, to the first inspected frame that was captured
after it; under systemd RestartSec=1 comes on top. Each is told for both chains, with the CPU time of the start.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.faults import ROOT
from linewatch.client import Subscriber
from linewatch.wire.schema import FrameMessage

PATIENCE_S: Final = 60.0
CHAINS: Final = ("inspect", "cascade")


@dataclass(frozen=True)
class Restart:
    """Seconds of one round; ready_cpu_s: of all threads, until READY=1."""

    chain: str
    ready_s: float
    ready_cpu_s: float
    first_frame_s: float
    after_kill_s: float


class Manager:
    """Stands for systemd: receives what the process notifies."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(PATIENCE_S)

    def wait_until_ready(self) -> None:
        """Return when READY=1 has come. Raises TimeoutError."""
        while b"READY=1" not in self._socket.recv(65_536).split(b"\n"):
            pass

    def close(self) -> None:
        self._socket.close()


def measure(chain: str, folder: Path, line_rate_hz: float) -> Restart:
    """Start, kill and start again one service."""
    config = _written(chain, folder, line_rate_hz)
    manager = Manager(folder)
    try:
        with Subscriber(f"ipc://{folder}/publish", f"ipc://{folder}/serve", ["frame"]) as frames:
            begun_ns = time.monotonic_ns()
            with _service(config, manager) as process:
                manager.wait_until_ready()
                ready_s = _since(begun_ns)
                ready_cpu_s = _cpu_s(process.pid)
                first_frame_s = _first_inspected(frames, begun_ns)
                killed_ns = time.monotonic_ns()
                process.kill()
                process.wait()
            with _service(config, manager):
                return Restart(chain, ready_s, ready_cpu_s, first_frame_s, _first_inspected(frames, killed_ns))
    finally:
        manager.close()


def _written(chain: str, folder: Path, line_rate_hz: float) -> Path:
    path = folder / "service.toml"
    path.write_text(
        f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n'
        f"[line]\nline_rate_hz = {line_rate_hz}\n"
        f'[source]\ntype = "simulator"\nlength_m = 2000.0\ncoil = "RESTART"\nruns_on = "{folder}/began"\n'
        f'[inference]\nchain = "{chain}"\nengines_dir = "{ROOT}/engines"\n'
        f'[journal]\ndir = "{folder}/journal"\n'
        f'[wire]\npublish = "ipc://{folder}/publish"\nserve = "ipc://{folder}/serve"\n'
        f'commands = "ipc://{folder}/commands"\n'
    )
    return path


@contextmanager
def _service(config: Path, manager: Manager) -> Iterator[subprocess.Popen[bytes]]:
    with (config.parent / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "linewatch.cli", "run", str(config)],
            cwd=config.parent,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": manager.address},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _first_inspected(frames: Subscriber, after_ns: int) -> float:
    """Return the seconds from after_ns (monotonic) until an inspected frame that was captured later has come."""
    while _since(after_ns) < PATIENCE_S:
        message = frames.poll(0.05)
        if not isinstance(message, FrameMessage) or message.timing.captured_ns < after_ns:
            continue
        if any(span.quality.value == "inspected" for span in message.spans):
            return _since(after_ns)
    raise SystemExit(f"no frame was inspected within {PATIENCE_S:g} s; see service.log")


def _since(ns: int) -> float:
    return (time.monotonic_ns() - ns) / 1e9


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each chain, by turns")
    parser.add_argument("--line-rate-hz", type=float, default=2_000.0, help="of the simulated strip")
    parser.add_argument("--out", type=Path, help="also write JSON there")
    arguments = parser.parse_args()
    console = Console()
    rounds = []
    for chain in track(CHAINS * arguments.rounds, description="restarts", console=console):
        with TemporaryDirectory(prefix="linewatch-restart-") as folder:
            rounds.append(measure(chain, Path(folder), arguments.line_rate_hz))
    table = Table(title=f"Seconds, median (longest) of {arguments.rounds} rounds")
    for heading in ("chain", "start", "CPU time of it", "first frame", "after a kill"):
        table.add_column(heading)
    for chain in CHAINS:
        of = [one for one in rounds if one.chain == chain]
        names = ("ready_s", "ready_cpu_s", "first_frame_s", "after_kill_s")
        values = [[getattr(one, name) for one in of] for name in names]
        table.add_row(chain, *(f"{statistics.median(one):.2f} ({max(one):.2f})" for one in values))
    console.print(table)
    if arguments.out:
        told = {"line_rate_hz": arguments.line_rate_hz, "rounds": [asdict(one) for one in rounds]}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
