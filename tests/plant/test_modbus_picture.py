"""A bridge that joined late, or lost something, shows what one that heard everything shows."""

from dataclasses import replace

from bridge_and_plc import values_of
from decisions import LINES, alarm, coil_notice, defect_event, verdict
from hypothesis import given
from hypothesis import strategies as st

from linewatch.client import Lost
from linewatch.config.modbus import ModbusSettings
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.plant.modbus.picture import Picture
from linewatch.plant.modbus.registers import BridgeState
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


def shown(picture):
    return values_of(picture.image().registers)


def hear(picture, wire, messages):
    for message in messages:
        picture.take(message)
    picture.take(wire.status())
    if picture.wants_snapshot:
        picture.sync(wire.standing.snapshot())


steps = st.lists(
    st.sampled_from(["frame", "missed", "raise", "clear", "coil"]) | st.tuples(st.just("rule"), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


def play(wire, script):
    """Decisions in order, as lists of messages."""
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


@given(st.data(), steps)
def test_who_joins_late_stands_where_who_heard_all_stands(data, script):
    """The snapshot may be taken later than the status it follows: messages in between are not counted twice."""
    wire = Wire()
    whole, late = Picture(SETTINGS), Picture(SETTINGS)
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
    wire, picture = Wire(), Picture(SETTINGS)
    hear(picture, wire, wire.say(coil_notice(CoilState.STARTED)))
    hear(picture, wire, [])
    beats = shown(picture)["heartbeat"]
    wire.say(verdict(0, (), (alarm(0),)))
    picture.take(Lost(Topic.ALARM, 1, 0, 1, "gone"))
    picture.take(Lost(Topic.FRAME, 1, 0, 1, "gone"))
    assert picture.state is BridgeState.CATCHING_UP
    picture.take(wire.status())
    assert shown(picture)["heartbeat"] == beats
    picture.sync(wire.standing.snapshot())
    picture.take(wire.status())
    expected = {"heartbeat": beats + 1, "alarm_words": 1 << 3, "messages_lost": 2, "coil_inspected": LINES}
    assert expected.items() <= shown(picture).items()


def test_a_frame_that_overtook_its_coil_is_mended_by_a_snapshot():
    wire, picture = Wire(), Picture(SETTINGS)
    hear(picture, wire, [])
    started = wire.say(coil_notice(CoilState.STARTED))
    hear(picture, wire, wire.say(verdict(0)) + started)
    assert shown(picture)["coil_inspected"] == LINES


def test_a_defect_keeps_its_number_while_it_grows_and_newer_ones_push_it_on():
    wire, picture = Wire(), Picture(SETTINGS)
    hear(picture, wire, wire.say(coil_notice(CoilState.STARTED)))
    hear(picture, wire, wire.say(verdict(0, (defect_event(0, name="long"),))))
    hear(picture, wire, wire.say(verdict(1, (defect_event(1, DefectState.UPDATED, name="long"),))))
    values = shown(picture)
    assert [values[f"defect_1_{name}"] for name in ("number", "state", "along_begin")] == [1, 1, 2560]
    for ordinal in range(2, 8):
        hear(picture, wire, wire.say(verdict(ordinal, (defect_event(ordinal),))))
    hear(picture, wire, wire.say(verdict(8, (defect_event(8, DefectState.CLOSED, name="long"),))))
    values = shown(picture)
    assert [values[f"defect_{slot}_number"] for slot in range(1, 7)] == [7, 6, 5, 4, 3, 2]
    assert values["defect_changes"] == 8


def test_a_tentative_defect_is_shown_from_when_it_is_called():
    wire, picture = Wire(), Picture(SETTINGS)
    hear(picture, wire, wire.say(coil_notice(CoilState.STARTED)))
    steps = [(DefectState.OPENED, True), (DefectState.UPDATED, True), (DefectState.UPDATED, False)]
    numbers = []
    for ordinal, (state, tentative) in enumerate([*steps, (DefectState.CLOSED, False)]):
        event = defect_event(ordinal, state, name="grows")
        event = replace(event, defect=replace(event.defect, tentative=tentative))
        passing = replace(
            defect_event(ordinal, DefectState.OPENED), defect=replace(event.defect, id="n", tentative=True)
        )
        closed = replace(passing, state=DefectState.CLOSED)
        hear(picture, wire, wire.say(verdict(ordinal, (event, passing, closed))))
        values = shown(picture)
        numbers.append((values["defect_1_number"], values["defect_1_state"], values["defect_2_number"]))
    assert numbers == [(0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 2, 0)]


def test_a_new_start_of_the_service_is_joined_by_its_snapshot():
    wire, picture = Wire(1), Picture(SETTINGS)
    hear(picture, wire, wire.say(coil_notice(CoilState.STARTED)))
    hear(picture, wire, wire.say(verdict(0, (), (alarm(0),))))
    again = Wire(2)
    picture.take(again.status())
    assert picture.wants_snapshot
    picture.sync(again.standing.snapshot())
    assert (shown(picture)["alarms_standing"], shown(picture)["coil_state"]) == (0, ENDED)


def test_a_beat_counts_once_and_only_a_healthy_one():
    wire, picture = Wire(), Picture(SETTINGS)
    hear(picture, wire, [])
    first = wire.status()
    for message in (first, first, wire.status(healthy=False), wire.status(healthy=False)):
        picture.take(message)
    assert (shown(picture)["heartbeat"], picture.state) == (1, BridgeState.UNHEALTHY)
    wire.beats += 1  # a service that counts on all the same is not believed
    picture.take(wire.status(healthy=False))
    assert shown(picture)["heartbeat"] == 1
    picture.take(wire.status(state=ServiceState.FAILED, healthy=False))
    assert picture.state is BridgeState.FAILED
