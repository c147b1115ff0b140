"""The outlet stage: what was decided is journaled, published and written to the verdict file; and the heartbeat."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty

from linewatch.contracts.alarm import AlarmNotice
from linewatch.contracts.ports import Clock
from linewatch.contracts.verdict import Decided, Verdict
from linewatch.daemon.coils.recorded import CoilTrace
from linewatch.daemon.crops import Looks
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.journal.journal import Journal
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import StatusBody
from linewatch.wire.snapshot import Standing
from linewatch.wire.verdict_file import VerdictFile


class Outlet:
    """Used by one thread.

    Alarms are on disk before anybody hears of them; verdicts follow within the journal's group commit. Any failure to
    write is raised (JournalError): a service that cannot remember does not go on.
    """

    def __init__(
        self,
        journal: Journal,
        sequencer: Sequencer,
        publisher: Publisher,
        standing: Standing,
        status: Callable[[], StatusBody],
        clock: Clock,
        *,
        heartbeat_hz: float,
        verdicts: VerdictFile | None,
        latencies_ns: deque[int],
        settle: Callable[[AlarmNotice], None],
        trace: CoilTrace,
        looks: Looks | None = None,
    ) -> None:
        """settle: told of what commands brought, once it is on disk."""
        self._settle = settle
        self._trace = trace
        self._journal = journal
        self._sequencer = sequencer
        self._publisher = publisher
        self._standing = standing
        self._status = status
        self._clock = clock
        self._verdicts = verdicts
        self._latencies_ns = latencies_ns
        self._looks = looks
        self._beat_ns = int(1e9 / heartbeat_hz)
        self._next_beat_ns = clock.now_ns()

    def run(self, wiring: Wiring) -> None:
        """Bind the publisher on this thread and make known what was decided. The heartbeat goes on behind END, until
        the end of the service, while consumers are served.
        """
        with self._publisher:
            wiring.opened.set()
            wait_s = 0.0
            while not wiring.aborted:
                with suppress(Empty):
                    decided = wiring.take(wait_s)
                    if decided is END:
                        wiring.drained()
                    else:
                        self._publish(decided)
                wiring.tick()
                wait_s = self._heartbeat()
            # Another stage failed: what was decided before that is still journaled and published.
            with suppress(Empty):
                while (decided := wiring.take(0.0)) is not END:
                    self._publish(decided)
            self._farewell()
        wiring.drained()

    def _publish(self, decided: Decided) -> None:
        """Make one decision known."""
        decided.timing.published_ns = self._clock.now_ns()
        messages = drafts(decided)
        records = [self._sequencer.record(message) for message in messages]
        self._journal.append(records, sync=bool(decided.alarms))
        self._standing.follow(messages, self._sequencer.sequences)
        for record in records:
            self._publisher.send(record)
        if isinstance(decided, AlarmNotice):
            self._settle(decided)
        elif isinstance(decided, Verdict):
            self._latencies_ns.append(self._clock.now_ns() - decided.timing.captured_ns)
        if self._verdicts is not None and (messages or not isinstance(decided, AlarmNotice)):
            self._verdicts.write(decided)
        self._trace.write(decided)

    def _heartbeat(self) -> float:
        """Publish the status when it is due, sync the journal when that is, and at most one picture; seconds until the
        next of these.

        The heartbeat's count stands still while a stage is silent: who sees it stand knows that nobody is looking.
        """
        now_ns = self._clock.now_ns()
        self._journal.sync_if_due(now_ns)
        if now_ns >= self._next_beat_ns:
            self._publisher.send(self._sequencer.status(self._status()))
            self._next_beat_ns = max(self._next_beat_ns + self._beat_ns, now_ns)
        self._show(now_ns)
        return min(0.02, max(0.0, (self._next_beat_ns - now_ns) / 1e9))

    def _farewell(self) -> None:
        """Publish the pictures that still wait, and beat a last time."""
        while self._show(self._clock.now_ns(), hurry=True):
            pass
        self._heartbeat()

    def _show(self, now_ns: int, *, hurry: bool = False) -> bool:
        crop = self._looks.make(now_ns, hurry=hurry) if self._looks is not None else None
        if crop is not None:
            self._publisher.send(self._sequencer.crop(crop, self._clock.now_ns()))
        return crop is not None
