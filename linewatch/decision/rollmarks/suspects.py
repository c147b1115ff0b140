"""Which rolls can leave marks at a given pitch."""

import math
from collections.abc import Iterable

from linewatch.config.roll import RollSettings
from linewatch.contracts.verdict import RollSuspect

MAX_TURNS = 3
_ERRORS = 2.0  # allowance, in standard errors of the pitch


def suspects(pitch_mm: float, error_mm: float, rolls: Iterable[RollSettings]) -> tuple[RollSuspect, ...]:
    """Return the rolls that may have left marks at this pitch, likeliest first.

    The pitch of a roll is taken to be equally likely anywhere in its range, so a narrow range that contains the pitch
    weighs more. A mark that shows on every n-th turn only is taken to be n^2 times less likely.
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
