"""Work is shed in order, by measured cost, work under way and deadline, and returns when the load is low."""

from linewatch.contracts.manifest import Task
from linewatch.inference.workload import HOLD_NS, LONGEST_HOLD_NS, Workload

MS = 1_000_000


def _workload(workers: int = 2, deadline_ms: float = 100.0) -> Workload:
    """Return a workload with known costs: 10 ms a frame, 5 a classified and 20 a segmented tile."""
    workload = Workload(workers, deadline_ms)
    for task, cost_ms in ((Task.SCREEN, 10), (Task.CLASSIFY, 5), (Task.SEGMENT, 20)):
        workload.begin(task, 1)
        workload.end(task, 1, cost_ms * MS)
    return workload


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
        workload.end(Task.SCREEN, 2, 40 * MS)
    assert _costs_ms(workload) == 20
    workload.begin(Task.SCREEN, 1)
    workload.end(Task.SCREEN, 1, 0)
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
        for task in Task:
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
    workload.end(Task.SEGMENT, 4, 80 * MS)
    assert workload.affords(Task.SEGMENT, 1, HOLD_NS, HOLD_NS)
    assert workload.shed == ()


def test_a_lasting_overload_does_not_make_it_flap() -> None:
    """Work that returns and is soon late again stays shed for twice as long, up to a bound."""
    workload, now_ns, held_ms = _workload(), 0, []
    for _ in range(7):
        assert not workload.affords(Task.SEGMENT, 11, now_ns, now_ns)
        since_ns = now_ns
        while not workload.affords(Task.SEGMENT, 1, now_ns, now_ns):
            now_ns += 10 * MS
        held_ms.append((now_ns - since_ns) // MS)
    assert held_ms == [500, 1000, 2000, 4000, 8000, 8000, 8000]
    now_ns += 3 * LONGEST_HOLD_NS
    assert not workload.affords(Task.SEGMENT, 11, now_ns, now_ns)
    assert workload.affords(Task.SEGMENT, 1, now_ns + HOLD_NS, now_ns + HOLD_NS)
