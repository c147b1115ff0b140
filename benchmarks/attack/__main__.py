"""Attacks a service of its own on this host and writes a table: `python -m benchmarks.attack --minutes 10`.

Everything is bounded, on loopback, and in a folder of its own. The disks that get full or go away are small tmpfs,
mounted in a mount namespace of this program, which therefore starts itself again by `unshare`. A fault that cannot be
made here is in the table as not tried.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.attack.peers import PEERS
from benchmarks.faults import ROOT, SmallDisk, hostile_peer, in_namespace, junk_of_level2, starve, stop_for
from linewatch.client import Lost, Subscriber
from linewatch.wire.schema import FrameMessage, StatusMessage

DISK_KB: Final = 24_000
MOST_MORE_MB: Final = 250.0
MOST_SILENT_S: Final = 3.0
RECOVERED_WITHIN_S: Final = 20.0

CONFIG: Final = """
taxonomy = "{root}/configs/taxonomy.toml"
[line]
line_rate_hz = {line_rate_hz}
[source]
type = "simulator"
length_m = 20000.0
[inference]
engines_dir = "{root}/engines"
workers = 1
[journal]
dir = "{folder}/disk/journal"
max_mb = 16
segment_mb = 4
held_mb = 8
[coil_data]
folder = "{folder}/level2"
[wire]
publish = "tcp://127.0.0.1:{port}"
serve = "tcp://127.0.0.1:{serve}"
commands = "tcp://127.0.0.1:{commands}"
"""


@dataclass(slots=True)
class AttackOutcome:
    """One attack. silent_s: the longest time between two heartbeats that a consumer saw, during the attack.

    recovered_s: from its end until strip is inspected again. lost: messages that a consumer could not get.
    """

    attack: str
    held: bool
    memory_mb: tuple[float, float, float] = (0.0, 0.0, 0.0)  # before, at most, after
    silent_s: float = 0.0
    recovered_s: float | None = None
    lost: int = 0
    notes: list[str] = field(default_factory=list)


class AttackedService:
    """`linewatch run` in a process of its own, and a consumer of it."""

    def __init__(self, folder: Path, disk: SmallDisk, line_rate_hz: float) -> None:
        ports = dict(zip(("port", "serve", "commands"), _free_ports(3), strict=True))
        self.folder, self.disk = folder, disk
        self.endpoints = {
            "publish": f"tcp://127.0.0.1:{ports['port']}",
            "serve": f"tcp://127.0.0.1:{ports['serve']}",
            "commands": f"tcp://127.0.0.1:{ports['commands']}",
        }
        (folder / "level2").mkdir(exist_ok=True)
        self._config = folder / "service.toml"
        self._config.write_text(CONFIG.format(root=ROOT, folder=folder, line_rate_hz=line_rate_hz, **ports))
        self.status: StatusMessage | None = None
        self.last_inspected_s = 0.0
        self.lost = 0
        self._beat: tuple[int, int] = (-1, -1)
        self._beat_s = time.monotonic()
        self.longest_silence_s = 0.0
        self._stop = threading.Event()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self.start()
        self._listening.start()

    def start(self) -> None:
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "linewatch.cli", "run", str(self._config)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def end(self) -> None:
        self._stop.set()
        self._listening.join(10)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @property
    def memory_mb(self) -> float:
        with suppress(OSError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGESIZE") / 1e6
        return 0.0

    def begin(self) -> None:
        """Measure from now on."""
        self.longest_silence_s, self.lost, self._beat_s = 0.0, 0, time.monotonic()

    def inspects(self, since_s: float) -> bool:
        return self.last_inspected_s > since_s

    def _listen(self) -> None:
        topics = ["status", "frame", "alarm"]
        with Subscriber(self.endpoints["publish"], self.endpoints["serve"], topics) as wire:
            while not self._stop.is_set():
                message, now_s = wire.poll(0.05), time.monotonic()
                if isinstance(message, StatusMessage):
                    self.status = message
                    if (message.epoch, message.heartbeat) != self._beat:
                        self._beat, self._beat_s = (message.epoch, message.heartbeat), now_s
                elif isinstance(message, FrameMessage) and any(span.quality != "missed" for span in message.spans):
                    self.last_inspected_s = now_s
                elif isinstance(message, Lost):
                    self.lost += (message.end - message.first) if message.end is not None else 1
                self.longest_silence_s = max(self.longest_silence_s, now_s - self._beat_s)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def measured(
    service: AttackedService, name: str, outcomes: list[AttackOutcome], *, may_stop: bool = False
) -> Iterator[AttackOutcome]:
    """Measure an attack that the block makes. may_stop: the service stands, or is started anew, during it."""
    outcome, peak = AttackOutcome(name, False), [service.memory_mb]
    service.begin()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak.append(service.memory_mb)

    watching = threading.Thread(target=watch)
    watching.start()
    before_mb = peak[0]
    try:
        yield outcome
    finally:
        ended_s = time.monotonic()
        while not (recovered := service.inspects(ended_s)) and time.monotonic() < ended_s + RECOVERED_WITHIN_S:
            time.sleep(0.02)
        outcome.recovered_s = round(service.last_inspected_s - ended_s, 2) if recovered else None
        outcome.silent_s = round(service.longest_silence_s, 2)
        done.set()
        watching.join()
        outcome.memory_mb = round(before_mb), round(max(peak)), round(service.memory_mb)
        outcome.lost = service.lost
        alive = service.process.poll() is None
        outcome.held = (
            alive
            and recovered
            and not outcome.lost
            and max(peak) - before_mb < MOST_MORE_MB
            and (may_stop or outcome.silent_s < MOST_SILENT_S)
        )
        if not alive:
            outcome.notes.append(f"the service ended with {service.process.returncode}")
            service.start()
        outcomes.append(outcome)
        print(_row(outcome), flush=True)
        time.sleep(1.0)


def from_the_network(service: AttackedService, seconds: float, outcomes: list[AttackOutcome]) -> None:
    """Let every hostile peer at every socket that it is for."""
    for kind in PEERS:
        at = ("publish",) if "subscription" in kind or kind == "slow_readers" else ("serve", "commands")
        for name in (*at, "publish") if kind == "idle_connections" else at:
            with measured(service, f"{kind.replace('_', ' ')} at [wire] {name}", outcomes):
                hostile_peer(kind, service.endpoints[name], seconds)


def processes(service: AttackedService, seconds: float, outcomes: list[AttackOutcome]) -> None:
    """Stop it, kill it, starve it."""
    for stalled_s in (0.5, 3.0):
        with measured(service, f"stopped for {stalled_s:g} s (SIGSTOP)", outcomes, may_stop=True):
            stop_for(service.process, stalled_s)
    with measured(service, "three kills (SIGKILL), started again at once", outcomes, may_stop=True):
        for _ in range(3):
            service.process.kill()
            service.process.wait()
            service.start()
            began_s = time.monotonic()
            while not service.inspects(began_s) and time.monotonic() < began_s + 60:
                time.sleep(0.05)
    with measured(service, "all cores taken by other processes", outcomes):
        starve(seconds)


def disks(service: AttackedService, seconds: float, outcomes: list[AttackOutcome]) -> None:
    """Fill the journal's disk, remove its folder, take it away."""
    disk = service.disk

    def during(name: str, begin: Callable[[], object], end: Callable[[], object]) -> None:
        with measured(service, name, outcomes) as outcome:
            begin()
            time.sleep(seconds)
            journal = service.status.journal if service.status else None
            outcome.notes.append(f"journal: {journal.state if journal else 'not told'}")
            end()
            until_s = time.monotonic() + RECOVERED_WITHIN_S
            while time.monotonic() < until_s:
                journal = service.status.journal if service.status else None
                if journal is not None and journal.state == "kept":
                    break
                time.sleep(0.1)
            outcome.notes.append(
                f"then {journal.state if journal else 'not told'}, {journal.dropped if journal else 0} dropped"
            )

    during("journal's disk full", disk.fill, disk.free)
    during("journal's folder removed", lambda: shutil.rmtree(disk.folder / "journal"), lambda: None)
    during("journal's disk unmounted, another mounted", disk.unmount, disk.mount)


