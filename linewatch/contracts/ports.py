"""The ports: what a room needs of the outside, without knowing who gives it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from linewatch.contracts.frame import Grab
from linewatch.contracts.manifest import EngineManifest


class Clock(Protocol):
    """Time as the service sees it."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def wait_until_ns(self, deadline_ns: int) -> None:
        """Return at or after `deadline_ns`."""
        ...


class Camera(Protocol):
    """A source of grabs: camera, recording, folder or simulator. Opened by its constructor's context manager.

    A camera is used by one thread. `live` says whether time waits for nobody: a live camera that is not read in time
    loses lines, a recording does not.
    """

    live: bool

    def read(self) -> Grab | None:
        """Block for the next grab; None at the end of the source. Raises SourceError when the source is gone."""
        ...

    def stop(self) -> None:
        """Make a blocked or later `read()` return None. May be called from any thread."""
        ...

    def __enter__(self) -> "Camera": ...

    def __exit__(self, *exc: object) -> None: ...


class Executor(Protocol):
    """One engine, ready to run on one worker thread."""

    def run(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """Run uint8 (n, 1, lines, width), n a rung of the ladder; outputs by manifest name, each with leading axis n.

        The arrays may be overwritten by the next `run`. Raises EngineError when the device fails.
        """
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    """A runtime that engines run on."""

    name: str

    def identity(self, manifest: EngineManifest) -> str:
        """Weights hash, backend and its version, precision, instruction set or GPU: equal identity, equal bytes."""
        ...

    def open(self, manifest: EngineManifest, model: Path, ladder: Sequence[int]) -> "Executor":
        """Compile for every rung; once per worker. Raises EngineError when the model does not fit the manifest."""
        ...
