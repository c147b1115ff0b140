"""How each kind of fault is done to the line: it begins, lasts, and is over when `inject` returns."""

import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.attack.peers import PEERS
from benchmarks.faults import children, hostile_peer, junk_of_level2, starve, stop_for
from benchmarks.soak.processes import CAMERAS, Line
from benchmarks.soak.schedule import ScheduledFault
from linewatch.client import Commander
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.wire.schema import EngineAction

PRESSURE_MB: Final = 1_000
LOST_PER_THOUSAND: Final = 100
PACKETS_LOST_S: Final = 3.0
"""More than the service needs to find the camera again: frames without all their packets come, too."""
BAD_ENGINE: Final = "soak-bad"
_HOSTILE: Final = sorted(set(PEERS) - {"slow_readers"})


def inject(line: Line, fault: ScheduledFault) -> str:
    """Do it; return what was done, in words."""
    return _KINDS[fault.kind](line, fault) or ""


def _kill(line: Line, fault: ScheduledFault) -> None:
    line.kill(fault.target)
    line.start(fault.target)


def _stop(line: Line, fault: ScheduledFault) -> None:
    stop_for(line.processes[fault.target], fault.seconds)


def _camera_loss(line: Line, fault: ScheduledFault) -> None:
    camera = CAMERAS[fault.target]
    line.kill(camera)
    time.sleep(fault.seconds)
    line.start(camera)


def _packet_loss(line: Line, fault: ScheduledFault) -> str:
    """Let the camera lose packets; it cannot be told to while it runs."""
    line.kill("gige-camera")
    line.start("gige-camera", ("-r", str(LOST_PER_THOUSAND)))
    time.sleep(fault.seconds + PACKETS_LOST_S)
    line.kill("gige-camera")
    line.start("gige-camera")
    return f"{LOST_PER_THOUSAND / 10:g} % of the packets"


def _broker(line: Line, fault: ScheduledFault) -> None:
    _restart(line, "broker", signal.SIGTERM, fault.seconds)  # killed, it would lose what its own subscribers are owed


def _database_restart(line: Line, fault: ScheduledFault) -> None:
    _restart(line, "database", signal.SIGINT, fault.seconds)  # PostgreSQL's fast shutdown: ends its connections


def _restart(line: Line, server: str, by: signal.Signals, after_s: float) -> None:
    line.processes[server].send_signal(by)
    line.processes[server].wait(30)
    time.sleep(after_s)
    line.start(server)


def _with_file(path: Path, text: str, seconds: float) -> None:
    path.write_text(text)
    try:
        time.sleep(seconds)
    finally:
        path.unlink()


def _damaged(line: Line, fault: ScheduledFault) -> None:
    _with_file(line.folder / "recording" / "damaged", "", fault.seconds)


def _slow_disk(line: Line, fault: ScheduledFault) -> None:
    _with_file(line.control(fault.target, "sync"), "0.7", fault.seconds)


def _clock(line: Line, fault: ScheduledFault) -> str:
    off_s = random.Random(fault.number).choice((-86_400, -3_600, -5, 5, 3_600, 86_400))
    _with_file(line.control(fault.target, "clock"), str(off_s), fault.seconds)
    return f"{off_s:+d} s and back"


def _engine(line: Line, fault: ScheduledFault) -> None:
    _with_file(line.control(fault.target, "engine"), "", fault.seconds)


def _full_disk(line: Line, fault: ScheduledFault) -> None:
    disk = line.disks[fault.target]
    disk.fill()
    try:
        time.sleep(fault.seconds)
    finally:
        disk.free()


def _memory(line: Line, fault: ScheduledFault) -> str:
    with children(1, f"import time; taken = bytearray(b'x') * ({PRESSURE_MB} << 20); time.sleep(600)"):
        time.sleep(fault.seconds)
    return f"{PRESSURE_MB} MB taken"


def _starved(line: Line, fault: ScheduledFault) -> None:
    starve(fault.seconds)


def _bad_engine(line: Line, fault: ScheduledFault) -> str:
    """Load a damaged engine, and promote it; whatever is accepted is taken back."""
    bad = line.folder / "engines" / BAD_ENGINE
    shutil.copytree(line.folder / "engines" / "screen", bad, dirs_exist_ok=True)
    model = bytearray((bad / "model.onnx").read_bytes())
    model[len(model) // 2 : len(model) // 2 + 64] = os.urandom(64)
    (bad / "model.onnx").write_bytes(model)
    told = []
    with Commander(line.endpoint(fault.target, "commands")) as commander:
        for action in (EngineAction.LOAD, EngineAction.PROMOTE, EngineAction.ROLLBACK, EngineAction.DROP):
            try:
                commander.engine(action, BAD_ENGINE if action is EngineAction.LOAD else "", by="soak")
                told.append(f"{action.value} accepted")
            except (RefusedError, NoAnswerError) as error:
                told.append(f"{action.value}: {str(error)[:60]}")
            time.sleep(fault.seconds / 4)
    return "; ".join(told)


def _stalled_subscriber(line: Line, fault: ScheduledFault) -> None:
    hostile_peer("slow_readers", line.endpoint(fault.target, "publish"), fault.seconds)


def _locked(line: Line, fault: ScheduledFault) -> None:
    with psycopg.connect(line.database) as database:
        database.execute("LOCK TABLE position IN ACCESS EXCLUSIVE MODE")
        time.sleep(fault.seconds)


def _hostile(line: Line, fault: ScheduledFault) -> str:
    dice = random.Random(fault.number)
    kind = dice.choice(_HOSTILE)
    name = "publish" if "subscription" in kind else "serve"
    hostile_peer(kind, line.endpoint(fault.target, name), fault.seconds)
    for port in (line.ports["page"], line.ports["modbus"]):
        for _ in range(20):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                connection.sendall(dice.randbytes(2_000))
    return f"{kind} at {name}; random bytes at the page and the Modbus bridge"


def _junk(line: Line, fault: ScheduledFault) -> None:
    folder = line.folder / f"{fault.target}-level2"
    junk_of_level2(folder)
    time.sleep(fault.seconds)
    for path in folder.iterdir():
        if not path.is_dir():  # where the service puts what it has refused
            path.unlink(missing_ok=True)  # the service may have moved it away meanwhile


_KINDS: Final[dict[str, Callable[[Line, ScheduledFault], str | None]]] = {
    "kill": _kill,
    "stop": _stop,
    "camera-loss": _camera_loss,
    "packet-loss": _packet_loss,
    "damaged-pictures": _damaged,
    "slow-disk": _slow_disk,
    "full-disk": _full_disk,
    "memory-pressure": _memory,
    "starved": _starved,
    "clock-step": _clock,
    "engine-exception": _engine,
    "bad-engine": _bad_engine,
    "subscriber-stall": _stalled_subscriber,
    "broker-restart": _broker,
    "database-locked": _locked,
    "database-restart": _database_restart,
    "hostile-connections": _hostile,
    "level2-junk": _junk,
}
