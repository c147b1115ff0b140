"""What a joined record was decided from, kept in its journal, so that a process that was killed goes on exactly there.

Each decision is journaled in one commit with all that was heard since the decision before it. A joiner is a function of
what it is given, so a new one that is given the same again, from the coil's beginning on, stands where the old one
stood. What it returns again is known from the journal; what had not reached it is published now. So nothing is lost
and nothing is told twice, whether or not the cameras' services still answer.

The `Base` is the journal's state: where in the log the present coil begins.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter

from linewatch.contracts.alarm import AlarmOrder, HostState
from linewatch.contracts.errors import JournalError
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import CoilState, Decided
from linewatch.decision.decide import NAMES_KEPT
from linewatch.journal.journal import Journal
from linewatch.strip.in_order import CameraDecision, passage_of
from linewatch.strip.listeners import CameraPlace, HeardDecision
from linewatch.strip.told import ToldDecision, read_messages
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import AlarmBody

log = structlog.get_logger()

TOPIC: Final = "heard"
"""Of the records in the journal. It is no topic of the wire: nobody can subscribe to it or ask for it."""
_PAGE_BYTES: Final = 4 << 20
_ORDER: Final = TypeAdapter(AlarmOrder)
_HOST: Final = TypeAdapter(HostState)


class At(BaseModel):
    """A place in the log."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    sequence: int

    def __le__(self, other: "At") -> bool:
        return (self.epoch, self.sequence) <= (other.epoch, other.sequence)


class Base(BaseModel):
    """Where the present coil begins in the log, and how things stood there.

    present: behind the decision that ended the coil before. config: identity of the settings by which it is joined.
    begins: of the cameras that had come to the next coil by then, where that begins. over: of the others, the passage
    that has ended, whose rest decides nothing any more. places: of all cameras at `present`. alarms: those that were
    retained. passed: names of the newest coils.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    present: At
    config: str = ""
    begins: dict[str, At] = {}
    over: dict[str, tuple[int, int]] = {}
    places: dict[str, CameraPlace] = {}
    alarms: tuple[AlarmBody, ...] = ()
    passed: tuple[str, ...] = ()

    @property
    def first(self) -> At:
        """The first record that is needed."""
        return min((self.present, *self.begins.values()), key=lambda at: (at.epoch, at.sequence))


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of the log, as it is read again. now_ns: by the joiner's clock; 0: it says nothing of the time.

    At most one of heard, order and host is given; none of a tick, of which `now_ns` is all, and none where `decided`
    is true: there a decision was journaled. early: it was heard while the coil before was not over yet.
    """

    at: At
    now_ns: int = 0
    heard: HeardDecision | None = None
    order: AlarmOrder | None = None
    host: HostState | None = None
    decided: bool = False
    early: bool = False


@dataclass(slots=True)
class _Passage:
    """A passage of a coil under one camera, and where it begins in the log."""

    passage: tuple[int, int]
    coil: str
    begin: At
    ended: bool = False


@dataclass(slots=True)
class _Commit:
    records: tuple[Record, ...]
    base: Base | None


@dataclass(slots=True, eq=False)
class HeardLog:
    """The log of what a joiner was given.

    The joining thread calls `heard`, `tick`, `order`, `host` and `decided`; the outlet's calls `behind` and `beside`.
    """

    epoch: int
    cameras: Sequence[str]
    base: Base
    places: dict[str, CameraPlace]
    new_base: bool  # the base has not been journaled yet
    _sequence: int = 0
    _pending: list[Record] = field(default_factory=list)
    _commits: deque[_Commit] = field(default_factory=deque)
    _passages: dict[str, list[_Passage]] = field(default_factory=dict)
    _beside: tuple[Record, ...] = ()

    def heard(self, heard: HeardDecision, now_ns: int) -> None:
        """Note what a camera decided."""
        name = self.cameras[heard.camera]
        facts: dict[str, Any] = {"kind": "told", "camera": name, "now_ns": now_ns}
        if heard.told is not None:
            facts["complete"] = heard.told.complete
        else:
            facts["place"] = _PLACE.dump_python(heard.place, mode="json")
        facts["journal"] = heard.place.journal
        at = self._note(facts, b"" if heard.told is None else heard.told.logged)
        self.follow(name, heard, at)

    def tick(self, now_ns: int) -> None:
        """Note that the time alone decided something."""
        self._note({"kind": "tick", "now_ns": now_ns})

    def order(self, order: AlarmOrder) -> None:
        """Note an operator's order."""
        self._note({"kind": "order", "order": _ORDER.dump_python(order, mode="json")})

    def host(self, host: HostState) -> None:
        """Note a state of the host that decided something."""
        self._note({"kind": "host", "host": _HOST.dump_python(host, mode="json")})

    def decided(self, decided: Decided, alarms: Sequence[AlarmBody], passed: Sequence[str]) -> None:
        """Close the commit of a decision that goes to the outlet now.

        alarms, passed: what is retained behind it, and the coils that have ended; needed where it ends a coil.
        """
        self._note({"kind": "decided"})
        base = None
        if getattr(decided, "state", None) is CoilState.ENDED:
            base = self.base = self._begin_anew(getattr(decided, "coil", ""), alarms, passed)
        elif self.new_base:
            base = self.base
        self.new_base = False
        self._commits.append(_Commit(tuple(self._pending), base))
        self._pending.clear()

    def joined_by(self, config: str) -> None:
        """Note by which settings the coil that begins is joined."""
        if config != self.base.config:
            self.base, self.new_base = self.base.model_copy(update={"config": config}), True

    def behind(self, decided: Decided, sequencer: Sequencer) -> bytes | None:
        """Return the journal's state where it changes with this decision. Decisions come as they were noted."""
        commit = self._commits.popleft()
        self._beside = commit.records
        return None if commit.base is None else commit.base.model_dump_json(exclude_defaults=True).encode()

    def beside(self) -> Sequence[Record]:
        """Return the records of the newest decision."""
        return self._beside

    def follow(self, name: str, heard: HeardDecision, at: At) -> None:
        """Follow where a camera stands, and in which passage."""
        self.places[name] = heard.place
        if heard.told is None:
            return
        told, passages = heard.told, self._passages.setdefault(name, [])
        if not passages or passages[-1].passage != told.passage:
            passages.append(_Passage(told.passage, told.decision.coil, at))
        if told.ended:
            passages[-1].ended = True

    def _begin_anew(self, coil: str, alarms: Sequence[AlarmBody], passed: Sequence[str]) -> Base:
        begins, over = {}, {}
        for name, passages in self._passages.items():
            following = next((i for i, one in enumerate(passages) if one.coil != coil), None)
            if following is not None and passages[0].coil == coil:
                begins[name] = passages[following].begin
                del passages[:following]
            elif passages:
                over[name] = passages[-1].passage
        return Base(
            present=At(epoch=self.epoch, sequence=self._sequence),
            config=self.base.config,
            begins=begins,
            over=over,
            places=dict(self.places),
            alarms=tuple(alarms),
            passed=tuple(passed)[-NAMES_KEPT:],
        )

    def _note(self, facts: dict[str, Any], payload: bytes = b"") -> At:
        at = At(epoch=self.epoch, sequence=self._sequence)
        header = json.dumps(facts, separators=(",", ":")).encode()
        self._pending.append(Record(self.epoch, TOPIC, self._sequence, header, payload))
        self._sequence += 1
        return at


