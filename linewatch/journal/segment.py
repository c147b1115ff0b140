"""The format of the journal's segment files: writing, reading, and finding the end of what was written whole.

A segment is `magic[8] | u32 epoch`, then commits to the end of the file. A commit is `u32 length | u32 crc32 | body`,
all little-endian, crc32 being zlib's over the body. The body is one or more entries

    u8 kind | u8 topic length | u32 epoch | u64 sequence | u32 header length | u32 payload length
    | topic | header | payload

A commit is valid as a whole or not at all, so a verdict is never kept without its alarms. Behind a damaged commit,
reading goes on at the next whole one. A segment holds records of
one epoch. Its first commit repeats what must outlive older segments: the journal's identity, the newest state that its
owner keeps in it, retained alarms, the newest records caused by commands, and each topic's next sequence.

Format 1 had neither identity nor state. It is read, and continued in this format.
"""

import mmap
import os
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from linewatch.contracts.errors import JournalError
from linewatch.contracts.record import Record
from linewatch.journal.retained import Retained, is_readable

MAX_COMMIT_BYTES = 256 << 20

_NAME, _VERSION = b"LWJRNL", 2
_MAGICS = tuple(_NAME + bytes([version]) + b"\n" for version in range(1, _VERSION + 1))
_HEAD = struct.Struct("<8sI")
_FRAME = struct.Struct("<II")
_ENTRY = struct.Struct("<BBIQII")

HEAD_BYTES = _HEAD.size
MAX_EPOCH = (1 << 32) - 1
_EPOCH_AT = _FRAME.size + 2
"""Where the epoch of the first record stands in a commit."""


class EntryKind(IntEnum):
    """The purpose of an entry."""

    RECORD = 0
    CARRIED = 1  # a retained alarm's record from an older segment
    POSITION = 2  # `sequence` is that of the topic's next record
    COMMANDED = 3  # an alarm's record from an older segment, caused by a command
    STATE = 4  # `payload` is what the journal's owner needs after a restart; the newest holds
    IDENTITY = 5  # `payload` is the journal's UUID, as text


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a commit."""

    kind: EntryKind
    record: Record


def pack_head(epoch: int) -> bytes:
    """Return the first bytes of a segment."""
    return _HEAD.pack(_MAGICS[-1], epoch)


def _is_head(data: bytes, epoch: int) -> bool:
    return data in [_HEAD.pack(magic, epoch) for magic in _MAGICS]


def state_entry(epoch: int, state: bytes) -> Entry:
    """Return the entry of a state."""
    return Entry(EntryKind.STATE, Record(epoch, "state", 0, b"", state))


def identity_entry(epoch: int, identity: str) -> Entry:
    """Return the entry of the journal's identity."""
    return Entry(EntryKind.IDENTITY, Record(epoch, "identity", 0, b"", identity.encode("ascii")))


def pack_commit(entries: Iterable[Entry]) -> bytes:
    """Pack entries into one commit. Raises ValueError when it would be larger than `MAX_COMMIT_BYTES`."""
    parts = []
    for entry in entries:
        record, topic = entry.record, entry.record.topic.encode("ascii")
        sizes = len(record.header), len(record.payload)
        parts += [
            _ENTRY.pack(entry.kind, len(topic), record.epoch, record.sequence, *sizes),
            topic,
            record.header,
            record.payload,
        ]
    body = b"".join(parts)
    if len(body) > MAX_COMMIT_BYTES:
        raise ValueError(f"a commit of {len(body)} bytes; at most {MAX_COMMIT_BYTES} fit")
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def unpack_commit(data: bytes | mmap.mmap, offset: int) -> tuple[list[Entry], int] | None:
    """Return the entries of the commit at `offset` and the offset after it; None when it is not whole."""
    start = offset + _FRAME.size
    if start > len(data):
        return None
    length, crc = _FRAME.unpack_from(data, offset)
    # File systems leave zeros where a tail was never written: length 0, whose checksum would match.
    if not _ENTRY.size <= length <= MAX_COMMIT_BYTES or start + length > len(data):
        return None
    body = data[start : start + length]
    if zlib.crc32(body) != crc:
        return None
    return list(_entries(body)), start + length


