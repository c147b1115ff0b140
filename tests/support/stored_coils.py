"""Coils as the messages that the wire brings of them, stored in a history and asked for again."""

from dataclasses import replace

from decisions import LINES, alarm, coil_notice, defect_event, roll_mark, verdict

from linewatch.client import Position
from linewatch.contracts.verdict import CoilState, DefectState, RollMarkState
from linewatch.history.database import reading
from linewatch.history.queries import coils, defects, masks, spans
from linewatch.history.writer import HistoryWriter, stored_service
from linewatch.review.from_history import read_passage
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import decode


def messages_of(*decided, epoch=1, sequencer=None):
    """The wire's messages of these decisions."""
    sequencer = sequencer or Sequencer(epoch, "abc")
    records = [sequencer.record(draft) for one in decided for draft in drafts(one)]
    return [decode(r.topic.encode(), r.header, r.payload) for r in records]


def coil_messages(sequencer):
    """Started, four frames of which one is missed in part, a defect over two of them, another that merges, ended."""
    grown = defect_event(1, DefectState.UPDATED, name="C1/top/cam1/0.200")
    merged = defect_event(2, DefectState.CLOSED, runs=0, name="C1/top/cam1/256.7")
    merged = type(merged)(merged.state, merged.defect, None, merged_into="C1/top/cam1/0.200")
    return messages_of(
        coil_notice(CoilState.STARTED),
        verdict(0, (defect_event(0),)),
        verdict(1, (grown, defect_event(1, name="C1/top/cam1/256.7")), (alarm(1),)),
        verdict(2, (merged,), missed_lines=56),
        replace(verdict(3), roll_marks=(roll_mark(name="r"),)),
        replace(
            coil_notice(CoilState.ENDED, 4.0 * LINES),
            roll_marks=(replace(roll_mark(RollMarkState.ENDED, "r"), marks=6, defect_ids=("b", "a")),),
        ),
        sequencer=sequencer,
    )


def positions_behind(messages):
    """Where to resume after them, by topic."""
    return {m.topic.value: Position(m.epoch, m.sequence + 1) for m in messages}


def store_messages(engine, messages, name="svc"):
    """Store them as those of the service `name`, by a recorder of their own."""
    with engine.begin() as connection:
        recorder = HistoryWriter(stored_service(connection, name))
        recorder.store(
            connection, messages, {**stored_service(connection, name).positions, **positions_behind(messages)}
        )


def stored_facts(url):
    """All that is asked of a history, without numbers and times."""
    with reading(url) as connection:
        found = []
        for row in coils(connection):
            instances = defects(connection, [row.passage])
            of = [
                (
                    *(d.defect.id, d.state, d.defect.box.along_mm, d.more),
                    [mask.runs.tolist() for _, mask in masks(connection, [d.number])],
                )
                for d in instances
            ]
            sums = row.passed_mm, row.inspected_mm, row.missed_mm, row.unrecorded_mm, row.alarms, row.config
            record = read_passage(connection, row.passage)
            rolls = [(mark.state, mark.marks) for mark in record.roll_marks], sorted(record.periodic)
            seen = record.strip_mm, record.width_mm, rolls
            found.append((row.coil, sums, row.defects_by_class, of, spans(connection, row.passage), seen))
        return found
