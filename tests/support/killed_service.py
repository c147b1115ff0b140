"""Runs a real service that kills itself by SIGKILL at a chosen point of a change of coil.

Nothing is replaced: what the hooks surround is called as it is.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from forked import Forked

ENDED = b'"state":"ended"'
"""In the bytes of the commit that ends a coil."""


def start_service(config: Path, kill_at: int | None) -> Forked:
    """Start a service. kill_at: the point at which it dies, counted from the first write of a coil's end; None: none.

    Points: before the write of the commit, behind half of it, behind all of it, and from there on before and behind
    each sync of the journal and each message that is published.
    """
    with (config.parent / "log").open("ab") as log:
        return Forked(_serve, config, kill_at, streams={2: log.fileno()})


def _serve(config: Path, kill_at: int | None) -> None:
    from linewatch.daemon.run import run
    from linewatch.logs import configure_logs
    from linewatch.service_settings import load_settings

    configure_logs("info")
    if kill_at is not None:
        _hook(kill_at)
    run(load_settings(config))


def _hook(kill_at: int) -> None:
    from linewatch.wire.publisher import Publisher

    lock, points = Lock(), -1

    def point(what: str) -> None:
        nonlocal points
        with lock:
            if points < 0 and what != "before the write":
                return
            points += 1
            if points == kill_at:
                with suppress(OSError):
                    os.write(2, f"killed {what}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def around(before: str, behind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            point(before)
            answer = real(*arguments)
            point(behind)
            return answer

        return call

    write = os.pwrite

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if points >= 0 or ENDED not in bytes(data):
            return write(file, data, offset)
        point("before the write")
        done = write(file, bytes(data)[: len(data) // 2], offset)
        point("behind half of the write")
        done += write(file, bytes(data)[done:], offset + done)
        point("behind the write")
        return done

    os.pwrite = pwrite
    os.fdatasync = around("before a sync", "behind a sync", os.fdatasync)
    Publisher.send = around("before a message", "behind a message", Publisher.send)
