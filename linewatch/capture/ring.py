"""The frame ring: all pixels that are in flight live in one array that is allocated once."""

import threading

import numpy as np


class FrameRing:
    """A fixed number of slots for one frame's pixels each. Any thread may acquire and release."""

    def __init__(self, slots: int, lines: int, width: int) -> None:
        self._pixels = np.empty((slots, lines, width), np.uint8)
        self._pixels.fill(0)  # touch every page now, not when the line runs
        self._free = list(range(slots))
        self._taken = [False] * slots
        self._freed = threading.Condition()

    @property
    def slots(self) -> int:
        return len(self._taken)

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        with self._freed:
            return len(self._free)

    def pixels(self, slot: int) -> np.ndarray:
        """The slot's array, uint8 (lines, width), for its holder to fill."""
        return self._pixels[slot]

    def acquire(self, timeout_s: float = 0.0) -> int | None:
        """A slot that is now the caller's; None when none came free in time."""
        with self._freed:
            if not self._freed.wait_for(lambda: self._free, timeout_s):
                return None
            slot = self._free.pop()
            self._taken[slot] = True
            return slot

    def wait_free(self, timeout_s: float) -> bool:
        """Whether a slot is free, or became so in time; it is not taken."""
        with self._freed:
            return bool(self._freed.wait_for(lambda: self._free, timeout_s))

    def release(self, slot: int) -> None:
        """Give the slot back. Raises ValueError when nobody holds it: two holders of one slot would mix two frames."""
        with self._freed:
            if not 0 <= slot < len(self._taken) or not self._taken[slot]:
                raise ValueError(f"ring slot {slot} is released but not held; there are {len(self._taken)} slots")
            self._taken[slot] = False
            self._free.append(slot)
            self._freed.notify()
