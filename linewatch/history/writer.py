"""Writes the messages of one service as rows, in one transaction with the positions up to which they are complete."""

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa

from linewatch.client import Loss, Lost, Position
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoilState, CoverageSpan, Quality, StripArea
from linewatch.history.event_rows import StripMessage, alarm_row, coil_ordinal_of, gap_row, store_roll_marks
from linewatch.history.inserts import add_to_counts, insert_row, insert_rows
from linewatch.history.spans import part_of, put_right, span_in
from linewatch.history.tables import (
    ALARM,
    CLASS_COUNT,
    COIL,
    DEFECT,
    ENGINES,
    GAP,
    MASK,
    POSITION,
    SERVICE,
    SPAN,
    STRIP_WIDTH,
)
from linewatch.wire.decode import span_from
from linewatch.wire.schema import (
    AlarmMessage,
    AnyMessage,
    CoilMessage,
    DefectMessage,
    FrameMessage,
    RollMarkMessage,
    StatusMessage,
    encode_runs,
)

_MM: Final = {Quality.INSPECTED: "inspected_mm", Quality.DEGRADED: "degraded_mm", Quality.MISSED: "missed_mm"}
_MM2: Final = tuple(field.name for field in fields(StripArea))
_ENVELOPE: Final = {
    "schema_version", "schema_minor", "topic", "epoch", "sequence", "timing", "coil_ordinal", "coil_epoch",
}  # fmt: skip
_IN_COLUMNS: Final = _ENVELOPE | {"coil", "side", "camera", "ordinal", "mask", "id", "across_mm", "along_mm"}
_COLUMNS: Final = {column.name for column in DEFECT.c}
_COUNTED_BY: Final = ("id", "name", "defect_class", "merged_into", "part_of", "tentative")
_COILS_REMEMBERED: Final = 16
_NAMES_AT_ONCE: Final = 500  # of a query; SQLite binds 32,766 values


class TwoWritersError(HistoryError):
    """Another process stores the messages of the same service in the same database."""


@dataclass(frozen=True, slots=True)
class StoredService:
    """A service as the database knows it: its row, its current journal, and the positions to resume from."""

    service_id: int
    journal: int
    positions: Mapping[str, Position]
    journal_id: str | None = None  # UUID; None: not known


def stored_service(connection: sa.Connection, name: str) -> StoredService:
    """Return the stored state of the named service; make a row for a new one."""
    row = connection.execute(sa.select(SERVICE).where(SERVICE.c.name == name)).first()
    if row is None:
        connection.execute(sa.insert(SERVICE).values(name=name, journal=0))
        return stored_service(connection, name)
    positions = connection.execute(sa.select(POSITION).where(POSITION.c.service_id == row.id))
    here = {at.topic: Position(at.epoch, at.next) for at in positions}
    return StoredService(row.id, row.journal, here, row.journal_id)


