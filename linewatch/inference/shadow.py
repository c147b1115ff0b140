"""An engine on trial: it gets the same pixels as a running engine, is compared with it, and decides nothing.

It is asked aside, one sample after the other; no frame waits for it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from linewatch.contracts.manifest import Task, byte_threshold
from linewatch.inference.disagreement import KEPT, Disagreement, EngineCall, TilesSeen, highest
from linewatch.inference.engines import Engine
from linewatch.inference.maps import DEFECT, class_shares

FEWEST_CALLED = 20
"""Of so many tiles that either engine calls, or more, one on trial must call half like the running engine."""
_SAME_OUTLINE_IOU = 0.5


@dataclass(slots=True)
class Agreement:
    """Counts of tiles that both engines inspected. One thread writes it; others may see it one tile old.

    An engine calls a tile when the tile passes, a class is claimed, or a pixel is defective. Two engines agree on a
    tile when neither calls it, or both do, with equal classes or with outlines of an intersection over union of at
    least 0.5; inspect engines with both, the likeliest class for the classes.
    """

    tiles: int = 0
    agreed: int = 0
    called: int = 0  # by either engine
    running_only: int = 0  # called only by the running engine
    shadow_only: int = 0
    failed: int = 0  # the shadow engine failed, or gave a bad answer
    fault: str | None = None  # the newest of these failures

    @property
    def seen(self) -> int:
        """Tiles that were asked about."""
        return self.tiles + self.failed

    def speaks_against(self, name: str) -> str | None:
        """Return why the engine of this name must not be promoted; None: nothing speaks against it."""
        if self.failed:
            return (
                f"engine {name} failed on {self.failed} of {self.seen} tiles beside the running one, expected none "
                f"(the last time: {self.fault}); drop it, and load it again once it is corrected"
            )
        differing = self.tiles - self.agreed
        if self.called < FEWEST_CALLED or self.called >= 2 * differing:
            return None
        return (
            f"engine {name} agrees with the running one on {self.called - differing} of {self.called} tiles that "
            "either calls, expected half of them; drop it, or, if it is right, name it in [inference] and restart"
        )

    def add(self, running: np.ndarray, shadow: np.ndarray, same: np.ndarray) -> np.ndarray:
        """Add tiles, each array bool (n,): called by either engine, and called alike where both call.

        Return bool (n,): those on which they do not agree.
        """
        agreed = ~running & ~shadow | running & shadow & same
        self.tiles += len(running)
        self.called += int((running | shadow).sum())
        self.agreed += int(agreed.sum())
        self.running_only += int((running & ~shadow).sum())
        self.shadow_only += int((shadow & ~running).sum())
        return ~agreed


class AskedAside(Protocol):
    """What answers samples aside, as `EngineTrial` does. free: a sample would be taken now."""

    @property
    def free(self) -> bool: ...
    def ask(self, pixels: np.ndarray, take: Callable[[np.ndarray | None, str | None], None]) -> None: ...


class Shadow:
    """The engine on trial. running: the one that it is compared with."""

    def __init__(self, engine: Engine, running: Engine, screen_threshold: float | None, asked: AskedAside) -> None:
        self.engine, self._asked = engine, asked
        self.task = engine.manifest.task
        self.agreement = Agreement()
        self.disagreements: deque[Disagreement] = deque(maxlen=KEPT)
        self._kept = 0
        self._running = running
        self._screen_threshold = screen_threshold

    @property
    def running(self) -> Engine:
        """The engine that it is compared with."""
        return self._running

    @property
    def free(self) -> bool:
        """Whether `ask` would be taken now; ask nothing otherwise."""
        return self._asked.free

    def ask(self, pixels: np.ndarray, compare: Callable[[np.ndarray], None]) -> None:
        """Have a sample, uint8 (n, 1, lines, width), answered; `compare` gets the answers later, on another thread."""

        def take(answers: np.ndarray | None, error: str | None) -> None:
            agreement = self.agreement
            try:
                if answers is not None:
                    return compare(answers)
            except Exception as failure:
                error = f"cannot be compared: {type(failure).__name__}: {failure}"
            agreement.failed += len(pixels)
            agreement.fault = error
            return None

        self._asked.ask(pixels, take)

    def compare(self, running: np.ndarray, shadow: np.ndarray, seen: TilesSeen | None = None) -> None:
        """Compare outputs for equal tiles: screen scores (n,), class scores (n, classes), or probability (n, h, w).

        seen: the same n tiles, of which the one that they differ on most is kept.
        """
        if self.task is Task.SCREEN:
            levels = [
                engine.manifest.thresholds["pass"] if self._screen_threshold is None else self._screen_threshold
                for engine in (self._running, self.engine)
            ]
            ours, theirs = (scores >= level for scores, level in zip((running, shadow), levels, strict=True))
            differ = self.agreement.add(ours, theirs, np.ones_like(ours))
            by = np.abs(running - shadow)

            def calls(scores: np.ndarray, row: int, engine: Engine) -> EngineCall:
                called = theirs if engine is self.engine else ours
                return EngineCall(bool(called[row]), {"defect": round(float(scores[row]), 4)})

        elif self.task is Task.CLASSIFY:
            ours = running >= self._running.manifest.claims()
            theirs = shadow >= self.engine.manifest.claims()
            differ = self.agreement.add(np.any(ours, 1), np.any(theirs, 1), np.all(ours == theirs, 1))
            by = np.abs(running - shadow).max(1, initial=0)

            def calls(scores: np.ndarray, row: int, engine: Engine) -> EngineCall:
                called = theirs if engine is self.engine else ours
                return EngineCall(bool(called[row].any()), highest(engine.manifest.classes, scores[row]))

        else:
            ours = running >= byte_threshold(self._running.manifest.thresholds["defect"])
            theirs = shadow >= byte_threshold(self.engine.manifest.thresholds["defect"])
            union = (ours | theirs).sum((1, 2))
            same = (ours & theirs).sum((1, 2)) >= _SAME_OUTLINE_IOU * union
            differ = self.agreement.add(np.any(ours, (1, 2)), np.any(theirs, (1, 2)), same)
            by = (ours ^ theirs).sum((1, 2))

            def calls(scores: np.ndarray, row: int, engine: Engine) -> EngineCall:
                mask = (theirs if engine is self.engine else ours)[row]
                return EngineCall(bool(mask.any()), {"defect": round(float(scores[row].max()) / 255, 4)}, mask.copy())

        if seen is not None and differ.any():
            row = int(np.where(differ, by, -1).argmax())
            self._keep(seen, row, calls(running, row, self._running), calls(shadow, row, self.engine))

    def compare_maps(
        self,
        running: np.ndarray,
        shadow: np.ndarray,
        windows: Sequence[tuple[slice, slice]],
        seen: TilesSeen | None = None,
    ) -> None:
        """Compare an inspect engine's maps of a frame, (planes, rows, columns), in the windows that show strip.

        seen: the windows' tiles, of which the one that they differ on most is kept.
        """
        both = (running, self._running), (shadow, self.engine)
        levels = [engine.manifest.thresholds["defect"] for _, engine in both]
        ours, theirs = (maps[DEFECT] >= level for (maps, _), level in zip(both, levels, strict=True))
        called, other = (np.array([cells[one].any() for one in windows], bool) for cells in (ours, theirs))
        alike = [
            (ours[one] & theirs[one]).sum() >= _SAME_OUTLINE_IOU * (ours[one] | theirs[one]).sum() for one in windows
        ]
        shares = [class_shares(maps, windows, level) for (maps, _), level in zip(both, levels, strict=True)]
        likeliest = [one.argmax(axis=1) for one in shares]
        same = np.array(alike, bool) & (likeliest[0] == likeliest[1])
        differ = self.agreement.add(called, other, same)
        if seen is None or not differ.any():
            return
        by = np.array([(ours[one] ^ theirs[one]).sum() for one in windows])
        row = int(np.where(differ, by, -1).argmax())
        tile = seen.tiles[row]

        def call(maps: np.ndarray, engine: Engine, cells: np.ndarray, of_classes: np.ndarray) -> EngineCall:
            cell_px = engine.manifest.cell_px or 1
            mask = cells[windows[row]].repeat(cell_px, 0).repeat(cell_px, 1)[: tile.lines, : tile.width]
            peak = round(float(maps[DEFECT][windows[row]].max()), 4)
            scores = {"defect": peak} | highest(engine.manifest.classes, of_classes[row])
            return EngineCall(bool(mask.any()), scores, mask)

        self._keep(
            seen,
            row,
            call(running, self._running, ours, shares[0]),
            call(shadow, self.engine, theirs, shares[1]),
        )

    def _keep(self, seen: TilesSeen, row: int, running: EngineCall, shadow: EngineCall) -> None:
        self.disagreements.append(seen.disagreement(self._kept, row, running, shadow))
        self._kept += 1
