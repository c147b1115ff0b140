"""Standard output whose failure is an error of linewatch: one line and an exit code, as for any other.

Standard error carries the log. A failure to write it ends nothing: the inspection goes on without those lines.
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from linewatch.contracts.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class PipeClosed(Exception):
    """Nobody reads standard output any more. Not a BrokenPipeError, which rich would take for a failed command."""


class _CheckedOutput(io.FileIO):
    """Standard output's descriptor. A pipe that was closed raises PipeClosed, everything else OutputError."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise PipeClosed from error
        except OSError as error:
            raise OutputError(
                f"standard output cannot be written ({error.strerror}): what was printed is not complete; free space, "
                "or print to another file"
            ) from error


PATIENCE_MS = 200
"""How long a line for standard error waits for a reader that does not read; well below a stage's silence limit."""


class _PatientErrors(io.FileIO):
    """Standard error's descriptor. What cannot be written, or is not read in time, is dropped and counted.

    How many were dropped is told before the next line that gets through.
    """

    _dropped, _torn = 0, False  # torn: the last line is there in part

    def write(self, data: "ReadableBuffer", /) -> int:
        line = memoryview(data).cast("B")
        try:
            patience_ms = 0 if self._dropped else PATIENCE_MS
            if self._dropped:
                told = b'{"event": "log_lines_dropped", "lines": %d, "level": "warning"}\n' % self._dropped
                self._write(memoryview(b"\n" * self._torn + told), patience_ms)
                self._dropped = 0
            self._write(line, patience_ms)
        except OSError:
            self._dropped += 1
        return len(line)  # so that nothing is kept for later

    def _write(self, left: memoryview, patience_ms: int) -> None:
        """Write all of it. Raises OSError, also where the reader does not read."""
        self._torn = False
        while left:
            ready = select.poll()
            ready.register(self.fileno(), select.POLLOUT)
            if not ready.poll(patience_ms):
                raise TimeoutError
            left = left[super().write(left[: select.PIPE_BUF]) or 0 :]  # no more than a pipe that is ready takes
            self._torn = bool(left)


def check_output() -> None:
    """Replace standard output by a stream that reports its failures, and prints letters that the locale lacks as codes.

    Replace standard error by one that never fails. Called once by a process that is one command. Where the caller has
    closed one of them, nothing is printed there.
    """
    for descriptor in (0, 1, 2):  # else the first file that is opened gets its number, and what is printed
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    elif sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        errors = _PatientErrors(sys.stderr.fileno(), "wb", closefd=False)
        sys.stderr = io.TextIOWrapper(errors, sys.stderr.encoding, "backslashreplace", write_through=True)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _checked(sys.stdout)


def drop_output() -> None:
    """Let go of what cannot be written; the interpreter would try again when it exits."""
    try:
        sys.stdout.flush()
    except (OSError, OutputError, PipeClosed):
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _checked(stdout: io.TextIOWrapper) -> io.TextIOWrapper:
    raw = _CheckedOutput(stdout.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), stdout.encoding, "backslashreplace", line_buffering=stdout.isatty())
