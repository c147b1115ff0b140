"""The service's three sockets on one thread, in a process of its own whose log the test reads.

Arguments: a folder, and `keys` for sockets with the keys in that folder. Prints the ports. For each line of its input
it logs all sums and prints `logged`; with the end of its input it ends.
"""

import json
import select
import sys
from pathlib import Path
from typing import Any

import zmq
from decisions import verdict

from linewatch.config.journal import JournalSettings
from linewatch.config.wire import KeySettings, WireSettings
from linewatch.journal.journal import Journal
from linewatch.logs import configure_logs, log_sums
from linewatch.wire.commands import CommandServer
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.endpoints import load_keys
from linewatch.wire.publisher import Publisher
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker


class NoStages:
    """Stands for the rest of the service, which no refused request reaches."""

    engines, beside = (), None

    def command(self, command: Any) -> str:
        return "no"

    def take(self, request: Any, caller: Any) -> str:
        return "no"

    reload = take


def main(folder: Path, with_keys: bool) -> None:
    configure_logs("info")
    pair = KeySettings(server_secret_file=folder / "server.key_secret", clients_dir=folder / "clients")
    free = "tcp://127.0.0.1:*"
    settings = WireSettings(publish=free, serve=free, commands=free, keys=pair if with_keys else None)
    keys, rest = load_keys(settings), NoStages()
    with (
        zmq.Context() as context,
        Journal(JournalSettings(dir=folder / "journal")) as journal,
        Publisher(context, settings, keys) as publisher,
        Server(context, settings, keys, journal, SnapshotTracker(journal.epoch, []).snapshot) as server,
        CommandServer(context, free, keys, rest, rest, rest) as commands,
    ):
        sockets = {"publish": publisher, "serve": server, "commands": commands}
        print(json.dumps({name: int(one.endpoint.rpartition(":")[2]) for name, one in sockets.items()}), flush=True)
        sequencer = Sequencer(journal.epoch)
        while True:
            server.poll(1)
            commands.poll(1)
            publisher.send(sequencer.record(drafts(verdict(0))[0]))
            if select.select([sys.stdin], [], [], 0)[0]:
                if not sys.stdin.readline():
                    return
                log_sums(last=True)
                print("logged", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["keys"])