class HistoryWriter:
    """Writes for one service. A failed `store` leaves the database as it was; continue with a new writer.

    The messages of one topic come in order, those of different topics in any order: catching up fetches topic by topic.
    """

    def __init__(self, stored: StoredService) -> None:
        self._stored = stored
        self._of_journal: dict[str, Any] = {"service_id": stored.service_id, "journal": stored.journal}
        self._positions = dict(stored.positions)
        self._journal_id = stored.journal_id
        self._wall_ns: int | None = None  # offset from the service's monotonic clock to Unix time
        self._coils: dict[tuple[int, int], int] = {}  # (epoch, ordinal) -> row
        self._engines: dict[tuple[str, ...], int] = {}
        self._calibrations: dict[int, frozenset[str]] = {}  # of the coil that was stored last

    def set_clock(self, status: StatusMessage) -> None:
        """Learn the service's Unix time from a heartbeat."""
        self._wall_ns = status.now_unix_ns - status.now_ns

    def store(
        self,
        connection: sa.Connection,
        messages: Sequence[AnyMessage | Lost],
        positions: Mapping[str, Position],
        journal_id: str | None = None,
    ) -> None:
        """Write the messages and the positions behind them in the connection's transaction.

        journal_id: the UUID of the journal that the positions are in; None: not known.
        Raises HistoryError when another process has written for this service meanwhile.
        """
        self._move(connection, positions)
        for oldest in list(self._coils)[:-_COILS_REMEMBERED]:
            del self._coils[oldest]
        of_strip = [message for message in messages if isinstance(message, StripMessage)]
        self._find_coils(connection, [m for m in of_strip if not isinstance(m, AlarmMessage)])
        self._frames(connection, [m for m in of_strip if isinstance(m, FrameMessage)])
        self._defects(connection, [m for m in of_strip if isinstance(m, DefectMessage)])
        store_roll_marks(connection, [(self._coil_of(m), m) for m in of_strip if isinstance(m, RollMarkMessage)])
        alarms = [alarm_row(m, self._unix_ns(m)) for m in of_strip if isinstance(m, AlarmMessage)]
        insert_rows(connection, ALARM, [self._of_journal | row for row in alarms])
        self._ends(connection, [m for m in of_strip if isinstance(m, CoilMessage)])
        gaps = [gap_row(lost, time.time_ns()) for lost in messages if isinstance(lost, Lost)]
        insert_rows(connection, GAP, [self._of_journal | row for row in gaps])
        if any(lost.loss is Loss.NEW_JOURNAL for lost in messages if isinstance(lost, Lost)):
            self._begin_journal(connection)
        elif journal_id not in (None, self._journal_id):
            connection.execute(sa.update(SERVICE).filter_by(id=self._stored.service_id).values(journal_id=journal_id))
            self._journal_id = journal_id

    def _move(self, connection: sa.Connection, positions: Mapping[str, Position]) -> None:
        """Advance the positions from this writer's own, so that two processes cannot both store the same messages."""
        for topic, there in positions.items():
            here = self._positions.get(topic)
            if here == there:
                continue
            key = {"service_id": self._stored.service_id, "topic": topic}
            if here is None:
                connection.execute(sa.insert(POSITION).values(**key, epoch=there.epoch, next=there.next))
            else:
                moved = connection.execute(
                    sa.update(POSITION)
                    .filter_by(**key, epoch=here.epoch, next=here.next)
                    .values(epoch=there.epoch, next=there.next)
                )
                if moved.rowcount != 1:
                    raise TwoWritersError(
                        "another process stores the messages of this service in the same database; stop one of the two"
                    )
            self._positions[topic] = there

    def _begin_journal(self, connection: sa.Connection) -> None:
        """Count a new journal: the next subscription begins with its oldest message."""
        service_id = self._stored.service_id
        connection.execute(sa.delete(POSITION).filter_by(service_id=service_id))
        following = self._stored.journal + 1
        connection.execute(sa.update(SERVICE).filter_by(id=service_id).values(journal=following, journal_id=None))

    def _find_coils(self, connection: sa.Connection, messages: Iterable[StripMessage]) -> None:
        """Find or make a row for every passage that the messages name; the first message of any topic makes it."""
        for message in messages:
            key = message.passage[0], coil_ordinal_of(message)
            if key in self._coils:
                continue
            named = self._of_journal | {"epoch": key[0], "ordinal": key[1]}
            found = connection.execute(sa.select(COIL.c.id).filter_by(**named)).scalar()
            if found is None:
                new: dict[str, Any] = dict.fromkeys([*_MM.values(), *_MM2, "frames", "tiles", "tiles_passed"], 0)
                new |= {"coil": message.coil, "side": message.side, "camera": message.camera}
                new |= {"begun_unix_ns": self._unix_ns(message), "encoded": True, "config": ""}
                found = insert_row(connection, COIL, named | new)
            self._coils[key] = found

    def _coil_of(self, message: StripMessage) -> int:
        return self._coils[message.passage[0], coil_ordinal_of(message)]

    def _frames(self, connection: sa.Connection, frames: Sequence[FrameMessage]) -> None:
        by_coil: dict[int, list[FrameMessage]] = {}
        for frame in frames:
            by_coil.setdefault(self._coil_of(frame), []).append(frame)
        for coil_id, of_coil in by_coil.items():
            for told in _between_restarts(of_coil):
                self._untell(connection, coil_id, told[0])
                self._add_frames(connection, coil_id, told)

    def _add_frames(self, connection: sa.Connection, coil_id: int, of_coil: Sequence[FrameMessage]) -> None:
        values: dict[str, Any] = {
            "frames": COIL.c.frames + len(of_coil),
            "tiles": COIL.c.tiles + sum(frame.tiles for frame in of_coil),
            "tiles_passed": COIL.c.tiles_passed + sum(frame.tiles_passed for frame in of_coil),
        }
        spans = [span for frame in of_coil for span in frame.spans]
        for quality, name in _MM.items():
            lengths_mm = [span.along_mm[1] - span.along_mm[0] for span in spans if span.quality is quality]
            values[name] = COIL.c[name] + sum(lengths_mm)
        for name in _MM2:
            areas_mm2 = [getattr(span, name) for span in spans]
            values[name] = None if None in areas_mm2 else COIL.c[name] + sum(areas_mm2)  # NULL stays NULL
        if not all(frame.encoded for frame in of_coil):
            values["encoded"] = False
        values |= self._edges(connection, coil_id, of_coil)
        told = dict.fromkeys(one for frame in of_coil for one in frame.calibrations)
        if not self._calibrations.get(coil_id, frozenset()).issuperset(told):
            stored = connection.execute(sa.select(COIL.c.calibrations).filter_by(id=coil_id)).scalar()
            known = dict.fromkeys(stored.split("\n") if stored else ()) | told
            values["calibrations"] = "\n".join(known)
            self._calibrations = {coil_id: frozenset(known)}
        connection.execute(sa.update(COIL).filter_by(id=coil_id).values(values))
        self._spans(connection, coil_id, of_coil)
        if corrections := [span_from(body) for frame in of_coil for body in frame.corrections]:
            self._put_right(connection, coil_id, corrections)

    def _edges(self, connection: sa.Connection, coil_id: int, frames: Sequence[FrameMessage]) -> dict[str, float]:
        """Return the columns for the strip's outermost edges; count the frames by the strip's width."""
        seen = [frame.strip_mm for frame in frames if frame.strip_mm is not None]
        if not seen:
            return {}
        widths = Counter((coil_id, round(right - left)) for left, right in seen)
        add_to_counts(connection, STRIP_WIDTH, ("coil_id", "width_mm"), "frames", widths)
        edges = sa.select(COIL.c.strip_left_mm, COIL.c.strip_right_mm).filter_by(id=coil_id)
        left, right = connection.execute(edges).one()
        seen += [] if left is None else [(left, right)]
        return {"strip_left_mm": min(left for left, _ in seen), "strip_right_mm": max(right for _, right in seen)}

    def _spans(self, connection: sa.Connection, coil_id: int, frames: Sequence[FrameMessage]) -> None:
        """Store the frames' spans; neighbours of the same quality, cause and engines become one."""
        last = connection.execute(
            sa.select(SPAN).filter_by(coil_id=coil_id).order_by(SPAN.c.first_line.desc()).limit(1)
        ).first()
        spans: list[tuple[CoverageSpan, int]] = [(span_in(last), last.engines_id)] if last is not None else []
        for frame in frames:
            engines_id = self._engines_id(connection, frame.engines)
            for body in frame.spans:
                span = span_from(body)
                # A silent share may be put right, which needs it as it was told.
                joins = spans and spans[-1][1] == engines_id and span.cause is not Cause.SILENT
                both = spans[-1][0].joined(span) if joins else None
                if both is not None:
                    spans[-1] = (both, engines_id)
                else:
                    spans.append((span, engines_id))
        if last is not None:
            grown, _ = spans.pop(0)
            connection.execute(
                sa.update(SPAN)
                .filter_by(id=last.id)
                .values(lines=grown.lines, along_end_mm=grown.along_mm[1], **_areas_mm2(grown))
            )
        insert_rows(connection, SPAN, [_span_row(coil_id, span, engines_id) for span, engines_id in spans])

    def _put_right(self, connection: sa.Connection, coil_id: int, corrections: Sequence[CoverageSpan]) -> None:
        """Put spans of a strip of several cameras in the place of those that were told of the same lines."""
        first = min(span.first_line for span in corrections)
        stop = max(span.first_line + span.lines for span in corrections)
        told = sa.and_(SPAN.c.coil_id == coil_id, SPAN.c.first_line < stop, SPAN.c.first_line + SPAN.c.lines > first)
        rows = connection.execute(sa.select(SPAN).where(told).order_by(SPAN.c.first_line)).all()
        if rows:
            after = [span_in(row) for row in rows]
            put_right(after, corrections)
            self._replace(connection, coil_id, rows, after)

    def _untell(self, connection: sa.Connection, coil_id: int, frame: FrameMessage) -> None:
        """Take out what is stored of the lines from a frame on that begins a restart.

        A service that was killed while its disk failed forgot the strip that it had told last, and tells it again.
        """
        if not _begins_a_restart(frame):
            return
        told = sa.and_(SPAN.c.coil_id == coil_id, SPAN.c.first_line + SPAN.c.lines > frame.first_line)
        if rows := connection.execute(sa.select(SPAN).where(told).order_by(SPAN.c.first_line)).all():
            parts = (part_of(span_in(row), row.first_line, frame.first_line) for row in rows)
            self._replace(connection, coil_id, rows, [part for part in parts if part is not None])

    def _replace(
        self, connection: sa.Connection, coil_id: int, rows: Sequence[Any], after: Sequence[CoverageSpan]
    ) -> None:
        """Put spans in the place of stored ones, in the coil's sums as well."""
        before = [span_in(row) for row in rows]
        connection.execute(sa.delete(SPAN).where(SPAN.c.id.in_([row.id for row in rows])))
        insert_rows(connection, SPAN, [_span_row(coil_id, span, rows[0].engines_id) for span in after])
        values: dict[str, Any] = {}
        for quality, name in _MM.items():
            old_mm, new_mm = (
                sum(one.length_mm for one in spans if one.quality is quality) for spans in (before, after)
            )
            values[name] = COIL.c[name] + (new_mm - old_mm)
        for name in _MM2:
            old_mm2, new_mm2 = (sum(_areas_mm2(one)[name] or 0.0 for one in spans) for spans in (before, after))
            values[name] = COIL.c[name] + (new_mm2 - old_mm2)
        connection.execute(sa.update(COIL).filter_by(id=coil_id).values(values))

    def _engines_id(self, connection: sa.Connection, engines: tuple[str, ...]) -> int:
        if engines not in self._engines:
            identities = "\n".join(engines)
            found = connection.execute(sa.select(ENGINES.c.id).filter_by(identities=identities)).scalar()
            if found is None:
                found = insert_row(connection, ENGINES, {"identities": identities})
            self._engines[engines] = found
        return self._engines[engines]

    def _defects(self, connection: sa.Connection, messages: Sequence[DefectMessage]) -> None:
        newest = {(self._coil_of(message), message.id): message for message in messages}
        dropped = {(self._coil_of(message), message.id) for message in messages if message.mask_dropped}
        rows: dict[tuple[int, str], Any] = {}
        for coil_id in {coil_id for coil_id, _ in newest}:
            names = [name for of, name in newest if of == coil_id]
            for at in range(0, len(names), _NAMES_AT_ONCE):
                found = connection.execute(
                    sa.select(*(DEFECT.c[name] for name in _COUNTED_BY))
                    .where(DEFECT.c.coil_id == coil_id)
                    .where(DEFECT.c.name.in_(names[at : at + _NAMES_AT_ONCE]))
                )
                rows |= {(coil_id, row.name): row for row in found}
        counts: Counter[tuple[int, str]] = Counter()
        called: Counter[tuple[int, str]] = Counter()
        ids = {key: row.id for key, row in rows.items()}
        new, known = [], []
        for key, message in newest.items():
            if key in rows:
                known.append({"row": ids[key], **_defect(message), "mask_dropped": key in dropped})
                _count(rows[key], key[0], counts, called, -1)
            else:
                new.append({"coil_id": key[0], "name": key[1], **_defect(message), "mask_dropped": key in dropped})
            _count(message, key[0], counts, called)
        if new:
            added = connection.execute(sa.insert(DEFECT).returning(DEFECT.c.id, DEFECT.c.coil_id, DEFECT.c.name), new)
            ids |= {(row.coil_id, row.name): row.id for row in added}
        if known:
            changed: dict[str, Any] = {name: sa.bindparam(name) for name in known[0] if name != "row"}
            changed["mask_dropped"] = sa.or_(DEFECT.c.mask_dropped, sa.bindparam("mask_dropped"))
            connection.execute(sa.update(DEFECT).where(DEFECT.c.id == sa.bindparam("row")).values(changed), known)
        self._masks(connection, messages, ids, set(rows))
        add_to_counts(connection, CLASS_COUNT, ("coil_id", "defect_class"), "defects", counts)
        add_to_counts(connection, CLASS_COUNT, ("coil_id", "defect_class"), "called", called)

    def _masks(
        self,
        connection: sa.Connection,
        messages: Sequence[DefectMessage],
        ids: Mapping[tuple[int, str], int],
        known: set[tuple[int, str]],
    ) -> None:
        parts: Counter[int] = Counter()
        before = [ids[key] for key in known]
        for at in range(0, len(before), _NAMES_AT_ONCE):
            counted = connection.execute(
                sa.select(MASK.c.defect_id, sa.func.count())
                .where(MASK.c.defect_id.in_(before[at : at + _NAMES_AT_ONCE]))
                .group_by(MASK.c.defect_id)
            )
            for defect_id, count in counted:
                parts[defect_id] = count
        masks = []
        for message in messages:
            if message.mask is None:
                continue
            defect_id = ids[self._coil_of(message), message.id]
            masks.append(
                {
                    "defect_id": defect_id,
                    "part": parts[defect_id],
                    "first_line": message.mask.first_line,
                    "runs": message.mask.runs,
                    "packed": zlib.compress(encode_runs(message.runs)),
                }
            )
            parts[defect_id] += 1
        insert_rows(connection, MASK, masks)

    def _ends(self, connection: sa.Connection, messages: Sequence[CoilMessage]) -> None:
        for message in messages:
            more = message.model_dump(mode="json", exclude=_ENVELOPE)
            values: dict[str, Any] = {"config": message.config, "more": more}
            if message.state is CoilState.STARTED:
                values["begun_unix_ns"] = self._unix_ns(message)
            else:
                values["ended_unix_ns"] = self._unix_ns(message)
                values["passed_mm"] = message.inspected_mm + message.degraded_mm + message.missed_mm
                values["passed_mm2"] = message.area.passed_mm2 if message.area is not None else None
            connection.execute(sa.update(COIL).filter_by(id=self._coil_of(message)).values(values))

    def _unix_ns(self, message: StripMessage) -> int:
        """Return when the strip was seen.

        Messages of before they told Unix time: by the service's present clock, and the present time while that is not
        known.
        """
        if (seen_unix_ns := message.timing.captured_unix_ns) is not None:
            return seen_unix_ns
        seen_ns = message.timing.captured_ns
        return time.time_ns() if self._wall_ns is None or not seen_ns else self._wall_ns + seen_ns


