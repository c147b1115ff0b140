"""The journal: an append-only store of decisions, written before they are published and replayed to consumers."""

import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.histogram import DurationHistogram
from linewatch.contracts.record import Record, RecordSpan
from linewatch.journal.retained import Retained
from linewatch.journal.segment import (
    HEAD_BYTES,
    MAX_EPOCH,
    Damage,
    Entry,
    EntryKind,
    SegmentIndex,
    identity_entry,
    pack_commit,
    pack_head,
    read_records,
    scan,
    starting_positions,
    starts_whole,
    state_entry,
)

_NAME = re.compile(r"(\d{10})-(\d{6})\.segment")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening found of earlier epochs. torn_bytes: an incomplete write at the end of `segment`, removed.

    damages: of the newest segments, which it read. set_aside: files that are no segments, by their new names.
    """

    epoch: int  # of the newest segment; 0: there was none
    segment: str
    kept_bytes: int
    torn_bytes: int
    damages: tuple[tuple[str, Damage], ...] = ()
    set_aside: tuple[str, ...] = ()


@dataclass(slots=True)
class _Segment:
    path: Path
    epoch: int
    ordinal: int
    size: int
    index: SegmentIndex | None = None  # of an earlier epoch's segment: made on first reading
    started_at: dict[str, int] | None = None  # likewise
    start_damaged: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """What a folder holds: its segments, the number of the next epoch, and what is retained."""

    segments: list[_Segment]
    epoch: int
    retained: Retained
    recovery: Recovery


class Journal:
    """Segment files in `settings.dir`, opened, written, synced and closed by one thread.

    `read`, `span` and `epochs` may be called from any thread at any time. Each opening starts a new epoch, numbered one
    above the last. Raises JournalError when another process uses the folder, or it cannot be written.
    """

    def __init__(self, settings: JournalSettings, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._dir = settings.dir
        self._mount: Path | None = None  # where the disk of the folder is mounted
        self._max_bytes = settings.max_mb << 20
        self._segment_bytes = min(settings.segment_mb << 20, self._max_bytes // 4)
        self._group_commit_ns = int(settings.group_commit_ms * 1e6)
        self._now_ns = now_ns
        self._lock = threading.Lock()  # guards `_segments` and the current segment's index
        self._segments: list[_Segment] = []
        self._live_index = SegmentIndex()  # of the current segment
        self._retained = Retained()
        self._file = -1
        self._lock_file = -1
        self._unsynced_since_ns: int | None = None
        self.sync_times = DurationHistogram()
        """How long the disk took to sync, since the journal was opened."""
        self._failed: str | None = None
        self._opened = False  # a segment of this epoch was begun
        self._synced_state = b""
        self.epoch = 0
        self.recovery = Recovery(0, "", 0, 0)

    def __enter__(self) -> Self:
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            self._mount = _mount_of(self._dir)
            self._take_lock()
            self._use(self._recover())
            self._start_segment(0)
            self._drop_empty()
        except OSError as error:
            self._close_files()
            raise JournalError(f"cannot open the journal in {self._dir}: {_remedy(error)}") from error
        except BaseException:
            self._close_files()
            raise
        return self

    def open_without_disk(self) -> str | None:
        """After `__enter__` failed for the disk's sake: read what is there, and number an epoch, without writing.

        Return why the earlier epochs cannot be read; None: they were. `begin_again` opens the journal later; until then
        `identity` is "" unless it was read.
        """
        # The number of the epoch must lie above those on a disk that is not there, and seconds since 1970 always do.
        unread = _Found([], int(time.time()), Retained(), Recovery(0, "", 0, 0))
        try:
            found = self._recover(repair=False)
        except OSError as error:
            self._use(unread)
            return _remedy(error)
        self._use(found if found.segments else unread)
        return None

    def begin_again(self, next_sequences: Mapping[str, int]) -> None:
        """Go on in a new segment of this epoch, after the disk failed; what was appended stays readable.

        next_sequences: of the topics whose next record is not the one behind the last appended one: records that did
        not reach the disk are appended again, and others are not there any more. Raises JournalError.
        """
        self._close_files()
        self._failed, self._unsynced_since_ns = None, None
        self._retained.state = self._synced_state  # a newer one may be of records that did not reach the disk
        try:
            if (self._opened or self.recovery.epoch) and _mount_of(self._dir) != self._mount:
                raise OSError(errno.ENODEV, f"nothing is mounted at {self._mount} any more")
            self._dir.mkdir(parents=True, exist_ok=True)
            self._mount = _mount_of(self._dir)
            self._take_lock()
            if not self._opened:
                self._recover_again()
            with self._lock:
                self._segments = [segment for segment in self._segments if segment.path.exists()]
            self._start_segment(self._free_ordinal(), next_sequences)
        except OSError as error:
            self._close_files()
            raise JournalError(f"cannot write to the journal in {self._dir}: {_remedy(error)}") from error
        except BaseException:
            self._close_files()
            raise

    @property
    def is_broken(self) -> bool:
        """Whether nothing can be appended before `begin_again`."""
        return self._file < 0 or self._failed is not None

    @property
    def is_synced(self) -> bool:
        """Whether all that was appended is on disk."""
        return self._unsynced_since_ns is None

    def give_up(self, why: str) -> str:
        """Append no more before `begin_again`. Return what `append` says until then."""
        self._failed = f"cannot write to the journal in {self._dir}: {why}"
        return self._failed

    def is_in_place(self) -> bool:
        """Return whether the segment that is written is the one at its path, on whatever disk is mounted there."""
        try:
            at, opened = os.stat(self._current.path), os.fstat(self._file)
        except OSError:
            return False
        return (at.st_dev, at.st_ino) == (opened.st_dev, opened.st_ino)

    def retain(self, records: Iterable[Record]) -> None:
        """Follow the alarms of records that are not going to be appended."""
        for record in records:
            self._retained.take(record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._failed is None:
                self.sync()
        finally:
            self._close_files()

    @property
    def identity(self) -> str:
        """The journal's UUID: sequences of one journal mean nothing in another. "": not known, without its disk."""
        return self._retained.identity

    @property
    def state(self) -> bytes:
        """The newest state that was appended, of any epoch; b"" without any."""
        return self._retained.state

    def append(self, records: Sequence[Record], *, sync: bool, state: bytes | None = None) -> None:
        """Write records as one commit, whole or not at all; they can be read at once. sync: wait for the disk.

        state: replaces `state`, with these records or not at all.

        Sequences of a topic must ascend. Raises JournalError when the disk is full or fails: then none of these records
        is kept, all earlier ones are, and a later call may succeed unless the disk itself failed.
        """
        if self._failed is not None:
            raise JournalError(self._failed)
        if self._file < 0:
            raise JournalError(f"the journal in {self._dir} is not open")
        if not records and state is None:
            return
        entries = [Entry(EntryKind.RECORD, record) for record in records]
        if state is not None:
            entries.append(state_entry(self.epoch, state))
        commit = pack_commit(entries)
        try:
            if self._current.size + len(commit) > self._segment_bytes and self._live_index.topics:
                self._start_segment(self._current.ordinal + 1)
            self._write(self._file, commit, self._current.size)
        except OSError as error:
            raise JournalError(
                f"cannot write to the journal in {self._dir}: {_remedy(error)}; earlier records stay readable"
            ) from error
        with self._lock:
            segment = self._current
            offset, segment.size = segment.size, segment.size + len(commit)
            self._live_index.add(entries, offset, segment.size)
        for record in records:
            self._retained.take(record)
        if state is not None:
            self._retained.state = state
        if self._unsynced_since_ns is None:
            self._unsynced_since_ns = self._now_ns()
        if sync:
            self.sync()

    def sync_if_due(self, now_ns: int) -> None:
        """Sync records that have waited for `group_commit_ms`. The owner calls this at least that often."""
        if self._unsynced_since_ns is not None and now_ns - self._unsynced_since_ns >= self._group_commit_ns:
            self.sync()

    def sync(self) -> None:
        """Return when all appended records are on disk. Raises JournalError, for good, when the disk fails."""
        if self._unsynced_since_ns is None:
            return
        began_s = time.monotonic()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # After a failed sync the data may be lost, and a second fsync would report success all the same.
            self._failed = f"cannot sync the journal in {self._dir}: {_remedy(error)}"
            raise JournalError(self._failed) from error
        self.sync_times.add(time.monotonic() - began_s)
        self._unsynced_since_ns = None
        self._synced_state = self._retained.state

    def retained_alarms(self) -> list[Record]:
        """Return the last record of every retained alarm, of any epoch, oldest alarm first."""
        return self._retained.records()

    def commanded(self) -> list[Record]:
        """Return the newest alarm records caused by commands, of any epoch, oldest first."""
        return self._retained.commanded()

    def read(self, epoch: int, topic: str, first_sequence: int, limit_bytes: int) -> list[Record]:
        """Return records from `first_sequence` on, in order: at most `limit_bytes` in all, but at least one record."""
        found: list[Record] = []
        size = 0
        for record in self._records(epoch, topic, first_sequence):
            size += len(record.header) + len(record.payload)
            if found and size > limit_bytes:
                break
            found.append(record)
        return found

    def span(self, epoch: int, topic: str) -> RecordSpan | None:
        """Return the kept sequences of a topic; None when nothing of that epoch is kept."""
        while segments := self._of(epoch):
            try:
                oldest, last = self._oldest(segments, topic), self._index(segments[-1])
            except FileNotFoundError:
                self._forget_vanished()  # a segment was dropped meanwhile, or its file was removed: look again
                continue
            with self._lock:
                return RecordSpan(oldest, last.next_sequences().get(topic, oldest))
        return None

    def epochs(self) -> list[int]:
        """Return the epochs with kept records, ascending; the last one is this opening's."""
        with self._lock:
            return sorted({segment.epoch for segment in self._segments})

    @property
    def size_bytes(self) -> int:
        """Size of all segments on disk."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    @property
    def _current(self) -> _Segment:
        return self._segments[-1]

    def _of(self, epoch: int) -> list[_Segment]:
        with self._lock:
            return [segment for segment in self._segments if segment.epoch == epoch]

    def _forget_vanished(self) -> None:
        """Drop earlier segments whose file is not there any more."""
        with self._lock:
            self._segments = [
                segment for segment in self._segments if segment.index is self._live_index or segment.path.exists()
            ]

    def _index(self, segment: _Segment) -> SegmentIndex:
        if segment.index is None:
            segment.index = scan(segment.path, segment.epoch)[0]
        return segment.index

    def _start(self, segment: _Segment) -> dict[str, int] | None:
        """Return the positions at which a segment starts; None where they are damaged."""
        if segment.started_at is None and not segment.start_damaged:
            segment.started_at = starting_positions(segment.path)
            segment.start_damaged = segment.started_at is None and segment.ordinal > 0
        return None if segment.start_damaged else segment.started_at or {}

    def _oldest(self, segments: Sequence[_Segment], topic: str) -> int:
        """Return the first sequence of a topic that these segments of an epoch hold, or would hold."""
        for segment in segments:
            if (start := self._start(segment)) is not None:
                return start.get(topic, 0)
            if (held := self._index(segment).topics.get(topic)) is not None:
                return held.sequences[0]
        return 0

    def _records(self, epoch: int, topic: str, first_sequence: int) -> Iterator[Record]:
        segments = self._of(epoch)
        for segment, following in zip_longest(segments, segments[1:]):
            end: int | None = None
            try:
                if following is not None:
                    start = self._start(following)
                    end = None if start is None else start.get(topic)
                    if start is not None and start.get(topic, 0) <= first_sequence:
                        continue  # an index is made only of segments that hold wanted records
                index = self._index(segment)
                with self._lock:
                    offsets = index.offsets_from(topic, first_sequence)
                for record in read_records(segment.path, offsets, topic, first_sequence):
                    # Records from where the next segment starts are in that one: they were appended again.
                    if end is None or record.sequence < end:
                        yield record
            except FileNotFoundError:
                continue  # the segment was dropped meanwhile

    def _take_lock(self) -> None:
        self._lock_file = os.open(self._dir / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(self._lock_file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise JournalError(
                f"the journal in {self._dir} is in use by process {owner}; each service needs its own journal: "
                "stop that process, or set another [journal] dir"
            ) from error
        os.ftruncate(self._lock_file, 0)
        os.pwrite(self._lock_file, f"{os.getpid()}\n".encode(), 0)

    def _recover_again(self) -> None:
        """Recover in an epoch that is numbered already. Raises JournalError when the folder has this epoch."""
        found = self._recover()
        if found.epoch > self.epoch:
            raise JournalError(
                f"the journal in {self._dir} has epoch {found.epoch - 1}, and this service writes epoch {self.epoch}: "
                "it is another journal; restart the service"
            )
        known = self._retained if self.recovery.epoch else found.retained
        self._use(replace(found, epoch=self.epoch, retained=known))

    def _use(self, found: _Found) -> None:
        with self._lock:  # all at once: other threads may read
            self._segments, self.epoch, self._retained = found.segments, found.epoch, found.retained
            self.recovery, self._synced_state = found.recovery, found.retained.state

    def _free_ordinal(self) -> int:
        ordinals = [segment.ordinal for segment in self._segments if segment.epoch == self.epoch]
        ordinal = max(ordinals, default=-1) + 1
        while self._path_of(ordinal).exists():  # what a failed attempt left
            ordinal += 1
        return ordinal

    def _recover(self, *, repair: bool = True) -> _Found:
        """Read what is in the folder. repair: also cut off torn ends, and set aside what is no segment."""
        segments: list[_Segment] = []
        set_aside = []
        for path in sorted(self._dir.iterdir()):
            if match := _NAME.fullmatch(path.name):
                if path.is_symlink() or not path.is_file() or int(match[1]) >= MAX_EPOCH:
                    if repair:
                        set_aside.append(_set_aside(path))
                else:
                    segments.append(_Segment(path, int(match[1]), int(match[2]), path.stat().st_size))
        epoch = max((segment.epoch for segment in segments), default=0) + 1
        # A segment with a whole start tells what was retained before it, and segments before it need no reading.
        begin = len(segments) - 1
        while begin > 0 and not starts_whole(segments[begin].path, segments[begin].epoch):
            begin -= 1
        damages: list[tuple[str, Damage]] = []
        retained, recovery = Retained(), Recovery(0, "", 0, 0)
        for segment in segments[max(begin, 0) :]:
            segment.index, retained = scan(segment.path, segment.epoch, retained)
            damages += ((segment.path.name, damage) for damage in segment.index.damages)
            if not segment.index.end and segment.size > HEAD_BYTES:
                if repair:
                    set_aside.append(_set_aside(segment.path))
                continue
            torn = segment.size - segment.index.end
            if torn and repair:
                with segment.path.open("r+b") as file:
                    file.truncate(segment.index.end)
                    os.fsync(file.fileno())
                segment.size = segment.index.end
            if torn or segment.index.end > HEAD_BYTES:
                recovery = Recovery(segment.epoch, segment.path.name, segment.size, torn)
        recovery = replace(recovery, damages=tuple(damages), set_aside=tuple(set_aside))
        return _Found([segment for segment in segments if segment.path.exists()], epoch, retained, recovery)

    def _path_of(self, ordinal: int) -> Path:
        return self._dir / f"{self.epoch:010d}-{ordinal:06d}.segment"

    def _start_segment(self, ordinal: int, next_sequences: Mapping[str, int] | None = None) -> None:
        """Start the next segment durably, then drop the oldest ones that no longer fit."""
        positions = {**self._live_index.next_sequences(), **(next_sequences or {})}
        epoch = self.epoch
        identity = self._retained.identity or str(uuid4())
        carried = [identity_entry(epoch, identity)]
        if self._retained.state:
            carried.append(state_entry(epoch, self._retained.state))
        carried += [
            Entry(EntryKind.POSITION, Record(epoch, topic, at, b"", b"")) for topic, at in sorted(positions.items())
        ]
        carried += [Entry(EntryKind.COMMANDED, record) for record in self._retained.commanded()]
        carried += [Entry(EntryKind.CARRIED, record) for record in self._retained.records()]
        start = pack_head(epoch) + pack_commit(carried)
        self.sync()
        path = self._path_of(ordinal)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            self._write(file, start, 0)
            os.fsync(file)
            self._sync_dir()
        except OSError:
            os.close(file)
            with suppress(OSError):
                path.unlink()
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._opened = file, True
        self._retained.identity = identity
        with self._lock:
            self._live_index = SegmentIndex(end=len(start), started_at=positions)
            self._segments.append(_Segment(path, epoch, ordinal, len(start), self._live_index, positions))
            dropped = []
            kept_bytes = sum(segment.size for segment in self._segments)
            while len(self._segments) > 1 and kept_bytes + self._segment_bytes > self._max_bytes:
                dropped.append(self._segments.pop(0))
                kept_bytes -= dropped[-1].size
        for segment in dropped:
            segment.path.unlink(missing_ok=True)

    def _drop_empty(self) -> None:
        """Drop segments without records, so that a service that restarts in a loop does not fill the folder."""
        with self._lock:
            empty = [s for s in self._segments[:-1] if s.index is not None and not s.index.topics]
            self._segments = [s for s in self._segments if s not in empty]
        for segment in empty:
            segment.path.unlink()

    def _write(self, file: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`, or nothing."""
        view, at = memoryview(data), offset
        try:
            while view:
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
        except OSError:
            try:
                os.ftruncate(file, offset)
            except OSError as error:
                self._failed = f"cannot undo a partial write to the journal in {self._dir}: {_remedy(error)}"
            raise

    def _sync_dir(self) -> None:
        folder = os.open(self._dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _close_files(self) -> None:
        for file in (self._file, self._lock_file):
            if file >= 0:
                with suppress(OSError):  # of a disk that fails
                    os.close(file)
        self._file = self._lock_file = -1


def _mount_of(path: Path) -> Path:
    """Return where the disk is mounted on which a path lies."""
    at = path.resolve()
    while not at.is_mount() and at != at.parent:
        at = at.parent
    return at


def _set_aside(path: Path) -> str:
    """Rename what is no segment, so that nothing of it is destroyed; return its new name."""
    return path.rename(path.with_name(f"{path.name}.not-a-segment")).name


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full ({error.strerror}); free space there, or lower [journal] max_mb"
    return f"{error.strerror or error}; the folder must exist, be writable by the service and lie on a working disk"
