"""Round steps and tick positions of axes."""

import math


def round_step(span: float, steps: int) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that divides `span` into at most `steps`."""
    if not span > 0:
        return 1.0
    least = span / steps
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def ticks(low: float, high: float, step: float) -> list[float]:
    """Return the multiples of `step` in [low, high]."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [count * step for count in range(first, last + 1)]
