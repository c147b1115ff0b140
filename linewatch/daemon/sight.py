"""Sight: whether any line of the passing strip is looked at. A service that misses everything is unhealthy."""

from dataclasses import dataclass

from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import Quality, Verdict

BLIND_NS = 5_000_000_000
"""Strip that passes for longer without a line looked at makes the service blind."""
BY_THE_SERVICE = frozenset({Cause.OVERLOAD, Cause.OVERRUN, Cause.ENGINE})
"""The causes that a restart of the service may mend; it mends no lamp and no cable."""


@dataclass(frozen=True, slots=True)
class Blindness:
    """No line was looked at since `since_ns`, by the capture clock; `cause` is that of the newest lines."""

    since_ns: int
    now_ns: int
    cause: Cause

    @property
    def lasting(self) -> bool:
        return self.now_ns - self.since_ns >= BLIND_NS

    @property
    def of_the_service(self) -> bool:
        return self.cause in BY_THE_SERVICE

    def __str__(self) -> str:
        seconds = (self.now_ns - self.since_ns) / 1e9
        return f"blind: every line of the last {seconds:.0f} s was missed ({self.cause})"


def followed(blindness: Blindness | None, verdict: Verdict) -> Blindness | None:
    """Return the blindness after a verdict; None while lines are looked at, or no strip is in view."""
    now_ns = verdict.timing.captured_ns
    if any(span.quality is not Quality.MISSED or span.cause is Cause.NO_STRIP for span in verdict.spans):
        return None
    causes = [span.cause for span in verdict.spans if span.cause is not None]
    if not causes:
        return blindness
    return Blindness(blindness.since_ns if blindness else now_ns, now_ns, causes[-1])
