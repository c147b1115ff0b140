"""Work is shed in order, by measured cost, work under way and deadline, and returns when the load is low."""

import heapq
from collections import deque
from itertools import count

from hypothesis import example, given, settings
from hypothesis import strategies as st

from linewatch.contracts.manifest import CASCADE, Task
from linewatch.inference.workload import HOLD_NS, LONGEST_HOLD_NS, RELEARN_NS, Workload

MS = 1_000_000


def _workload(workers: int = 2, deadline_ms: float = 100.0) -> Workload:
    """Return a workload with known costs: 10 ms a frame, 5 a classified and 20 a segmented tile."""
    workload = Workload(workers, deadline_ms)
    _confirm(workload, 0)
    return workload


def _confirm(workload: Workload, now_ns: int) -> None:
    for task, cost_ms in ((Task.SCREEN, 10), (Task.CLASSIFY, 5), (Task.SEGMENT, 20)):
        workload.begin(task, 1)
        workload.end(task, 1, cost_ms * MS, now_ns)


def _costs_ms(workload: Workload) -> int:
    """Return the assumed cost of the screen in ms, found from how late a frame with a deadline of 100 ms may begin."""
    return 100 - max(ms for ms in range(100) if workload.affords(Task.SCREEN, 1, captured_ns=0, now_ns=ms * MS))


def test_work_of_unknown_cost_is_affordable() -> None:
    workload = Workload(1, 1.0)
    workload.begin(Task.SCREEN, 1000)
    assert workload.affords(Task.SCREEN, 1, 0, 0)


def test_costs_follow_what_batches_take_and_a_failure_teaches_nothing() -> None:
    workload = _workload()
    assert _costs_ms(workload) == 10
    for _ in range(100):
        workload.begin(Task.SCREEN, 2)
        workload.end(Task.SCREEN, 2, 40 * MS, 0)
    assert _costs_ms(workload) == 20
    workload.begin(Task.SCREEN, 1)
    workload.end(Task.SCREEN, 1, 0, 0)
    assert _costs_ms(workload) == 20


def test_the_deadline_counts_what_waits_over_the_workers_and_the_own_rows() -> None:
    workload = _workload(workers=2)
    assert workload.affords(Task.SEGMENT, 6, captured_ns=0, now_ns=0)  # three after the other on two workers: 60 ms
    assert not workload.affords(Task.SEGMENT, 7, captured_ns=0, now_ns=0)
    workload = _workload(workers=2)
    workload.begin(Task.CLASSIFY, 32)  # 80 ms
    assert workload.affords(Task.SCREEN, 1, captured_ns=0, now_ns=10 * MS)
    assert not workload.affords(Task.SCREEN, 1, captured_ns=0, now_ns=11 * MS)


def test_nothing_to_do_is_always_affordable() -> None:
    workload = _workload()
    workload.begin(Task.SEGMENT, 1000)
    assert workload.affords(Task.SEGMENT, 0, 0, 0)
    assert workload.shed == ()


def test_with_a_growing_backlog_segmentation_goes_first_then_classification_then_frames() -> None:
    seen = []
    for waiting in range(30):
        workload = _workload(workers=1)
        workload.begin(Task.CLASSIFY, waiting)
        for task in CASCADE:
            workload.affords(task, 1, 0, 0)
        if workload.shed not in seen:
            seen.append(workload.shed)
    assert seen == [
        (),
        (Task.SEGMENT,),
        (Task.SEGMENT, Task.CLASSIFY),
        (Task.SEGMENT, Task.CLASSIFY, Task.SCREEN),
    ]


def test_without_classes_nothing_is_segmented() -> None:
    workload = _workload(workers=1)
    assert not workload.affords(Task.CLASSIFY, 17, 0, 0)
    assert workload.shed == (Task.SEGMENT, Task.CLASSIFY)


def test_what_was_shed_comes_back_after_a_calm_while_but_frames_at_once() -> None:
    workload = _workload()
    assert not workload.affords(Task.SEGMENT, 11, 0, 0)
    assert not workload.affords(Task.SCREEN, 1, captured_ns=-200 * MS, now_ns=0)
    assert workload.shed == (Task.SEGMENT, Task.SCREEN)
    assert workload.affords(Task.SCREEN, 1, 5, 5)
    assert not workload.affords(Task.SEGMENT, 1, HOLD_NS - 1, HOLD_NS - 1)
    workload.begin(Task.SEGMENT, 4)  # 40 ms wait: not calm
    assert not workload.affords(Task.SEGMENT, 1, HOLD_NS, HOLD_NS)
    workload.end(Task.SEGMENT, 4, 80 * MS, HOLD_NS)
    assert workload.affords(Task.SEGMENT, 1, HOLD_NS, HOLD_NS)
    assert workload.shed == ()


