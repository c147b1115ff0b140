"""The outlet stage: journals, publishes and files what was decided, and publishes the heartbeat."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty
from typing import Protocol

from linewatch.contracts.alarm import AlarmNotice
from linewatch.contracts.crop import Crop
from linewatch.contracts.errors import JournalError
from linewatch.contracts.ports import Clock
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import Decided, Verdict
from linewatch.daemon.frame_times import FrameTimes
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.daemon.untold import UntoldDecisions
from linewatch.journal.journal import Journal
from linewatch.journal.keeper import JournalKeeper
from linewatch.monitoring.traces import FrameTraces, steps_of
from linewatch.wire.encode import Draft, Sequencer, drafts
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import StatusBody
from linewatch.wire.snapshot import SnapshotTracker
from linewatch.wire.verdict_file import VerdictFile


class RestartStates(Protocol):
    """What the journal keeps for the next start: the state behind a decision that has been numbered, where it is due.

    `beside`: records that are journaled with it and published to nobody.
    """

    def behind(self, decided: Decided, sequencer: Sequencer) -> bytes | None: ...
    def beside(self) -> Sequence[Record]: ...


class CoilDataLines(Protocol):
    """Writes what is known of coils to a file of its own."""

    def write(self, decided: Decided) -> None: ...


class Pictures(Protocol):
    """Makes pictures of defects."""

    def make(self, now_ns: int, *, hurry: bool = False) -> Crop | None: ...


@dataclass(frozen=True, slots=True)
class _Told:
    """One decision with its numbered messages, and what is journaled with them for the next start."""

    decided: Decided
    messages: list[Draft]
    records: list[Record]
    beside: Sequence[Record]
    state: bytes | None


@dataclass(slots=True, eq=False)
class Outlet:
    """Used by one thread.

    It takes what was decided in one step as one item, and journals it as one commit.
    Alarms are on disk before they are published; verdicts follow within the journal's group commit. A live service goes
    on while the disk fails: its journal holds and counts what is not on disk. In a replay a failure to write is raised
    as JournalError. What a decision holds never ends the service: what no message can hold is replaced by what says so
    (`wire.substitute`).
    """

    journal: Journal | JournalKeeper
    sequencer: Sequencer
    publisher: Publisher
    standing: SnapshotTracker
    status: Callable[[], StatusBody]
    bare_status: Callable[[], StatusBody]  # in its place, when it cannot be told
    clock: Clock
    settle: Callable[[AlarmNotice], None]  # called with a command's result, once it is on disk
    coil_data: CoilDataLines | None
    crops: Pictures | None
    verdicts: VerdictFile | None
    untold: UntoldDecisions
    restart_states: RestartStates
    frame_times: FrameTimes
    heartbeat_ns: int  # from one heartbeat to the next
    next_heartbeat_ns: int
    traces: FrameTraces | None = None

    def run(self, wiring: Wiring) -> None:
        """Bind the publisher on this thread and publish until the end of the service.

        The heartbeat goes on behind END, while consumers are served.
        """
        with self.publisher:
            wiring.opened.set()
            wait_s = 0.0
            while not wiring.aborted:
                with suppress(Empty):
                    step = wiring.take(wait_s)
                    if step is END:
                        wiring.drained()
                    else:
                        self._publish(step)
                wiring.tick()
                wait_s = self._heartbeat()
            # Another stage failed: what was decided before that is still journaled and published.
            with suppress(Empty):
                while (step := wiring.take(0.0)) is not END:
                    self._publish(step)
            while self._publish_crop(self.clock.now_ns(), hurry=True):
                pass
            self._heartbeat()
        wiring.drained()

    def _publish(self, step: Sequence[Decided]) -> None:
        """Journal what was decided in one step as one commit, then publish it.

        A frame that begins a coil also ends the one before. A kill must leave both or neither in the journal: between
        the two, strip would belong to no coil.
        """
        told = [self._tell(decided) for decided in step]
        records = [record for one in told for record in one.records]
        beside = [record for one in told for record in one.beside]
        states = [one.state for one in told if one.state is not None]
        has_alarms = any(one.decided.alarms for one in told)
        self.journal.append([*beside, *records], sync=has_alarms, state=states[-1] if states else None)
        self.standing.follow([message for one in told for message in one.messages], self.sequencer.sequences)
        for record in records:
            self.publisher.send(record)
        for one in told:
            self._follow_up(one)

    def _tell(self, decided: Decided) -> _Told:
        """Number the messages of one decision."""
        decided.timing.published_ns = self.clock.now_ns()
        decided.timing.published_unix_ns = time.time_ns()
        try:
            told = self.untold.correct(decided)
            messages, records = self._encode(told)
        except Exception as error:
            told = self.untold.correct(self.untold.substitute(decided, error))
            messages, records = self._encode(told)
        try:
            state = self.restart_states.behind(told, self.sequencer)
        except Exception as error:  # an odd frame costs its state; the one before it still holds
            self.untold.note("restart point", error)
            state = None
        return _Told(told, messages, records, tuple(self.restart_states.beside()), state)

    def _follow_up(self, told: _Told) -> None:
        """Answer the command that a published decision carried out, and write it to the files beside the journal."""
        decided = told.decided
        if isinstance(decided, AlarmNotice):
            self._settle(decided)
        elif isinstance(decided, Verdict):
            self._time(decided, self.clock.now_ns())
        try:
            if self.verdicts is not None and (told.messages or not isinstance(decided, AlarmNotice)):
                self.verdicts.write(decided)
            if self.coil_data is not None:
                self.coil_data.write(decided)
        except JournalError:
            raise
        except Exception as error:
            self.untold.note("line of a file", error)

    def _time(self, verdict: Verdict, now_ns: int) -> None:
        self.frame_times.add(verdict.timing, now_ns)
        if self.traces is not None and self.traces.due(verdict.ordinal):
            facts: dict[str, str | int | float] = {
                "linewatch.coil": verdict.coil,
                "linewatch.ordinal": verdict.ordinal,
                "linewatch.camera": verdict.camera,
                "linewatch.lines": verdict.lines,
                "linewatch.tiles": verdict.tiles,
                "linewatch.tiles_passed": verdict.tiles_passed,
                "linewatch.defects": len(verdict.defects),
                "linewatch.quality": ", ".join(dict.fromkeys(str(span.quality) for span in verdict.spans)),
            }
            try:
                self.traces.add(steps_of(verdict.timing, now_ns), facts)
            except Exception as error:
                self.untold.note("trace", error)

    def _settle(self, notice: AlarmNotice) -> None:
        try:
            self.settle(notice)
        except Exception as error:
            self.untold.note("answer to a command", error)

    def _encode(self, decided: Decided) -> tuple[list[Draft], list[Record]]:
        """Return the messages of one decision. Raises pydantic's or another error for what no message can hold."""
        messages = drafts(decided)
        return messages, self.sequencer.records(messages)

    def _heartbeat(self) -> float:
        """Publish the status and sync the journal when they are due, and publish at most one picture.

        Return the seconds until the next call. The heartbeat's count stands still while a stage is silent, so that
        consumers know that the strip is not inspected.
        """
        now_ns = self.clock.now_ns()
        self.journal.sync_if_due(now_ns)
        if now_ns >= self.next_heartbeat_ns:
            self._publish_status()
            self.untold.log_sums(now_ns)
            self.next_heartbeat_ns = max(self.next_heartbeat_ns + self.heartbeat_ns, now_ns)
        self._publish_crop(now_ns)
        return min(0.02, max(0.0, (self.next_heartbeat_ns - now_ns) / 1e9))

    def _publish_status(self) -> None:
        try:
            record = self.sequencer.status(self.status())
        except Exception as error:
            self.untold.note("status", error)
            record = self.sequencer.status(self.bare_status())
        self.publisher.send(record)

    def _publish_crop(self, now_ns: int, *, hurry: bool = False) -> bool:
        """Publish the next picture, and return whether there was one."""
        try:
            crop = self.crops.make(now_ns, hurry=hurry) if self.crops is not None else None
            if crop is not None:
                self.publisher.send(self.sequencer.crop(crop, self.clock.now_ns()))
        except Exception as error:
            self.untold.note("picture", error)
            return True
        return crop is not None
