"""What the journal keeps of the coil under way, so that a service that was killed goes on with it.

The messages of the coil, which the journal holds anyway, tell what was decided. A `RestartPoint` tells the rest: which
messages these are, and where the source stood. The outlet writes it with a frame, four times a second.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import JournalError
from linewatch.contracts.restart import LastPlace, SourcePlace
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Defect, DefectState, Verdict
from linewatch.daemon.recipes import Recipes
from linewatch.decision.resume import PastFrame, UnfinishedCoil
from linewatch.journal.journal import Journal
from linewatch.wire.decode import coil_data_from, defect_from, span_from
from linewatch.wire.encode import Sequencer, coil_data_body
from linewatch.wire.schema import (
    CoilDataBody,
    CoilMessage,
    DefectMessage,
    FrameMessage,
    RollMarkMessage,
    Timed,
    TimingBody,
    Topic,
    parse,
)

log = structlog.get_logger()

EVERY_NS = 250_000_000
NAMES_KEPT = 1_024
_PAGE_BYTES = 4 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
T = TypeVar("T", bound=Timed)


class RestartPoint(BaseModel):
    """The coil under the camera, and the place behind one of its newest frames.

    passage: the epoch in which it began, and its number there. begins: each topic's first message of it in that epoch.
    counter, counter_line: as in `SourcePlace`. boot: identifies the run of the host, whose clock `captured_ns` is by.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    coil: str
    side: str
    camera: str
    passage: tuple[int, int]
    begins: dict[str, int]
    source_coil: str
    head_line: int
    between: bool
    config: str
    notes: tuple[str, ...] = ()
    data: CoilDataBody | None = None
    mm_per_line: float = 1.0
    counter: int | None = None
    counter_line: int = 0
    boot: str = ""


class RestartPoints:
    """Follows what is decided, and makes the points. Used by the outlet."""

    def __init__(self, begun: RestartPoint | None, every_ns: int = EVERY_NS) -> None:
        """begun: of the coil that goes on."""
        self._point = begun
        self._every_ns, self._next_ns = every_ns, 0
        self._boot = boot_id()

    def behind(self, decided: Decided, sequencer: Sequencer) -> bytes | None:
        """Return the point behind a decision whose messages have been numbered; None where none is due."""
        if isinstance(decided, CoilNotice):
            self._point = self._begin(decided, sequencer) if decided.state is CoilState.STARTED else None
            self._next_ns = 0
        point = self._point
        if point is None or not isinstance(decided, Verdict):
            return None
        changed: dict[str, object] = {}
        if decided.coil_data is not None:
            changed["data"] = coil_data_body(decided.coil_data)
        if decided.config:
            changed["config"] = decided.config
        if decided.gap is not None:
            changed["notes"] = (*point.notes, decided.gap.note(decided.along_mm[0]))
        if changed:
            point = self._point = point.model_copy(update=changed)
        if decided.timing.captured_ns < self._next_ns and not changed:
            return None
        self._next_ns = decided.timing.captured_ns + self._every_ns
        place = decided.place or SourcePlace()
        begin_mm, end_mm = decided.along_mm
        here = {
            "mm_per_line": (end_mm - begin_mm) / decided.lines if decided.lines else point.mm_per_line,
            "counter": place.counter,
            "counter_line": place.counter_line,
            "boot": self._boot,
        }
        return point.model_copy(update=here).model_dump_json(exclude_defaults=True).encode()

    def beside(self) -> tuple[()]:
        """Return nothing: the messages of the coil and the point are enough."""
        return ()

    def _begin(self, notice: CoilNotice, sequencer: Sequencer) -> RestartPoint | None:
        if (passage := sequencer.passage) is None:
            return None
        return RestartPoint(
            coil=notice.coil,
            side=notice.side,
            camera=notice.camera,
            passage=passage,
            begins=sequencer.sequences,
            source_coil=notice.source_coil,
            head_line=notice.head_line,
            between=notice.conditions.between,
            config=notice.config,
            notes=notice.conditions.notes,
            data=coil_data_body(notice.conditions.data),
        )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The coil that was under way when an earlier run was killed."""

    point: RestartPoint
    coil: UnfinishedCoil
    last: LastPlace


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """What the journal tells of earlier runs. names: of their coils, the oldest first; all but the unfinished ended."""

    names: tuple[str, ...] = ()
    unfinished: Unfinished | None = None


def earlier_runs(journal: Journal, recipes: Recipes, columns: AcrossMap, now_ns: int) -> EarlierRuns:
    """Read what earlier runs left. What cannot be read is logged: then no coil goes on."""
    try:
        coils = list(_messages(journal, Topic.COIL, CoilMessage, 1, {}))
        names = tuple(dict.fromkeys(coil.coil for coil in coils if coil.state is CoilState.STARTED))[-NAMES_KEPT:]
        point = _point_of(journal, coils)
        if point is None:
            return EarlierRuns(names)
        unfinished = _unfinished(journal, point, (*names, point.coil), recipes, columns, now_ns)
    except (JournalError, OSError, ValueError) as error:
        log.error("coil_not_resumed", error=str(error)[:1000])
        return EarlierRuns()
    log.info(
        "coil_goes_on",
        coil=point.coil,
        at_mm=round(unfinished.last.end_mm, 3),
        frames=len(unfinished.coil.frames),
        epoch=point.passage[0],
    )
    return EarlierRuns(tuple(name for name in names if name != point.coil), unfinished)


def boot_id() -> str:
    """Return what identifies this run of the host; "" where it is not known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _point_of(journal: Journal, coils: list[CoilMessage]) -> RestartPoint | None:
    point = RestartPoint.model_validate_json(journal.state) if journal.state else None
    if not coils:
        return point
    newest = coils[-1]
    if point is not None and newest.passage[1] is not None and point.passage > newest.passage:
        return point  # the notice of its start was lost with a disk that failed
    if newest.state is CoilState.ENDED or newest.passage[1] is None:
        return None
    if point is not None and newest.passage == point.passage:
        return point
    # It was killed before the coil's first frame.
    spans = {topic.value: journal.span(newest.epoch, topic.value) for topic in (*_OF_COIL, Topic.COIL)}
    same = point is not None and point.source_coil == newest.source_coil
    return RestartPoint(
        coil=newest.coil,
        side=newest.side,
        camera=newest.camera,
        passage=(newest.passage[0], newest.passage[1]),
        begins={topic: span.next for topic, span in spans.items() if span is not None},
        source_coil=newest.source_coil,
        head_line=newest.source_line,
        between=newest.between_coils,
        config=newest.config,
        notes=newest.notes,
        data=newest.data,
        counter=point.counter if point and same else None,
        counter_line=point.counter_line if point and same else 0,
        boot=point.boot if point else "",
    )


