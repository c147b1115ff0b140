"""A bridge that joined late or lost messages shows the same registers as one that received all."""

from dataclasses import replace

import pytest
from bridge_and_plc import values_of
from decisions import LINES, alarm, coil_notice, defect_event, verdict
from hypothesis import given
from hypothesis import strategies as st

from linewatch.client import Lost
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.modbus.values import RegisterValues
from linewatch.plant.view import BridgeState
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import ServiceState, StatusBody, Topic, decode
from linewatch.wire.snapshot import SnapshotTracker

SETTINGS = ModbusSettings(alarm_bits={"scratches": 3}, class_codes={"scratch": 8})
ALARMS = ("alarm_words", "alarms_standing", "alarms_without_bit")
COIL = ("coil_state", "coil_id", "coil_inspected", "coil_degraded", "coil_missed", "along")
NO_COIL, RUNNING, ENDED = 0, 1, 2


class Wire:
    """A service's messages and snapshots, without sockets."""

    def __init__(self, epoch: int = 1) -> None:
        self.sequencer, self.standing = Sequencer(epoch), SnapshotTracker(epoch, ())
        self.beats = 0

    def say(self, decided):
        messages = drafts(decided)
        records = [self.sequencer.record(draft) for draft in messages]
        self.standing.follow(messages, self.sequencer.sequences)
        return [decode(record.topic.encode(), record.header, record.payload) for record in records]

    def status(self, healthy=True, state=ServiceState.RUNNING):
        self.beats += healthy
        body = StatusBody(
            heartbeat=self.beats,
            healthy=healthy,
            state=state,
            failure=None,
            quality=Quality.INSPECTED,
            uptime_s=1.0,
            now_ns=1,
            now_unix_ns=1,
            coil=None,
            along_mm=None,
            lines_by_quality={},
            lines_by_cause={},
            ring_slots=1,
            stages=(),
            engines=(),
            frames=0,
            frames_per_s=0.0,
            tiles_per_s=0.0,
            defects=0,
            alarms_standing=0,
            ring_free=1,
        )
        record = self.sequencer.status(body)
        return decode(record.topic.encode(), record.header, record.payload)


def shown(registers):
    return values_of(registers.image().registers)


def hear(registers, wire, messages):
    for message in messages:
        registers.take(message)
    registers.take(wire.status())
    if registers.wants_snapshot:
        registers.sync(wire.standing.snapshot())


