"""Programs in processes of their own, forked from a server that has imported them: ten times faster than a new Python.

What starts Python itself, and what a user types, is tested with new interpreters elsewhere.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import reduction
from typing import Any, Self, TextIO

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("killed_service", "small_service", "strip_player", "logging_sockets"),
        *("linewatch.cli", "linewatch.daemon.run", "linewatch.inference.backends.registry"),
        *("linewatch.plant.cli", "linewatch.plant.modbus.bridge", "linewatch.plant.mqtt.bridge"),
        *("linewatch.plant.s7.bridge", "linewatch.history.cli", "linewatch.history.run", "linewatch.strip.cli"),
        *("sqlalchemy.dialects.sqlite", "alembic.command", "alembic.runtime.migration"),
    ]
)


class Forked:
    """A process with those methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        program: Callable[..., object],
        *arguments: object,
        streams: Mapping[int, int],
        environment: Mapping[str, str] = {},
    ) -> None:
        """program: what it runs; its integer, if any, is the exit code. streams: descriptors for 0, 1 or 2."""
        given = {number: _Descriptor(descriptor) for number, descriptor in streams.items()}
        self._process = _FORKS.Process(target=_run, args=(program, arguments, given, dict(environment)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative by a signal. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.wait()


def linewatch(*words: object, streams: Mapping[int, int], **environment: str) -> Forked:
    """Run a command of the command line, which neither reads its arguments nor its environment from anywhere else."""
    return Forked(_command, *map(str, words), streams=streams, environment=environment)


def spoken_with(program: Callable[..., object], *arguments: object, log: int | None = None) -> tuple[Forked, TextIO]:
    """Start a program; return it and the stream on which we write its input and read its output.

    log: descriptor for what it writes to its standard error; None: ours.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        streams = {0: theirs.fileno(), 1: theirs.fileno()} | ({} if log is None else {2: log})
        return Forked(program, *arguments, streams=streams), ours.makefile("rw")


class _Descriptor:
    """A descriptor of this process that is sent to the new one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> dict[str, Any]:
        return {"sent": reduction.DupFd(self.number)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.number = state["sent"].detach()


def _command(*words: str) -> int:
    from linewatch.cli import main

    sys.argv = ["linewatch", *words]
    return main(list(words))


def _run(
    program: Callable[..., object],
    arguments: tuple[object, ...],
    streams: dict[int, _Descriptor],
    environment: dict[str, str],
) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # or it could be the terminal of whoever runs the tests
    for number, descriptor in streams.items():
        os.dup2(descriptor.number, number)
        os.close(descriptor.number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.update(environment)
    try:
        code = program(*arguments)
    finally:
        atexit._run_exitfuncs()  # as an interpreter does, and a forked process of multiprocessing does not
    sys.exit(code if isinstance(code, int) else 0)
