"""The decision stage: holds the decision's state between frames, and gives each frame's ring slot back."""

import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty

import numpy as np
import structlog

from linewatch.contracts.alarm import AlarmNotice, AlarmOrder, HostState
from linewatch.contracts.frame import Cause
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction, Timing
from linewatch.contracts.verdict import CoverageSpan, Decided, Quality, StripArea, Verdict
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.daemon.totals import Totals
from linewatch.decision.decide import DecisionState, carry_out, decide, finish, follow_host

log = structlog.get_logger()

TROUBLES_LOGGED = 32


@dataclass(slots=True, eq=False)
class DecisionStage:
    """Used by one thread. Takes predictions and operators' orders; gives what was decided."""

    state: DecisionState
    recipes: Recipes
    release: Callable[[int], None]  # gives a ring slot back
    totals: Totals
    clock: Clock
    orders: AlarmOrders
    host: Callable[[], HostState | None]  # the host's state, when it is time to look at it
    crops: DefectCrops | None
    _troubles: Counter[str] = field(default_factory=Counter)

    def run(self, wiring: Wiring) -> None:
        """Decide until the source ends, then end the last coil."""
        (give,) = wiring.gives
        while not wiring.aborted:
            wiring.tick()
            give(*self._attend())
            with suppress(Empty):
                item = wiring.take()
                if item is END:
                    break
                give(*self._decide(item))
        give(*self._finish())
        wiring.end()

    def _decide(self, item: Prediction | AlarmOrder) -> tuple[Decided, ...]:
        """Decide one frame, whose pixels may change afterwards; or carry out an order between two frames."""
        if isinstance(item, AlarmOrder):
            self.orders.begin(item)
            try:
                self.state, notice = carry_out(self.state, item, self.recipes.newest)
            except Exception as error:
                self._trouble("order", error)
                notice = AlarmNotice((), Timing(), item.command, refused=f"it cannot be carried out: {error}")
            return self._account((notice,))
        decided = self._decide_frame(item)
        if self.crops is not None:
            try:
                self.crops.follow(item.frame, decided)
            except Exception as error:
                self._trouble("pictures", error)
        if item.frame.slot is not None:
            self.release(item.frame.slot)
        return self._account(decided)

    def _decide_frame(self, item: Prediction) -> tuple[Decided, ...]:
        """Decide one frame. One that cannot be decided, whatever was predicted, counts as missed, cause `untold`."""
        for prediction in (item, _unpredicted(item)):
            try:
                self.state, decided = decide(self.state, prediction, self.recipes(prediction))
            except Exception as error:
                self._trouble("decision", error)
            else:
                return decided
        return (_undecided(item),)

    def _trouble(self, what: str, error: Exception) -> None:
        """Log the first error of its kind, with the place where it was raised."""
        kind = f"{what}: {type(error).__name__}"
        self._troubles[kind] += 1
        if self._troubles[kind] == 1 and len(self._troubles) <= TROUBLES_LOGGED:
            at = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error}"[:1000]
            log.error("frame_not_decided", what=what, error=text, at=f"{at.filename}:{at.lineno}")

    def _attend(self) -> tuple[Decided, ...]:
        """Decide what follows from the time and the host's state, between items or while none comes."""
        host = self.host()
        if host is None:
            return ()
        try:
            self.state, decided = follow_host(self.state, host, self.recipes.newest)
        except Exception as error:
            self._trouble("state of the host", error)
            return ()
        return self._account(decided)

    def _finish(self) -> tuple[Decided, ...]:
        """End the last coil, since the source has ended."""
        self.orders.close()
        decided = finish(self.state)
        if self.crops is not None:
            self.crops.follow(None, decided)
        return self._account(decided)

    def _account(self, decided: tuple[Decided, ...]) -> tuple[Decided, ...]:
        now_ns = self.clock.now_ns()
        for item in decided:
            item.timing.decided_ns = now_ns
            try:
                self.totals.add(item)
            except Exception as error:
                self._trouble("totals", error)
        return decided


def _unpredicted(prediction: Prediction) -> Prediction:
    """Return what is predicted of a frame of which nothing can be believed."""
    classes = prediction.classes
    return replace(
        prediction,
        edges=None,
        scored_px=0,
        tiles=(),
        screen_scores=np.zeros(0, np.float32),
        passed=np.zeros(0, bool),
        class_scores=np.zeros((0, len(classes)), np.float32),
        probability=np.zeros((0, 1, 1), np.uint8),
        engines=(),
        degraded=None,
        failed=Cause.UNTOLD,
    )


def _undecided(prediction: Prediction) -> Verdict:
    """Return the verdict on a frame that no rule can decide, without regard to its neighbours."""
    frame = prediction.frame
    along_mm = (frame.along_mm, frame.along_mm + frame.lines * frame.mm_per_line)
    width_px = 0 if frame.pixels is None else frame.pixels.shape[1]
    area = StripArea(missed_mm2=round(width_px * frame.mm_per_px * frame.lines * frame.mm_per_line, 3))
    by_cause = ((Cause.UNTOLD, area.missed_mm2),)
    return Verdict(
        ordinal=frame.ordinal,
        sequence=frame.sequence,
        coil=frame.coil,
        side=frame.side,
        camera=frame.camera,
        first_line=frame.first_line,
        lines=frame.lines,
        valid_lines=frame.valid_lines,
        along_mm=along_mm,
        encoded=frame.encoded,
        strip_mm=None,
        spans=(CoverageSpan(frame.first_line, frame.lines, along_mm, Quality.MISSED, Cause.UNTOLD, area, by_cause),),
        tiles=0,
        tiles_passed=0,
        screen_peak=0.0,
        defects=(),
        alarms=(),
        engines=(),
        timing=prediction.timing,
        position_fault=frame.position_fault,
    )
