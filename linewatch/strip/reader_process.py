"""The program of a reader, which `readers.Reader` starts: follows cameras, and passes on what they decide.

Which cameras comes by standard input; what they decide goes to standard output.
"""

import ctypes
import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, Full, Queue
from typing import Final

from linewatch.logs import configure_logs
from linewatch.strip.crops import HeardCrop
from linewatch.strip.listeners import CameraListener, CameraReport, HeardDecision
from linewatch.strip.readers import ReaderStart, ReaderTold

REPORT_S: Final = 0.1
"""How often it tells how it hears its cameras."""
MOST_WAITING: Final = 4096
MOST_AT_ONCE: Final = 128
MOST_CROPS: Final = 32
"""Pictures that wait to be passed on; beyond that, the newest are dropped."""
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Follow the cameras until the process that started this one ends it, or ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # ends with the thread that started it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, meant for the strip process
    sink = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # whatever is printed goes to the log
    source = Connection(os.dup(0), writable=False)
    start: ReaderStart = pickle.loads(source.recv_bytes())
    configure_logs(start.log_level)
    heard: Queue[HeardDecision] = Queue(MOST_WAITING)
    crops: Queue[HeardCrop] = Queue(MOST_CROPS)

    def show(crop: HeardCrop) -> None:
        with suppress(Full):
            crops.put_nowait(crop)

    listeners = {number: CameraListener(number, *one, show) for number, one in start.cameras.items()}
    for number, listener in listeners.items():
        threading.Thread(
            target=listener.follow, args=(heard.put, lambda: True), name=f"listen-{number}", daemon=True
        ).start()
    threading.Thread(target=_end_with, args=(source,), name="end", daemon=True).start()
    report_s = 0.0
    while True:
        decisions: list[HeardDecision] = []
        reports: tuple[tuple[int, CameraReport, str], ...] = ()
        with suppress(Empty):
            decisions.append(heard.get(timeout=REPORT_S))
            while len(decisions) < MOST_AT_ONCE:
                decisions.append(heard.get_nowait())
        if time.monotonic() >= report_s:
            report_s = time.monotonic() + REPORT_S
            reports = tuple((number, one.report(), one.news()) for number, one in listeners.items())
        shown = tuple(crops.get_nowait() for _ in range(crops.qsize()))  # no other thread takes any
        if decisions or reports or shown:
            with suppress(BrokenPipeError):  # the thread `end` sees that, too
                sink.send_bytes(pickle.dumps(ReaderTold(tuple(decisions), reports, shown), pickle.HIGHEST_PROTOCOL))


def _end_with(source: Connection) -> None:
    """End this process when the one that started it closes its end."""
    with suppress(EOFError, OSError):
        source.recv_bytes()
    os._exit(0)


if __name__ == "__main__":
    main()
