"""An engine that looks at the pixels that a running engine looks at, is compared with it, and decides nothing."""

from dataclasses import dataclass

import numpy as np

from linewatch.contracts.manifest import Task, byte_threshold
from linewatch.inference.engines import Engine

_SAME_OUTLINE_IOU = 0.5


@dataclass(slots=True)
class Agreement:
    """Tiles that both engines looked at. A tile is called when it passes, when a class is claimed, when a pixel is
    defect; two engines agree on a tile when both or neither call it, with the same classes, or with outlines of an
    intersection over union of at least 0.5. Written by one thread; another may see it one tile old.
    """

    tiles: int = 0
    agreed: int = 0
    running_only: int = 0  # called by the running engine alone
    shadow_only: int = 0
    failed: int = 0  # the shadow gave no answer

    def add(self, running: np.ndarray, shadow: np.ndarray, same: np.ndarray) -> None:
        """Tiles as bool (n,): called by each, and called alike where both call."""
        self.tiles += len(running)
        self.agreed += int((~running & ~shadow | running & shadow & same).sum())
        self.running_only += int((running & ~shadow).sum())
        self.shadow_only += int((shadow & ~running).sum())


class Shadow:
    """`engine` is number `generation` of those loaded for its task."""

    def __init__(self, engine: Engine, generation: int, running: Engine, screen_threshold: float | None) -> None:
        self.engine, self.generation = engine, generation
        self.task = engine.manifest.task
        self.agreement = Agreement()
        self._running = running
        self._screen_threshold = screen_threshold

    def compare(self, running: np.ndarray, shadow: np.ndarray) -> None:
        """What both say of the same tiles: screen scores (n,), class scores (n, classes), or probability (n, h, w)."""
        if self.task is Task.SCREEN:
            ours, theirs = (
                scores
                >= (engine.manifest.thresholds["pass"] if self._screen_threshold is None else self._screen_threshold)
                for scores, engine in ((running, self._running), (shadow, self.engine))
            )
            self.agreement.add(ours, theirs, np.ones_like(ours))
        elif self.task is Task.CLASSIFY:
            ours = running >= self._running.manifest.claims()
            theirs = shadow >= self.engine.manifest.claims()
            self.agreement.add(np.any(ours, 1), np.any(theirs, 1), np.all(ours == theirs, 1))
        else:
            ours = running >= byte_threshold(self._running.manifest.thresholds["defect"])
            theirs = shadow >= byte_threshold(self.engine.manifest.thresholds["defect"])
            union = (ours | theirs).sum((1, 2))
            same = (ours & theirs).sum((1, 2)) >= _SAME_OUTLINE_IOU * union
            self.agreement.add(np.any(ours, (1, 2)), np.any(theirs, (1, 2)), same)
