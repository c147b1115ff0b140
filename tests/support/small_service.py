"""A small service, told by its standard input what to decide: real journal, real sockets.

Commands, one a line: `frames N RUNS [STATE]` (each with a defect, opened or in that state), `crops N PX SEVERITY` (of
the newest N frames), `alarm`, `clear` (the last alarm), `roll` (a roll mark's next mark), `coil started|ended`,
`ailing` (the heartbeat stands, unhealthy), `unheard` (an alarm that no subscriber gets), `garbage`, `newer` (a message
of schema version 2), `later` (from now on, messages of a later minor version, with keys of its own), `mute` (no more
heartbeats), `deaf` (the server stops).
"""

import json
import select
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import structlog
import zmq
from decisions import LINES, alarm, coil_notice, crop, defect_event, roll_mark, verdict

from linewatch.config.journal import JournalSettings
from linewatch.config.wire import WireSettings
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.journal.journal import Journal
from linewatch.wire.bridges import Bridges
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import SCHEMA_MINOR, BridgeStatus, ServiceState, StatusBody, canonical
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker

HEARTBEAT_S = 0.05
_COUNTS = ("sequences", "defects_by_class", "missed_lines_by_cause", "uninspected_mm2_by_cause", "class_scores")


def status(
    heartbeat: int, healthy: bool = True, journal: str | None = None, bridges: tuple[BridgeStatus, ...] = ()
) -> StatusBody:
    return StatusBody(
        heartbeat=heartbeat,
        healthy=healthy,
        state=ServiceState.RUNNING,
        failure=None if healthy else "silent: decision",
        quality=Quality.INSPECTED,
        uptime_s=1.0,
        now_ns=time.monotonic_ns(),
        now_unix_ns=time.time_ns(),
        coil="C1",
        along_mm=0.0,
        frames=0,
        frames_per_s=0.0,
        tiles_per_s=0.0,
        lines_by_quality={},
        lines_by_cause={},
        defects=0,
        alarms_standing=0,
        ring_free=1,
        ring_slots=1,
        stages=(),
        engines=(),
        journal_id=journal,
        bridges=bridges,
    )


def with_later_keys(record: Record) -> Record:
    """The message as a service of a later minor version may tell it: keys of its own in every object."""

    def grown(value: object) -> object:
        if isinstance(value, dict):
            return {key: grown(one) for key, one in value.items()} | ({"mood": ["sunny", {"at": 1}]} if value else {})
        return [grown(one) for one in value] if isinstance(value, list) else value

    fields = json.loads(record.header)
    counts = {name: fields[name] for name in _COUNTS if name in fields}  # keyed by names, not by keys of the wire
    return replace(record, header=canonical(grown(fields) | counts | {"schema_minor": SCHEMA_MINOR + 7}))


def main(folder: Path, publish: str, serve: str, high_water: int) -> None:  # noqa: PLR0912, PLR0915 - a table of commands
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the answers have standard output
    settings = WireSettings(publish=publish, serve=serve, send_high_water=high_water)
    with (
        zmq.Context() as context,
        Journal(JournalSettings(dir=folder, max_mb=8, segment_mb=1)) as journal,
        Publisher(context, settings, None) as publisher,
    ):
        standing = SnapshotTracker(journal.epoch, [], journal.retained_alarms(), lambda: journal.identity)
        sequencer, bridges = Sequencer(journal.epoch), Bridges()
        later = False

        def written(record: Record) -> Record:
            return with_later_keys(record) if later else record

        ready, stop, addresses = threading.Event(), threading.Event(), []

        def serve_requests() -> None:
            with Server(context, settings, None, journal, standing.snapshot, bridges) as server:
                addresses.append(server.endpoint)
                ready.set()
                while not stop.is_set():
                    server.poll(20)

        def decide(decided, heard: bool = True) -> None:
            timing = decided.timing
            timing.captured_ns = timing.published_ns = time.monotonic_ns()
            timing.published_unix_ns = time.time_ns()
            messages = drafts(decided)
            records = [written(sequencer.record(draft)) for draft in messages]
            journal.append(records, sync=bool(decided.alarms))
            standing.follow(messages, sequencer.sequences)
            for record in records if heard else ():
                publisher.send(record)

        server = threading.Thread(target=serve_requests, daemon=True)
        server.start()
        ready.wait()
        print(publisher.endpoint, addresses[0], flush=True)
        heartbeat = ordinal = 0
        passage = -1
        muted, healthy = False, True
        while True:
            if not select.select([sys.stdin], [], [], HEARTBEAT_S)[0]:
                heartbeat += healthy
                if not muted:
                    publisher.send(
                        written(sequencer.status(status(heartbeat, healthy, journal.identity, bridges.shown())))
                    )
                continue
            match sys.stdin.readline().split():
                case ["frames", count, runs, *state]:
                    for _ in range(int(count)):
                        event = defect_event(ordinal, DefectState(*state or ["opened"]), int(runs))
                        decide(verdict(ordinal, (event,)))
                        ordinal += 1
                case ["crops", count, size, severity]:
                    for at in range(ordinal - int(count), ordinal):
                        publisher.send(sequencer.crop(crop(at, passage, int(size), int(severity)), 0))
                case ["alarm"]:
                    decide(verdict(ordinal, (), (alarm(ordinal, name=f"{journal.epoch}/{ordinal}"),)))
                    ordinal += 1
                case ["clear"]:
                    name = f"{journal.epoch}/{ordinal - 1}"
                    decide(verdict(ordinal, (), (alarm(ordinal, AlarmState.CLEARED, name),)))
                    ordinal += 1
                case ["roll"]:
                    mark = replace(roll_mark(name="roll"), defect_ids=(f"{journal.epoch}/{ordinal}",))
                    decide(replace(verdict(ordinal), roll_marks=(mark,)))
                    ordinal += 1
                case ["coil", state]:
                    passage += state == "started"
                    decide(coil_notice(CoilState(state), float(ordinal * LINES)))
                case ["ailing"]:
                    healthy = False
                case ["unheard"]:
                    decide(verdict(ordinal, (), (alarm(ordinal, name=f"{journal.epoch}/{ordinal}"),)), heard=False)
                    ordinal += 1
                case ["garbage"]:
                    for header in (b"", b"{}", b"\xff\x00", b'{"schema_version":1}'):
                        publisher.send(Record(1, "defect", 0, header, b"abc"))
                case ["newer"]:
                    publisher.send(Record(1, "frame", 0, b'{"schema_version":2}', b""))
                case ["later"]:
                    later = True
                case ["mute"]:
                    muted = True
                case ["deaf"]:
                    stop.set()
                    server.join()
                case _:
                    return
            print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]))
