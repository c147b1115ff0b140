"""What the engines can still afford: measured costs, work under way, and the deadline of every frame.

Each stage of the cascade asks before it hands work on whether that work would be done in time. What is to be shed first
may use the least of a frame's time: so with a growing backlog segmentation goes first, then classification, then whole
frames, and the screen finds room as long as it alone fits.
"""

from linewatch.contracts.manifest import Task

NS_PER_MS = 1_000_000
SHARES = {Task.SEGMENT: 0.6, Task.CLASSIFY: 0.8, Task.SCREEN: 1.0}
"""Of the deadline, by which each must be done. In the order in which they are shed."""
HOLD_NS, LONGEST_HOLD_NS = 500 * NS_PER_MS, 8_000 * NS_PER_MS
"""Work stays shed for so long after it would last have been late; each time that it comes back and is soon late again,
for twice as long, so that a lasting overload does not make it flap.
"""
CALM_SHARE = 0.3
"""What waits must be done within this share of the deadline before shed work comes back."""
_Shed = tuple[int, int]  # when it would last have been late, and for how long it is held from then on
_REMEMBERED = 0.9
"""Share of the old cost in the running average."""


class Workload:
    """Work that was handed to `workers` equal workers, and whether more can be. Without a clock; not thread-safe.

    Costs are learned from what batches took; work whose cost is not known yet is affordable.
    """

    def __init__(self, workers: int, deadline_ms: float) -> None:
        self._workers = workers
        self._deadline_ns = round(deadline_ms * NS_PER_MS)
        self._cost_ns = dict.fromkeys(Task, 0.0)  # of one row on one worker, a running average
        self._rows = dict.fromkeys(Task, 0)  # handed out and not done
        self._shed: dict[Task, _Shed] = {}
        self._calm = True
        self._holds_ns: dict[Task, tuple[int, int]] = {}  # of work that came back: how long it was held, and until when

    @property
    def calm(self) -> bool:
        """Whether there was room, when it was last asked for, for work that nobody waits for."""
        return self._calm and not self._shed

    @property
    def shed(self) -> tuple[Task, ...]:
        """What is being shed now, in the order in which it is shed. May be read by any thread."""
        shed = set(self._shed)
        if Task.CLASSIFY in shed:
            shed.add(Task.SEGMENT)  # which needs the classes
        return tuple(task for task in SHARES if task in shed)

    def begin(self, task: Task, rows: int) -> None:
        """`rows` rows are handed to the workers."""
        self._rows[task] += rows

    def end(self, task: Task, rows: int, took_ns: int) -> None:
        """A batch of `rows` rows is done, after `took_ns` on its worker; 0 where that teaches nothing."""
        self._rows[task] -= rows
        if not took_ns:
            return
        cost_ns, known_ns = took_ns / rows, self._cost_ns[task]
        self._cost_ns[task] = known_ns + (1 - _REMEMBERED) * (cost_ns - known_ns) if known_ns else cost_ns

    def affords(self, task: Task, rows: int, captured_ns: int, now_ns: int) -> bool:
        """Whether `rows` rows of a frame captured then, handed out now, are done by their share of its deadline.

        If not, they are to be shed, and rows of that task of later frames until it has been calm for a while; but
        frames, the screen's rows, are shed one by one.
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
