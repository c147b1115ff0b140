"""A camera's service that has decided already: plays a verdict file with a real journal and real sockets.

Killed, it goes on behind the last decision in its journal. Its arguments: the folder with `verdicts.jsonl` and how many
decisions a second. Its journal, and its sockets over ipc, are in the folder. It
answers commands about coils, which it writes to `commands`, and tells by `ailing`, a file, that it does not inspect.
"""

import sys
import threading
import time
from pathlib import Path

import zmq
from small_service import status

from linewatch.config.journal import JournalSettings
from linewatch.config.wire import WireSettings
from linewatch.contracts.access import Caller
from linewatch.contracts.verdict import CoilState, Verdict
from linewatch.journal.journal import Journal
from linewatch.wire.commands import CommandServer
from linewatch.wire.decode import decided_from
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import CoilMessage, CoilReply, CoilRequest, CoilStatus, Topic, parse
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker
from linewatch.wire.verdict_file import read_strip

HEARTBEAT_S = 0.05


class CommandsKept:
    """Answers commands about coils, and appends them to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, request: CoilRequest, caller: Caller) -> CoilReply | str:
        if request.coil == "refused":
            return "that name is taken"
        with self._path.open("a") as file:
            file.write(request.model_dump_json() + "\n")
        now = CoilStatus(coil=None, data=None, recipe=None, between_coils=False, notes=(), known=0)
        return CoilReply(
            schema_version=1, reply="coil", id=request.id, token=request.token, recipe=None, notes=(), now=now
        )


def played(journal: Journal) -> tuple[int, tuple[int, int] | None]:
    """Return how many decisions the journal holds, and the passage of a coil that goes on."""
    count, newest = 0, None
    for epoch in journal.epochs():
        count += sum(len(journal.read(epoch, topic, 0, 1 << 40)) for topic in (Topic.FRAME, Topic.COIL))
        for record in journal.read(epoch, Topic.COIL, 0, 1 << 40):
            newest = parse(CoilMessage, record.header)
    goes_on = newest is not None and newest.state is CoilState.STARTED
    return count, newest.passage if goes_on else None


def main(folder: Path, per_s: float) -> None:
    wire = WireSettings(
        publish=f"ipc://{folder}/pub", serve=f"ipc://{folder}/rep", commands=f"ipc://{folder}/cmd", send_high_water=20
    )
    decisions = [decided_from(line) for line in read_strip(folder / "verdicts.jsonl")]
    stop = threading.Event()
    with (
        zmq.Context() as context,
        Journal(JournalSettings(dir=folder / "journal")) as journal,
        Publisher(context, wire, None) as publisher,
    ):
        done, passage = played(journal)
        standing = SnapshotTracker(journal.epoch, [], journal.retained_alarms(), lambda: journal.identity)
        sequencer = Sequencer(journal.epoch, passage=passage)

        def serve() -> None:
            commands = CommandServer(context, wire.commands, None, None, None, CommandsKept(folder / "commands"))
            with Server(context, wire, None, journal, standing.snapshot) as server, commands:
                while not stop.is_set():
                    server.poll(10)
                    commands.poll(5)

        threading.Thread(target=serve, daemon=True).start()
        beats = 0
        next_s = beat_s = time.monotonic()
        while not (folder / "end").exists():
            now_s = time.monotonic()
            if now_s >= beat_s:
                beat_s = now_s + HEARTBEAT_S
                healthy = not (folder / "ailing").exists()
                beats += healthy
                body = status(beats, healthy, journal.identity)
                publisher.send(sequencer.status(body))
            if now_s >= next_s and done < len(decisions) and (folder / "go").exists():
                next_s = max(next_s + 1 / per_s, now_s - 1.0)
                decided = decisions[done]
                done += 1
                decided.timing.published_ns, decided.timing.published_unix_ns = time.monotonic_ns(), time.time_ns()
                if isinstance(decided, Verdict):
                    decided.timing.captured_ns = decided.timing.published_ns
                messages = drafts(decided)
                records = sequencer.records(messages)
                journal.append(records, sync=False)
                standing.follow(messages, sequencer.sequences)
                for record in records:
                    publisher.send(record)
            time.sleep(max(0.0, min(beat_s, next_s if done < len(decisions) else beat_s) - time.monotonic(), 0.0005))
        stop.set()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