def folders(service: AttackedService, seconds: float, outcomes: list[AttackOutcome]) -> None:
    """Put what is no coil data into the folder of Level 2."""
    folder = service.folder / "level2"
    with measured(service, "junk in the folder of Level 2", outcomes):
        junk_of_level2(folder)
        time.sleep(seconds)


def _row(outcome: AttackOutcome) -> str:
    before, most, after = outcome.memory_mb
    cells = (
        outcome.attack,
        "held" if outcome.held else "**did not hold**",
        f"{before:.0f} / {most:.0f} / {after:.0f}",
        f"{outcome.silent_s:.1f} s",
        "never" if outcome.recovered_s is None else f"{outcome.recovered_s:.1f} s",
        str(outcome.lost),
        "; ".join(outcome.notes),
    )
    return f"| {' | '.join(cells)} |"


COLUMNS: Final = (
    "attack",
    "result",
    "memory before / most / after, MB",
    "longest without a heartbeat",
    "inspects again after",
    "messages lost",
    "notes",
)
HEAD: Final = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def main() -> int:
    """Attack, print the table, and write it. Exit code 1: something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="about how long it may take")
    parser.add_argument("--out", type=Path, default=Path("out/attack"), help="folder of attack.md and attack.json")
    parser.add_argument("--line-rate-hz", type=float, default=2_000.0, help="of the strip; what this host can inspect")
    arguments = parser.parse_args()
    if (code := in_namespace("benchmarks.attack", sys.argv[1:])) is not None:
        return code
    seconds = max(2.0, (arguments.minutes * 60 - 60) / 30)
    outcomes: list[AttackOutcome] = []
    with tempfile.TemporaryDirectory(prefix="linewatch-attack-") as name:
        folder = Path(name)
        disk = SmallDisk(folder / "disk", DISK_KB)
        service = AttackedService(folder, disk, arguments.line_rate_hz)
        try:
            began_s = time.monotonic()
            while not service.inspects(began_s):
                if time.monotonic() > began_s + 120 or service.process.poll() is not None:
                    print((folder / "service.log").read_text()[-2_000:], file=sys.stderr)
                    return 3
                time.sleep(0.1)
            time.sleep(5.0)  # until its memory stands
            print(HEAD)
            for attack in (from_the_network, processes, disks, folders):
                attack(service, seconds, outcomes)
        finally:
            service.end()
            disk.unmount()
        arguments.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "service.log", arguments.out / "service.log")
    (arguments.out / "attack.md").write_text("\n".join([HEAD, *map(_row, outcomes)]) + "\n")
    (arguments.out / "attack.json").write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    failed = [outcome.attack for outcome in outcomes if not outcome.held]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} held; {arguments.out / 'attack.md'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
