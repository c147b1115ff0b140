"""Which roll leaves marks at this pitch."""

import math
from collections.abc import Iterable

from linewatch.config.roll import RollSettings
from linewatch.contracts.verdict import RollSuspect

MAX_TURNS = 3
_ERRORS = 2.0  # standard errors of the pitch that are allowed for


def suspects(pitch_mm: float, error_mm: float, rolls: Iterable[RollSettings]) -> tuple[RollSuspect, ...]:
    """The rolls that may be behind marks of this pitch, likeliest first.

    A roll's pitch is as likely anywhere in its range, so a narrow range that holds the pitch speaks louder; that a mark
    shows on every n-th turn only is taken to be n^2 times less likely.
    """
    found: list[tuple[float, RollSettings, int, tuple[float, float]]] = []
    for roll in rolls:
        low, high = roll.pitch_mm
        for turns in range(1, MAX_TURNS + 1):
            least, most = (pitch_mm - _ERRORS * error_mm) / turns, (pitch_mm + _ERRORS * error_mm) / turns
            if most >= low and least <= high:
                slow, fast = roll.stretch
                diameter_mm = (
                    max(roll.diameter_min_mm, least / (math.pi * fast)),
                    min(roll.diameter_max_mm, most / (math.pi * slow)),
                )
                weight = 1 / (high - low + 2 * _ERRORS * error_mm / turns + 1e-9) / turns**3
                found.append((weight, roll, turns, diameter_mm))
                break
    total = sum(weight for weight, *_ in found)
    return tuple(
        RollSuspect(roll.name, roll.stand, roll.pitch_mm, diameter_mm, turns, weight / total)
        for weight, roll, turns, diameter_mm in sorted(found, key=lambda one: (-one[0], one[1].name))
    )
