"""The decision stage: holds the decision's state between frames, and gives each frame's ring slot back."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty

from linewatch.contracts.alarm import AlarmOrder, HostState
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Decided
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.daemon.totals import Totals
from linewatch.decision.decide import DecisionState, carry_out, decide, finish, follow_host


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
            self.state, notice = carry_out(self.state, item, self.recipes.newest)
            return self._account((notice,))
        self.state, decided = decide(self.state, item, self.recipes(item))
        if self.crops is not None:
            self.crops.follow(item.frame, decided)
        if item.frame.slot is not None:
            self.release(item.frame.slot)
        return self._account(decided)

    def _attend(self) -> tuple[Decided, ...]:
        """Decide what follows from the time and the host's state, between items or while none comes."""
        host = self.host()
        if host is None:
            return ()
        self.state, decided = follow_host(self.state, host, self.recipes.newest)
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
            self.totals.add(item)
        return decided
