"""Standard output whose failure is an error of linewatch: one line and an exit code, as for any other."""

import io
import os
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


def check_output() -> None:
    """Replace standard output by a stream that reports its failures, and prints letters that the locale lacks as codes.

    Called once by a process that is one command. Where the caller has closed it, nothing is printed.
    """
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
