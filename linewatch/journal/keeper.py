"""The journal of a live service: written on a thread of its own, so that no failing disk holds up the inspection."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.histogram import DurationHistogram
from linewatch.contracts.journal import JournalState, KeptState
from linewatch.contracts.record import Record, RecordSpan
from linewatch.journal.journal import Journal, Recovery
from linewatch.journal.retained import ALARM_TOPIC

log = structlog.get_logger()

THREADS: Final = ("journal", "journal-reader")

PATIENCE_S: Final = 0.5
"""How long an append waits for the disk. Beyond it, nothing waits until the disk has caught up."""
READ_PATIENCE_S: Final = 0.5
RETRY_S: Final = 1.0
"""Before the first new attempt on a disk that failed, and between two looks whether the journal's file is in place."""
MOST_RETRY_S: Final = 8.0
CLOSE_S: Final = 3.0
"""How long the end waits for the disk."""
_DROPPED_ALARMS_KEPT: Final = 4096
_TASKS_KEPT: Final = 16_384

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Commit:
    """Records that are appended together."""

    number: int
    records: tuple[Record, ...]
    size: int
    sync: bool
    state: bytes | None = None


class JournalKeeper:
    """A `Journal` that never fails and never hangs, with the same methods for those who append and read.

    `append` waits at most `PATIENCE_S` for the disk. While the disk is full, fails, hangs or is gone, records are held
    in memory, where they can be read as well, and written once it takes them again. Beyond `[journal] held_mb` the
    oldest are dropped, alarms last; what is dropped is counted, logged, and missing in the sequences. `append`, `also`
    and `state` never raise.
    """

    def __init__(self, settings: JournalSettings, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._journal = Journal(settings, now_ns)
        self._now_ns = now_ns
        self._max_held = settings.held_mb << 20
        self._group_commit_s = settings.group_commit_ms / 1000
        self._changed = threading.Condition()  # guards everything below
        self._waiting: deque[_Commit] = deque()
        self._unsynced: deque[_Commit] = deque()  # written, or being written; the disk may still lose them
        self._tasks: deque[Callable[[], None]] = deque(maxlen=_TASKS_KEPT)
        self._held = 0  # bytes in both
        self._numbered = self._appended = self._written = self._synced = 0
        self._dropped: Counter[str] = Counter()  # since the disk failed, by topic
        self._dropped_alarms: deque[Record] = deque(maxlen=_DROPPED_ALARMS_KEPT)
        self._dropped_state: bytes | None = None  # the newest that was dropped, for the next commit without one
        self._all_dropped = 0
        self._trouble: str | None = None
        self._state = JournalState.KEPT
        self._since_ns = now_ns()
        self._unreadable: str | None = None  # why the epochs before this one cannot be read
        self._closing = False
        self._task_failed, self._next_task_s = False, 0.0
        self._reader = _Aside()
        self._writer = threading.Thread(target=self._work, name=THREADS[0], daemon=True)

    def __enter__(self) -> Self:
        """Open the journal. Raises JournalError when another process uses it, or a newer linewatch wrote it."""
        try:
            self._journal.__enter__()
        except JournalError as error:
            if not isinstance(error.__cause__, OSError) or isinstance(error.__cause__, BlockingIOError):
                raise
            self._unreadable = self._journal.open_without_disk()
            self._lose(str(error))
        self._writer.start()
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join(CLOSE_S)
        with self._changed:
            left = sum(len(commit.records) for commit in (*self._unsynced, *self._waiting))
        if left:
            log.error("journal_not_written", records=left, why=self._trouble)
        if not self._writer.is_alive():
            self._journal.__exit__(kind, error, trace)

    @property
    def epoch(self) -> int:
        """The number of this opening."""
        return self._journal.epoch

    @property
    def identity(self) -> str:
        """The journal's UUID; "" while it is not known, without the disk."""
        return self._journal.identity

    @property
    def journal(self) -> Journal:
        """The journal on the disk, for what was found at the opening."""
        return self._journal

    @property
    def sync_times(self) -> DurationHistogram:
        """How long the disk took to sync."""
        return self._journal.sync_times

    def append(self, records: Sequence[Record], *, sync: bool, state: bytes | None = None) -> None:
        """Hand records over; they can be read at once. sync: wait until they are on disk, else until it has them.

        state: as in `Journal.append`.
        """
        if not records and state is None:
            return
        size = sum(len(record.header) + len(record.payload) for record in records)
        with self._changed:
            self._numbered += 1
            number = self._numbered
            state, self._dropped_state = self._dropped_state if state is None else state, None
            self._waiting.append(_Commit(number, tuple(records), size, sync, state))
            self._held += size
            self._bound()
            self._changed.notify_all()
            if self._state is not JournalState.KEPT:
                return

            def is_done() -> bool:
                return (self._synced if sync else self._written) >= number or self._state is not JournalState.KEPT

            if not self._changed.wait_for(is_done, PATIENCE_S):
                self._become(JournalState.LATE, f"the journal's disk does not answer within {PATIENCE_S:g} s")

    def also(self, task: Callable[[], None], *, wait: bool = False) -> bool:
        """Have another file beside the journal written on the thread that may hang, again and again while it fails.

        wait: for at most `PATIENCE_S`, unless the disk fails already. Return whether it is done. Tasks are done in
        order; the newest `_TASKS_KEPT` are kept.
        """
        with self._changed:
            if len(self._tasks) == _TASKS_KEPT:
                log.error("journal_side_line_lost")
            self._tasks.append(task)
            self._changed.notify_all()
            if not wait or self._state is not JournalState.KEPT or self._task_failed:
                return False
            return self._changed.wait_for(lambda: task not in self._tasks or self._task_failed, PATIENCE_S) and (
                task not in self._tasks
            )

    def sync_if_due(self, now_ns: int) -> None:
        """Do nothing: the thread syncs what has waited for `group_commit_ms`."""

    @property
    def state(self) -> KeptState:
        """Whether what is decided reaches the disk."""
        with self._changed:
            return KeptState(
                state=self._state,
                why=self._trouble,
                since_ns=self._since_ns,
                held=sum(len(commit.records) for commit in self._waiting) if self._trouble else 0,
                held_bytes=self._held if self._trouble else 0,
                dropped=self._all_dropped,
            )

    def read(self, epoch: int, topic: str, first_sequence: int, limit_bytes: int) -> list[Record]:
        """Return records as `Journal.read`, from memory those that are not on disk.

        Raises JournalError when the disk does not answer.
        """
        if epoch != self.epoch:
            return self._from_disk(lambda: self._journal.read(epoch, topic, first_sequence, limit_bytes))
        held = [record for record in self._held_records(topic) if record.sequence >= first_sequence]
        if held and held[0].sequence == first_sequence:
            return _bounded(held, limit_bytes)
        on_disk = self._journal.span(epoch, topic)
        found: list[Record] = []
        if on_disk is not None and first_sequence < on_disk.next:
            found = self._from_disk(lambda: self._journal.read(epoch, topic, first_sequence, limit_bytes))
            if found and found[-1].sequence + 1 < on_disk.next:
                return found
        last = found[-1].sequence if found else -1
        return _bounded([*found, *(record for record in held if record.sequence > last)], limit_bytes)

    def span(self, epoch: int, topic: str) -> RecordSpan | None:
        """Return the kept sequences of a topic; None when nothing of that epoch is kept. Raises like `read`."""
        if epoch != self.epoch:
            if self._unreadable is not None:
                raise JournalError(self._unreadable)
            return self._from_disk(lambda: self._journal.span(epoch, topic))
        held = self._held_records(topic)
        on_disk = self._journal.span(epoch, topic)
        if on_disk is None:
            return RecordSpan(held[0].sequence, held[-1].sequence + 1) if held else RecordSpan(0, 0)
        return RecordSpan(on_disk.oldest, max(on_disk.next, held[-1].sequence + 1)) if held else on_disk

    def epochs(self) -> list[int]:
        """Return the epochs with kept records, ascending; the last one is this opening's."""
        return sorted({*self._journal.epochs(), self.epoch})

    def _held_records(self, topic: str) -> list[Record]:
        with self._changed:
            commits = (*self._unsynced, *self._waiting)
        return [record for commit in commits for record in commit.records if record.topic == topic]

    def _from_disk(self, read: Callable[[], T]) -> T:
        return self._reader.call(read, READ_PATIENCE_S)

    def _work(self) -> None:
        """Write what comes, until the end; what fails is tried again."""
        retry_s, look_s = RETRY_S, 0.0
        while True:
            try:
                if self._journal.is_broken:
                    self._begin_again()
                if time.monotonic() >= look_s:
                    look_s = time.monotonic() + RETRY_S
                    if not self._journal.is_in_place():
                        self._lose(self._journal.give_up("its newest file is no longer in its folder"))
                        continue
                if not self._write_next():
                    return
                retry_s = RETRY_S
            except Exception as error:
                if not isinstance(error, JournalError | OSError):  # a fault of the program, which ends nothing either
                    log.exception("journal_failed")
                self._lose(str(error) or type(error).__name__)
                with self._changed:
                    if self._changed.wait_for(lambda: self._closing, retry_s):
                        return
                retry_s = min(2 * retry_s, MOST_RETRY_S)

    def _write_next(self) -> bool:
        """Write what waits, and sync what is due; return False at the end."""
        with self._changed:
            wait_s = self._group_commit_s if self._unsynced or self._state is not JournalState.KEPT else RETRY_S
            self._changed.wait_for(lambda: self._waiting or self._closing or self._may_do_task(), wait_s)
            alarms = list(self._dropped_alarms)
            self._dropped_alarms.clear()
            batch = list(self._waiting)
            self._waiting.clear()
            self._unsynced += batch
        self._journal.retain(alarms)
        for commit in batch:
            self._journal.append(commit.records, sync=False, state=commit.state)
            self._appended = commit.number
        must_sync = any(commit.sync for commit in batch)
        if batch and not must_sync:
            with self._changed:
                self._written = self._appended
                self._changed.notify_all()
        if must_sync or self._closing:
            self._journal.sync()
        else:
            self._journal.sync_if_due(self._now_ns())
        if self._journal.is_synced:
            self._note_synced()
        self._do_task()
        with self._changed:
            return not (self._closing and not self._waiting and not self._may_do_task())

    def _note_synced(self) -> None:
        with self._changed:
            self._written = self._synced = self._appended
            self._held -= sum(commit.size for commit in self._unsynced)
            self._unsynced.clear()
            if self._state is not JournalState.KEPT and not self._waiting:
                self._become(JournalState.KEPT, None)
            self._changed.notify_all()

    def _may_do_task(self) -> bool:
        return bool(self._tasks) and time.monotonic() >= self._next_task_s

    def _do_task(self) -> None:
        with self._changed:
            if not self._may_do_task():
                return
            task = self._tasks[0]
        try:
            task()
        except Exception as error:
            self._next_task_s = time.monotonic() + RETRY_S
            if not self._task_failed:
                log.error("journal_side_file_failed", error=str(error))
            with self._changed:
                self._task_failed = True
                self._changed.notify_all()
            return
        with self._changed:
            self._task_failed = False
            if self._tasks and self._tasks[0] is task:
                self._tasks.popleft()
            self._changed.notify_all()

    def _begin_again(self) -> None:
        with self._changed:
            first: dict[str, int] = {}
            for commit in self._waiting:
                for record in commit.records:
                    first.setdefault(record.topic, record.sequence)
        self._journal.begin_again(first)
        self._unreadable = None

    def _lose(self, why: str) -> None:
        """Hold everything that may not be on disk, from now on."""
        with self._changed:
            broken = self._journal.is_broken
            while self._unsynced and (broken or self._unsynced[-1].number > self._appended):
                self._waiting.appendleft(self._unsynced.pop())
            self._become(JournalState.LOST, why)
            self._bound()
            self._changed.notify_all()

    def _become(self, state: JournalState, why: str | None) -> None:
        before, self._state, self._trouble = self._trouble, state, why
        if why is not None and before is None:
            self._since_ns = self._now_ns()
            log.error("journal_lost", why=why)
        elif why is None and before is not None:
            log.warning(
                "journal_kept_again",
                why=before,
                seconds=round((self._now_ns() - self._since_ns) / 1e9, 1),
                dropped=dict(self._dropped),
            )
            self._dropped.clear()
            self._since_ns = self._now_ns()

    def _bound(self) -> None:
        """Drop the oldest records beyond the bound; of alarms only where nothing else is left."""
        if self._held <= self._max_held or self._state is JournalState.KEPT:
            return
        kept: deque[_Commit] = deque()
        while self._waiting and self._held > self._max_held * 0.9:
            commit = self._waiting.popleft()
            self._pass_on(commit.state)
            alarms = tuple(record for record in commit.records if record.topic == ALARM_TOPIC)
            size = sum(len(record.header) + len(record.payload) for record in alarms)
            self._held -= commit.size - size
            self._count_dropped(record for record in commit.records if record.topic != ALARM_TOPIC)
            if alarms:
                kept.append(_Commit(commit.number, alarms, size, sync=False))
        self._waiting.extendleft(reversed(kept))
        while self._waiting and self._held > self._max_held:
            commit = self._waiting.popleft()
            self._pass_on(commit.state)
            self._held -= commit.size
            self._dropped_alarms += commit.records
            self._count_dropped(commit.records)

    def _pass_on(self, state: bytes | None) -> None:
        """Give a dropped commit's state to the commit behind it, unless that has a newer one."""
        if state is None:
            return
        if not self._waiting:
            self._dropped_state = state
        elif self._waiting[0].state is None:
            self._waiting[0] = replace(self._waiting[0], state=state)

    def _count_dropped(self, records: Iterable[Record]) -> None:
        for record in records:
            self._dropped[record.topic] += 1
            self._all_dropped += 1


class _Aside:
    """Calls functions that may hang, one at a time, on a thread of its own."""

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._thread = threading.Thread(target=self._work, name=THREADS[1], daemon=True)

    def start(self) -> None:
        """Start the thread, which never ends: nobody waits for it."""
        self._thread.start()

    def call(self, function: Callable[[], T], patience_s: float) -> T:
        """Return what `function` returns, or raise what it raises; JournalError when it takes longer."""
        call = _Call(function)
        with self._changed:
            if self._busy:
                raise JournalError("the journal's disk does not answer; ask again")
            self._busy = True
            self._calls.append(call)
            self._changed.notify_all()
        if not call.done.wait(patience_s):
            raise JournalError("the journal's disk does not answer; ask again")
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls)
                call = self._calls.popleft()
            try:
                call.result = call.function()
            except Exception as error:
                call.error = error
            with self._changed:
                self._busy = False
            call.done.set()


class _Call:
    __slots__ = ("done", "error", "function", "result")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.done = threading.Event()
        self.result: object = None
        self.error: Exception | None = None


def log_recovery(recovery: Recovery) -> None:
    """Log what the opening of a journal found damaged."""
    if recovery.torn_bytes:
        log.warning("journal_recovered", segment=recovery.segment, torn_bytes=recovery.torn_bytes)
    for segment, damage in recovery.damages:
        lost = [f"{topic} {first} to {following - 1}" for topic, first, following in damage.lost]
        log.error("journal_damaged", segment=segment, bytes=damage.end - damage.begin, lost=lost or "not known")
    for name in recovery.set_aside:
        log.error("journal_file_set_aside", file=name)


def _bounded(records: Sequence[Record], limit_bytes: int) -> list[Record]:
    """Return the first records, at most `limit_bytes` in all, but at least one."""
    size = 0
    for count, record in enumerate(records):
        size += len(record.header) + len(record.payload)
        if count and size > limit_bytes:
            return list(records[:count])
    return list(records)
