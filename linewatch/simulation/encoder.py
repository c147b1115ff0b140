"""The strip's speed over a coil, and the encoder that triggers the camera's lines."""

import math
from dataclasses import dataclass

COUNTS_PER_MM = 4


@dataclass(frozen=True, slots=True)
class SpeedProfile:
    """Threading at low speed, acceleration to the running speed, deceleration to threading speed before the tail.

    The encoder triggers the lines, so millimetres per line are constant and the line period follows the speed. A coil
    that is too short for the running speed decelerates from the speed that it reaches.
    """

    length_mm: float
    run_mm_per_s: float
    threading_mm_per_s: float
    acceleration_mm_per_s2: float
    threading_mm: float = 5_000.0

    @staticmethod
    def steady(length_mm: float, speed_mm_per_s: float) -> "SpeedProfile":
        """Return a profile of one speed from head to tail."""
        return SpeedProfile(length_mm, speed_mm_per_s, speed_mm_per_s, 1.0, 0.0)

    @staticmethod
    def typical(length_mm: float, run_mm_per_s: float, threading_mm: float | None = None) -> "SpeedProfile":
        """Return a profile that threads at a fifth of the running speed and reaches that within two seconds.

        threading_mm: None: 5 m, at most a twentieth of the coil.
        """
        if threading_mm is None:
            threading_mm = min(5_000.0, length_mm / 20)
        return SpeedProfile(length_mm, run_mm_per_s, run_mm_per_s / 5, run_mm_per_s * 0.4, threading_mm)

    def elapsed_s(self, along_mm: float) -> float:
        """Return the seconds from the head of the coil until `along_mm` of it have passed."""
        elapsed = 0.0
        for start_mm, length_mm, speed, acceleration in self._legs():
            part = min(max(0.0, along_mm - start_mm), length_mm)
            # s = v t + a t^2 / 2, solved for t without cancellation at a = 0.
            elapsed += 2 * part / (speed + math.sqrt(max(0.0, speed * speed + 2 * acceleration * part)))
        return elapsed

    def speed_mm_per_s(self, along_mm: float) -> float:
        """Return the speed at that position."""
        for start_mm, length_mm, speed, acceleration in self._legs():
            if along_mm <= start_mm + length_mm:
                return math.sqrt(max(0.0, speed * speed + 2 * acceleration * max(0.0, along_mm - start_mm)))
        return self.threading_mm_per_s

    def _legs(self) -> tuple[tuple[float, float, float, float], ...]:
        """Return (start mm, length mm, initial speed, acceleration) of threading, ramp up, run, ramp down and tail."""
        low, rate = self.threading_mm_per_s, self.acceleration_mm_per_s2
        threading = min(self.threading_mm, self.length_mm / 2)
        free = self.length_mm - 2 * threading
        ramp = min((self.run_mm_per_s**2 - low**2) / (2 * rate), free / 2)
        high = math.sqrt(low * low + 2 * rate * ramp)
        lengths = (threading, ramp, free - 2 * ramp, ramp, threading)
        starts = [sum(lengths[:leg]) for leg in range(5)]
        speeds, rates = (low, low, high, high, low), (0.0, rate, 0.0, -rate, 0.0)
        return tuple(zip(starts, lengths, speeds, rates, strict=True))


def encoder_count(along_mm: float) -> int:
    """Return the encoder's counter when that much strip has passed."""
    return round(along_mm * COUNTS_PER_MM)
