"""The ports: interfaces that a room uses without importing the room that implements them."""

import threading
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from linewatch.contracts.frame import Grab
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.record import Record, RecordSpan


class Clock(Protocol):
    """The time as the service sees it: the host's, or a replay's."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def wait_until_ns(self, deadline_ns: int, stop: threading.Event | None = None) -> bool:
        """Wait; return True at or after `deadline_ns`, or False at once when `stop` is set."""
        ...


class Camera(Protocol):
    """A source of grabs: camera, recording, folder or simulator. A context manager, used by one thread.

    live: a live camera that is not read in time loses lines, a recording does not. grabs: how many there will be; None
    where the source does not know. serial: the camera's serial number, also where a recording tells it; "": none.
    """

    live: bool
    grabs: int | None

    @property
    def serial(self) -> str: ...

    def read(self) -> Grab | None:
        """Wait for the next grab; None at the end of the source. Raises SourceError when the source is lost."""
        ...

    def stop(self) -> None:
        """Make a waiting or later `read()` return None. May be called from any thread."""
        ...

    def __enter__(self) -> "Camera": ...

    def __exit__(self, *exc: object) -> None: ...


class CameraWrapper:
    """Base of cameras that wrap another one: opens, stops and closes it. Subclasses implement `read`."""

    def __init__(self, camera: Camera) -> None:
        self.live = camera.live
        self.grabs = camera.grabs
        self._camera = camera

    @property
    def serial(self) -> str:
        return self._camera.serial

    def stop(self) -> None:
        self._camera.stop()

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._camera.__exit__(*exc)


class Executor(Protocol):
    """One engine, ready to run on one worker thread."""

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        """Return the output for the first `rows` rows of uint8 (n, 1, lines, width), n being a rung of the ladder.

        The result (rows, ...) belongs to the caller: the first rows of `out`, which is C-contiguous (n, ...) of the
        output's dtype, or a new array. A row's bytes depend on that row alone, not on n, its place or its neighbours.
        Rows from `rows` on are padding, which a backend may skip. Raises EngineError when the device fails.
        """
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    """A runtime that executes engines.

    siblings: name endings of the INT8 engines that it runs faster than the FP32 engine and with correct results, best
    first.
    """

    name: str
    siblings: tuple[str, ...]

    def identity(self, manifest: EngineManifest) -> str:
        """Return weights hash, backend with version, precision, and instruction set or GPU. Equal identities give equal
        output bytes.
        """
        ...

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        """Raise EngineError when the ONNX model cannot be read or its inputs and outputs differ from the manifest."""
        ...

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        """Return whether `open` takes a moment, rather than minutes because something must be built first."""
        ...

    def open(
        self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int
    ) -> "tuple[Executor, ...]":
        """Check and compile once; return one executor per worker, for use in parallel. Raises EngineError."""
        ...


class RecordStore(Protocol):
    """The published records that are still kept. Thread-safe, also while records are appended."""

    @property
    def identity(self) -> str:
        """UUID of this store: sequences of one mean nothing in another. "": not known yet."""
        ...

    def read(self, epoch: int, topic: str, first_sequence: int, limit_bytes: int) -> list[Record]:
        """Return records from `first_sequence` on, in order: at most `limit_bytes` in all, but at least one record."""
        ...

    def span(self, epoch: int, topic: str) -> RecordSpan | None:
        """Return the kept sequences of a topic; None when nothing of that epoch is kept."""
        ...

    def epochs(self) -> list[int]:
        """Return the epochs with kept records, ascending; the last one is the running daemon's."""
        ...
