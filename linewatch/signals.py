"""The end that a user or systemd asks for."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

THREAD = "signals"
LONGEST_STOP_S = 5.0
"""A `stop` that hangs, in a camera's driver, does not hold up the end longer."""


@contextmanager
def on_end(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop`, on a thread of its own, each time that one comes.

    A handler runs between any two steps of the main thread, another handler's included, and either may hold the very
    lock that `stop` wants: two SIGTERMs at once would hang a service that sets an Event in its handler. So the handler
    only writes to a pipe. Used off the main thread it does nothing: whoever runs that thread takes the signals.
    """
    reading, writing = os.pipe()

    def wait() -> None:
        while os.read(reading, 1):
            stop()

    waiting = threading.Thread(target=wait, name=THREAD, daemon=True)
    before = {}
    with suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: os.write(writing, b"\0"))
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