def next_commit(data: bytes | mmap.mmap, offset: int, epoch: int) -> int | None:
    """Return the offset of the first whole commit at or behind `offset` that begins with a record of this epoch."""
    sought = struct.pack("<I", epoch)
    at = data.find(sought, offset + _EPOCH_AT)
    while at >= 0:
        begin = at - _EPOCH_AT
        if _may_begin(data, begin) and unpack_commit(data, begin) is not None:
            return begin
        at = data.find(sought, at + 1)
    return None


def _may_begin(data: bytes | mmap.mmap, offset: int) -> bool:
    """Say whether a commit may begin here, by its first entry: a checksum over chance bytes would cost too much."""
    entry = offset + _FRAME.size
    if entry + _ENTRY.size > len(data):
        return False
    length, _ = _FRAME.unpack_from(data, offset)
    kind, topic_length, _, _, header_length, payload_length = _ENTRY.unpack_from(data, entry)
    first_bytes = _ENTRY.size + topic_length + header_length + payload_length
    return kind <= max(EntryKind) and topic_length > 0 and first_bytes <= length


def _entries(body: bytes) -> Iterator[Entry]:
    offset = 0
    while offset < len(body):
        kind, topic_length, epoch, sequence, header_length, payload_length = _ENTRY.unpack_from(body, offset)
        header = offset + _ENTRY.size + topic_length
        payload = header + header_length
        topic = body[header - topic_length : header].decode("ascii")
        offset = payload + payload_length
        yield Entry(EntryKind(kind), Record(epoch, topic, sequence, body[header:payload], body[payload:offset]))


@dataclass(slots=True)
class TopicIndex:
    """The commits with records of one topic: the first sequence in each, and the commit's offset."""

    sequences: array = field(default_factory=lambda: array("Q"))
    offsets: array = field(default_factory=lambda: array("Q"))
    next: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes [begin, end) of a segment, before whole commits, that hold none; and the sequences lost with them.

    A commit with an alarm that nobody could follow counts as none.

    lost: (topic, first, next). Empty where the segment's own start is damaged: then nothing tells them.
    """

    begin: int
    end: int
    lost: tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class SegmentIndex:
    """The index of a segment. end: offset after its last whole commit; 0 when there is none, and no whole head."""

    end: int = 0
    topics: dict[str, TopicIndex] = field(default_factory=dict)
    started_at: dict[str, int] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)

    def add(self, entries: Sequence[Entry], offset: int, end: int) -> None:
        """Add the commit at [offset, end)."""
        if offset > self.end:
            self.damages.append(Damage(self.end, offset, self._lost_before(entries)))
        for entry in entries:
            record = entry.record
            if entry.kind is EntryKind.POSITION:
                self.started_at[record.topic] = record.sequence
            elif entry.kind is EntryKind.RECORD:
                topic = self.topics.setdefault(record.topic, TopicIndex())
                if not topic.offsets or topic.offsets[-1] != offset:
                    topic.sequences.append(record.sequence)
                    topic.offsets.append(offset)
                topic.next = record.sequence + 1
        self.end = end

    def _lost_before(self, entries: Sequence[Entry]) -> tuple[tuple[str, int, int], ...]:
        lost: dict[str, tuple[str, int, int]] = {}
        known = self.next_sequences()
        for entry in entries:
            topic, sequence = entry.record.topic, entry.record.sequence
            if entry.kind is EntryKind.RECORD and topic not in lost and sequence > known.get(topic, sequence):
                lost[topic] = (topic, known[topic], sequence)
        return tuple(lost.values())

    def offsets_from(self, topic: str, sequence: int) -> array:
        """Return the offsets of commits that may hold records of `topic` from `sequence` on."""
        index = self.topics.get(topic)
        if index is None or index.next <= sequence:
            return array("Q")
        return index.offsets[max(0, bisect_right(index.sequences, sequence) - 1) :]

    def next_sequences(self) -> dict[str, int]:
        """Return each topic's next sequence after this segment."""
        return self.started_at | {name: topic.next for name, topic in self.topics.items()}


