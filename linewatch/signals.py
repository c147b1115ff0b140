"""Handles SIGINT and SIGTERM, which ask for the end, and SIGHUP, by which systemd asks for a reload."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import structlog

THREAD = "signals"
LONGEST_STOP_S = 5.0
"""A `stop` that hangs, as in a camera's driver, delays the end by no more than this."""
_AT_ONCE: Final = 4096  # signals that are taken together; each kind of them counts once

log = structlog.get_logger()


@contextmanager
def on_end(stop: Callable[[], None], pause: Callable[[], None] | None = None) -> Iterator[None]:
    """Call `stop` on a thread of its own when SIGINT or SIGTERM comes.

    pause: called for SIGTERM, in place of `stop`.
    """
    with _calling({signal.SIGINT: stop, signal.SIGTERM: pause or stop}):
        yield


@contextmanager
def on_reload(reload: Callable[[], None]) -> Iterator[None]:
    """Call `reload` on a thread of its own when SIGHUP comes: files that hang do not hold up the end.

    At a terminal SIGHUP says that it was closed, and ends the process as ever.
    """
    with _calling({} if at_terminal() else {signal.SIGHUP: reload}):
        yield


def at_terminal() -> bool:
    """Return whether somebody started this process at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def tell_that_a_restart_is_needed() -> None:
    """Log why SIGHUP changes nothing, in a process that reads its configuration at its start alone."""
    log.warning("restart_needed", why="this process reads its configuration at its start alone; restart it")


@contextmanager
def _calling(calls: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Call what belongs to a signal on a thread of its own. Those that come meanwhile count once.

    A signal handler runs between any two steps of the main thread, even of another handler, which may hold the lock
    that a call needs: two SIGTERMs at once would hang a service whose handler sets an Event. So the handler only writes
    to a pipe. Off the main thread, where Python allows no handlers, this does nothing.
    """
    reading, writing = os.pipe()

    def wait() -> None:
        while numbers := os.read(reading, _AT_ONCE):
            for number in dict.fromkeys(numbers):
                calls[signal.Signals(number)]()

    waiting = threading.Thread(target=wait, name=THREAD, daemon=True)
    before = {}
    with suppress(ValueError):
        for number in calls:
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
