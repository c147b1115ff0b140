"""Whether an engine may be promoted, and whether a promoted one may stay."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from linewatch.contracts.manifest import Task
from linewatch.contracts.tile import Batch
from linewatch.daemon.stages.recipe_engines import LoadedEngine
from linewatch.inference.shadow import Shadow
from linewatch.inference.trial import TriedEngine

BACK_AFTER: Final = 3
"""Failures of a promoted engine until the one before it inspects again."""
PROBATION_S: Final = 60.0
"""How long after a promotion a bad second, in which more than `BAD_SHARE` of the lines are lost, undoes it."""
BAD_SHARE: Final = 0.5


@dataclass(slots=True, eq=False)
class Promotion:
    """The newest promotion. The engine before it stays loaded, so that it can take over again."""

    promoted: LoadedEngine
    before: LoadedEngine
    at_s: float
    failures: int = 0

    @property
    def task(self) -> Task:
        return self.promoted[0].manifest.task

    def concerns(self, batch: Batch) -> bool:
        """Return whether the promoted engine was to run this batch."""
        return (self.task, self.promoted[1]) == (Task(batch.engine), batch.generation)


class Probation:
    """Looks at each second after a promotion. Used by one thread."""

    def __init__(self, lost_lines: Callable[[], tuple[int, int]]) -> None:
        """lost_lines: how many lines were lost by the inspection itself so far, and how many passed."""
        self._lost_lines = lost_lines
        self._second: tuple[float, int, int] = (time.monotonic(), *lost_lines())
        self._bad_before = False  # whether the last second was bad

    def fault(self, promotion: Promotion | None) -> str | None:
        """Return why the newest promotion must be undone, once a whole second was bad; call it often."""
        now_s, (at_s, lost, passed) = time.monotonic(), self._second
        if now_s - at_s < 1.0:
            return None
        lost_now, passed_now = self._lost_lines()
        self._second = (now_s, lost_now, passed_now)
        bad = lost_now - lost > BAD_SHARE * (passed_now - passed) > 0
        was_bad, self._bad_before = self._bad_before, bad
        if not bad or was_bad or promotion is None or now_s - promotion.at_s >= PROBATION_S:
            return None
        return f"{lost_now - lost} of {passed_now - passed} lines were lost in one second"


def speaks_against(
    name: str, tried: TriedEngine, shadow: Shadow | None, tiles_each: float, deadline_ms: float
) -> str | None:
    """Return why the engine on trial must not be promoted; None: nothing is known against it.

    tiles_each: tiles of a frame that it sees, for each worker.
    """
    takes_ms = tried.tile_ns / 1e6 * tiles_each
    if takes_ms > deadline_ms:
        return (
            f"engine {name} takes {takes_ms:.0f} ms a frame, expected less than [inference] deadline_ms = "
            f"{deadline_ms:g}, beyond which every frame is missed; drop it"
        )
    if shadow is not None and shadow.agreement.seen:
        return shadow.agreement.speaks_against(name)
    if tried.has_reference:
        return None
    return (
        f"engine {name} has no reference tiles and was not compared with the running one, expected one of both: "
        f"drop it, and load it with --shadow, or run `linewatch engines --add-reference {name}` first"
    )
