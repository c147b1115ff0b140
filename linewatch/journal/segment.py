"""The format of the journal's segment files: writing, reading, and finding the end of what was written whole.

A segment is `magic[8] | u32 epoch`, then commits to the end of the file. A commit is `u32 length | u32 crc32 | body`,
all little-endian, crc32 being zlib's over the body. The body is one or more entries

    u8 kind | u8 topic length | u32 epoch | u64 sequence | u32 header length | u32 payload length
    | topic | header | payload

A commit is valid as a whole or not at all, so a verdict is never kept without its alarms. A segment holds records of
one epoch. Its first commit repeats what must outlive older segments: retained alarms, the newest records caused by
commands, and each topic's next sequence.
"""

import mmap
import os
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from linewatch.contracts.record import Record
from linewatch.journal.retained import RetainedAlarms

MAX_COMMIT_BYTES = 256 << 20

_MAGIC = b"LWJRNL\x01\n"
_HEAD = struct.Struct("<8sI")
_FRAME = struct.Struct("<II")
_ENTRY = struct.Struct("<BBIQII")

HEAD_BYTES = _HEAD.size


class EntryKind(IntEnum):
    """The purpose of an entry."""

    RECORD = 0
    CARRIED = 1  # a retained alarm's record from an older segment
    POSITION = 2  # `sequence` is that of the topic's next record
    COMMANDED = 3  # an alarm's record from an older segment, caused by a command


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a commit."""

    kind: EntryKind
    record: Record


def pack_head(epoch: int) -> bytes:
    """Return the first bytes of a segment."""
    return _HEAD.pack(_MAGIC, epoch)


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


@dataclass(slots=True)
class SegmentIndex:
    """The index of a segment. end: offset after its last whole commit; 0 when not even its head is whole."""

    end: int = 0
    topics: dict[str, TopicIndex] = field(default_factory=dict)
    started_at: dict[str, int] = field(default_factory=dict)

    def add(self, entries: Iterable[Entry], offset: int, end: int) -> None:
        """Add the commit at [offset, end)."""
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

    def offsets_from(self, topic: str, sequence: int) -> array:
        """Return the offsets of commits that may hold records of `topic` from `sequence` on."""
        index = self.topics.get(topic)
        if index is None or index.next <= sequence:
            return array("Q")
        return index.offsets[max(0, bisect_right(index.sequences, sequence) - 1) :]

    def next_sequences(self) -> dict[str, int]:
        """Return each topic's next sequence after this segment."""
        return self.started_at | {name: topic.next for name, topic in self.topics.items()}


def scan(path: Path) -> tuple[SegmentIndex, RetainedAlarms]:
    """Read a segment up to its first damaged commit; return its index and the alarms retained at its end."""
    index, retained = SegmentIndex(), RetainedAlarms()
    with path.open("rb") as file:
        if path.stat().st_size < HEAD_BYTES:
            return index, retained
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if _HEAD.unpack_from(data)[0] != _MAGIC:
                return index, retained
            index.end = HEAD_BYTES
            while (commit := unpack_commit(data, index.end)) is not None:
                entries, end = commit
                index.add(entries, index.end, end)
                for entry in entries:
                    if entry.kind is EntryKind.RECORD:
                        retained.take(entry.record)
                    elif entry.kind is not EntryKind.POSITION:
                        retained.carry(entry.record, commanded=entry.kind is EntryKind.COMMANDED)
    return index, retained


def starting_positions(path: Path) -> dict[str, int]:
    """Return each topic's next sequence when the segment was started, read from its first commit alone."""
    file = os.open(path, os.O_RDONLY)
    try:
        entries = _commit_at(file, HEAD_BYTES)
    finally:
        os.close(file)
    return {entry.record.topic: entry.record.sequence for entry in entries if entry.kind is EntryKind.POSITION}


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
