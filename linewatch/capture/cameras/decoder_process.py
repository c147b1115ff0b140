"""Starts the process that decodes streams, and talks with it."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import numpy as np

from linewatch.capture.cameras.stream_decoder import LENGTHS, StreamOrder, StreamReport
from linewatch.contracts.errors import SourceError

LONGEST_REPORT: Final = 1 << 16
MOST_PIXELS: Final = 1 << 27


class DecoderProcess:
    """One process. It follows one stream at a time, and takes the next order when that one is over."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "linewatch.capture.cameras.stream_decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # FFmpeg's messages may contain passwords
            start_new_session=True,  # Ctrl-C is the service's business
            bufsize=0,
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._out, self._in = self._process.stdout.fileno(), self._process.stdin

    def order(self, order: StreamOrder) -> None:
        """Have it follow a stream. Raises SourceError when the process is gone."""
        try:
            self._in.write(json.dumps(asdict(order)).encode() + b"\n")
        except OSError as error:
            raise SourceError(self._how_it_ended()) from error

    def report(self, within_s: float) -> tuple[StreamReport, np.ndarray | None]:
        """Return the next report with its pixels, uint8 (lines, width). Raises SourceError when none comes in time or
        the process ends, as when a decoder crashes or `kill` is called.
        """
        deadline_s = time.monotonic() + within_s
        length, size = LENGTHS.unpack(self._read(LENGTHS.size, deadline_s))
        if length > LONGEST_REPORT or size > MOST_PIXELS:
            raise SourceError(f"the decoder of the stream reports {size} pixels, expected at most {MOST_PIXELS}")
        report = StreamReport(**json.loads(self._read(length, deadline_s)))
        if not size:
            return report, None
        if size != report.width * report.lines:
            raise SourceError(f"the decoder of the stream reports {size} pixels of {report.width} x {report.lines}")
        return report, np.frombuffer(self._read(size, deadline_s), np.uint8).reshape(report.lines, report.width)

    def kill(self) -> None:
        """End it at once. From any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it and take back what it held."""
        self.kill()
        self._process.wait()
        with suppress(OSError):
            self._in.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self, size: int, deadline_s: float) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([self._out], [], [], left_s)[0]:
                raise SourceError("the decoder of the stream hangs, expected a frame; it is started again")
            got = os.readv(self._out, [view])
            if not got:
                raise SourceError(self._how_it_ended())
            view = view[got:]
        return data

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the decoder of the stream ended ({how}), expected frames; it is started again"


_idle: list[DecoderProcess] = []
_lock = threading.Lock()


def decoder() -> DecoderProcess:
    """Return a process that waits for an order: the one whose last stream is over, or a new one."""
    with _lock:
        if _idle:
            return _idle.pop()
    return DecoderProcess()


def done_with(process: DecoderProcess) -> None:
    """Keep a process whose stream is over for the next attempt, since starting one takes half a second of a core."""
    with _lock:
        if not _idle:
            _idle.append(process)
            return
    process.close()
