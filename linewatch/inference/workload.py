"""Decides which work the engines can finish in time, from measured costs, work under way and each frame's deadline.

Each stage of the cascade asks before it hands work on whether the work would be done in time. Work that is shed earlier
may use less of a frame's time. With a growing backlog segmentation is shed first, then classification, then whole
frames, and the screen runs as long as it fits alone. An inspect engine has only whole frames to shed.
"""

from collections import deque
from statistics import median

from linewatch.contracts.manifest import Task

NS_PER_MS = 1_000_000
SHARES = {Task.SEGMENT: 0.6, Task.CLASSIFY: 0.8, Task.SCREEN: 1.0, Task.INSPECT: 1.0}
"""The share of the deadline by which each task must be done, in the order in which tasks are shed."""
HOLD_NS, LONGEST_HOLD_NS = 500 * NS_PER_MS, 8_000 * NS_PER_MS
"""Work stays shed for so long after it would last have been late. Each time it returns and is soon late again, it stays
shed for twice as long, so that a lasting overload does not make it flap.
"""
CALM_SHARE = 0.3
"""Shed work returns only when the waiting work would be done within this share of the deadline."""
_Shed = tuple[int, int]  # when the work would last have been late, and how long it stays shed from then on
_SAMPLES = 9
"""A cost is the median of so many newest batches, so that one stalled batch changes nothing."""
RELEARN_NS = 1_000 * NS_PER_MS
"""A cost that no batch has confirmed for so long is forgotten, and a frame is looked at whatever it was."""
_STALLED = 8.0
"""A cost above so many times the lowest seen is that of a stalled machine, not of a high load."""


class _Cost:
    """The cost of one row on one worker, learned from batches, in nanoseconds; 0 while unknown."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=_SAMPLES)
        self._floor_ns = 0.0
        self._learned_ns: int | None = None

    def learn(self, cost_ns: float, now_ns: int) -> None:
        self.forget_stale(now_ns)
        self._newest.append(cost_ns)
        self._floor_ns = min(cost_ns, self._floor_ns or cost_ns)
        self._learned_ns = now_ns

    def forget_stale(self, now_ns: int) -> bool:
        """Forget the newest batches if they are too old, and return whether none is left."""
        if self._learned_ns is not None and now_ns - self._learned_ns > RELEARN_NS:
            self._newest.clear()
        return not self._newest

    @property
    def row_ns(self) -> float:
        return median(self._newest) if self._newest else self._floor_ns

    @property
    def stalled(self) -> bool:
        return self.row_ns > _STALLED * self._floor_ns


class Workload:
    """Tracks the work of `workers` equal workers and says whether they can finish more. No clock; not thread-safe.

    Costs are learned from the times that batches took; work whose cost is unknown is affordable. Work that was shed
    teaches nothing, so once a second some is handed out although its cost says that it would be late: after a stall
    (a paused process or virtual machine, a burst of other load) costs are relearned.
    """

    def __init__(self, workers: int, deadline_ms: float) -> None:
        self._workers = workers
        self._deadline_ns = round(deadline_ms * NS_PER_MS)
        self._costs = {task: _Cost() for task in Task}
        self._rows = dict.fromkeys(Task, 0)  # handed out and not yet done
        self._shed: dict[Task, _Shed] = {}
        self._calm = True
        self._holds_ns: dict[Task, tuple[int, int]] = {}  # of work that returned: how long it was shed, and until when

    @property
    def calm(self) -> bool:
        """Whether, at the last call of `affords`, there was time for work that no decision needs."""
        return self._calm and not self._shed

    @property
    def shed(self) -> tuple[Task, ...]:
        """The tasks that are shed now, in the order in which they are shed. Any thread may read it."""
        shed = set(self._shed)
        if Task.CLASSIFY in shed:
            shed.add(Task.SEGMENT)  # segmentation needs the classes
        return tuple(task for task in SHARES if task in shed)

    def begin(self, task: Task, rows: int) -> None:
        """Note that `rows` rows were handed to the workers."""
        self._rows[task] += rows

    def end(self, task: Task, rows: int, took_ns: int, now_ns: int) -> None:
        """Note that a batch of `rows` rows is done after `took_ns` on its worker; 0: do not learn from it."""
        self._rows[task] -= rows
        if took_ns:
            self._costs[task].learn(took_ns / rows, now_ns)

    def affords(self, task: Task, rows: int, captured_ns: int, now_ns: int) -> bool:
        """Say whether `rows` rows of a frame, handed out now, will be done within their share of its deadline.

        If not, the caller must shed them; later rows of that task are shed, too, until the load has been low for a
        while. Those of the screen and of an inspect engine, which are frames, are shed one by one.
        """
        unconfirmed = self._costs[task].forget_stale(now_ns) and not self._rows[task]
        waiting_ns = sum(self._rows[kind] * self._costs[kind].row_ns for kind in Task) / self._workers
        self._bring_back(waiting_ns, now_ns)
        own_ns = 0.0 if unconfirmed else -(-rows // self._workers) * self._costs[task].row_ns
        age_ns, limit_ns = now_ns - captured_ns, SHARES[task] * self._deadline_ns
        if rows and age_ns + waiting_ns + own_ns > limit_ns:
            stalled = age_ns > limit_ns or any(cost.stalled for cost in self._costs.values())
            self._shed[task] = self._shed_again(task, now_ns, stalled)
            return False
        return not rows or task in {Task.SCREEN, Task.INSPECT} or task not in self._shed

    def _bring_back(self, waiting_ns: float, now_ns: int) -> None:
        self._calm = waiting_ns <= CALM_SHARE * self._deadline_ns
        if not self._calm:
            return
        for task, (late_ns, hold_ns) in tuple(self._shed.items()):
            if now_ns - late_ns >= hold_ns:
                del self._shed[task]
                self._holds_ns[task] = (hold_ns, now_ns)

    def _shed_again(self, task: Task, now_ns: int, stalled: bool) -> _Shed:
        if task in self._shed:
            return now_ns, self._shed[task][1]
        held_ns, back_ns = self._holds_ns.get(task, (0, 0))
        soon = held_ns and now_ns - back_ns < 2 * held_ns and not stalled
        return now_ns, min(2 * held_ns, LONGEST_HOLD_NS) if soon else HOLD_NS
