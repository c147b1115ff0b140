"""The engines that inspect a frame, and what the cascade needs of their manifests. It changes only between frames."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.inference.engines import Engine, EngineSet
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Shadow


@dataclass(frozen=True, slots=True, eq=False)
class Lineup:
    """The engines of the three tasks, and the engine on trial beside them.

    serial: counts the line-ups of a run from 0. generations: number, per task, of the engine among those loaded.
    """

    serial: int
    engines: EngineSet
    generations: Mapping[Task, int]
    shadow: Shadow | None
    settings: InferenceSettings

    @classmethod
    def first(cls, engines: EngineSet, settings: InferenceSettings) -> Self:
        """Return the line-up with which the service starts."""
        return cls(0, engines, dict.fromkeys(engines.by_task(), 0), None, settings)

    @property
    def screen_threshold(self) -> float:
        own = self.engines.screen.manifest.thresholds["pass"]
        return own if self.settings.screen_threshold is None else self.settings.screen_threshold

    @property
    def cell_px(self) -> int:
        return self.engines.screen.manifest.cell_px or 1

    @property
    def classes(self) -> tuple[str, ...]:
        return self.engines.classify.manifest.classes

    @property
    def claims(self) -> np.ndarray:
        """float32 (len(classes),): the score at which each class is claimed."""
        return self.engines.classify.manifest.claims()

    @property
    def loaded(self) -> frozenset[tuple[Task, int]]:
        """Task and generation of every engine in it, including its shadow."""
        shadow = {(self.shadow.task, self.shadow.generation)} if self.shadow else set()
        return frozenset({*self.generations.items()} | shadow)

    def with_shadow(self, shadow: Shadow | None) -> Self:
        """Return the next line-up: the same engines, with this shadow or none."""
        return replace(self, serial=self.serial + 1, shadow=shadow)

    def on_backend(self, engines: EngineSet, generation: int) -> Self:
        """Return the next line-up: these engines, all loaded under this number."""
        return replace(
            self, serial=self.serial + 1, engines=engines, generations=dict.fromkeys(engines.by_task(), generation)
        )

    def with_engines(self, engines: EngineSet, generations: Mapping[Task, int], shadow: Shadow | None) -> Self:
        """Return the next line-up: these engines, loaded under these numbers."""
        return replace(self, serial=self.serial + 1, engines=engines, generations=generations, shadow=shadow)

    def with_promoted(self, engine: Engine, generation: int) -> Self:
        """Return the next line-up: `engine` in place of the one with its task, no shadow."""
        task = engine.manifest.task
        engines = replace(self.engines, **{task.value: engine})
        return replace(
            self,
            serial=self.serial + 1,
            engines=engines,
            generations={**self.generations, task: generation},
            shadow=None,
        )

    def admit(self, engine: Engine) -> None:
        """Raise EngineError unless `engine` can take over its task while the service runs.

        Its input must be of equal size, and a classifier must have the same classes, since open defects carry their
        scores.
        """
        ours, theirs = self.engines.by_task()[engine.manifest.task].manifest, engine.manifest
        if (ours.input.lines, ours.input.width) != (theirs.input.lines, theirs.input.width):
            raise EngineError(
                f"engine {theirs.name} takes {theirs.input.lines} x {theirs.input.width} px, the running {ours.name} "
                f"{ours.input.lines} x {ours.input.width}; expected the same; name it in [inference] and restart"
            )
        if theirs.task is Task.CLASSIFY and ours.classes != theirs.classes:
            differing = sorted(set(ours.classes) ^ set(theirs.classes)) or ["their order"]
            raise EngineError(
                f"engine {theirs.name} has other classes than the running {ours.name} ({', '.join(differing)}); "
                "expected the same; name it in [inference] and restart"
            )
