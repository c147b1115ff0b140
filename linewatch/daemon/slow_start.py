"""A start that must wait, as for a disk that does not answer, says for what, and is given the time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from linewatch.systemd import Notifier

log = structlog.get_logger()

SAID_AFTER_S: Final = 2.0
"""How long a step of the start may take before it is told, and how often it is told again."""


@contextmanager
def told_while_slow(what: str, every_s: float = SAID_AFTER_S) -> Iterator[None]:
    """Tell the log once, and the service manager again and again, while the body takes longer than `every_s`.

    what: what the start waits for. The service manager's limit for the start is put off for as long.
    """
    done, began_s, told = threading.Event(), time.monotonic(), threading.Event()

    def tell() -> None:
        notifier = Notifier()
        while not done.wait(every_s):
            notifier.waiting(f"STARTING, waits for {what}", within_s=10 * every_s)
            if not told.is_set():
                told.set()
                log.warning("start_waits", waits_for=what)

    teller = threading.Thread(target=tell, name="slow-start", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        if told.is_set():
            log.info("start_goes_on", waited_for=what, seconds=round(time.monotonic() - began_s, 1))
