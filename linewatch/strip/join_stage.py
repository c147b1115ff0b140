"""The joining stage: takes what cameras decided, operators' orders and the host's state; gives what is joined."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from queue import Empty
from typing import Final

from linewatch.contracts.alarm import AlarmOrder, HostState
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Verdict
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.daemon.totals import Totals
from linewatch.logs import place_on_strip
from linewatch.strip.coil_commands import StripPlace
from linewatch.strip.crops import StripCrops
from linewatch.strip.heard_log import HeardLog
from linewatch.strip.joining import Joining
from linewatch.strip.rules import StripRules
from linewatch.wire.encode import alarm_body, coil_data_body
from linewatch.wire.schema import AlarmBody, CoilStatus

IDLE_S: Final = 0.02
"""How long the stage waits for something before it looks at the time again."""
AT_ONCE: Final = 64
MOST_STEP_NS: Final = 100_000_000
"""The most that the clock advances between two readings: a longer time was spent on joining, not on waiting."""


@dataclass(slots=True, eq=False)
class JoinClock:
    """The clock by which cameras are waited for.

    It stops while this process is dead or busy, and while a camera's missed decisions are fetched; otherwise cameras
    would be given up that are not slow. wait_s: a decision that is older than this when it arrives was fetched late.
    catch_up_s: for how long, at most, the clock stops for such decisions.
    """

    wait_s: float
    catch_up_s: float
    now_ns: int = 0
    _seen_ns: int = 0
    _late_ns: int = 0  # when a late decision was taken last
    _stood_ns: int = 0

    def taken(self, published_unix_ns: int) -> None:
        """Take note of a decision that a camera published at that time."""
        if time.time_ns() - published_unix_ns > self.wait_s * 1e9:
            self._late_ns = time.monotonic_ns()

    def read(self) -> int:
        """Return the time, in nanoseconds since the joined record began."""
        here_ns = time.monotonic_ns()
        passed_ns = min(here_ns - self._seen_ns, MOST_STEP_NS) if self._seen_ns else 0
        self._seen_ns = here_ns
        if not self._late_ns or here_ns - self._late_ns > self.wait_s * 1e9:
            self._stood_ns = 0
        elif self._stood_ns < self.catch_up_s * 1e9:
            self._stood_ns += passed_ns
            return self.now_ns
        self.now_ns += passed_ns
        return self.now_ns


@dataclass(slots=True, eq=False)
class JoinStage:
    """Used by one thread, but `place` and `status`."""

    joining: Joining
    heard_log: HeardLog
    retained: dict[str, AlarmBody]  # alarms that stand or are held back, and shelves, by id
    totals: Totals
    clock: JoinClock
    orders: AlarmOrders
    host: Callable[[], HostState | None]  # the host's state, when it is time to look at it
    waiting: tuple[Decided, ...]  # decided again at the start, and not in the journal
    known: int  # so many of the next decisions are in the journal
    crops: StripCrops
    _place: StripPlace = field(default_factory=StripPlace)
    _captured_ns: int = 0

    def run(self, wiring: Wiring) -> None:
        """Join until every listener has ended. The coil goes on with the next start."""
        (output,) = wiring.gives

        def give(decided: Decided) -> None:
            output((decided,))  # the log makes each a commit of its own: a start counts them
            wiring.tick()

        self._give(self.waiting, give)
        left = len(self.joining.cameras)
        while left and not wiring.aborted:
            wiring.tick()
            self._attend(give)
            wait_s = IDLE_S
            for _ in range(AT_ONCE):
                try:
                    item = wiring.take(wait_s)
                except Empty:
                    break
                wait_s = 0.0
                if item is END:
                    left -= 1
                elif isinstance(item, AlarmOrder):
                    self.orders.begin(item)
                    self.heard_log.order(item)
                    self._give(self.joining.carry_out(item), give)
                elif isinstance(item, StripRules):
                    self.joining.joiner.following_rules = item
                else:
                    if item.told is not None:
                        self.clock.taken(item.told.decision.timing.published_unix_ns)
                    now_ns = self.clock.read()
                    self.heard_log.heard(item, now_ns)
                    self._give(self.joining.take(item, now_ns), give)
        self.orders.close()
        wiring.end()

    def place(self) -> StripPlace:
        """Return where the strip is, and how fast it runs."""
        return self._place

    def status(self) -> CoilStatus:
        """Return the coil of the joined record."""
        coil = self.joining.joiner.state.coil
        conditions = coil.conditions if coil else None
        return CoilStatus(
            coil=coil.coil if coil else None,
            data=coil_data_body(conditions.data) if conditions else None,
            recipe=conditions.recipe if conditions else None,
            between_coils=conditions.between if conditions else False,
            notes=conditions.notes if conditions else (),
            known=0,
        )

    def _attend(self, give: Callable[[Decided], None]) -> None:
        """Decide what follows from the time and the host's state."""
        now_ns = self.clock.read()
        if decided := self.joining.tick(now_ns):
            self.heard_log.tick(now_ns)
            self._give(decided, give)
        host = self.host()
        if host is not None and (decided := self.joining.follow_host(host)):
            self.heard_log.host(host)
            self._give(decided, give)

    def _give(self, decided: Iterable[Decided], give: Callable[[Decided], None]) -> None:
        for item in decided:
            follow_alarms(self.retained, item)
            if self.known:
                self.known -= 1
                continue
            tell_times(item)
            try:
                self.totals.add(item)
                self._locate(item)
                self.crops.follow(item, time.monotonic_ns())
            except Exception as error:
                self.joining.trouble("totals", error)
            if isinstance(item, CoilNotice) and item.state is CoilState.STARTED:
                self.heard_log.joined_by(self.joining.joiner.rules.config)
            passed = self.joining.joiner.state.passed
            self.heard_log.decided(item, tuple(self.retained.values()), passed)
            give(item)

    def _locate(self, decided: Decided) -> None:
        if isinstance(decided, CoilNotice):
            if decided.state is CoilState.STARTED:
                self._place, self._captured_ns = replace(self._place, along_mm=decided.along_mm), 0
        elif isinstance(decided, Verdict):
            place_on_strip(decided.coil, decided.ordinal)
            begin_mm, end_mm = decided.along_mm
            captured_ns, before_ns = decided.timing.captured_ns, self._captured_ns
            seconds = (captured_ns - before_ns) / 1e9
            mm_per_s = (end_mm - begin_mm) / seconds if before_ns and seconds > 0 else self._place.mm_per_s
            self._place, self._captured_ns = StripPlace(end_mm, mm_per_s, end_mm - begin_mm), captured_ns


def tell_times(decided: Decided) -> None:
    """Set the times by this host's clock. The joiner's time of the newest line is in nanoseconds since 1970.

    While a clock is wrong it may lie ahead; no line was taken after it was decided.
    """
    timing, now_ns = decided.timing, time.monotonic_ns()
    timing.decided_ns = now_ns
    if timing.captured_ns:
        since_1970_ns = time.time_ns() - now_ns
        timing.captured_ns = min(max(0, timing.captured_ns - since_1970_ns), now_ns)
    elif isinstance(decided, Verdict):
        timing.captured_ns = now_ns


def follow_alarms(retained: dict[str, AlarmBody], decided: Decided) -> None:
    """Follow the alarms of a decision in what is retained, by id."""
    for alarm in decided.alarms:
        retained.pop(alarm.id, None)
        if alarm.retain:
            retained[alarm.id] = alarm_body(alarm, None)
