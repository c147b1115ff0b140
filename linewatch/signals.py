"""Handles SIGINT and SIGTERM: the end that a user or systemd asks for."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

THREAD = "signals"
LONGEST_STOP_S = 5.0
"""A `stop` that hangs, as in a camera's driver, delays the end by no more than this."""


@contextmanager
def on_end(stop: Callable[[], None], pause: Callable[[], None] | None = None) -> Iterator[None]:
    """Call `stop` on a thread of its own each time that SIGINT or SIGTERM comes.

    pause: called for SIGTERM, in place of `stop`.

    A signal handler runs between any two steps of the main thread, even of another handler, which may hold the lock
    that `stop` needs: two SIGTERMs at once would hang a service whose handler sets an Event. So the handler only writes
    to a pipe. Off the main thread, where Python allows no handlers, this does nothing.
    """
    reading, writing = os.pipe()

    def wait() -> None:
        while number := os.read(reading, 1):
            (pause if pause is not None and number[0] == signal.SIGTERM else stop)()

    waiting = threading.Thread(target=wait, name=THREAD, daemon=True)
    before = {}
    with suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda came, _: os.write(writing, bytes([came])))
    waiting.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        waiting.join(LONGEST_STOP_S)
        if not waiting.is_alive():
            os.close(reading)
