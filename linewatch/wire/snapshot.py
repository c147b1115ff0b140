"""The service's state, followed message by message: the current coil, open defects, alarms, roll marks."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import CoilState, DefectState, Quality, RollMarkState, StripArea
from linewatch.wire.decode import alarm_body_of
from linewatch.wire.encode import Draft
from linewatch.wire.schema import (
    KEPT_TOPICS,
    AlarmBody,
    AlarmMessage,
    CoilBody,
    CurrentCoil,
    DefectBody,
    EngineStatus,
    FrameBody,
    RollMarkBody,
    Snapshot,
    parse,
)

MAX_OPEN_DEFECTS = 1000


class SnapshotTracker:
    """Collects snapshots. `follow` is called by the publishing thread, `snapshot` by the serving one."""

    def __init__(
        self,
        epoch: int,
        engines: Sequence[EngineStatus],
        alarms: Iterable[Record] = (),
        journal: Callable[[], str] = lambda: "",
    ) -> None:
        """alarms: journaled records of alarms retained from earlier epochs. journal: its UUID; "": not known yet."""
        self._journal = journal
        self._lock = threading.Lock()
        self._epoch = epoch
        self._engines = tuple(engines)
        self._sequences: dict[str, int] = {topic.value: 0 for topic in KEPT_TOPICS}
        self._coil: CoilBody | None = None
        self._end_mm = 0.0
        self._mm = dict.fromkeys(Quality, 0.0)
        self._area = StripArea()
        self._missed_lines: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._open: dict[str, DefectBody] = {}
        self._rolls: dict[str, RollMarkBody] = {}
        known = [(alarm_body_of(record), parse(AlarmMessage, record.header).timing) for record in alarms]
        self._alarms = {body.id: body for body, _ in known}
        self._since_unix_ns = {body.id: timing.published_unix_ns for body, timing in known}

    def set_engines(self, engines: Sequence[EngineStatus]) -> None:
        """Set the engines in use."""
        with self._lock:
            self._engines = tuple(engines)

    @property
    def journal(self) -> str | None:
        """The journal's UUID; None while it is not known."""
        return self._journal() or None

    def go_on(self, coil: CoilBody) -> None:
        """Take up a coil that was under way before a restart, with its sums so far."""
        with self._lock:
            self._coil, self._end_mm = coil, coil.along_mm
            self._mm = {
                Quality.INSPECTED: coil.inspected_mm,
                Quality.DEGRADED: coil.degraded_mm,
                Quality.MISSED: coil.missed_mm,
            }
            self._area = coil.area or StripArea()
            self._missed_lines = Counter(coil.missed_lines_by_cause)
            self._classes = Counter(coil.defects_by_class)

    @property
    def retained_alarms(self) -> tuple[AlarmBody, ...]:
        """Alarms that stand or are held back, and shelved rules."""
        with self._lock:
            return tuple(self._alarms.values())

    @property
    def standing_alarms(self) -> tuple[AlarmBody, ...]:
        """Alarms that ask for an operator."""
        return tuple(alarm for alarm in self.retained_alarms if alarm.state is AlarmState.RAISED)

    def follow(self, drafts: Iterable[Draft], sequences: dict[str, int]) -> None:
        """Take in the messages of one decision once they are journaled. sequences: the next ones after them."""
        with self._lock:
            for draft in drafts:
                match draft.body:
                    case FrameBody() as frame:
                        self._add_frame(frame)
                    case DefectBody() as defect:
                        self._add_defect(defect)
                    case RollMarkBody(state=RollMarkState.ENDED) as roll:
                        self._rolls.pop(roll.id, None)
                    case RollMarkBody() as roll:
                        self._rolls[roll.id] = roll
                    case AlarmBody(retain=True) as alarm:
                        self._alarms[alarm.id] = alarm
                        self._since_unix_ns.setdefault(alarm.id, draft.timing.published_unix_ns)
                    case AlarmBody() as alarm:
                        self._alarms.pop(alarm.id, None)
                        self._since_unix_ns.pop(alarm.id, None)
                    case CoilBody() as coil:
                        self._start_or_end_coil(coil)
            self._sequences = sequences

    def snapshot(self) -> Snapshot:
        """Return the state now."""
        with self._lock:
            shown = tuple(list(self._open.values())[:MAX_OPEN_DEFECTS])
            return Snapshot(
                epoch=self._epoch,
                sequences=self._sequences,
                coil=self._current_coil(),
                open_defects=shown,
                open_defects_left_out=len(self._open) - len(shown),
                standing_alarms=tuple(a for a in self._alarms.values() if a.state is AlarmState.RAISED),
                suppressed_or_shelved=tuple(a for a in self._alarms.values() if a.state is not AlarmState.RAISED),
                active_since_unix_ns=dict(self._since_unix_ns),
                roll_marks=tuple(self._rolls.values()),
                engines=self._engines,
                journal_id=self.journal,
            )

    def _start_or_end_coil(self, coil: CoilBody) -> None:
        self._coil = coil if coil.state is CoilState.STARTED else None
        self._end_mm = coil.along_mm
        self._mm = dict.fromkeys(Quality, 0.0)
        self._area = StripArea()
        self._missed_lines.clear()
        self._classes.clear()
        self._open.clear()
        self._rolls.clear()

    def _add_frame(self, frame: FrameBody) -> None:
        self._end_mm = frame.along_mm[1]
        for sign, span in frame.signed_spans:
            self._mm[span.quality] += sign * (span.along_mm[1] - span.along_mm[0])
            self._area = self._area.plus(span.area or StripArea(), sign)
            if span.cause is not None and span.quality is Quality.MISSED:
                self._missed_lines[span.cause.value] += sign * span.lines

    def _add_defect(self, defect: DefectBody) -> None:
        before = self._open.pop(defect.id, None)
        if before is not None:
            self._classes[before.defect_class] -= 1
        if defect.state is not DefectState.CLOSED:
            self._open[defect.id] = defect.model_copy(update={"mask": None})
        if before is not None or defect.state is DefectState.OPENED:
            self._classes[defect.defect_class] += defect.merged_into is None

    def _current_coil(self) -> CurrentCoil | None:
        if self._coil is None:
            return None
        return CurrentCoil(
            coil=self._coil.coil,
            side=self._coil.side,
            camera=self._coil.camera,
            along_mm=self._end_mm,
            inspected_mm=round(self._mm[Quality.INSPECTED], 3),
            degraded_mm=round(self._mm[Quality.DEGRADED], 3),
            missed_mm=round(self._mm[Quality.MISSED], 3),
            inspected_mm2=round(self._area.inspected_mm2, 3),
            degraded_mm2=round(self._area.degraded_mm2, 3),
            missed_mm2=round(self._area.missed_mm2, 3),
            missed_lines_by_cause=dict(self._missed_lines),
            defects_by_class=dict(+self._classes),
        )
