"""What joins a stage's thread to the rest of the service: its queues, its ticks, and the end."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Full, Queue, SimpleQueue
from typing import Any, Final

END: Final = None
"""Travels down the queues behind the last item."""

TICK_S: Final = 0.1
"""How long an idle stage waits before it ticks again; well below every silence limit."""

AnyQueue = Queue[Any] | SimpleQueue[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """The runner gives one to each thread that it starts; only that thread uses it."""

    worker: int  # which of the stage's threads this is, from 0
    takes: AnyQueue | None
    gives: Sequence["Output"]
    tick: Callable[[], None]  # the stage is alive now
    abort: threading.Event  # set: end now, without draining
    opened: threading.Event  # to be set by a stage that binds a socket, once it is bound
    drained: Callable[[], None]  # to be called by the last stage, once it has had the last item

    @property
    def aborted(self) -> bool:
        """Whether the stage must end now."""
        return self.abort.is_set()

    def take(self, timeout_s: float = TICK_S) -> Any:
        """Return the next item or END. Raises queue.Empty when none came in time."""
        assert self.takes is not None
        return self.takes.get(timeout=timeout_s)

    def end(self) -> None:
        """Send END down every queue that the stage fills, once for each thread that takes from it."""
        for output in self.gives:
            output(*[END] * output.takers)


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """Puts items into a queue. While that is full it waits and ticks; once aborted, it drops them."""

    queue: AnyQueue
    takers: int
    tick: Callable[[], None]
    abort: threading.Event = field(repr=False)

    def __call__(self, *items: Any) -> None:
        for item in items:
            self._put(item)

    def _put(self, item: Any) -> None:
        while not self.abort.is_set():
            try:
                return self.queue.put(item, timeout=TICK_S)
            except Full:
                self.tick()
        return None
