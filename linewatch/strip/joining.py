"""A joiner that goes on whatever it is given, and that can be brought back to where the journal ends."""

import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from linewatch.contracts.alarm import AlarmNotice, AlarmOrder, HostState
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import Decided
from linewatch.decision.decide import carry_out, follow_host
from linewatch.strip.heard_log import HeardLog, LogEntry
from linewatch.strip.join import Joiner
from linewatch.strip.listeners import HeardDecision

log = structlog.get_logger()

TROUBLES_LOGGED: Final = 32


@dataclass(frozen=True, slots=True)
class Again:
    """What a joiner has decided again of what the log holds. journaled: so many of them are in the journal.

    now_ns: the newest time in the log, by the joiner's clock.
    """

    decided: tuple[Decided, ...]
    journaled: int
    now_ns: int


@dataclass(slots=True, eq=False)
class Joining:
    """Used by one thread."""

    cameras: Sequence[str]
    joiner: Joiner
    _troubles: Counter[str] = field(default_factory=Counter)

    def again(self, entries: Iterable[LogEntry], heard_log: HeardLog) -> Again:
        """Give the joiner what the log holds."""
        decided: list[Decided] = []
        journaled = now_ns = 0
        for entry in entries:
            now_ns = max(now_ns, entry.now_ns)
            if entry.decided:
                journaled += 1
            elif entry.heard is not None:
                heard_log.follow(self.cameras[entry.heard.camera], entry.heard, entry.at)
                decided += self.take(entry.heard, entry.now_ns, early=entry.early)
            elif entry.order is not None:
                decided += self.carry_out(entry.order)
            elif entry.host is not None:
                decided += self.follow_host(entry.host)
            else:
                decided += self.tick(entry.now_ns)
        return Again(tuple(decided), journaled, now_ns)

    def take(self, heard: HeardDecision, now_ns: int, *, early: bool = False) -> tuple[Decided, ...]:
        """Return what is decided with what a camera told. early: the time is not looked at."""
        decided = () if early else self.tick(now_ns)
        if heard.told is None:
            return decided
        name = self.cameras[heard.camera]
        try:
            return (*decided, *self.joiner.take(name, heard.told.decision, now_ns))
        except Exception as error:
            self.trouble(f"what {name} told", error)
            return decided

    def tick(self, now_ns: int) -> tuple[Decided, ...]:
        """Return what the time decides."""
        try:
            return self.joiner.tick(now_ns)
        except Exception as error:
            self.trouble("the time", error)
            return ()

    def carry_out(self, order: AlarmOrder) -> tuple[Decided, ...]:
        """Carry out an operator's order between two decisions."""
        try:
            self.joiner.state, notice = carry_out(self.joiner.state, order, self.joiner.current_rules)
        except Exception as error:
            self.trouble("order", error)
            notice = AlarmNotice((), Timing(), order.command, refused=f"it cannot be carried out: {error}")
        return (notice,)

    def follow_host(self, host: HostState) -> tuple[Decided, ...]:
        """Return what the host's state decides."""
        try:
            self.joiner.state, notices = follow_host(self.joiner.state, host, self.joiner.current_rules)
        except Exception as error:
            self.trouble("state of the host", error)
            return ()
        return notices

    def trouble(self, what: str, error: Exception) -> None:
        """Log the first error of its kind, with the place where it was raised."""
        kind = f"{what}: {type(error).__name__}"
        self._troubles[kind] += 1
        if self._troubles[kind] == 1 and len(self._troubles) <= TROUBLES_LOGGED:
            at = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error}"[:1000]
            log.error("not_joined", what=what, error=text, at=f"{at.filename}:{at.lineno}")