steps = st.lists(
    st.sampled_from(["frame", "missed", "raise", "clear", "coil"]) | st.tuples(st.just("rule"), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


def play(wire, script):
    """Yield the messages of each decision of a script, in order."""
    ordinal, running, standing = 0, False, []
    for step in script:
        if not running:
            yield wire.say(coil_notice(CoilState.STARTED))
            running = True
        if step == "coil":
            yield wire.say(coil_notice(CoilState.ENDED, float(ordinal * LINES)))
            running = False
            continue
        alarms = ()
        if step == "raise" or isinstance(step, tuple):
            standing.append(f"a{ordinal}")
            alarms = (alarm(ordinal, name=standing[-1]),)
        elif step == "clear" and standing:
            alarms = (alarm(ordinal, AlarmState.CLEARED, standing.pop(0)),)
        yield wire.say(verdict(ordinal, (), alarms, missed_lines=16 if step == "missed" else 0))
        ordinal += 1


@pytest.mark.slow
@given(st.data(), steps)
def test_who_joins_late_stands_where_who_heard_all_stands(data, script):
    """The snapshot may be taken later than the status it follows: messages in between are not counted twice."""
    wire = Wire()
    whole, late = RegisterValues(SETTINGS), RegisterValues(SETTINGS)
    hear(whole, wire, [])
    last = len(list(play(Wire(), script))) - 1
    joins = data.draw(st.integers(0, last), "the first decision that is heard late")
    snapshot_at = data.draw(st.integers(joins, last), "the last decision in the snapshot")
    waiting = []
    for n, messages in enumerate(play(wire, script)):
        for message in messages:
            whole.take(message)
        if n >= joins:
            waiting += messages
        if n == snapshot_at:
            late.take(wire.status())
            late.sync(wire.standing.snapshot())
    for message in waiting:
        late.take(message)
    heard, joined = shown(whole), shown(late)
    assert {name: joined[name] for name in ALARMS} == {name: heard[name] for name in ALARMS}
    assert late.image().alarm_bits == whole.image().alarm_bits
    if joined["coil_state"] == NO_COIL:  # a coil that had ended before is not in a snapshot
        assert heard["coil_state"] == ENDED
    else:
        assert {name: joined[name] for name in COIL} == {name: heard[name] for name in COIL}


def test_what_was_lost_comes_by_a_snapshot_and_the_heartbeat_waits_for_it():
    wire, registers = Wire(), RegisterValues(SETTINGS)
    hear(registers, wire, wire.say(coil_notice(CoilState.STARTED)))
    hear(registers, wire, [])
    beats = shown(registers)["heartbeat"]
    wire.say(verdict(0, (), (alarm(0),)))
    registers.take(Lost(Topic.ALARM, 1, 0, 1, "gone"))
    registers.take(Lost(Topic.FRAME, 1, 0, 1, "gone"))
    assert registers.state is BridgeState.CATCHING_UP
    registers.take(wire.status())
    assert shown(registers)["heartbeat"] == beats
    registers.sync(wire.standing.snapshot())
    registers.take(wire.status())
    expected = {"heartbeat": beats + 1, "alarm_words": 1 << 3, "messages_lost": 2, "coil_inspected": LINES}
    assert expected.items() <= shown(registers).items()


def test_a_frame_that_overtook_its_coil_is_mended_by_a_snapshot():
    wire, registers = Wire(), RegisterValues(SETTINGS)
    hear(registers, wire, [])
    started = wire.say(coil_notice(CoilState.STARTED))
    hear(registers, wire, wire.say(verdict(0)) + started)
    assert shown(registers)["coil_inspected"] == LINES


def test_a_defect_keeps_its_number_while_it_grows_and_newer_ones_push_it_on():
    wire, registers = Wire(), RegisterValues(SETTINGS)
    hear(registers, wire, wire.say(coil_notice(CoilState.STARTED)))
    hear(registers, wire, wire.say(verdict(0, (defect_event(0, name="long"),))))
    hear(registers, wire, wire.say(verdict(1, (defect_event(1, DefectState.UPDATED, name="long"),))))
    values = shown(registers)
    assert [values[f"defect_1_{name}"] for name in ("number", "state", "along_begin")] == [1, 1, 2560]
    for ordinal in range(2, 8):
        hear(registers, wire, wire.say(verdict(ordinal, (defect_event(ordinal),))))
    hear(registers, wire, wire.say(verdict(8, (defect_event(8, DefectState.CLOSED, name="long"),))))
    values = shown(registers)
    assert [values[f"defect_{slot}_number"] for slot in range(1, 7)] == [7, 6, 5, 4, 3, 2]
    assert values["defect_changes"] == 8


def test_a_tentative_defect_is_shown_from_when_it_is_called():
    wire, registers = Wire(), RegisterValues(SETTINGS)
    hear(registers, wire, wire.say(coil_notice(CoilState.STARTED)))
    steps = [(DefectState.OPENED, True), (DefectState.UPDATED, True), (DefectState.UPDATED, False)]
    numbers = []
    for ordinal, (state, tentative) in enumerate([*steps, (DefectState.CLOSED, False)]):
        event = defect_event(ordinal, state, name="grows")
        event = replace(event, defect=replace(event.defect, tentative=tentative))
        passing = replace(
            defect_event(ordinal, DefectState.OPENED), defect=replace(event.defect, id="n", tentative=True)
        )
        closed = replace(passing, state=DefectState.CLOSED)
        hear(registers, wire, wire.say(verdict(ordinal, (event, passing, closed))))
        values = shown(registers)
        numbers.append((values["defect_1_number"], values["defect_1_state"], values["defect_2_number"]))
    assert numbers == [(0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 2, 0)]


def test_a_new_start_of_the_service_is_joined_by_its_snapshot():
    wire, registers = Wire(1), RegisterValues(SETTINGS)
    hear(registers, wire, wire.say(coil_notice(CoilState.STARTED)))
    hear(registers, wire, wire.say(verdict(0, (), (alarm(0),))))
    again = Wire(2)
    registers.take(again.status())
    assert registers.wants_snapshot
    registers.sync(again.standing.snapshot())
    assert (shown(registers)["alarms_standing"], shown(registers)["coil_state"]) == (0, ENDED)


def test_a_beat_counts_once_and_only_a_healthy_one():
    wire, registers = Wire(), RegisterValues(SETTINGS)
    hear(registers, wire, [])
    first = wire.status()
    for message in (first, first, wire.status(healthy=False), wire.status(healthy=False)):
        registers.take(message)
    assert (shown(registers)["heartbeat"], registers.state) == (1, BridgeState.UNHEALTHY)
    wire.beats += 1  # a service that counts on all the same is not believed
    registers.take(wire.status(healthy=False))
    assert shown(registers)["heartbeat"] == 1
    registers.take(wire.status(state=ServiceState.FAILED, healthy=False))
    assert registers.state is BridgeState.FAILED
