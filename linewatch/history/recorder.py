"""From messages to rows: what one service said, in one transaction with the positions up to which that is all."""

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from linewatch.client import Loss, Lost, Position
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import CoilState, Quality
from linewatch.history.tables import ALARM, CLASS_COUNT, COIL, DEFECT, ENGINES, GAP, MASK, POSITION, SERVICE, SPAN
from linewatch.wire.schema import (
    AlarmMessage,
    AnyMessage,
    CoilMessage,
    DefectMessage,
    FrameMessage,
    StatusMessage,
    encode_runs,
)

_Strip = FrameMessage | DefectMessage | AlarmMessage | CoilMessage
_MM: Final = {Quality.INSPECTED: "inspected_mm", Quality.DEGRADED: "degraded_mm", Quality.MISSED: "missed_mm"}
_ENVELOPE: Final = {"schema_version", "topic", "epoch", "sequence", "timing", "coil_ordinal"}
_IN_COLUMNS: Final = _ENVELOPE | {"coil", "side", "camera", "ordinal", "mask", "id", "across_mm", "along_mm"}
_COLUMNS: Final = {column.name for column in DEFECT.c}
_COILS_REMEMBERED: Final = 16
_NAMES_AT_ONCE: Final = 500  # of a query; SQLite binds 32,766 values


@dataclass(frozen=True, slots=True)
class Stored:
    """What of a service is in the database."""

    service_id: int
    journal: int
    positions: Mapping[str, Position]


def standing_of(connection: sa.Connection, name: str) -> Stored:
    """Where the service of that name is to be resumed; makes it known when it is new."""
    row = connection.execute(sa.select(SERVICE.c.id, SERVICE.c.journal).where(SERVICE.c.name == name)).first()
    if row is None:
        connection.execute(sa.insert(SERVICE).values(name=name, journal=0))
        return standing_of(connection, name)
    stood = connection.execute(sa.select(POSITION).where(POSITION.c.service_id == row.id))
    return Stored(row.id, row.journal, {at.topic: Position(at.epoch, at.next) for at in stood})


