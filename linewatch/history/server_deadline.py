"""Ends the wait for a PostgreSQL server that does not answer.

A server that is stopped, or a network that swallows packets, leaves a client waiting for minutes or for ever. When a
transaction takes too long, its connection is shut down: the driver raises an error, nothing of it is stored, and the
history begins it again on a new connection.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Final

import sqlalchemy as sa

ANSWER_S: Final = 20.0
"""The longest transaction of a history in operation. None stores more than 2,000 messages."""
CONNECT_S: Final = 10
CONNECT_ARGS: Final[dict[str, Any]] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": int(ANSWER_S * 1000),
}
"""For libpq: what the kernel can find out by itself."""
THREAD: Final = "database-deadline"


class ServerDeadline:
    """Shuts a connection down whose transaction takes longer than `ANSWER_S`. Migrations run before it is watched."""

    def __init__(self, engine: sa.Engine) -> None:
        self._lock = threading.Lock()
        self._began: dict[int, tuple[float, Any]] = {}  # of transactions under way: when, and the driver's connection
        self._closed = threading.Event()
        sa.event.listen(engine, "begin", self._begin)
        sa.event.listen(engine, "checkin", self._end)
        sa.event.listen(engine, "invalidate", self._end)
        threading.Thread(target=self._watch, name=THREAD, daemon=True).start()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _begin(self, connection: sa.Connection) -> None:
        driver = connection.connection.dbapi_connection
        with self._lock:
            self._began[id(driver)] = (time.monotonic(), driver)

    def _end(self, driver: Any, *_: object) -> None:
        with self._lock:
            self._began.pop(id(driver), None)

    def _watch(self) -> None:
        while not self._closed.wait(1.0):
            with self._lock:
                late = [driver for began_s, driver in self._began.values() if time.monotonic() - began_s > ANSWER_S]
            for driver in late:
                # The driver closes its descriptor on its own thread meanwhile; then there is nothing to end.
                gone = suppress(OSError, driver.OperationalError)
                with gone, socket.socket(fileno=os.dup(driver.fileno())) as wire:
                    wire.shutdown(socket.SHUT_RDWR)
