"""How long a page of the history takes: a real SQLite file with millions of instances, and the queries of the commands.

    python -m benchmarks.history --instances 10000000 --coil 200000 --file out/bench/history.sqlite

Rows are written in bulk, past the recorder, with all their columns and indices, and one mask of a few runs each for
`--masks` of them. `--copy-to URL` copies the file into an empty PostgreSQL, and asks that. Each query is run on a new
connection, first with the database's own cache empty and then `--repeat` times; what the operating system still holds
of the file is not emptied. Recording itself is timed through the recorder.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.coil_file import LINES, begins, closed, defect, frame, opened
from linewatch.client import Position
from linewatch.contracts.verdict import Decided, Quality, StripBox, Verdict
from linewatch.history.database import reading, writing
from linewatch.history.labels import newest_labels
from linewatch.history.mapped import mapped
from linewatch.history.queries import coils, defects, gaps, masks, passages_of, spans
from linewatch.history.search import CoilFilter, search
from linewatch.history.tables import DEFECT, METADATA
from linewatch.history.trends import TrendFilter, weeks
from linewatch.history.uncertain import QueueFilter, uncertain
from linewatch.history.writer import HistoryWriter, stored_service
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import AnyMessage, decode

BUDGET_MS = 100.0
CLASSES = ("scratch", "inclusion", "crazing", "patch", "pitted", "scale", "dent")
SHARES = (0.5, 0.2, 0.15, 0.1, 0.04, 0.0099, 0.0001)
SAME = {
    "state": "closed",
    "confidence": 0.9,
    "peak": 0.99,
    "area_mm2": 80.5,
    "extent": "mask",
    "frames": 1,
    "class_scores": '{"scratch":0.9,"dent":0.05,"spot":0.02}',
    "length_mm": 12.7,
    "width_mm": 9.4,
    "orientation_deg": 12.5,
    "contrast": -0.13,
    "excluded": False,
    "evidence": "{}",
    "mask_dropped": False,
    "more": "null",
}
"""What all instances have in common."""
CHUNK = 50_000
COPIED = 2_000  # rows at once: PostgreSQL must answer in time
BEGUN = datetime.fromtimestamp(1_770_000_000, UTC)
BEGUN_UNIX_NS = 1_770_000_000 * 10**9
COIL_NS = 30 * 60 * 10**9  # from one coil to the next: 5,000 coils are 15 weeks


def fill(url: str, instances: int, per_coil: int, masked: float) -> None:
    """`instances` of which `per_coil` lie on each coil of 2 km."""
    with writing(url) as engine, engine.begin() as connection:
        stored_service(connection, "top-cam1")
        connection.exec_driver_sql("INSERT INTO engines (identities) VALUES ('screen@0'), ('screen@1')")
    dice = np.random.default_rng(7)
    database = sqlite3.connect(sa.make_url(url).database or "", isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    packed = zlib.compress(np.arange(36, dtype="<i4").tobytes())
    columns = [column.name for column in DEFECT.c]
    insert = f"INSERT INTO defect ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"
    for coil in track(range(-(-instances // per_coil)), "filling"):
        database.execute("BEGIN")
        count = min(per_coil, instances - coil * per_coil)
        name, number = f"C{coil:05d}", coil + 1
        _coil(database, number, name)
        along = np.round(dice.uniform(0, 2e6, count), 3)
        across = np.round(dice.uniform(0, 780, count), 3)
        classes = dice.choice(len(CLASSES), count, p=SHARES)
        probability = np.round(dice.beta(2, 1, count), 4)
        first = coil * per_coil + 1
        for at in range(0, count, CHUNK):
            rows = (
                dict.fromkeys(columns)
                | SAME
                | {
                    "id": first + i,
                    "coil_id": number,
                    "name": f"{name}/top/cam1/{int(along[i])}.{i}",
                    "defect_class": CLASSES[classes[i]],
                    "across_begin_mm": across[i],
                    "across_end_mm": across[i] + 9.5,
                    "along_begin_mm": along[i],
                    "along_end_mm": along[i] + 12.5,
                    "edge_mm": across[i],
                    "probability": probability[i],
                    "tentative": bool(probability[i] < 0.5),
                    "severity": 1 + i % 5,
                }
                for i in range(at, min(at + CHUNK, count))
            )
            database.executemany(insert, rows)
        some = (first + i for i in range(int(count * masked)))
        database.executemany("INSERT INTO mask VALUES (?, 0, 0, 12, ?)", ((defect, packed) for defect in some))
        of_class = np.bincount(classes, minlength=len(CLASSES)).tolist()
        called = np.bincount(classes[probability >= 0.5], minlength=len(CLASSES)).tolist()
        counts = [(number, CLASSES[i], of_class[i], called[i]) for i in range(len(CLASSES)) if of_class[i]]
        database.executemany(
            "INSERT INTO class_count (coil_id, defect_class, defects, called) VALUES (?, ?, ?, ?)", counts
        )
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _coil(database: sqlite3.Connection, number: int, name: str) -> None:
    begun_unix_ns = BEGUN_UNIX_NS + number * COIL_NS
    reported = {
        "along_mm": 2e6,
        "uninspected_mm2_by_cause": {"overrun": 8e7, "dark": 7.2e7},
        "grade": {
            "grade": "ABC"[number % 3],
            "text": "A",
            "rules": "bench@0",
            "product": f"P{number % 5}",
            "customer": "",
            "graded_mm": [0.0, 2e6],
            "inspected_share": 0.95,
            "defects_by_severity": {},
            "reasons": [],
        },
    }
    row = {
        "id": number,
        "service_id": 1,
        "journal": 0,
        "epoch": 1,
        "ordinal": number,
        "coil": name,
        "side": "top",
        "camera": "cam1",
        "begun_unix_ns": begun_unix_ns,
        "ended_unix_ns": begun_unix_ns + 10**11,
        "passed_mm": 2e6,
        "inspected_mm": 1.9e6,
        "degraded_mm": 9e4,
        "missed_mm": 1e4,
        "passed_mm2": 1.6e9,
        "inspected_mm2": 1.52e9,
        "degraded_mm2": 7.2e7,
        "missed_mm2": 8e6,
        "frames": 7813,
        "tiles": 54_000,
        "tiles_passed": 5_400,
        "encoded": True,
        "strip_left_mm": 0.0,
        "strip_right_mm": 800.0,
        "config": "0123456789ab",
        "more": json.dumps(reported),
    }
    names = ", ".join(row)
    database.execute(f"INSERT INTO coil ({names}) VALUES ({', '.join(f':{name}' for name in row)})", row)
    spans = (
        (
            number,
            1000 * i,
            1000,
            1e3 * i,
            1e3 * (i + 1),
            "inspected" if i % 20 else "missed",
            None if i % 20 else "overrun",
        )
        for i in range(2000)
    )
    of_span = "coil_id, first_line, lines, along_begin_mm, along_end_mm, quality, cause, engines_id"
    database.executemany(f"INSERT INTO span ({of_span}) VALUES (?, ?, ?, ?, ?, ?, ?, 1)", spans)


def queries(coil_count: int) -> dict[str, Callable[[sa.Connection], object]]:
    """Every list that the commands show, and pages from within."""
    name = f"C{coil_count // 2:05d}"

    def passage(c: sa.Connection) -> list[int]:
        return [row.passage for row in passages_of(c, name)[0]]

    def behind_half(c: sa.Connection) -> object:
        half = sa.select(DEFECT.c.id).where(DEFECT.c.coil_id == coil_count // 2 + 1, DEFECT.c.along_begin_mm > 1e6)
        half = half.where(DEFECT.c.merged_into.is_(None))
        return defects(c, passage(c), after=c.execute(half.order_by(DEFECT.c.along_begin_mm).limit(1)).scalar())

    return {
        "coils": coils,
        "coils behind the middle": lambda c: coils(c, after=coil_count // 2),
        "one coil by its id": lambda c: coils(c, name),
        "defects of a coil": lambda c: defects(c, passage(c)),
        "defects of a coil, 1 of 10,000 classes": lambda c: defects(c, passage(c), "dent"),
        "defects of a coil, half are of the class": lambda c: defects(c, passage(c), "scratch"),
        "defects of a coil, behind the middle": behind_half,
        "defects of a coil, a class that is not there": lambda c: defects(c, passage(c), "none"),
        "spans of a coil (all 2,000)": lambda c: spans(c, coil_count // 2 + 1),
        "masks of a defect": lambda c: list(masks(c, [1])),
        "gaps": gaps,
        "labels": lambda c: list(newest_labels(c)),
        "page of coils": lambda c: search(c, CoilFilter()),
        "page of coils, with one class": lambda c: search(c, CoilFilter(defect_class="dent")),
        "page of coils, none fits": lambda c: search(c, CoilFilter(product="none")),
        "map of a coil, 10,000 defects": lambda c: mapped(c, coil_count // 2 + 1, 10_000),
        "half a year of trends": lambda c: weeks(c, UTC, BEGUN, BEGUN + timedelta(weeks=26), TrendFilter()),
        "next labels of the queue": lambda c: uncertain(c, QueueFilter(), 8),
    }


def copy(url: str, to: str) -> None:
    """Copy every row into the tables of another database, which has none yet."""
    with reading(url) as old, writing(to) as engine:
        for table in METADATA.sorted_tables:
            found = old.execution_options(yield_per=COPIED).execute(sa.select(table))
            for rows in track(found.mappings().partitions(), table.name):
                with engine.begin() as new:
                    new.execute(sa.insert(table), [dict(row) for row in rows])
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as new:
            new.exec_driver_sql("ANALYZE")


def measure(url: str, coil_count: int, repeat: int) -> list[dict[str, float | str]]:
    """First and median milliseconds of each query, opening the file not counted."""
    rows = []
    for name, query in queries(coil_count).items():
        taken = []
        for _ in range(repeat + 1):
            with reading(url) as connection:
                begin = time.perf_counter()
                query(connection)
                taken.append(1e3 * (time.perf_counter() - begin))
        rows.append(
            {"query": name, "first_ms": taken[0], "median_ms": statistics.median(taken[1:]), "max_ms": max(taken)}
        )
    return rows


def store(url: str, batch_of: Iterable[AnyMessage], service: str) -> float:
    """Through the recorder, 2,000 messages a commit: seconds that it took."""
    taken_s, behind, waiting = 0.0, dict[str, Position](), iter(batch_of)
    with writing(url) as engine:
        with engine.begin() as connection:
            recorder = HistoryWriter(stored_service(connection, service))
        while batch := list(islice(waiting, 2000)):
            begin = time.perf_counter()
            behind |= {m.topic.value: Position(m.epoch, m.sequence + 1) for m in batch}
            with engine.begin() as connection:
                recorder.store(connection, batch, behind)
            taken_s += time.perf_counter() - begin
    return taken_s


def messages(decisions: Iterable[Decided]) -> Iterator[AnyMessage]:
    """As a client of a service that began with them gets them."""
    sequencer = Sequencer(1)
    for decided in decisions:
        for draft in drafts(decided):
            record = sequencer.record(draft)
            yield decode(record.topic.encode(), record.header, record.payload)


def command_s(url: str, coil: str, html: Path) -> float:
    """Seconds that a user waits for the report of a coil of the history, from the command to its end: median of 3."""
    command = [sys.executable, "-m", "linewatch.cli", "report", coil, "--database", url, "--html", str(html)]
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def record(url: str, frames: int, per_frame: int) -> dict[str, float]:
    """Frames a second through the recorder, each defect opened and closed, with a mask of 30 runs."""
    told = list(messages([begins("LIVE"), *(_verdict(ordinal, per_frame) for ordinal in range(frames))]))
    return {"frames_per_s": frames / store(url, told, f"bench-{time.time_ns()}"), "defects_a_frame": per_frame}


def _verdict(ordinal: int, per_frame: int) -> Verdict:
    begin = float(LINES * ordinal)
    box = StripBox((10.0, 25.0), (begin, begin + 30))
    found = [defect(f"LIVE/top/cam1/{LINES * ordinal}.{i}", 0.0, 0.0, box=box) for i in range(per_frame)]
    events = (*map(opened, found), *map(closed, found))
    quality = Quality.MISSED if ordinal % 50 == 0 else Quality.INSPECTED
    return frame(ordinal, events, "LIVE", quality)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--coil", type=int, default=200_000, help="instances on one coil")
    parser.add_argument("--masks", type=float, default=0.1, help="share of instances that have one")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--file", type=Path, default=Path("out/bench/history.sqlite"))
    parser.add_argument("--keep", action="store_true", help="use the file that is there, and leave it")
    parser.add_argument("--copy-to", metavar="URL", help="of an empty PostgreSQL, which is asked instead")
    parser.add_argument("--out", type=Path, default=Path("out/bench/history.json"))
    options = parser.parse_args()
    url = f"sqlite:///{options.file}"
    filled_s = 0.0
    if not (options.keep and options.file.exists()):
        for part in ("", "-wal", "-shm"):
            Path(f"{options.file}{part}").unlink(missing_ok=True)
        begin = time.perf_counter()
        fill(url, options.instances, options.coil, options.masks)
        filled_s = time.perf_counter() - begin
    size_gb = options.file.stat().st_size / 1e9
    if options.copy_to:
        copy(url, options.copy_to)
    rows = measure(options.copy_to or url, -(-options.instances // options.coil), options.repeat)
    report_s = command_s(url, f"C{options.instances // options.coil // 2:05d}", options.out.with_suffix(".html"))
    recorded = [record(url, frames, per_frame) for frames, per_frame in ((4000, 0), (1000, 5), (100, 100))]
    table = Table(
        title=f"{options.instances:,} instances, {options.coil:,} a coil, {size_gb:.2f} GB", title_justify="left"
    )
    for column in ("first page of", "first ms", "median ms", "max ms", f"< {BUDGET_MS:g} ms"):
        table.add_column(column)
    for row in rows:
        times = (f"{row[name]:.1f}" for name in ("first_ms", "median_ms", "max_ms"))
        table.add_row(row["query"], *times, "yes" if row["max_ms"] < BUDGET_MS else "NO")
    Console().print(table)
    print(f"the report of one coil: {report_s:.2f} s, from the command to its end")
    for one in recorded:
        print(f"recorded at {one['frames_per_s']:.0f} frames/s with {one['defects_a_frame']} defects a frame")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "instances": options.instances,
        "gb": size_gb,
        "filled_s": filled_s,
        "queries": rows,
        "report_s": report_s,
        "recorded": recorded,
    }
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    if not options.keep:
        options.file.unlink()


if __name__ == "__main__":
    main()