def _count(defect: Any, coil_id: int, counts: Counter[Any], called: Counter[Any], sign: int = 1) -> None:
    """Add a defect, a row or a message, to the counts of all defects and of the called ones."""
    if defect.merged_into is None:
        counts[coil_id, defect.defect_class] += sign
        if defect.part_of is None and not defect.tentative:
            called[coil_id, defect.defect_class] += sign


def _begins_a_restart(frame: FrameMessage) -> bool:
    return any(span.cause is Cause.RESTART for span in frame.spans[:1])


def _between_restarts(frames: Sequence[FrameMessage]) -> Iterator[Sequence[FrameMessage]]:
    """Yield the frames in order, in parts that begin with a restart."""
    begins = [0, *(at for at, frame in enumerate(frames) if at and _begins_a_restart(frame)), len(frames)]
    for begin, end in pairwise(begins):
        yield frames[begin:end]


def _span_row(coil_id: int, span: CoverageSpan, engines_id: int) -> dict[str, Any]:
    return {
        "coil_id": coil_id,
        "first_line": span.first_line,
        "lines": span.lines,
        "along_begin_mm": span.along_mm[0],
        "along_end_mm": span.along_mm[1],
        "quality": span.quality.value,
        "cause": span.cause.value if span.cause else None,
        **_areas_mm2(span),
        "engines_id": engines_id,
    }


def _areas_mm2(span: CoverageSpan) -> dict[str, float | None]:
    return dict.fromkeys(_MM2) if span.area is None else asdict(span.area)


def _defect(message: DefectMessage) -> dict[str, Any]:
    """Return the columns that a message changes."""
    body = message.model_dump(mode="json", exclude=_IN_COLUMNS)
    columns = {name: body.pop(name) for name in _COLUMNS & set(body)}
    for axis in ("across", "along"):
        begin_mm, end_mm = getattr(message, f"{axis}_mm")
        columns |= {f"{axis}_begin_mm": begin_mm, f"{axis}_end_mm": end_mm}
    return columns | {"more": body or None}
