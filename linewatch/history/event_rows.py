"""The rows of what happens along a coil: alarms, roll marks, and gaps in the messages."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from linewatch.client import Lost
from linewatch.history.inserts import insert_row, insert_rows
from linewatch.history.tables import ROLL_MARK, ROLL_MARK_DEFECT
from linewatch.wire.schema import AlarmMessage, CoilMessage, DefectMessage, FrameMessage, RollMarkMessage

StripMessage = FrameMessage | DefectMessage | AlarmMessage | CoilMessage | RollMarkMessage
_ROLL_MARK_COLUMNS: Final = ("state", "defect_class", "pitch_mm", "pitch_error_mm", "confidence", "marks", "marks_due")


def coil_ordinal_of(message: StripMessage) -> int:
    """Return the ordinal of the message's coil; -1 where it is about none."""
    return -1 if message.coil_ordinal is None else message.coil_ordinal


def store_roll_marks(connection: sa.Connection, messages: Sequence[tuple[int, RollMarkMessage]]) -> None:
    """Store each roll mark as last reported, and every defect that was ever named as one of its marks.

    messages: pairs of the number of the coil's row and the message.
    """
    marks: dict[tuple[int, str], set[str]] = {}
    newest = {(coil_id, message.id): message for coil_id, message in messages}
    for coil_id, message in messages:
        marks.setdefault((coil_id, message.id), set()).update(message.defect_ids)
    for key, message in newest.items():
        named = {"coil_id": key[0], "name": key[1]}
        body = message.model_dump(mode="json")
        values = {name: body[name] for name in _ROLL_MARK_COLUMNS} | {"body": body}
        values |= {"along_begin_mm": message.along_mm[0], "along_end_mm": message.along_mm[1]}
        row = connection.execute(sa.select(ROLL_MARK.c.id).filter_by(**named)).scalar()
        if row is None:
            row = insert_row(connection, ROLL_MARK, named | values)
        else:
            connection.execute(sa.update(ROLL_MARK).filter_by(id=row).values(values))
        known = connection.execute(sa.select(ROLL_MARK_DEFECT.c.defect).filter_by(roll_mark_id=row)).scalars()
        new = sorted(marks[key].difference(known))
        insert_rows(connection, ROLL_MARK_DEFECT, [{"roll_mark_id": row, "defect": defect} for defect in new])


def alarm_row(message: AlarmMessage, happened_unix_ns: int) -> dict[str, Any]:
    """Return the columns of an alarm's transition."""
    return {
        "epoch": message.epoch,
        "sequence": message.sequence,
        "coil_epoch": message.passage[0],
        "coil_ordinal": coil_ordinal_of(message),
        "coil": message.coil,
        "name": message.id,
        "rule": message.rule,
        "state": message.state.value,
        "along_mm": message.along_mm,
        "happened_unix_ns": happened_unix_ns,
        "body": message.model_dump(mode="json"),
    }


def gap_row(lost: Lost, noticed_unix_ns: int) -> dict[str, Any]:
    """Return the columns of a loss of messages."""
    return {
        "topic": lost.topic.value,
        "epoch": lost.epoch,
        "first": lost.first,
        "end": lost.end,
        "reason": lost.reason,
        "noticed_unix_ns": noticed_unix_ns,
    }
