"""Backends that misbehave on purpose: late, failing, building or hung. They compute with the backend they wrap.

Runs are counted in the workers' threads only: how often an engine is tried out before it serves is its own affair.
"""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.ports import Backend, Executor


def _serves() -> bool:
    return threading.current_thread().name.startswith("engine-")


class _WrappingExecutor:
    def __init__(self, inner: Executor, before: Callable[[], None]) -> None:
        self._inner = inner
        self._before = before

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        self._before()
        return self._inner.run(pixels, rows, out)

    def close(self) -> None:
        self._inner.close()


class _WrappingBackend:
    """Delegates to `inner`; each run of an executor calls `before` first."""

    def __init__(self, inner: Backend) -> None:
        self.name, self.siblings = inner.name, inner.siblings
        self._inner = inner

    def identity(self, manifest: EngineManifest) -> str:
        return self._inner.identity(manifest)

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        self._inner.check(manifest, model)

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        return self._inner.ready(manifest, ladder)

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        return tuple(
            _WrappingExecutor(executor, self.before) for executor in self._inner.open(manifest, model, ladder, workers)
        )

    def before(self) -> None:
        raise NotImplementedError


class LateBackend(_WrappingBackend):
    """Delays each run by a random time of up to `max_delay_s`, so that results return in another order each time."""

    def __init__(self, inner: Backend, max_delay_s: float, seed: int) -> None:
        super().__init__(inner)
        self._max_delay_s = max_delay_s
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()

    def before(self) -> None:
        with self._lock:
            delay_s = self._rng.uniform(0, self._max_delay_s)
        time.sleep(delay_s)


class FailingBackend(_WrappingBackend):
    """Fails in runs number `first` to `last`, counted over all executors, as a lost device does."""

    def __init__(self, inner: Backend, first: int, last: int) -> None:
        super().__init__(inner)
        self._failing = range(first, last + 1)
        self._run = 0
        self._lock = threading.Lock()

    def before(self) -> None:
        with self._lock:
            self._run += _serves()
            fails = _serves() and self._run in self._failing
        if fails:
            raise EngineError(f"{self.name}: the device is lost (simulated)")


class BuildingBackend(_WrappingBackend):
    """Builds each engine until `built` is set; its engines' identities begin with `built-`."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.name = f"built-{inner.name}"
        self.built = threading.Event()

    def identity(self, manifest: EngineManifest) -> str:
        return f"built-{self._inner.identity(manifest)}"

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        return self.built.is_set()

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        self.built.wait()
        return super().open(manifest, model, ladder, workers)

    def before(self) -> None: ...


class HungBackend(_WrappingBackend):
    """Hangs in run number `at`, counted over all executors, until `released` is set; sets `hung` when it begins."""

    def __init__(self, inner: Backend, at: int) -> None:
        super().__init__(inner)
        self.hung, self.released = threading.Event(), threading.Event()
        self._left = at
        self._lock = threading.Lock()

    def before(self) -> None:
        with self._lock:
            self._left -= _serves()
            hangs = _serves() and self._left == 0
        if hangs:
            self.hung.set()
            self.released.wait()
