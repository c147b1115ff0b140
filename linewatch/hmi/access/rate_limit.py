"""How often one sender may ask: a bucket of tokens for each, of bounded number."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_SENDERS: Final = 4096


class RateLimit:
    """`burst` at once, then `per_s`. Beyond MOST_SENDERS the one that asked longest ago is forgotten."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, float(burst), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when that was

    def takes(self, sender: str) -> bool:
        """Return whether the sender may ask now, and take a token if so."""
        left = self._tokens(sender)
        allowed = left >= 1.0
        self._put(sender, left - 1.0 if allowed else left)
        return allowed

    def gives_back(self, sender: str) -> None:
        """Give a token back that was taken for what should not count."""
        self._put(sender, min(self._burst, self._tokens(sender) + 1.0))

    def _tokens(self, sender: str) -> float:
        now_s = self._clock()
        left, at_s = self._left.get(sender, (self._burst, now_s))
        return min(self._burst, left + (now_s - at_s) * self._per_s)

    def _put(self, sender: str, left: float) -> None:
        self._left[sender] = left, self._clock()
        self._left.move_to_end(sender)
        if len(self._left) > MOST_SENDERS:
            self._left.popitem(last=False)
