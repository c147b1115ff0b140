"""ONNX Runtime with nothing around it, in processes of its own: the stand-in for its `onnxruntime_perf_test`.

That tool is in no wheel and in no release (https://github.com/microsoft/onnxruntime/issues/17332). This does what it
does: input and output are bound once, then one row after the other; processes share no interpreter's lock.
"""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Self

import numpy as np

from linewatch.inference.engines import Engine

_LEAD_S = 0.05  # for all processes to hear when a turn starts


class SessionProcesses:
    """`processes` of one session each, with `threads` threads a session; 0 threads: ONNX Runtime's own default."""

    def __init__(self, engine: Engine, processes: int, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = spawn.Pipe()
            self._pipes.append(ours)
            self._processes.append(spawn.Process(target=_serve, args=(theirs, engine, threads), daemon=True))
            self._processes[-1].start()
            theirs.close()
        for pipe in self._pipes:
            pipe.recv()  # ready

    def rows_per_s(self, turn_s: float) -> float:
        """Of all processes together, each running rows for `turn_s`."""
        started = time.monotonic() + _LEAD_S
        for pipe in self._pipes:
            pipe.send((started, started + turn_s))
        rows, ended = zip(*(pipe.recv() for pipe in self._pipes), strict=True)
        return float(sum(rows) / (max(ended) - started))

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _serve(pipe: Connection, engine: Engine, threads: int) -> None:
    """A process: say that it is ready, then for every turn its rows and when it ended, by the machine's clock."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(engine.model, options, providers=["CPUExecutionProvider"])
    spec = engine.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, spec.lines, spec.width), dtype=np.uint8)
    (output,) = session.run(None, {spec.name: pixels})
    binding = session.io_binding()
    binding.bind_cpu_input(spec.name, pixels)
    binding.bind_ortvalue_output(engine.manifest.output, onnxruntime.OrtValue.ortvalue_from_numpy(output))
    session.run_with_iobinding(binding)
    pipe.send("ready")
    while True:
        try:
            start, end = pipe.recv()
        except EOFError:  # whoever asked is gone
            return
        time.sleep(max(0.0, start - time.monotonic()))
        rows = 0
        while time.monotonic() < end:
            session.run_with_iobinding(binding)
            rows += 1
        pipe.send((rows, time.monotonic()))
