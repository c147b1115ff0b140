"""The frame ring: the pixels of all frames in flight, in one array that is allocated once."""

import threading

import numpy as np


class FrameRing:
    """A fixed number of slots, each for the pixels of one frame. Any thread may acquire and release."""

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
        """The number of slots that are not held."""
        with self._freed:
            return len(self._free)

    def pixels(self, slot: int) -> np.ndarray:
        """Return the slot's array, uint8 (lines, width), which its holder fills."""
        return self._pixels[slot]

    def acquire(self, timeout_s: float = 0.0) -> int | None:
        """Take a slot and return its number; None when none came free in time."""
        with self._freed:
            if not self._freed.wait_for(lambda: self._free, timeout_s):
                return None
            slot = self._free.pop()
            self._taken[slot] = True
            return slot

    def wait_free(self, timeout_s: float) -> bool:
        """Say whether a slot is free, or became free in time. The slot is not taken."""
        with self._freed:
            return bool(self._freed.wait_for(lambda: self._free, timeout_s))

    def release(self, slot: int) -> None:
        """Give the slot back. Raises ValueError when it is not held: two holders of one slot would mix two frames."""
        with self._freed:
            if not 0 <= slot < len(self._taken) or not self._taken[slot]:
                raise ValueError(f"ring slot {slot} is released but not held; there are {len(self._taken)} slots")
            self._taken[slot] = False
            self._free.append(slot)
            self._freed.notify()
