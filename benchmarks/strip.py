"""What joining costs: a strip process under six cameras at 160 frames/s each, whose decisions were recorded.

    python -m benchmarks.strip --seconds 60

First the shipped engines inspect a rendered wide strip, each camera its window and each side its strip, and their
decisions are written down (`--record-m` metres). Then a process for each camera plays them again and again as one long
coil, with a journal, a publish and a serve socket of its own, and a strip process joins them. Measured are the strip
process' CPU and memory, and the added latency: from the moment at which the last of the cameras published its part of a
joined frame to its receipt in this process.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import zmq
from rich.console import Console
from rich.table import Table

from linewatch.config.journal import JournalSettings
from linewatch.config.wire import WireSettings
from linewatch.contracts.prediction import Timing
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import CoilNotice, CoilState, DefectEvent, Quality, Verdict
from linewatch.files import write_output
from linewatch.journal.journal import Journal
from linewatch.wire.decode import decided_from
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import ServiceState, StatusBody, Topic
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker
from linewatch.wire.verdict_file import read_strip

CAMERAS = [(side, camera) for side in ("top", "bottom") for camera in range(3)]
WIDTH_PX, OVERLAP_PX, FRAME_LINES, MM_PER_PX = 1600, 100, 256, 0.5
CAPTURED, PUBLISHED, UNIX = 10**17 + 1, 10**17 + 2, 10**17 + 3
"""Stand in recorded messages for times that are known when they are played."""
BUDGET_MS = 50.0


def configuration(side: str, camera: int, metres: float, defects_per_m: float) -> str:
    """Return the configuration of the service that inspects one camera's window."""
    left = camera * (WIDTH_PX - OVERLAP_PX)
    return (
        f'[line]\nside = "{side}"\ncamera = "cam{camera}"\nwidth_px = {WIDTH_PX}\nframe_lines = {FRAME_LINES}\n'
        f"mm_per_px = {MM_PER_PX}\nacross_offset_mm = {left * MM_PER_PX}\n"
        f'[source]\ntype = "simulator"\nseed = {7 if side == "top" else 8}\nlength_m = {metres}\ncoil = "BENCH"\n'
        f"strip_px = {3 * WIDTH_PX - 2 * OVERLAP_PX}\nview_offset_px = {left}\ndefects_per_m = {defects_per_m}\n"
        '[inference]\nchain = "cascade"\n'
        '[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n'
    )


