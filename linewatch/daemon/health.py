"""Liveness: every stage ticks; the heartbeat and the watchdog are fed only while all of them do."""

from linewatch.contracts.ports import Clock


class Health:
    """The last tick of each stage against its limit. Only the stage itself writes its tick; reading needs no lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limits_ns: dict[str, int] = {}
        self._ticked_ns: dict[str, int] = {}

    def expect(self, stage: str, limit_s: float) -> None:
        """Count `stage` as silent when it does not tick for `limit_s`, from now on."""
        self._limits_ns[stage] = int(limit_s * 1e9)
        self.tick(stage)

    def tick(self, stage: str) -> None:
        """Record that `stage` is alive now."""
        self._ticked_ns[stage] = self._clock.now_ns()

    def finish(self, stage: str) -> None:
        """Record that `stage` has ended in order, after which its silence means nothing."""
        self._limits_ns[stage] = 1 << 62

    def ages_s(self) -> dict[str, float]:
        """Return the seconds since each stage's last tick."""
        now = self._clock.now_ns()
        return {name: (now - ticked) / 1e9 for name, ticked in self._ticked_ns.items()}

    def silent(self) -> tuple[str, ...]:
        """Return the stages that have been silent for longer than their limits; empty means healthy."""
        now = self._clock.now_ns()
        return tuple(name for name, ticked in self._ticked_ns.items() if now - ticked > self._limits_ns[name])