def test_a_lasting_overload_does_not_make_it_flap() -> None:
    """Work that returns and is soon late again stays shed for twice as long, up to a bound."""
    workload, now_ns, held_ms = _workload(), 0, []
    for _ in range(7):
        _confirm(workload, now_ns)
        assert not workload.affords(Task.SEGMENT, 11, now_ns, now_ns)
        since_ns = now_ns
        while not workload.affords(Task.SEGMENT, 1, now_ns, now_ns):
            now_ns += 10 * MS
        held_ms.append((now_ns - since_ns) // MS)
    assert held_ms == [500, 1000, 2000, 4000, 8000, 8000, 8000]
    now_ns += 3 * LONGEST_HOLD_NS
    _confirm(workload, now_ns)
    assert not workload.affords(Task.SEGMENT, 11, now_ns, now_ns)
    assert workload.affords(Task.SEGMENT, 1, now_ns + HOLD_NS, now_ns + HOLD_NS)


def test_one_stalled_batch_teaches_nothing() -> None:
    workload = _workload()
    for _ in range(9):
        _confirm(workload, 0)
    workload.begin(Task.SCREEN, 1)
    workload.end(Task.SCREEN, 1, 2_000 * MS, 0)
    assert _costs_ms(workload) == 10


def test_a_cost_that_nothing_confirms_is_forgotten_and_a_frame_is_looked_at_all_the_same() -> None:
    workload = Workload(1, 100.0)
    workload.begin(Task.SCREEN, 1)
    workload.end(Task.SCREEN, 1, 2_000 * MS, 0)  # stalled from the start
    assert not workload.affords(Task.SCREEN, 1, RELEARN_NS, RELEARN_NS)
    now_ns = RELEARN_NS + 1
    assert workload.affords(Task.SCREEN, 1, now_ns, now_ns)
    workload.begin(Task.SCREEN, 1)
    assert not workload.affords(Task.SCREEN, 1, now_ns, now_ns)  # one is enough to learn from
    workload.end(Task.SCREEN, 1, 10 * MS, now_ns)
    assert workload.affords(Task.SCREEN, 1, now_ns, now_ns)


STALLS = st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 4_000), st.booleans()), max_size=12)


@settings(deadline=None, max_examples=60)
@given(gaps_and_lengths_ms=STALLS, workers=st.integers(1, 4), first_ms=st.integers(0, 50))
@example(gaps_and_lengths_ms=[(0, 2_500, False)], workers=2, first_ms=1)
@example(gaps_and_lengths_ms=[(0, 2_500, True)] * 12, workers=1, first_ms=0)
def test_after_any_stalls_everything_is_inspected_again_within_two_seconds(
    gaps_and_lengths_ms: list[tuple[int, int, bool]], workers: int, first_ms: int
) -> None:
    """Stalls of the whole process, or of the engines alone: frames of a line that loads a fifth of the machine."""
    stalls, at_ms = [], first_ms
    for gap_ms, length_ms, whole in gaps_and_lengths_ms:
        stalls.append((at_ms + gap_ms, at_ms + gap_ms + length_ms, whole))
        at_ms = stalls[-1][1]
    inspected = _simulate(Workload(workers, 100.0), workers, stalls, at_ms + 4_000)
    late = {at: depth for at, depth in inspected.items() if at >= at_ms + 2_000}
    assert late
    assert set(late.values()) == {len(Task)}


def _simulate(workload: Workload, workers: int, stalls: list[tuple[int, int, bool]], until_ms: int) -> dict[int, int]:
    """Run a line of one frame per 100 ms with one tile each; return how many tasks each frame (by ms) was given."""
    cost_ms = {Task.SCREEN: 10, Task.CLASSIFY: 5, Task.SEGMENT: 5}
    given_tasks: dict[int, int] = {}
    jobs: deque[tuple[Task, int]] = deque()
    idle, order = workers, count()
    events: list[tuple[int, int, str, Task, int, int]] = [
        (at, next(order), "frame", Task.SCREEN, at, 0) for at in range(0, until_ms, 100)
    ]
    heapq.heapify(events)

    def start(now_ms: int) -> None:
        nonlocal idle
        while idle and jobs:
            task, frame = jobs.popleft()
            idle -= 1
            end_ms = now_ms + cost_ms[task]
            for begin, stop, _ in stalls:
                if now_ms < stop and begin < end_ms:
                    end_ms = max(stop, begin) + max(0, end_ms - max(begin, now_ms))
            heapq.heappush(events, (end_ms, next(order), "done", task, frame, end_ms - now_ms))

    while events:
        now_ms, _, what, task, frame, took_ms = heapq.heappop(events)
        stopped = next((stop for begin, stop, whole in stalls if whole and begin <= now_ms < stop), None)
        if stopped is not None:  # nobody takes it in before the process goes on
            heapq.heappush(events, (stopped, next(order), what, task, frame, took_ms))
            continue
        if what == "done":
            idle += 1
            workload.end(task, 1, took_ms * MS, now_ms * MS)
            task = {Task.SCREEN: Task.CLASSIFY, Task.CLASSIFY: Task.SEGMENT}.get(task, Task.SCREEN)
            if task is Task.SCREEN:
                given_tasks[frame] = len(Task)
        given_tasks.setdefault(frame, 0)
        if given_tasks[frame] < len(Task) and workload.affords(task, 1, frame * MS, now_ms * MS):
            workload.begin(task, 1)
            jobs.append((task, frame))
        start(now_ms)
    return given_tasks
