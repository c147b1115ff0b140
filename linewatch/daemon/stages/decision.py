"""The decision stage: holds the state between frames, and gives each frame's ring slot back."""

from collections.abc import Callable
from contextlib import suppress
from queue import Empty

from linewatch.contracts.alarm import AlarmOrder, HostState
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Decided
from linewatch.daemon.crops import Looks
from linewatch.daemon.orders import Orders
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.daemon.totals import Tally
from linewatch.decision.decide import DecisionState, attend, decide, finish, obey


class DecisionStage:
    """Used by one thread. Takes predictions and operators' orders, gives what was decided."""

    def __init__(
        self,
        state: DecisionState,
        rules: Recipes,
        release: Callable[[int], None],
        tally: Tally,
        clock: Clock,
        orders: Orders,
        host: Callable[[], HostState | None],
        looks: Looks | None = None,
    ) -> None:
        """host: how things stand there, if that is news. looks: takes pictures of defects."""
        self._state = state
        self._rules = rules
        self._release = release
        self._tally = tally
        self._clock = clock
        self._orders = orders
        self._host = host
        self._looks = looks

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
        """Decide one frame, whose pixels may change afterwards; or carry out an order between two."""
        if isinstance(item, AlarmOrder):
            self._orders.begin(item)
            self._state, notice = obey(self._state, item, self._rules.newest)
            return self._account((notice,))
        self._state, decided = decide(self._state, item, self._rules(item))
        if self._looks is not None:
            self._looks.follow(item.frame, decided)
        if item.frame.slot is not None:
            self._release(item.frame.slot)
        return self._account(decided)

    def _attend(self) -> tuple[Decided, ...]:
        """What the time and the host bring; called between items, and while none comes."""
        host = self._host()
        if host is None:
            return ()
        self._state, decided = attend(self._state, host, self._rules.newest)
        return self._account(decided)

    def _finish(self) -> tuple[Decided, ...]:
        """The source has ended: the last coil's notice."""
        self._orders.close()
        decided = finish(self._state)
        if self._looks is not None:
            self._looks.follow(None, decided)
        return self._account(decided)

    def _account(self, decided: tuple[Decided, ...]) -> tuple[Decided, ...]:
        now_ns = self._clock.now_ns()
        for item in decided:
            item.timing.decided_ns = now_ns
            self._tally.add(item)
        return decided