class Recorder:
    """Writes for one service. A failed `store` leaves the database as it was; begin again with a new Recorder.

    Messages of a topic come in order, those of different topics in any: catching up fetches one topic after the other.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._positions = dict(stored.positions)
        self._wall_ns: int | None = None  # what turns the service's monotonic clock into a time of day
        self._coils: dict[tuple[int, int], int] = {}  # (epoch, ordinal) -> row
        self._engines: dict[tuple[str, ...], int] = {}

    def hear(self, status: StatusMessage) -> None:
        """Learn the time of day from a heartbeat."""
        self._wall_ns = status.now_unix_ns - status.now_ns

    def store(
        self, connection: sa.Connection, messages: Sequence[AnyMessage | Lost], positions: Mapping[str, Position]
    ) -> None:
        """Write the messages and `positions`, those behind them, in the connection's transaction.

        Raises HistoryError when another process has written for this service meanwhile.
        """
        self._move(connection, positions)
        for oldest in list(self._coils)[:-_COILS_REMEMBERED]:
            del self._coils[oldest]
        of_strip = [message for message in messages if isinstance(message, _Strip)]
        self._find_coils(connection, [m for m in of_strip if not isinstance(m, AlarmMessage)])
        self._frames(connection, [m for m in of_strip if isinstance(m, FrameMessage)])
        self._defects(connection, [m for m in of_strip if isinstance(m, DefectMessage)])
        self._alarms(connection, [m for m in of_strip if isinstance(m, AlarmMessage)])
        self._ends(connection, [m for m in of_strip if isinstance(m, CoilMessage)])
        gaps = [self._gap(lost) for lost in messages if isinstance(lost, Lost)]
        _insert(connection, GAP, gaps)
        if any(lost.loss is Loss.NEW_JOURNAL for lost in messages if isinstance(lost, Lost)):
            self._begin_journal(connection)

    def _move(self, connection: sa.Connection, positions: Mapping[str, Position]) -> None:
        """Only from where this recorder stood: so two processes cannot both store the same messages."""
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
                    raise HistoryError(
                        "another process stores what this service says in the same database; stop one of the two"
                    )
            self._positions[topic] = there

    def _begin_journal(self, connection: sa.Connection) -> None:
        """The service counts from the beginning again: whoever subscribes next begins with its journal's oldest."""
        service_id = self._stored.service_id
        connection.execute(sa.delete(POSITION).filter_by(service_id=service_id))
        connection.execute(sa.update(SERVICE).filter_by(id=service_id).values(journal=self._stored.journal + 1))

    def _find_coils(self, connection: sa.Connection, messages: Iterable[_Strip]) -> None:
        """A row for every passage that the messages name; whichever topic tells of it first makes it."""
        for message in messages:
            key = message.epoch, _ordinal(message)
            if key in self._coils:
                continue
            named = {
                "service_id": self._stored.service_id,
                "journal": self._stored.journal,
                "epoch": key[0],
                "ordinal": key[1],
            }
            found = connection.execute(sa.select(COIL.c.id).filter_by(**named)).scalar()
            if found is None:
                new: dict[str, Any] = dict.fromkeys([*_MM.values(), "frames", "tiles", "tiles_passed"], 0)
                new |= {"coil": message.coil, "side": message.side, "camera": message.camera}
                new |= {"begun_unix_ns": self._unix_ns(message), "encoded": True, "config": ""}
                inserted = connection.execute(sa.insert(COIL).values(**named, **new)).inserted_primary_key
                assert inserted is not None
                found = inserted[0]
            self._coils[key] = found

    def _coil_of(self, message: _Strip) -> int:
        return self._coils[message.epoch, _ordinal(message)]

    def _frames(self, connection: sa.Connection, frames: Sequence[FrameMessage]) -> None:
        by_coil: dict[int, list[FrameMessage]] = {}
        for frame in frames:
            by_coil.setdefault(self._coil_of(frame), []).append(frame)
        for coil_id, of_coil in by_coil.items():
            values: dict[str, Any] = {
                "frames": COIL.c.frames + len(of_coil),
                "tiles": COIL.c.tiles + sum(frame.tiles for frame in of_coil),
                "tiles_passed": COIL.c.tiles_passed + sum(frame.tiles_passed for frame in of_coil),
            }
            spans = [span for frame in of_coil for span in frame.spans]
            for quality, name in _MM.items():
                lengths_mm = [span.along_mm[1] - span.along_mm[0] for span in spans if span.quality is quality]
                values[name] = COIL.c[name] + sum(lengths_mm)
            if not all(frame.encoded for frame in of_coil):
                values["encoded"] = False
            connection.execute(sa.update(COIL).filter_by(id=coil_id).values(values))
            self._spans(connection, coil_id, of_coil)

    def _spans(self, connection: sa.Connection, coil_id: int, frames: Sequence[FrameMessage]) -> None:
        """Neighbours that were looked at alike become one."""
        last = connection.execute(
            sa.select(SPAN).filter_by(coil_id=coil_id).order_by(SPAN.c.first_line.desc()).limit(1)
        ).first()
        spans: list[dict[str, Any]] = [dict(last._mapping)] if last is not None else []
        for frame in frames:
            engines_id = self._engines_id(connection, frame.engines)
            for body in frame.spans:
                span = {
                    "coil_id": coil_id,
                    "first_line": body.first_line,
                    "lines": body.lines,
                    "along_begin_mm": body.along_mm[0],
                    "along_end_mm": body.along_mm[1],
                    "quality": body.quality.value,
                    "cause": body.cause.value if body.cause else None,
                    "engines_id": engines_id,
                }
                if spans and _continues(spans[-1], span):
                    spans[-1]["lines"] += span["lines"]
                    spans[-1]["along_end_mm"] = span["along_end_mm"]
                else:
                    spans.append(span)
        if last is not None:
            grown = spans.pop(0)
            connection.execute(
                sa.update(SPAN).filter_by(id=last.id).values(lines=grown["lines"], along_end_mm=grown["along_end_mm"])
            )
        _insert(connection, SPAN, spans)

    def _engines_id(self, connection: sa.Connection, engines: tuple[str, ...]) -> int:
        if engines not in self._engines:
            identities = "\n".join(sorted(engines))
            found = connection.execute(sa.select(ENGINES.c.id).filter_by(identities=identities)).scalar()
            if found is None:
                inserted = connection.execute(sa.insert(ENGINES).values(identities=identities)).inserted_primary_key
                assert inserted is not None
                found = inserted[0]
            self._engines[engines] = found
        return self._engines[engines]

    def _defects(self, connection: sa.Connection, messages: Sequence[DefectMessage]) -> None:
        newest = {(self._coil_of(message), message.id): message for message in messages}
        rows: dict[tuple[int, str], Any] = {}
        for coil_id in {coil_id for coil_id, _ in newest}:
            names = [name for of, name in newest if of == coil_id]
            for at in range(0, len(names), _NAMES_AT_ONCE):
                found = connection.execute(
                    sa.select(DEFECT.c.id, DEFECT.c.name, DEFECT.c.defect_class, DEFECT.c.merged_into)
                    .where(DEFECT.c.coil_id == coil_id)
                    .where(DEFECT.c.name.in_(names[at : at + _NAMES_AT_ONCE]))
                )
                rows |= {(coil_id, row.name): row for row in found}
        counts: Counter[tuple[int, str]] = Counter()
        ids = {key: row.id for key, row in rows.items()}
        new, known = [], []
        for key, message in newest.items():
            if key in rows:
                known.append({"row": ids[key], **_defect(message)})
                if rows[key].merged_into is None:
                    counts[key[0], rows[key].defect_class] -= 1
            else:
                new.append({"coil_id": key[0], "name": key[1], **_defect(message)})
            if message.merged_into is None:
                counts[key[0], message.defect_class] += 1
        if new:
            added = connection.execute(sa.insert(DEFECT).returning(DEFECT.c.id, DEFECT.c.coil_id, DEFECT.c.name), new)
            ids |= {(row.coil_id, row.name): row.id for row in added}
        if known:
            changed: dict[str, Any] = {name: sa.bindparam(name) for name in known[0] if name != "row"}
            connection.execute(sa.update(DEFECT).where(DEFECT.c.id == sa.bindparam("row")).values(changed), known)
        self._masks(connection, messages, ids, set(rows))
        _count(connection, counts)

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
        _insert(connection, MASK, masks)

    def _alarms(self, connection: sa.Connection, messages: Sequence[AlarmMessage]) -> None:
        rows = [
            {
                "service_id": self._stored.service_id,
                "journal": self._stored.journal,
                "epoch": message.epoch,
                "sequence": message.sequence,
                "coil_ordinal": _ordinal(message),
                "coil": message.coil,
                "name": message.id,
                "rule": message.rule,
                "state": message.state.value,
                "along_mm": message.along_mm,
                "happened_unix_ns": self._unix_ns(message),
                "body": message.model_dump(mode="json"),
            }
            for message in messages
        ]
        _insert(connection, ALARM, rows)

    def _ends(self, connection: sa.Connection, messages: Sequence[CoilMessage]) -> None:
        for message in messages:
            values: dict[str, Any] = {"config": message.config}
            if message.state is CoilState.STARTED:
                values["begun_unix_ns"] = self._unix_ns(message)
            else:
                values["ended_unix_ns"] = self._unix_ns(message)
                values["passed_mm"] = message.inspected_mm + message.degraded_mm + message.missed_mm
                values["more"] = message.model_dump(mode="json", exclude=_ENVELOPE)
            connection.execute(sa.update(COIL).filter_by(id=self._coil_of(message)).values(values))

    def _gap(self, lost: Lost) -> dict[str, Any]:
        return {
            "service_id": self._stored.service_id,
            "journal": self._stored.journal,
            "topic": lost.topic.value,
            "epoch": lost.epoch,
            "first": lost.first,
            "end": lost.end,
            "reason": lost.reason,
            "noticed_unix_ns": time.time_ns(),
        }

    def _unix_ns(self, message: _Strip) -> int:
        """When it was seen; when it is stored, while the service's clock is not known."""
        seen_ns = message.timing.captured_ns
        return time.time_ns() if self._wall_ns is None or not seen_ns else self._wall_ns + seen_ns


