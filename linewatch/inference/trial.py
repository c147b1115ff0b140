"""An engine on trial runs in a process of its own: whatever it does, the strip is inspected as before.

`EngineTrial` starts the process, which loads the engine, tries it on its reference tiles, and then answers one sample
after the other at the lowest priority. Samples that come meanwhile are not taken. Run as a program, this module is that
process. Both talk by messages of two lengths, a JSON object and bytes; nothing of the engine is run or read elsewhere.
"""

import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.answers import AnswerCheck
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, find_engine
from linewatch.inference.reference_tiles import other_order, precision_of, try_out
from linewatch.inference.settings import InferenceSettings

THREAD: Final = "trial"
LOAD_S: Final = 900.0
"""How long an engine may take to load: a plan of TensorRT is built in minutes."""
ANSWER_S: Final = 30.0
"""How long it may take for a sample, at the lowest priority on a busy host."""
MOST_MB: Final = 4096.0
"""How much memory its process may take."""
MOST_ANSWER_BYTES: Final = 256 << 20
"""How long an answer may be, which the service holds in its own memory."""

LOWEST: Final = ("nice", "-n", "39")
PROGRAM = (*LOWEST, sys.executable, "-m", "linewatch.inference.trial")
"""At the lowest priority from its first import on, whatever that of the service is."""
_LENGTHS: Final = struct.Struct("<II")
_LOOK_S: Final = 0.1
_PR_SET_PDEATHSIG: Final = 1

Take = Callable[[np.ndarray | None, str | None], None]
"""Gets the answers to a sample, (n, ...), or None and why there are none."""


@dataclass(frozen=True, slots=True)
class TriedEngine:
    """What the process tells of an engine that it has loaded. tile_ns: processor time of a tile."""

    manifest: EngineManifest
    identity: str
    has_reference: bool
    tile_ns: int


class _Ended(Exception):
    """The process has ended, or was ended; says why."""


