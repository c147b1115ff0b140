"""A service's engines and decision on frames in memory, without its threads, queues and sockets.

Decisions depend on pixels, engines and settings alone, so these are the service's own decisions.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from linewatch.capture.edges import find_edges
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Frame
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Batch, BatchResult, Tile
from linewatch.contracts.verdict import CoilNotice, Decided, Defect, DefectState, StripArea, Verdict
from linewatch.daemon.recipes import RuleFiles, rules_of
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet
from linewatch.service_settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class OutlinedDefect:
    """A closed defect. runs: int32 (n, 3), its outline as rows (line, start_px, stop_px) of the frame.

    told: whether the service publishes it; False for one below `[decision] tell_probability`.
    """

    defect: Defect
    runs: NDArray[np.int32]
    told: bool = True


@dataclass(frozen=True, slots=True)
class InspectedFrame:
    """What a service finds in a frame.

    found: the closed defects, without those that were merged into others; those that are not told come last. tiles,
    screen_scores: the tiles on the strip in the frame's own pixels, and the screen's score of each, float32. area: of
    strip, by how it was inspected. uninspected_mm2: by cause.
    """

    found: tuple[OutlinedDefect, ...]
    tiles: tuple[Tile, ...]
    screen_scores: NDArray[np.float32]
    area: StripArea
    uninspected_mm2: Mapping[str, float]


class Inspector:
    """Inspects coils, or single frames of any size, one after the other, on one thread."""

    def __init__(self, engines: EngineSet, settings: ServiceSettings, backend: Backend) -> None:
        """Open the engines. Raises ConfigError, EngineError."""
        self._engines, self._settings = engines, settings
        taxonomy = Taxonomy.read(settings.taxonomy) if settings.taxonomy else None
        quiet = settings.model_copy(update={"alarm": ()})
        self.rules = rules_of(RuleFiles.read(quiet, taxonomy), engines, taxonomy)
        by_task = engines.by_task()
        self._executors = {
            task: backend.open(engine.manifest, engine.model, settings.inference.ladder, 1)[0]
            for task, engine in by_task.items()
        }
        inputs = [engine.manifest.input for engine in by_task.values()]
        self._least_width_px = max(one.width for one in inputs)
        self._lines = max(settings.line.frame_lines, *(one.lines for one in inputs))
        self._cascades: dict[int, Cascade] = {}
        self._ordinal = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for executor in self._executors.values():
            executor.close()

    def coil(self, frames: Iterable[NDArray[np.uint8]], name: str = "COIL") -> list[Defect]:
        """Return the closed defects of a coil of these frames, uint8 (lines, width) each, without merged ones."""
        return [one.defect for one in _found(self._decided(self._predictions(frames, name), self.rules))]

    def frame(self, gray: NDArray[np.uint8], name: str = "FRAME") -> InspectedFrame:
        """Inspect one image, uint8 (lines, width), as a coil of its own.

        An image that is higher than a frame of the line is inspected as several frames of one coil. What an engine's
        input extends beyond the image is no strip.
        """
        parts = [gray[first : first + self._lines] for first in range(0, len(gray), self._lines)]
        predictions = list(self._predictions(parts, name))
        decided = list(self._decided(predictions, self.rules))
        found = _found(decided)
        ended = next(one for one in reversed(decided) if isinstance(one, CoilNotice))
        lines, width = gray.shape
        tiles = [
            Tile(tile.x, tile.y + number * self._lines, tile.width, tile.lines)
            for number, each in enumerate(predictions)
            for tile in each.tiles
        ]
        return InspectedFrame(
            found=(*found, *self._untold(predictions, {one.defect.id for one in found})),
            tiles=tuple(_cut(tile, lines, width) for tile in tiles),
            screen_scores=np.concatenate([each.screen_scores for each in predictions]),
            area=ended.area,
            uninspected_mm2=ended.uninspected_mm2_by_cause,
        )

    def _untold(self, predictions: Iterable[Prediction], told: Collection[str]) -> Iterator[OutlinedDefect]:
        """Yield the defects that are too improbable to be told: the second stage is fitted on them as well."""
        if self.rules.tell_probability > 0:
            for one in _found(self._decided(predictions, replace(self.rules, tell_probability=0.0))):
                if one.defect.id not in told:
                    yield replace(one, told=False)

    def _predictions(self, frames: Iterable[NDArray[np.uint8]], name: str) -> Iterator[Prediction]:
        for number, pixels in enumerate(frames):
            cascade = self._cascade(max(pixels.shape[1], self._least_width_px))
            frame = self._framed(pixels, number, name)
            edges = find_edges(frame.pixels[: frame.valid_lines], self._settings.capture)  # type: ignore[index]
            self._run(cascade, deque(cascade.feed(frame, edges, 0)))
            yield from cascade.take_ready()

    def _decided(self, predictions: Iterable[Prediction], rules: DecisionRules) -> Iterator[Decided]:
        state = DecisionState.initial()
        for prediction in predictions:
            state, decided = decide(state, prediction, rules)
            yield from decided
        yield from finish(state)

    def _cascade(self, width_px: int) -> Cascade:
        if width_px not in self._cascades:
            line = self._settings.line.model_copy(update={"width_px": width_px, "frame_lines": self._lines})
            self._cascades[width_px] = Cascade(self._engines, self._settings.inference, line)
        return self._cascades[width_px]

    def _run(self, cascade: Cascade, batches: deque[Batch]) -> None:
        """Run batches until no engine has work left."""
        while batches or (batches := deque(cascade.flush())):
            batch = batches.popleft()
            output = self._executors[Task(batch.engine)].run(batch.pixels, len(batch.refs))
            batches.extend(cascade.done(BatchResult(batch, "", output), 0))

    def _framed(self, pixels: NDArray[np.uint8], number: int, coil: str) -> Frame:
        """Return the pixels as a ring slot holds them: as large as a frame, black where the image ends."""
        line = self._settings.line
        self._ordinal += 1
        lines, width = pixels.shape
        missing = (0, self._lines - lines), (0, max(0, self._least_width_px - width))
        return Frame(
            pixels=np.ascontiguousarray(np.pad(pixels, missing)),
            slot=None,
            ordinal=self._ordinal - 1,
            coil=coil,
            side=line.side,
            camera=line.camera,
            sequence=number,
            first_line=number * self._lines,
            lines=lines,
            valid_lines=lines,
            encoder_count=0,
            along_mm=number * self._lines * line.mm_per_line,
            mm_per_line=line.mm_per_line,
            columns=line.across,
            captured_ns=0,
        )


def _found(decided: Iterable[Decided]) -> list[OutlinedDefect]:
    """Return the closed defects, in the order in which they closed, each with all of its outline."""
    closed: list[Defect] = []
    into: dict[str, str] = {}
    runs: dict[str, list[NDArray[np.int32]]] = defaultdict(list)
    for one in decided:
        for event in one.defects if isinstance(one, Verdict | CoilNotice) else ():
            if event.mask is not None:
                runs[event.defect.id].append(event.mask.runs + np.array([event.mask.first_line, 0, 0], np.int32))
            if event.merged_into is not None:
                into[event.defect.id] = event.merged_into
            elif event.state is DefectState.CLOSED:
                closed.append(event.defect)
    for name, owner in into.items():
        while owner in into:
            owner = into[owner]  # noqa: PLW2901 - the last of a chain holds the outline
        runs[owner] += runs[name]
    none = np.zeros((0, 3), np.int32)
    return [OutlinedDefect(one, np.concatenate([none, *runs[one.id]])) for one in closed]


def _cut(tile: Tile, lines: int, width: int) -> Tile:
    """Return the part of a tile that lies in the image."""
    return Tile(tile.x, tile.y, max(0, min(tile.width, width - tile.x)), max(0, min(tile.lines, lines - tile.y)))
