"""The buffers that Aravis fills, and how much of an incomplete one was received.

Aravis does not tell which packets of a buffer are missing. Before a buffer is handed over, marks are written into it;
where a mark still stands afterwards, nothing was received.
"""

import os
from typing import Any, Final

import numpy as np

_STEP: Final = 256
"""Bytes between two marks: less than the smallest packet carries, so that a packet that is missing leaves a mark."""
SMALLEST_PACKET: Final = 576
"""Bytes on the network (RFC 791), the smallest packet that a camera is set to."""

UNKNOWN_FRAME: Final = (1 << 64) - 1
"""The number of a frame whose first packet, which has the number, was not received."""
_LARGEST_SHORT_NUMBER: Final = 65_535
"""GigE Vision counts frames from 1 to 65535 and again, or in 64 bits with extended ids, as USB3 Vision does from 0."""
_LONGEST_JUMP: Final = 32_768


class FrameNumbers:
    """Tells from the numbers of a camera's frames how many of them are missing."""

    def __init__(self) -> None:
        self._before: int | None = None

    def lost_before(self, number: int) -> int:
        """Return how many frames are missing before this one. A frame without a number follows the one before it."""
        before = self._before
        if number == UNKNOWN_FRAME:
            self._before = None if before is None else before + 1
            return 0
        self._before = number
        if before is None:
            return 0
        if number <= before <= _LARGEST_SHORT_NUMBER + 1:
            step = (number - before) % _LARGEST_SHORT_NUMBER
            return step - 1 if 0 < step <= _LONGEST_JUMP else 0
        return max(0, number - before - 1)


class EncoderCounts:
    """The encoder's count of each frame, also of one that was received without it: as the frames before it ran."""

    def __init__(self, turn: int) -> None:
        """turn: counts after which the counter begins anew."""
        self._turn = turn
        self._known: tuple[int, int] | None = None  # line and count
        self._counts_per_line: float | None = None

    def at(self, first_line: int, count: int | None) -> int | None:
        """Return the count at a frame's first line; None where neither the frame nor those before it tell."""
        known = self._known
        if count is None:
            if known is None or self._counts_per_line is None:
                return None
            return (known[1] + round((first_line - known[0]) * self._counts_per_line)) % self._turn
        if known is not None and first_line > known[0]:
            half = self._turn // 2
            moved = (count - known[1] + half) % self._turn - half
            self._counts_per_line = moved / (first_line - known[0])
        self._known = first_line, count
        return count


class MarkedMemory:
    """The memory of one buffer."""

    def __init__(self, size: int) -> None:
        words = -(-size // _STEP) * _STEP // 8
        self._words = np.zeros(words, np.uint64)
        self._marks = self._words[:: _STEP // 8]
        self.bytes = self._words.view(np.uint8)[:size]
        self._end = self.bytes[-8:].view(np.uint8)
        self._mark = np.frombuffer(os.urandom(8), np.uint64)  # which no picture contains by chance

    @property
    def address(self) -> int:
        return int(self.bytes.ctypes.data)

    def mark(self) -> None:
        """Forget what is in it."""
        self._marks.fill(self._mark[0])
        self._end[:] = self._mark.view(np.uint8)

    def received(self) -> int:
        """Return how many bytes from its start have certainly been received into an incomplete buffer.

        A packet may begin anywhere between two marks, so up to two steps are left out. The end is never counted: a
        packet of less than a mark may be missing there.
        """
        standing = np.flatnonzero(self._marks == self._mark[0])
        if len(standing):
            return int(max(0, standing[0] - 1)) * _STEP
        if np.array_equal(self._end, self._mark.view(np.uint8)):
            return (len(self._marks) - 1) * _STEP
        return len(self.bytes) - 8


class BufferPool:
    """Buffers in the memory of this process, for one stream. Use it from one thread."""

    def __init__(self, aravis: Any, stream: Any, count: int, size: int) -> None:
        self._stream = stream
        self._memory: dict[Any, MarkedMemory] = {}
        for _ in range(count):
            memory = MarkedMemory(size)
            buffer = aravis.Buffer.new(size, memory.address)
            self._memory[buffer] = memory
            self.give(buffer)

    def give(self, buffer: Any) -> None:
        """Let the camera fill a buffer (again)."""
        self._memory[buffer].mark()
        buffer.set_frame_id(UNKNOWN_FRAME)  # else it keeps the old number where the first packet is lost
        self._stream.push_buffer(buffer)

    def memory(self, buffer: Any) -> MarkedMemory:
        return self._memory[buffer]