class EngineTrial:
    """One engine on trial. `free` and `ask` are for one thread, `stop` for any; nothing here waits for the engine.

    told: called on the trial's own thread once when the engine is loaded, and once when the trial has ended by itself;
    then `fault` says why.
    """

    def __init__(
        self,
        name: str,
        running: Mapping[str, str],
        backend: str,
        settings: InferenceSettings,
        told: Callable[["EngineTrial"], None],
        *,
        load_s: float | None = None,
        answer_s: float | None = None,
        most_mb: float | None = None,
    ) -> None:
        """running: the engines that inspect, by task. backend: on which they run. Limits: the module's by default."""
        self.name, self._told = name, told
        self._request = {
            "name": name,
            "running": dict(running),
            "backend": backend,
            "settings": settings.model_dump_json(),
        }
        self._load_s, self._answer_s, self._most_mb = load_s or LOAD_S, answer_s or ANSWER_S, most_mb or MOST_MB
        self._asked: SimpleQueue[tuple[np.ndarray, Take] | None] = SimpleQueue()
        self._idle = threading.Event()
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.tried: TriedEngine | None = None
        self.fault: str | None = None

    def start(self) -> None:
        """Start the process."""
        threading.Thread(target=self._run, name=THREAD, daemon=True).start()

    @property
    def free(self) -> bool:
        """Whether a sample would be taken now."""
        return self._idle.is_set()

    def ask(self, pixels: np.ndarray, take: Take) -> None:
        """Have uint8 (n, 1, lines, width) answered later; `take` is called on the trial's thread. Ask only if free."""
        self._idle.clear()
        self._asked.put((pixels, take))

    def stop(self) -> None:
        """End the process at once."""
        self._stopped.set()
        self._asked.put(None)
        if (process := self._process) is not None:
            process.kill()

    def _run(self) -> None:
        try:
            with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as self._process:
                try:
                    self._talk(self._process)
                finally:
                    self._process.kill()
        except Exception as error:  # whatever the process answers ends the trial, and nothing else
            if not self._stopped.is_set():
                known = isinstance(error, _Ended | OSError)
                why = str(error) if known else f"its process gave an unusable answer ({type(error).__name__}: {error})"
                self.fault = f"engine {self.name}: {why}"
                self._told(self)
        finally:
            self._idle.clear()

    def _talk(self, process: subprocess.Popen[bytes]) -> None:
        head, _ = self._exchange(process, self._request, b"", self._load_s, "was not loaded")
        if "failed" in head:
            self.fault = str(head["failed"])
            self._told(self)
            return
        manifest = EngineManifest.parse(head["manifest"].encode())
        self.tried = TriedEngine(manifest, head["identity"], head["has_reference"], int(head["tile_ns"]))
        self._told(self)
        while not self._stopped.is_set():
            self._idle.set()
            if (asked := self._next(process)) is None:
                return
            pixels, take = asked
            try:
                head, data = self._exchange(
                    process, {"shape": pixels.shape}, pixels.tobytes(), self._answer_s, "gave no answer"
                )
            except _Ended as error:
                take(None, str(error))
                raise
            if "fault" in head:
                take(None, str(head["fault"]))
            else:
                take(np.frombuffer(data, head["dtype"]).reshape(head["shape"]), None)

    def _next(self, process: subprocess.Popen[bytes]) -> tuple[np.ndarray, Take] | None:
        """Return the next sample; None: it was stopped. Raises _Ended."""
        while True:
            with suppress(Empty):
                return self._asked.get(timeout=_LOOK_S)
            if process.poll() is not None:
                raise _Ended(_why_ended(process))

    def _exchange(
        self, process: subprocess.Popen[bytes], head: object, data: bytes, within_s: float, lacks: str
    ) -> tuple[dict[str, Any], bytes]:
        """Send a message, and return the one that comes back. Raises _Ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        until_s = time.monotonic() + within_s

        def wait(reads: list[int], writes: list[int]) -> None:
            while not any(select.select(reads, writes, [], _LOOK_S)[:2]):
                if time.monotonic() >= until_s:
                    raise _Ended(f"it {lacks} within {within_s:g} s, so its process was ended")
                if (used_mb := _used_mb(process.pid)) > self._most_mb:
                    raise _Ended(
                        f"it took {used_mb:.0f} MB, expected at most {self._most_mb:g} MB, so its process was ended"
                    )

        def received(count: int) -> bytes:
            parts = bytearray()
            while len(parts) < count:
                wait([source], [])
                if not (part := os.read(source, min(count - len(parts), 1 << 20))):
                    raise _Ended(_why_ended(process))
                parts += part
            return bytes(parts)

        source, sink = process.stdout.fileno(), process.stdin.fileno()
        os.set_blocking(sink, False)
        unsent = memoryview(_packed(head, data))
        try:
            while unsent:
                wait([], [sink])
                unsent = unsent[os.write(sink, unsent) :]
        except BrokenPipeError as error:
            raise _Ended(_why_ended(process)) from error
        head_bytes, data_bytes = _LENGTHS.unpack(received(_LENGTHS.size))
        if head_bytes + data_bytes > MOST_ANSWER_BYTES:
            raise _Ended(
                f"it answers with {head_bytes + data_bytes} bytes, expected at most {MOST_ANSWER_BYTES}, so its "
                "process was ended"
            )
        return json.loads(received(head_bytes)), received(data_bytes)


def _why_ended(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    code = process.returncode
    how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
    return f"its process ended {how}"


def _used_mb(process: int) -> float:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _packed(head: object, data: bytes) -> bytes:
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), len(data)) + text + data


def main() -> None:
    """Be the process of an engine on trial: the request comes by standard input, answers go to standard output."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # ends with the thread that started it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, meant for the service
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out, this process goes first
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints goes to the log

    def tell(head: object, data: bytes = b"") -> None:
        sink.write(_packed(head, data))
        sink.flush()

    def heard() -> tuple[Any, bytes]:
        lengths = source.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            sys.exit(0)
        head_bytes, data_bytes = _LENGTHS.unpack(lengths)
        return json.loads(source.read(head_bytes)), source.read(data_bytes)

    request, _ = heard()
    try:
        engine, answers, told = _loaded(request)
    except Exception as error:
        tell({"failed": str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"})
        return
    tell(told)
    check, name = AnswerCheck(engine.manifest), engine.manifest.name
    while True:
        head, data = heard()
        pixels = np.frombuffer(data, np.uint8).reshape(head["shape"])
        try:
            found = np.concatenate([answers(np.ascontiguousarray(tile)[None]) for tile in pixels])
            fault = check.fault(found, len(pixels))
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            tell({"fault": f"engine {name} {fault}"})
        else:
            tell({"dtype": str(found.dtype), "shape": found.shape}, found.tobytes())


def _loaded(request: dict[str, Any]) -> tuple[Engine, Callable[[np.ndarray], np.ndarray], dict[str, object]]:
    """Load and try the engine; return it, what answers a tile, and what is told of it. Raises EngineError."""
    settings = InferenceSettings.model_validate_json(request["settings"])
    engine = find_engine(settings.engines_dir, request["name"], settings.trusted_signers)
    manifest, backend = engine.manifest, open_backend(request["backend"], settings)
    (executor,) = backend.open(manifest, engine.model, (1,), 1)

    def answer(tile: np.ndarray) -> np.ndarray:
        return executor.run(tile, 1)

    identity = backend.identity(manifest)
    try_out(manifest, engine.reference, precision_of(identity), answer)
    name = request["running"].get(manifest.task.value)
    if engine.reference is None and name is not None:
        running = find_engine(settings.engines_dir, name, settings.trusted_signers)
        if running.reference and (order := other_order(running.manifest, running.reference, manifest, answer)):
            raise EngineError(f"engine {manifest.name}: {order}")
    tile = np.zeros((1, 1, manifest.input.lines, manifest.input.width), np.uint8)
    began_ns = time.process_time_ns()
    answer(tile)
    told = {
        "manifest": manifest.text(),
        "identity": identity,
        "has_reference": engine.reference is not None,
        "tile_ns": time.process_time_ns() - began_ns,
    }
    return engine, answer, told


if __name__ == "__main__":
    main()
