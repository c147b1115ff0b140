"""Liveness: every stage ticks; the heartbeat and the watchdog are fed only while all of them do."""

from collections.abc import Mapping

from linewatch.contracts.ports import Clock


class Health:
    """Last tick of each stage against its limit. Ticks are written by their stage only; reading needs no lock."""

    def __init__(self, limits_s: Mapping[str, float], clock: Clock) -> None:
        self._clock = clock
        self._limits_ns = {name: int(limit * 1e9) for name, limit in limits_s.items()}
        self._ticked_ns = dict.fromkeys(limits_s, clock.now_ns())

    def tick(self, stage: str) -> None:
        """`stage` is alive now."""
        self._ticked_ns[stage] = self._clock.now_ns()

    def finish(self, stage: str) -> None:
        """`stage` has ended in order: its silence means nothing any more."""
        self._limits_ns[stage] = 1 << 62

    def ages_s(self) -> dict[str, float]:
        """Seconds since each stage's last tick."""
        now = self._clock.now_ns()
        return {name: (now - ticked) / 1e9 for name, ticked in self._ticked_ns.items()}

    def silent(self) -> tuple[str, ...]:
        """Names of the stages that have been silent for longer than their limit; empty means healthy."""
        now = self._clock.now_ns()
        return tuple(name for name, ticked in self._ticked_ns.items() if now - ticked > self._limits_ns[name])
