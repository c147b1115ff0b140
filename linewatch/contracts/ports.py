"""The ports: what a room needs of the outside, without knowing who gives it."""

import threading
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from linewatch.contracts.frame import Grab
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.record import Record, RecordSpan


class Clock(Protocol):
    """Time as the service sees it."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def wait_until_ns(self, deadline_ns: int, stop: threading.Event | None = None) -> bool:
        """True at or after `deadline_ns`; False at once when `stop` is set."""
        ...


class Camera(Protocol):
    """A source of grabs: camera, recording, folder or simulator. Opened by its constructor's context manager.

    A camera is used by one thread. `live` says whether time waits for nobody: a live camera that is not read in time
    loses lines, a recording does not.
    """

    live: bool
    grabs: int | None  # how many there will be; None where the source does not know

    def read(self) -> Grab | None:
        """Block for the next grab; None at the end of the source. Raises SourceError when the source is gone."""
        ...

    def stop(self) -> None:
        """Make a blocked or later `read()` return None. May be called from any thread."""
        ...

    def __enter__(self) -> "Camera": ...

    def __exit__(self, *exc: object) -> None: ...


class CameraWrapper:
    """Base of cameras that wrap another one: opens, stops and closes it. Subclasses implement `read`."""

    def __init__(self, camera: Camera) -> None:
        self.live = camera.live
        self.grabs = camera.grabs
        self._camera = camera

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
        """The manifest's output for the first `rows` rows of uint8 (n, 1, lines, width), n a rung of the ladder.

        An array (rows, ...) that the caller owns: the first rows of `out`, C-contiguous (n, ...) of the output's dtype,
        or a new one. A row's bytes depend on that row alone: not on n, its place or its
        neighbours. Rows from `rows` on are padding, which a backend may skip. Raises EngineError when the device fails.
        """
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    """A runtime that engines run on.

    siblings: endings of the INT8 siblings that it runs faster than the FP32 engine, and rightly; best first.
    """

    name: str
    siblings: tuple[str, ...]

    def identity(self, manifest: EngineManifest) -> str:
        """Weights hash, backend and its version, precision, instruction set or GPU: equal identity, equal bytes."""
        ...

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        """Raise EngineError when this ONNX model cannot be read or its inputs and outputs are not the manifest's."""
        ...

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        """Whether `open` takes a moment, and not the minutes of building something first."""
        ...

    def open(
        self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int
    ) -> "tuple[Executor, ...]":
        """Check and compile once; one executor per worker, to be used at the same time. Raises EngineError."""
        ...


class RecordStore(Protocol):
    """What has been published and is still kept. Safe to use from any thread while another one appends."""

    def read(self, epoch: int, topic: str, first_sequence: int, limit_bytes: int) -> list[Record]:
        """Records from `first_sequence` on, in order: at most `limit_bytes`, but one record however large."""
        ...

    def span(self, epoch: int, topic: str) -> RecordSpan | None:
        """What is kept of a topic; None when nothing at all is kept of that epoch."""
        ...

    def epochs(self) -> list[int]:
        """Epochs of which something is kept, ascending; the last one is the running daemon's."""
        ...