_OF_COIL = (Topic.FRAME, Topic.DEFECT, Topic.ROLL_MARK)


def _unfinished(
    journal: Journal, point: RestartPoint, names: tuple[str, ...], recipes: Recipes, columns: AcrossMap, now_ns: int
) -> Unfinished:
    closed: defaultdict[tuple[int, int | None], list[Defect]] = defaultdict(list)
    periodic: defaultdict[tuple[int, int | None], list[str]] = defaultdict(list)
    opened: dict[str, Defect] = {}
    for defect in _of_passage(journal, point, Topic.DEFECT, DefectMessage):
        opened.pop(defect.id, None)
        if defect.state is not DefectState.CLOSED:
            opened[defect.id] = defect_from(defect)
        elif defect.merged_into is None:
            closed[defect.epoch, defect.ordinal].append(defect_from(defect))
    for mark in _of_passage(journal, point, Topic.ROLL_MARK, RollMarkMessage):
        periodic[mark.epoch, mark.ordinal] += mark.defect_ids
    frames: list[PastFrame] = []
    next_line, timing = 0, TimingBody()
    for frame in _of_passage(journal, point, Topic.FRAME, FrameMessage):
        key = frame.epoch, frame.ordinal
        spans = tuple(map(span_from, frame.spans))
        told = PastFrame(spans, frame.along_mm, frame.strip_mm, tuple(closed[key]), tuple(periodic[key]))
        frames.append(told)
        next_line, timing = frame.first_line + frame.lines, frame.timing
    data = None if point.data is None else coil_data_from(point.data)
    rules = recipes.for_coil(data, between=point.between)
    conditions = rules.conditions.noted(*point.notes)
    coil = UnfinishedCoil(
        coil=point.coil,
        side=point.side,
        camera=point.camera,
        source_coil=point.source_coil,
        head_line=point.head_line,
        next_line=next_line,
        mm_per_line=point.mm_per_line,
        columns=columns,
        captured_ns=timing.captured_ns,
        conditions=conditions,
        config=point.config,
        frames=frames,
        open_defects=tuple(opened.values()),
    )
    last = LastPlace(
        coil=point.coil,
        source_coil=point.source_coil,
        head_line=point.head_line,
        between=point.between,
        next_line=next_line,
        end_mm=frames[-1].along_mm[1] if frames else 0.0,
        captured_ns=_by_this_clock(timing, point.boot, now_ns),
        place=SourcePlace(point.counter, point.counter_line),
        length_mm=data.length_mm if data else None,
        names=names,
    )
    return Unfinished(point, coil, last)


def _by_this_clock(timing: TimingBody, boot: str, now_ns: int) -> int | None:
    """Return the time of a frame by this run's monotonic clock; None where only a wall clock that stepped tells."""
    if boot and boot == boot_id() and timing.captured_ns <= now_ns:
        return timing.captured_ns or None
    captured_unix_ns = timing.captured_unix_ns
    if captured_unix_ns is None or (age_ns := time.time_ns() - captured_unix_ns) < 0:
        return None
    return now_ns - age_ns


def _of_passage(journal: Journal, point: RestartPoint, topic: Topic, kind: type[T]) -> Iterator[T]:
    for message in _messages(journal, topic, kind, point.passage[0], point.begins):
        if message.passage == point.passage:
            yield message


def _messages(journal: Journal, topic: Topic, kind: type[T], first_epoch: int, begins: dict[str, int]) -> Iterator[T]:
    """Yield the messages of a topic from an epoch on, in which it begins with message `begins[topic]`."""
    for epoch in journal.epochs():
        if epoch < first_epoch:
            continue
        at = begins.get(topic.value, 0) if epoch == first_epoch else 0
        while page := journal.read(epoch, topic.value, at, _PAGE_BYTES):
            for record in page:
                yield parse(kind, record.header)
            at = page[-1].sequence + 1
