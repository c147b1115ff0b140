"""The decision stage: holds the decision's state between frames, and gives each frame's ring slot back."""

import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty

import structlog

from linewatch.contracts.alarm import AlarmNotice, AlarmOrder, HostState
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction, Timing
from linewatch.contracts.verdict import Decided
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.newest_picture import NewestPictureMaker
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.daemon.totals import Totals
from linewatch.decision.decide import DecisionState, carry_out, decide, finish, follow_host
from linewatch.decision.fallback import undecided, without_answers
from linewatch.logs import place_on_strip

log = structlog.get_logger()

TROUBLES_LOGGED = 32


@dataclass(slots=True, eq=False)
class DecisionStage:
    """Used by one thread. Takes predictions and operators' orders; gives what each of them decided, as one item."""

    state: DecisionState
    recipes: Recipes
    release: Callable[[int], None]  # gives a ring slot back
    totals: Totals
    clock: Clock
    orders: AlarmOrders
    host: Callable[[], HostState | None]  # the host's state, when it is time to look at it
    crops: DefectCrops | None
    pausing: Callable[[], bool]  # whether the service ends to be started again, and its coil goes on then
    picture: NewestPictureMaker
    _troubles: Counter[str] = field(default_factory=Counter)

    def run(self, wiring: Wiring) -> None:
        """Decide until the source ends, then end the last coil."""
        (output,) = wiring.gives

        def give(decided: tuple[Decided, ...]) -> None:
            if decided:
                output(decided)

        while not wiring.aborted:
            wiring.tick()
            give(self._attend())
            with suppress(Empty):
                item = wiring.take()
                if item is END:
                    break
                give(self._decide(item))
        give(self._finish())
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
        place_on_strip(item.frame.coil, item.frame.ordinal)
        decided = self._decide_frame(item)
        if self.crops is not None:
            try:
                self.crops.follow(item.frame, decided)
            except Exception as error:
                self._trouble("pictures", error)
        try:
            self.picture.follow(item.frame)
        except Exception as error:
            self._trouble("newest picture", error)
        if item.frame.slot is not None:
            self.release(item.frame.slot)
        return self._account(decided)

    def _decide_frame(self, item: Prediction) -> tuple[Decided, ...]:
        """Decide one frame. One that cannot be decided, whatever was predicted, counts as missed, cause `untold`."""
        for prediction in (item, without_answers(item)):
            try:
                self.state, decided = decide(self.state, prediction, self.recipes(prediction))
            except Exception as error:
                self._trouble("decision", error)
            else:
                return decided
        return (undecided(item),)

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
        """End the last coil, since the source has ended, or somebody ended the service for good."""
        self.orders.close()
        decided = () if self.pausing() else finish(self.state)
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
