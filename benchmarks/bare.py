"""The engines alone, on what the service gave them: the rate that no service around them can beat."""

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from linewatch.capture.edges import find_edges
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Frame
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Executor
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import load_engines
from linewatch.service_settings import ServiceSettings


class BareEngines:
    """The service's backend, with as many one-thread workers, and no other work."""

    def __init__(self, settings: ServiceSettings, frames: Sequence[np.ndarray], workers: int) -> None:
        inference = settings.inference
        backend = open_backend(inference.backend, inference)
        engines = load_engines(inference, backend.siblings)
        self._executors: dict[Task, tuple[Executor, ...]] = {
            task: backend.open(engine.manifest, engine.model, inference.ladder, workers)
            for task, engine in engines.by_task().items()
        }
        self._workers = workers
        self._frames = len(frames)
        self.batches = self._of_the_service(Cascade(engines, inference, settings.line), settings, frames)
        self.tiles_passed = sum(len(batch.refs) for batch in self.batches if batch.engine == Task.CLASSIFY)

    def frames_per_s(self) -> float:
        """One pass over all batches, workers taking the next as they get free."""
        counter = itertools.count()

        def work(worker: int) -> None:
            while (number := next(counter)) < len(self.batches):
                batch = self.batches[number]
                self._executors[Task(batch.engine)][worker].run(batch.pixels, len(batch.refs))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(self._workers)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self._frames / (time.perf_counter() - started)

    def _of_the_service(self, cascade: Cascade, settings: ServiceSettings, frames: Sequence[np.ndarray]) -> list[Batch]:
        """Every batch that the service's own cascade asks for, in order."""
        kept: list[Batch] = []
        for number, pixels in enumerate(frames):
            queue = list(cascade.feed(frame_of(settings.line, pixels, number), find_edges(pixels, settings.capture), 0))
            while queue or cascade.pending:
                queue = queue or list(cascade.flush())
                batch = queue.pop(0)
                kept.append(replace(batch, pixels=batch.pixels.copy()))
                output = self._executors[Task(batch.engine)][0].run(batch.pixels, len(batch.refs))
                queue += cascade.done(BatchResult(batch, "", output), 0)
                cascade.take_ready()
        return kept


def frame_of(line: LineSettings, pixels: np.ndarray, ordinal: int, slot: int | None = None) -> Frame:
    """Return a frame of a coil, in its place; slot: of the ring, whose masks it may use."""
    return Frame(
        pixels=pixels,
        slot=slot,
        ordinal=ordinal,
        coil="BENCH",
        side=line.side,
        camera=line.camera,
        sequence=ordinal,
        first_line=ordinal * line.frame_lines,
        lines=line.frame_lines,
        valid_lines=line.frame_lines,
        encoder_count=ordinal,
        along_mm=ordinal * line.frame_lines * line.mm_per_line,
        mm_per_line=line.mm_per_line,
        columns=line.across,
        captured_ns=0,
    )