def record(folder: Path, metres: float, defects_per_m: float) -> None:
    """Let the shipped engines inspect every camera's window."""
    for side, camera in CAMERAS:
        place = folder / f"{side}-cam{camera}"
        place.mkdir(parents=True, exist_ok=True)
        if (place / "verdicts.jsonl").exists():
            continue
        (place / "service.toml").write_text(
            configuration(side, camera, metres, defects_per_m) + f'[journal]\ndir = "{place}/recording"\n'
        )
        command = [
            sys.executable,
            "-m",
            "linewatch.cli",
            "replay",
            "simulator",
            "--config",
            str(place / "service.toml"),
        ]
        done = place / "recorded.jsonl"
        subprocess.run([*command, "--out", str(done)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done.rename(place / "verdicts.jsonl")


def repeated(folder: Path, times: int) -> Iterator[Verdict | CoilNotice]:
    """Yield the decisions of a recording, one repetition behind the other on one coil."""
    decisions = [decided_from(line) for line in read_strip(folder / "verdicts.jsonl")]
    frames = [one for one in decisions if isinstance(one, Verdict) and one.lines == FRAME_LINES]
    lines = frames[-1].first_line + FRAME_LINES
    yield next(one for one in decisions if isinstance(one, CoilNotice) and one.state is CoilState.STARTED)
    for number in range(times):
        for frame in frames:
            yield moved(frame, number, number * lines, len(frames))


def moved(frame: Verdict, number: int, lines: int, frames: int) -> Verdict:
    """Return a frame so many lines further along the coil."""

    def along(interval: tuple[float, float]) -> tuple[float, float]:
        return interval[0] + lines, interval[1] + lines

    def event(one: DefectEvent) -> DefectEvent:
        defect = one.defect
        box = replace(defect.box, along_mm=along(defect.box.along_mm))
        part_of = defect.part_of and f"{defect.part_of}+{number}"
        mask = one.mask and replace(one.mask, first_line=one.mask.first_line + lines)
        into = one.merged_into and f"{one.merged_into}+{number}"
        return replace(
            one,
            defect=replace(defect, id=f"{defect.id}+{number}", box=box, part_of=part_of),
            mask=mask,
            merged_into=into,
        )

    return replace(
        frame,
        ordinal=frame.ordinal + number * frames,
        first_line=frame.first_line + lines,
        along_mm=along(frame.along_mm),
        spans=tuple(replace(s, first_line=s.first_line + lines, along_mm=along(s.along_mm)) for s in frame.spans),
        defects=tuple(map(event, frame.defects)),
        timing=Timing(captured_ns=CAPTURED, published_ns=PUBLISHED, published_unix_ns=UNIX),
    )


def play(folder: Path, per_s: float, seconds: float) -> None:
    """Play a camera's decisions from the moment in the file `begin` on, and write down when each was published."""
    times = int(seconds * per_s / 100) + 2
    wire = WireSettings(publish=f"ipc://{folder}/pub", serve=f"ipc://{folder}/rep", send_high_water=20_000)
    published: dict[int, int] = {}
    stop = threading.Event()
    with (
        zmq.Context() as context,
        Journal(JournalSettings(dir=folder / "journal", max_mb=1024)) as journal,
        Publisher(context, wire, None) as publisher,
    ):
        sequencer, standing = Sequencer(journal.epoch), SnapshotTracker(journal.epoch, [], (), lambda: journal.identity)
        made: list[tuple[int, list[Record]]] = []
        for decided in repeated(folder, times):
            first_line = decided.first_line if isinstance(decided, Verdict) else -1
            made.append((first_line, sequencer.records(drafts(decided))))
            if len(made) > seconds * per_s:
                break

        def serve() -> None:
            with Server(context, wire, None, journal, standing.snapshot) as server:
                while not stop.is_set():
                    server.poll(50)

        server = threading.Thread(target=serve)
        server.start()
        (folder / "ready").touch()
        beats, sent = 0, dict.fromkeys((topic.value for topic in Topic), 0)
        at, beat_ns, begin_ns = 0, 0, 0
        while at < len(made):
            now_ns = time.time_ns()
            if now_ns >= beat_ns:
                beats, beat_ns = beats + 1, now_ns + 100_000_000
                publisher.send(_status(sequencer, beats, sent, journal.identity))
            if not begin_ns:
                begin = folder.parent / "begin"
                begin_ns = int(begin.read_text()) if begin.exists() else 0
            if not begin_ns or now_ns < begin_ns + at * 1e9 / per_s:
                time.sleep(0.0005)
                continue
            first_line, records = made[at]
            at += 1
            unix_ns, here_ns = str(time.time_ns()).encode(), str(time.monotonic_ns()).encode()
            told = [_timed(one, here_ns, unix_ns) for one in records]
            journal.append(told, sync=False)
            for one in told:
                publisher.send(one)
                sent[one.topic] += 1
            published[first_line] = int(unix_ns)
        time.sleep(1.0)
        stop.set()
        server.join()
    (folder / "published.json").write_text(json.dumps(published))


def _timed(one: Record, here_ns: bytes, unix_ns: bytes) -> Record:
    header = one.header.replace(b"%d" % CAPTURED, here_ns).replace(b"%d" % PUBLISHED, here_ns)
    return replace(one, header=header.replace(b"%d" % UNIX, unix_ns))


def _status(sequencer: Sequencer, beats: int, sent: dict[str, int], journal: str) -> Record:
    body = StatusBody(
        heartbeat=beats,
        healthy=True,
        state=ServiceState.RUNNING,
        failure=None,
        quality=Quality.INSPECTED,
        uptime_s=1.0,
        now_ns=time.monotonic_ns(),
        now_unix_ns=time.time_ns(),
        coil=None,
        along_mm=None,
        frames=0,
        frames_per_s=0.0,
        tiles_per_s=0.0,
        lines_by_quality={},
        lines_by_cause={},
        defects=0,
        alarms_standing=0,
        ring_free=0,
        ring_slots=0,
        stages=(),
        engines=(),
        journal_id=journal,
    )
    told = sequencer.status(body)
    header = json.loads(told.header) | {
        "sequences": {name: sent[name] for name in json.loads(told.header)["sequences"]}
    }
    return replace(told, header=json.dumps(header).encode())


def strip_configuration(folder: Path, readers: int = 0) -> Path:
    """Write the strip's configuration, and return its path."""
    text = f'[journal]\ndir = "{folder}/journal"\nmax_mb = 4096\n'
    text += f'[wire]\npublish = "ipc://{folder}/pub"\nserve = "ipc://{folder}/rep"\n'
    text += f"[strip]\nreaders = {readers}\n"
    for side, camera in CAMERAS:
        place, offset_mm = folder / f"{side}-cam{camera}", camera * (WIDTH_PX - OVERLAP_PX) * MM_PER_PX
        text += f'[[camera]]\nname = "cam{camera}"\nside = "{side}"\npublish = "ipc://{place}/pub"\n'
        text += f'serve = "ipc://{place}/rep"\nacross_offset_mm = {offset_mm}\n'
    path = folder / "strip.toml"
    path.write_text(text)
    return path


def cpu_s(process: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def readers_of(process: int) -> list[int]:
    """Return the processes that a strip process has started."""
    return [int(one) for path in Path(f"/proc/{process}/task").glob("*/children") for one in path.read_text().split()]


def memory_mb(process: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def measure(folder: Path, per_s: float, seconds: float, readers: int) -> dict[str, object]:
    """Play, join and listen."""
    ready = [folder / f"{side}-cam{camera}" / "ready" for side, camera in CAMERAS]
    for path in (*ready, folder / "begin"):
        path.unlink(missing_ok=True)
    players = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.strip", "--play", str(folder / f"{side}-cam{camera}")),
                *("--per-s", str(per_s), "--seconds", str(seconds)),
            ]
        )
        for side, camera in CAMERAS
    ]
    config = strip_configuration(folder, readers)
    log = (folder / "strip.log").open("wb")
    strip = subprocess.Popen([sys.executable, "-m", "linewatch.cli", "strip", str(config)], stderr=log)
    received: dict[int, int] = {}
    memory: list[float] = []
    begun_cpu_s = begun_readers_s = begun_s = 0.0
    try:
        with zmq.Context() as context, context.socket(zmq.SUB) as wire:
            wire.connect(f"ipc://{folder}/pub")
            wire.subscribe("frame")
            wire.subscribe("defect")
            while not all(path.exists() for path in ready):
                time.sleep(0.1)
            begin_ns = time.time_ns() + 5_000_000_000  # until then, the strip process has heard every service
            write_output(folder / "begin", str(begin_ns).encode())
            next_s, end_ns = 0.0, begin_ns + int((seconds + 3) * 1e9)
            defects = 0
            while time.time_ns() < end_ns:
                if not begun_s and time.time_ns() >= begin_ns:
                    begun_s, begun_cpu_s = time.monotonic(), cpu_s(strip.pid)
                    begun_readers_s = sum(map(cpu_s, readers_of(strip.pid)))
                if begun_s and time.monotonic() >= next_s:
                    next_s = time.monotonic() + seconds / 8
                    memory.append(round(memory_mb(strip.pid), 1))
                if wire.poll(50):
                    topic, header, _ = wire.recv_multipart()
                    defects += topic == b"defect"
                    if topic == b"frame":
                        received[json.loads(header)["first_line"]] = time.time_ns()
            used_s, lasted_s = cpu_s(strip.pid) - begun_cpu_s, time.monotonic() - begun_s
            readers_s = sum(map(cpu_s, readers_of(strip.pid))) - begun_readers_s
    finally:
        strip.send_signal(signal.SIGTERM)
        for process in (*players, strip):
            process.wait(60)
        log.close()
    last: dict[int, int] = defaultdict(int)
    for side, camera in CAMERAS:
        for line, ns in json.loads((folder / f"{side}-cam{camera}" / "published.json").read_text()).items():
            last[int(line)] = max(last[int(line)], ns)
    added_ms = np.array([(ns - last[line]) / 1e6 for line, ns in received.items()])
    p50, p99 = np.percentile(added_ms, (50, 99)) if len(added_ms) else (float("nan"),) * 2
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "cameras": len(CAMERAS),
        "frames_per_s": per_s,
        "joined_frames": len(received),
        "expected_frames": int(seconds * per_s),
        "defect_messages": defects,
        "cpu_share_of_a_core": round(used_s / lasted_s, 3),
        "cpu_ms_per_joined_frame": round(1000 * used_s / max(1, len(received)), 3),
        "readers": readers,
        "cpu_share_of_readers": round(readers_s / lasted_s, 3),
        "added_ms_p50": round(float(p50), 2),
        "added_ms_p99": round(float(p99), 2),
        "memory_mb": memory,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/bench/strip"))
    parser.add_argument("--record-m", type=float, default=40.0, help="metres of strip that the engines inspect first")
    parser.add_argument("--defects-per-m", type=float, default=0.5, help="on each side of the whole strip")
    parser.add_argument("--per-s", type=float, default=160.0, help="frames a second of each camera")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--readers", type=int, default=2, help="[strip] readers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.play is not None:
        play(asked.play, asked.per_s, asked.seconds)
        return 0
    folder = asked.folder.absolute()
    record(folder, asked.record_m, asked.defects_per_m)
    for old in ("journal", *(f"{side}-cam{camera}/journal" for side, camera in CAMERAS)):
        subprocess.run(["rm", "-rf", str(folder / old)], check=True)
    found = measure(folder, asked.per_s, asked.seconds, asked.readers)
    if asked.json:
        print(json.dumps(found))
    else:
        table = Table("figure", "value", title="joining")
        for name, value in found.items():
            table.add_row(name, str(value))
        Console().print(table)
    return int(not float(str(found["added_ms_p99"])) <= BUDGET_MS)


if __name__ == "__main__":
    raise SystemExit(main())
