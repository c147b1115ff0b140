"""The decision stage: holds the state between frames, and gives each frame's ring slot back."""

from collections.abc import Callable

from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Decided
from linewatch.daemon.tally import Tally
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules


class Deciding:
    """Prediction in, what was decided out; used by one thread."""

    def __init__(
        self, state: DecisionState, rules: DecisionRules, release: Callable[[int], None], tally: Tally, clock: Clock
    ) -> None:
        self._state = state
        self._rules = {0: rules}  # by serial of the line-up
        self._release = release
        self._tally = tally
        self._clock = clock

    def use(self, lineup: int, rules: DecisionRules) -> None:
        """Frames that the line-up with this serial looked at are decided by these rules. From any thread, in time."""
        self._rules[lineup] = rules

    def __call__(self, prediction: Prediction) -> tuple[Decided, ...]:
        """Decide one frame. Its pixels may change afterwards."""
        self._state, decided = decide(self._state, prediction, self._rules[prediction.lineup])
        if prediction.frame.slot is not None:
            self._release(prediction.frame.slot)
        return self._account(decided)

    def finish(self) -> tuple[Decided, ...]:
        """The source has ended: the last coil's notice."""
        decided = finish(self._state)
        return self._account(decided)

    def _account(self, decided: tuple[Decided, ...]) -> tuple[Decided, ...]:
        now_ns = self._clock.now_ns()
        for item in decided:
            item.timing.decided_ns = now_ns
            self._tally.add(item)
        return decided
