"""How a strip process that was stopped or killed goes on: where the journal says that it stood."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from linewatch.contracts.errors import JournalError
from linewatch.contracts.verdict import CoilState, Decided, Verdict
from linewatch.decision.decide import DecisionState
from linewatch.journal.journal import Journal
from linewatch.strip.heard_log import At, Base, HeardLog, newest_places, read_log
from linewatch.strip.join import Joiner
from linewatch.strip.join_stage import follow_alarms
from linewatch.strip.joining import Again, Joining
from linewatch.strip.settings import StripSettings
from linewatch.wire.decode import alarm_body_of, alarm_from
from linewatch.wire.encode import drafts
from linewatch.wire.schema import AlarmBody, CoilMessage, FrameMessage, Timed, Topic, parse
from linewatch.wire.snapshot import SnapshotTracker

log = structlog.get_logger()

_SAME_MM: Final = 0.01
_PAGE_BYTES: Final = 4 << 20
T = TypeVar("T", bound=Timed)


@dataclass(frozen=True, slots=True)
class Resumed:
    """Everything that the process goes on with.

    again: what was decided anew of what the log holds. passage: of the coil under way, in the journal; None: none is.
    trouble: why the coil under way could not be gone on with; "": it could, or there was none.
    """

    joining: Joining
    heard_log: HeardLog
    standing: SnapshotTracker
    retained: dict[str, AlarmBody]
    again: Again
    passage: tuple[int, int] | None
    trouble: str = ""

    @property
    def waiting(self) -> tuple[Decided, ...]:
        """What was decided and had not reached the journal."""
        return self.again.decided[self.again.journaled :]

    @property
    def known(self) -> int:
        """How many of the next decisions are in the journal already."""
        return max(0, self.again.journaled - len(self.again.decided))


def resume(settings: StripSettings, journal: Journal, cameras: Sequence[str]) -> Resumed:
    """Go on where the journal ends, with the coil under way, and where each camera stood.

    A coil that cannot be gone on with begins anew, and `trouble` says why. Raises ConfigError for bad rules.
    """
    base = _base_of(journal)
    retained = [alarm_body_of(record) for record in journal.retained_alarms()]
    newest = _newest(journal, Topic.COIL, CoilMessage)
    under_way = newest is not None and newest.state is CoilState.STARTED
    if base is None:
        return _anew(settings, journal, cameras, retained, Base(present=_here(journal)))
    try:
        return _go_on(settings, journal, cameras, base, newest.passage if under_way and newest else None)
    except Exception as error:  # whatever stands in the journal, the strip is joined on
        why = (str(error) or type(error).__name__)[:500]
        log.error("coil_not_resumed", error=why)
        trouble = f"the joined coil {newest.coil} begins anew: {why}" if under_way and newest else ""
        at_end = Base(
            present=_here(journal),
            places=newest_places(journal, base),
            alarms=tuple(retained),
            passed=base.passed,
        )
        return _anew(settings, journal, cameras, retained, at_end, trouble)


def _go_on(
    settings: StripSettings,
    journal: Journal,
    cameras: Sequence[str],
    base: Base,
    passage: tuple[int, int | None] | None,
) -> Resumed:
    state = DecisionState.initial(map(alarm_from, base.alarms))
    joiner = Joiner(settings, DecisionState(None, state.alarms, base.passed))
    if base.config != joiner.rules.config:
        raise JournalError("the configuration has changed")
    joining = Joining(cameras, joiner)
    heard_log = HeardLog(journal.epoch, cameras, base, dict(base.places), new_base=False)
    again = joining.again(read_log(journal, base, cameras), heard_log)
    standing = _standing(journal)
    retained = {body.id: body for body in base.alarms}
    for decided in again.decided[: again.journaled]:
        follow_alarms(retained, decided)
        standing.follow(drafts(decided), dict.fromkeys(standing.snapshot().sequences, 0))
    _compare(journal, again)
    log.info("strip_goes_on", decisions=len(again.decided), journaled=again.journaled)
    known = None if passage is None or passage[1] is None else (passage[0], passage[1])
    return Resumed(joining, heard_log, standing, retained, again, known)


def _anew(
    settings: StripSettings,
    journal: Journal,
    cameras: Sequence[str],
    retained: Sequence[AlarmBody],
    base: Base,
    trouble: str = "",
) -> Resumed:
    state = DecisionState.initial(map(alarm_from, retained))
    joiner = Joiner(settings, DecisionState(None, state.alarms, base.passed))
    base = base.model_copy(update={"config": joiner.rules.config})
    heard_log = HeardLog(journal.epoch, cameras, base, dict(base.places), new_base=True)
    by_id = {body.id: body for body in retained}
    return Resumed(
        Joining(cameras, joiner), heard_log, _standing(journal), by_id, Again((), 0, 0), None, trouble=trouble
    )


def _compare(journal: Journal, again: Again) -> None:
    """Raise JournalError where what was decided again is not what the journal holds."""
    frames = [one for one in again.decided[: again.journaled] if isinstance(one, Verdict)]
    newest = _newest(journal, Topic.FRAME, FrameMessage)
    if not frames or newest is None or again.journaled > len(again.decided):
        return
    if frames[-1].coil != newest.coil or abs(frames[-1].along_mm[1] - newest.along_mm[1]) > _SAME_MM:
        raise JournalError(
            f"its log ends with {frames[-1].coil} at {frames[-1].along_mm[1]:.0f} mm, its record with {newest.coil} at "
            f"{newest.along_mm[1]:.0f} mm"
        )


def _standing(journal: Journal) -> SnapshotTracker:
    return SnapshotTracker(journal.epoch, (), journal.retained_alarms(), lambda: journal.identity)


def _here(journal: Journal) -> At:
    return At(epoch=journal.epoch, sequence=0)


def _base_of(journal: Journal) -> Base | None:
    try:
        return Base.model_validate_json(journal.state) if journal.state else None
    except ValueError as error:
        log.error("strip_state_unreadable", error=str(error)[:500])
        return None


def _newest(journal: Journal, topic: Topic, kind: type[T]) -> T | None:
    """Return the newest message of a topic in the journal."""
    try:
        for epoch in reversed(journal.epochs()):
            span = journal.span(epoch, topic)
            if span is not None and span.next > span.oldest:
                records = journal.read(epoch, topic, span.next - 1, _PAGE_BYTES)
                return parse(kind, records[-1].header) if records else None
    except OSError as error:
        log.error("journal_unreadable", error=str(error))
    return None
