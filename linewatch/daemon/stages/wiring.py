"""The rows of a topology, and what joins a stage's thread to the rest of it: its queues, its ticks, and the end."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Full, Queue, SimpleQueue
from typing import Any, Final, Generic, TypeVar

END: Final = None
"""Travels down the queues behind the last item."""

TICK_S: Final = 0.1
"""How long an idle stage waits before it ticks again; well below every silence limit."""

AnyQueue = Queue[Any] | SimpleQueue[Any]
Step_contra = TypeVar("Step_contra", contravariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class QueueRow:
    """A queue between stages.

    size: a stage that finds so many items in it waits, so that pressure goes upstream to the ring. 0: it is never full,
    since the ring bounds what can be in it.
    """

    kind: Callable[..., AnyQueue] = SimpleQueue
    size: int = 0

    def make(self) -> AnyQueue:
        """Return an empty queue of this kind and size."""
        return self.kind(self.size) if self.size else self.kind()


@dataclass(frozen=True, slots=True, eq=False)
class StageRow(Generic[Step_contra]):
    """A stage: what its threads run, and when silence means failure."""

    name: str  # of its thread; of an engine's with the worker's number behind it
    run: "Callable[[Step_contra, Wiring], None]"
    takes: QueueRow | None = None
    gives: tuple[QueueRow, ...] = ()
    silence_limit_s: float = 1.5  # without a tick for longer: unhealthy, no heartbeat. inf: not supervised, nor awaited
    binds: bool = False  # a socket, before the service is ready: it starts first and ends last
    per_worker: bool = False  # as many threads as the runner has workers
    may_stand: bool = False  # its source may be silent for as long as it likes: the line stands
    nice: int = 0  # by how much its threads' priority is lowered


@dataclass(slots=True, eq=False)
class ItemCount:
    """What one thread of a stage has handled: items of its queue, frames of a camera, or requests."""

    done: int = 0


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
    handled: ItemCount = field(default_factory=ItemCount)

    @property
    def aborted(self) -> bool:
        """Whether the stage must end now."""
        return self.abort.is_set()

    def take(self, timeout_s: float = TICK_S) -> Any:
        """Return the next item or END. Raises queue.Empty when none came in time."""
        assert self.takes is not None
        item = self.takes.get(timeout=timeout_s)
        self.handled.done += 1
        return item

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