def _ordinal(message: _Strip) -> int:
    return -1 if message.coil_ordinal is None else message.coil_ordinal


def _continues(before: Mapping[str, Any], span: Mapping[str, Any]) -> bool:
    alike = all(before[name] == span[name] for name in ("quality", "cause", "engines_id"))
    return alike and before["first_line"] + before["lines"] == span["first_line"]


def _defect(message: DefectMessage) -> dict[str, Any]:
    """The columns that a message changes."""
    told = message.model_dump(mode="json", exclude=_IN_COLUMNS)
    columns = {name: told.pop(name) for name in _COLUMNS & set(told)}
    for axis in ("across", "along"):
        begin_mm, end_mm = getattr(message, f"{axis}_mm")
        columns |= {f"{axis}_begin_mm": begin_mm, f"{axis}_end_mm": end_mm}
    for flag in ("mask_dropped", "excluded"):
        if not told[flag]:
            del told[flag]
    return columns | {"more": told or None}


def _count(connection: sa.Connection, changes: Mapping[tuple[int, str], int]) -> None:
    for (coil_id, defect_class), change in changes.items():
        if change == 0:
            continue
        key = {"coil_id": coil_id, "defect_class": defect_class}
        counted = connection.execute(
            sa.update(CLASS_COUNT).filter_by(**key).values(defects=CLASS_COUNT.c.defects + change)
        )
        if counted.rowcount == 0:
            connection.execute(sa.insert(CLASS_COUNT).values(**key, defects=change))


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(sa.insert(table), rows)
