"""The engines that inspect a frame, and what the cascade needs of their manifests. It changes only between frames."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import DEFECT_LEVELS, Task
from linewatch.contracts.probability import ProbabilityModel
from linewatch.inference.engines import Engine, EngineSet
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Shadow


@dataclass(frozen=True, slots=True, eq=False)
class Lineup:
    """The engines of a chain, and the engine on trial beside them.

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
    def looks(self) -> Task:
        """The task of the engine that looks at every frame."""
        return self.engines.looks.manifest.task

    @property
    def pass_threshold(self) -> float:
        """What a tile must reach to pass: of the screen's score, or of plane 1 of an inspect engine's maps."""
        thresholds = self.engines.looks.manifest.thresholds
        if self.looks is Task.INSPECT:
            return thresholds["defect"] * DEFECT_LEVELS[-1]
        return thresholds["pass"] if self.settings.screen_threshold is None else self.settings.screen_threshold

    @property
    def cell_px(self) -> int:
        return self.engines.looks.manifest.cell_px or 1

    @property
    def classes(self) -> tuple[str, ...]:
        return self.engines.names_classes.manifest.classes

    @property
    def claims(self) -> np.ndarray:
        """float32 (len(classes),): the score at which a classifier claims each class."""
        return self.engines.names_classes.manifest.claims()

    @property
    def probability_model(self) -> ProbabilityModel | None:
        """What tells how probably an instance is a true defect; None: nothing does."""
        return self.engines.names_classes.manifest.probability

    @property
    def loaded(self) -> frozenset[tuple[Task, int]]:
        """Task and generation of every engine in it, but its shadow, which runs elsewhere."""
        return frozenset(self.generations.items())

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

        The task must be one of the chain's, and the input of equal size. What names classes must have the same ones,
        since open defects carry their scores, and an inspect engine cells of equal size.
        """
        engines, theirs = self.engines.by_task(), engine.manifest
        if theirs.task not in engines:
            raise EngineError(
                f"{theirs.task} engine {theirs.name} has no place among the running engines ({', '.join(engines)}); "
                "set [inference] chain and restart, or name an engine with one of these tasks"
            )
        ours = engines[theirs.task].manifest
        if (ours.input.lines, ours.input.width) != (theirs.input.lines, theirs.input.width):
            raise EngineError(
                f"engine {theirs.name} takes {theirs.input.lines} x {theirs.input.width} px, the running {ours.name} "
                f"{ours.input.lines} x {ours.input.width}; expected the same; name it in [inference] and restart"
            )
        if theirs.task is Task.INSPECT and ours.cell_px != theirs.cell_px:
            raise EngineError(
                f"engine {theirs.name} has cells of {theirs.cell_px} px, the running {ours.name} of {ours.cell_px} px; "
                "expected the same; name it in [inference] and restart"
            )
        if theirs.task in {Task.CLASSIFY, Task.INSPECT} and ours.classes != theirs.classes:
            differing = sorted(set(ours.classes) ^ set(theirs.classes)) or ["their order"]
            raise EngineError(
                f"engine {theirs.name} has other classes than the running {ours.name} ({', '.join(differing)}); "
                "expected the same; name it in [inference] and restart"
            )
