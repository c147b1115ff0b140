"""Decides which work the engines can finish in time, from measured costs, work under way and each frame's deadline.

Each stage of the cascade asks before it hands work on whether the work would be done in time. Work that is shed earlier
may use less of a frame's time. With a growing backlog segmentation is shed first, then classification, then whole
frames, and the screen runs as long as it fits alone.
"""

from linewatch.contracts.manifest import Task

NS_PER_MS = 1_000_000
SHARES = {Task.SEGMENT: 0.6, Task.CLASSIFY: 0.8, Task.SCREEN: 1.0}
"""The share of the deadline by which each task must be done, in the order in which tasks are shed."""
HOLD_NS, LONGEST_HOLD_NS = 500 * NS_PER_MS, 8_000 * NS_PER_MS
"""Work stays shed for so long after it would last have been late. Each time it returns and is soon late again, it stays
shed for twice as long, so that a lasting overload does not make it flap.
"""
CALM_SHARE = 0.3
"""Shed work returns only when the waiting work would be done within this share of the deadline."""
_Shed = tuple[int, int]  # when the work would last have been late, and how long it stays shed from then on
_REMEMBERED = 0.9
"""The weight of the old cost in the running average."""


class Workload:
    """Tracks the work of `workers` equal workers and says whether they can finish more. No clock; not thread-safe.

    Costs are learned from the times that batches took; work whose cost is unknown is affordable.
    """

    def __init__(self, workers: int, deadline_ms: float) -> None:
        self._workers = workers
        self._deadline_ns = round(deadline_ms * NS_PER_MS)
        self._cost_ns = dict.fromkeys(Task, 0.0)  # of one row on one worker, a running average
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

    def end(self, task: Task, rows: int, took_ns: int) -> None:
        """Note that a batch of `rows` rows is done after `took_ns` on its worker; 0: do not learn from it."""
        self._rows[task] -= rows
        if not took_ns:
            return
        cost_ns, known_ns = took_ns / rows, self._cost_ns[task]
        self._cost_ns[task] = known_ns + (1 - _REMEMBERED) * (cost_ns - known_ns) if known_ns else cost_ns

    def affords(self, task: Task, rows: int, captured_ns: int, now_ns: int) -> bool:
        """Say whether `rows` rows of a frame, handed out now, will be done within their share of its deadline.

        If not, the caller must shed them; later rows of that task are shed, too, until the load has been low for a
        while. The screen's rows, which are frames, are shed one by one.
        """
        waiting_ns = sum(self._rows[kind] * self._cost_ns[kind] for kind in Task) / self._workers
        self._bring_back(waiting_ns, now_ns)
        own_ns = -(-rows // self._workers) * self._cost_ns[task]
        if rows and now_ns - captured_ns + waiting_ns + own_ns > SHARES[task] * self._deadline_ns:
            self._shed[task] = self._shed_again(task, now_ns)
            return False
        return not rows or task is Task.SCREEN or task not in self._shed

    def _bring_back(self, waiting_ns: float, now_ns: int) -> None:
        self._calm = waiting_ns <= CALM_SHARE * self._deadline_ns
        if not self._calm:
            return
        for task, (late_ns, hold_ns) in tuple(self._shed.items()):
            if now_ns - late_ns >= hold_ns:
                del self._shed[task]
                self._holds_ns[task] = (hold_ns, now_ns)

    def _shed_again(self, task: Task, now_ns: int) -> _Shed:
        if task in self._shed:
            return now_ns, self._shed[task][1]
        held_ns, back_ns = self._holds_ns.get(task, (0, 0))
        soon = held_ns and now_ns - back_ns < 2 * held_ns
        return now_ns, min(2 * held_ns, LONGEST_HOLD_NS) if soon else HOLD_NS