def scan(path: Path, epoch: int, retained: Retained | None = None) -> tuple[SegmentIndex, Retained]:
    """Read a segment; return its index and what is retained at its end.

    retained: what was retained before it, which holds where the segment's own account of that is damaged. Raises
    JournalError when a newer version of linewatch wrote it.
    """
    index, retained = SegmentIndex(), retained or Retained()
    with path.open("rb") as file:
        if path.stat().st_size < HEAD_BYTES:
            return index, retained
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if _is_head(data[:HEAD_BYTES], epoch):
                index.end = HEAD_BYTES
            elif unpack_commit(data, HEAD_BYTES) is None:  # else only its head is damaged
                _refuse_newer(path, data)
            offset: int | None = HEAD_BYTES
            while offset is not None:
                commit = unpack_commit(data, offset)
                if commit is None or _foreign(commit[0], epoch) or not _readable(commit[0]):
                    offset = next_commit(data, offset + 1, epoch)
                    continue
                entries, end = commit
                if offset == HEAD_BYTES:
                    identity, retained = retained.identity, Retained()
                    retained.identity = identity
                index.add(entries, offset, end)
                for entry in entries:
                    if entry.kind is EntryKind.RECORD:
                        retained.take(entry.record)
                    elif entry.kind is EntryKind.STATE:
                        retained.state = entry.record.payload
                    elif entry.kind is EntryKind.IDENTITY:
                        retained.identity = entry.record.payload.decode("ascii", "replace")
                    elif entry.kind is not EntryKind.POSITION:
                        retained.carry(entry.record, commanded=entry.kind is EntryKind.COMMANDED)
                offset = end
    return index, retained


def _foreign(entries: Iterable[Entry], epoch: int) -> bool:
    carried = (EntryKind.CARRIED, EntryKind.COMMANDED)
    return any(entry.record.epoch != epoch for entry in entries if entry.kind not in carried)


def _readable(entries: Iterable[Entry]) -> bool:
    kinds = (EntryKind.RECORD, EntryKind.CARRIED, EntryKind.COMMANDED)
    return all(is_readable(entry.record) for entry in entries if entry.kind in kinds)


def _refuse_newer(path: Path, data: mmap.mmap) -> None:
    if data[: len(_NAME)] == _NAME and data[len(_NAME)] > _VERSION:
        raise JournalError(
            f"{path} has format {data[len(_NAME)]}, and this linewatch reads formats 1 to {_VERSION}: use the newer "
            "version again, or move the journal's folder away and begin a new one"
        )


def starts_whole(path: Path, epoch: int) -> bool:
    """Say whether the head and the first commit of a segment of this epoch are whole."""
    with path.open("rb") as file:
        head, entries = file.read(HEAD_BYTES), _commit_at(file.fileno(), HEAD_BYTES)
    return _is_head(head, epoch) and bool(entries) and not _foreign(entries, epoch)


def starting_positions(path: Path) -> dict[str, int] | None:
    """Return each topic's next sequence when the segment was started, read from its first commit alone.

    None: that commit is damaged.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        entries = _commit_at(file, HEAD_BYTES)
    finally:
        os.close(file)
    positions = {entry.record.topic: entry.record.sequence for entry in entries if entry.kind is EntryKind.POSITION}
    return positions if entries else None


def read_records(path: Path, offsets: array, topic: str, first_sequence: int) -> Iterator[Record]:
    """Yield the records of `topic` from `first_sequence` on that the commits at these offsets hold."""
    if not offsets:
        return
    file = os.open(path, os.O_RDONLY)
    try:
        for offset in offsets:
            for entry in _commit_at(file, offset):
                record = entry.record
                if entry.kind is EntryKind.RECORD and record.topic == topic and record.sequence >= first_sequence:
                    yield record
    finally:
        os.close(file)


def _commit_at(file_no: int, offset: int) -> list[Entry]:
    """Return the entries of one commit of an open segment; empty when it was damaged after it was indexed."""
    frame = os.pread(file_no, _FRAME.size, offset)
    if len(frame) < _FRAME.size:
        return []
    length, _ = _FRAME.unpack(frame)
    commit = unpack_commit(frame + os.pread(file_no, min(length, MAX_COMMIT_BYTES), offset + _FRAME.size), 0)
    return commit[0] if commit else []
