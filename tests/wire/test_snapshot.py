"""The snapshot is the service's state after the last message."""

from dataclasses import replace

from decisions import alarm, coil_notice, defect_event, roll_mark, verdict

from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.verdict import CoilState, DefectState, RollMarkState
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import EngineStatus
from linewatch.wire.snapshot import SnapshotTracker

ENGINES = [EngineStatus(role="screen", identity="openvino@0123")]


def follow(*decisions, alarms=()):
    sequencer, standing = Sequencer(3), SnapshotTracker(3, ENGINES, alarms)
    for decided in decisions:
        messages = drafts(decided)
        for draft in messages:
            sequencer.record(draft)
        standing.follow(messages, sequencer.sequences)
    return standing.snapshot()


def test_the_coil_so_far_adds_up():
    merged = replace(defect_event(1, DefectState.CLOSED, runs=0, name="b"), merged_into="a")
    snapshot = follow(
        coil_notice(CoilState.STARTED),
        verdict(0, (defect_event(0, name="a"), defect_event(0, name="b"), defect_event(0, name="c"))),
        verdict(1, (defect_event(1, DefectState.UPDATED, name="a"), merged), missed_lines=56),
        verdict(2, (defect_event(2, DefectState.CLOSED, runs=0, name="c"),)),
    )
    coil = snapshot.coil
    assert (coil.coil, coil.along_mm) == ("C1", 768.0)
    assert (coil.inspected_mm, coil.degraded_mm, coil.missed_mm) == (712.0, 0.0, 56.0)
    assert coil.missed_lines_by_cause == {"truncated": 56}
    assert coil.defects_by_class == {"scratch": 2}
    assert [(defect.id, defect.mask) for defect in snapshot.open_defects] == [("a", None)]
    assert snapshot.sequences == {"frame": 3, "defect": 6, "alarm": 0, "coil": 1, "roll_mark": 0}
    assert snapshot.engines == tuple(ENGINES)


def test_a_coil_that_has_ended_leaves_nothing_open():
    event = defect_event(0, name="a")
    closing = replace(event, state=DefectState.CLOSED, mask=None)
    snapshot = follow(
        coil_notice(CoilState.STARTED), verdict(0, (event,)), coil_notice(CoilState.ENDED, 256.0, (closing,))
    )
    assert snapshot.coil is None
    assert snapshot.open_defects == ()


def test_alarms_stand_until_they_are_cleared_also_those_from_before_this_start():
    sequencer = Sequencer(2)
    before = [sequencer.record(draft) for draft in drafts(verdict(0, (), (alarm(0, name="x"), alarm(0, name="y"))))[1:]]
    snapshot = follow(verdict(1, (), (alarm(1, name="z"), alarm(1, AlarmState.CLEARED, name="x"))), alarms=before)
    assert [standing.id for standing in snapshot.standing_alarms] == ["y", "z"]


def test_the_snapshot_says_since_when_an_alarm_is_active():
    raised, again = verdict(0, (), (alarm(0, name="x"),)), verdict(1, (), (alarm(1, name="x"),))
    raised.timing.published_unix_ns, again.timing.published_unix_ns = 5, 9
    before = [Sequencer(2).record(draft) for draft in drafts(raised)[1:]]
    assert follow(raised, again).active_since_unix_ns == {"x": 5}
    assert follow(again, alarms=before).active_since_unix_ns == {"x": 5}
    assert follow(raised, verdict(2, (), (alarm(2, AlarmState.CLEARED, name="x"),))).active_since_unix_ns == {}


def test_a_snapshot_is_bounded_and_says_what_it_leaves_out():
    many = tuple(defect_event(0, runs=1, name=f"d{n}") for n in range(1005))
    snapshot = follow(coil_notice(CoilState.STARTED), verdict(0, many))
    assert (len(snapshot.open_defects), snapshot.open_defects_left_out) == (1000, 5)


def test_roll_marks_stand_until_they_end_or_their_coil_does():
    begun = coil_notice(CoilState.STARTED), replace(verdict(0), roll_marks=(roll_mark(),))
    grown = replace(verdict(1), roll_marks=(replace(roll_mark(RollMarkState.UPDATED), marks=6),))
    assert [(mark.marks, mark.state) for mark in follow(*begun, grown).roll_marks] == [(6, "updated")]
    assert follow(*begun, replace(verdict(1), roll_marks=(roll_mark(RollMarkState.ENDED),))).roll_marks == ()
    assert follow(*begun, coil_notice(CoilState.ENDED, 256.0)).roll_marks == ()
