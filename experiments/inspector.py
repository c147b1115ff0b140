"""The service's cascade and decision on frames in memory, without its threads, queues and sockets.

Decisions depend on pixels, engines and settings alone, so these are the service's own decisions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from linewatch.capture.edges import find_edges
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Frame
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.contracts.verdict import CoilNotice, Decided, Defect, DefectState, Verdict
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet
from linewatch.service_settings import ServiceSettings


class Inspector:
    """Inspects coils one after the other, on one thread."""

    def __init__(self, engines: EngineSet, settings: ServiceSettings, backend: Backend) -> None:
        taxonomy = Taxonomy.read(settings.taxonomy) if settings.taxonomy else None
        self._settings = settings
        self._rules = DecisionRules.from_settings(
            settings.decision,
            (),
            settings.line,
            {task: engine.manifest for task, engine in engines.by_task().items()},
            pseudo_classes=taxonomy.pseudo_classes if taxonomy else (),
        )
        self._cascade = Cascade(engines, settings.inference, settings.line)
        self._executors = {
            task: backend.open(engine.manifest, engine.model, settings.inference.ladder, 1)[0]
            for task, engine in engines.by_task().items()
        }
        self._ordinal = 0

    def coil(self, frames: Iterable[NDArray[np.uint8]], name: str = "COIL") -> list[Defect]:
        """Return the closed defects of a coil of these frames, uint8 (lines, width) each, without merged ones."""
        state, found = DecisionState.initial(), []
        for number, pixels in enumerate(frames):
            pixels = np.ascontiguousarray(pixels)  # noqa: PLW2901 - as a ring slot holds it
            frame = self._frame(pixels, number, name)
            edges = find_edges(pixels, self._settings.capture)
            self._run(deque(self._cascade.feed(frame, edges, 0)))
            for prediction in self._cascade.take_ready():
                state, decided = decide(state, prediction, self._rules)
                found += _closed(decided)
        return found + _closed(finish(state))

    def _run(self, batches: deque[Batch]) -> None:
        """Run batches until no engine has work left."""
        while batches or (batches := deque(self._cascade.flush())):
            batch = batches.popleft()
            output = self._executors[Task(batch.engine)].run(batch.pixels, len(batch.refs))
            batches.extend(self._cascade.done(BatchResult(batch, "", output), 0))

    def _frame(self, pixels: NDArray[np.uint8], number: int, coil: str) -> Frame:
        line = self._settings.line
        self._ordinal += 1
        return Frame(
            pixels=pixels,
            slot=None,
            ordinal=self._ordinal - 1,
            coil=coil,
            side=line.side,
            camera=line.camera,
            sequence=number,
            first_line=number * line.frame_lines,
            lines=len(pixels),
            valid_lines=len(pixels),
            encoder_count=0,
            along_mm=number * line.frame_lines * line.mm_per_line,
            mm_per_line=line.mm_per_line,
            mm_per_px=line.mm_per_px,
            captured_ns=0,
        )


def _closed(decided: Iterable[Decided]) -> list[Defect]:
    events = [event for one in decided if isinstance(one, Verdict | CoilNotice) for event in one.defects]
    return [event.defect for event in events if event.state is DefectState.CLOSED and event.merged_into is None]