def read_log(journal: Journal, base: Base, cameras: Sequence[str]) -> Iterator[LogEntry]:
    """Yield what a new joiner must be given to stand where the journal ends. Raises JournalError for a gap in it."""
    places = dict(base.places)
    over = dict(base.over)
    numbers = {name: number for number, name in enumerate(cameras)}
    for at, record in _records(journal, base.first):
        facts = json.loads(record.header)
        kind, now_ns = facts["kind"], facts.get("now_ns", 0)
        is_present = base.present <= at
        if kind == "told":
            name = facts["camera"]
            if name not in numbers:
                raise JournalError(f"its log tells of camera {name}, which the configuration no longer names")
            told = _told(facts, record.payload)
            if is_present:
                places[name] = _behind(places.get(name, CameraPlace()), told, facts)
            if not is_present and not (name in base.begins and base.begins[name] <= at):
                continue
            if told is not None and name in over:
                if over[name] == passage_of(told.head):
                    yield LogEntry(at, heard=HeardDecision(numbers[name], None, places[name]))
                    continue
                del over[name]
            yield LogEntry(
                at,
                now_ns,
                heard=HeardDecision(
                    numbers[name],
                    None if told is None else ToldDecision.of(told),
                    places.get(name, CameraPlace()),
                ),
                early=not is_present,
            )
        elif not is_present:
            continue
        elif kind == "order":
            yield LogEntry(at, order=_ORDER.validate_python(facts["order"]))
        elif kind == "host":
            yield LogEntry(at, host=_HOST.validate_python(facts["host"]))
        else:
            yield LogEntry(at, now_ns, decided=kind == "decided")


def newest_places(journal: Journal, base: Base) -> dict[str, CameraPlace]:
    """Return where the cameras stood, as far as the log can be read."""
    places = dict(base.places)
    try:
        for at, record in _records(journal, base.present, whole=False):
            facts = json.loads(record.header)
            if facts["kind"] == "told" and base.present <= at:
                told, name = _told(facts, record.payload), facts["camera"]
                places[name] = _behind(places.get(name, CameraPlace()), told, facts)
    except Exception as error:  # whatever stands in it; cameras that are not in it are followed anew
        log.error("heard_log_unreadable", error=str(error)[:500])
    return places


def _records(journal: Journal, first: At, *, whole: bool = True) -> Iterator[tuple[At, Record]]:
    """Yield the records from a place on. Raises JournalError where one is missing and the log must be whole."""
    for epoch in journal.epochs():
        if epoch < first.epoch:
            continue
        span = journal.span(epoch, TOPIC)
        following = first.sequence if epoch == first.epoch else 0
        if span is None or span.next <= following:
            continue
        if whole and span.oldest > following:
            raise JournalError("the beginning of the coil is no longer in the journal")
        following = max(following, span.oldest)
        while following < span.next:
            page = journal.read(epoch, TOPIC, following, _PAGE_BYTES)
            for record in page:
                if whole and record.sequence != following:
                    raise JournalError("a part of the coil is not in the journal")
                yield At(epoch=epoch, sequence=record.sequence), record
                following = record.sequence + 1
            if not page:
                if whole:
                    raise JournalError("a part of the coil is not in the journal")
                break


def _behind(place: CameraPlace, told: CameraDecision | None, facts: Mapping[str, Any]) -> CameraPlace:
    return _PLACE.validate_python(facts["place"]) if told is None else place.behind(told, facts["journal"])


def _told(facts: Mapping[str, Any], payload: bytes) -> CameraDecision | None:
    return read_messages(payload, complete=facts["complete"]) if "complete" in facts else None


_PLACE: Final = TypeAdapter(CameraPlace)
