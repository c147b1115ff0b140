"""A request belongs to the key that it came with, whatever it says itself, also when repeated after a restart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.contracts.access import Caller, Role
from linewatch.contracts.alarm import Alarm, AlarmAction, AlarmCommand, AlarmNotice, AlarmState
from linewatch.contracts.prediction import Timing
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.wire.decode import alarm_from
from linewatch.wire.encode import alarm_body
from linewatch.wire.schema import AlarmBody, AlarmRequest, canonical

WITHOUT_KEYS = Caller(None, Role.ENGINEER)
DESK, OTHER = Caller("desk-1", Role.OPERATOR), Caller("desk-2", Role.OPERATOR)


def request(by: str = "ann") -> AlarmRequest:
    return AlarmRequest(
        schema_version=1, request="alarm", token="the-first-one", action=AlarmAction.ACKNOWLEDGE, alarm="square", by=by
    )


def carried_out(caller: Caller, by: str = "ann") -> AlarmBody:
    """Return the transition that such a request causes, as it is journaled."""
    handed_on = []
    orders = AlarmOrders([], handed_on.append)
    outcome = orders.take(request(by), caller)
    command = handed_on[0].command
    place = {"coil": "C1", "side": "top", "camera": "cam1", "along_mm": 1.0, "defect_ids": (), "text": "square"}
    alarm = Alarm("C1/square", "square", AlarmState.RAISED, True, **place, acked_state=True, command=command)
    orders.begin(handed_on[0])
    orders.settle(AlarmNotice((alarm,), Timing(), command))
    assert outcome.changed == [alarm_body(alarm, None)]
    return alarm_body(alarm, None)


@pytest.mark.parametrize(
    ("caller", "by", "said_by", "asker"),
    [(DESK, "desk-1", "ann", "ann (key desk-1)"), (WITHOUT_KEYS, "ann", None, "ann")],
)
def test_the_record_has_the_keys_name_and_the_name_that_was_said(caller, by, said_by, asker):
    mark = carried_out(caller).command
    assert (mark.by, mark.said_by) == (by, said_by)
    assert AlarmCommand(**mark.model_dump()).asker == asker


@pytest.mark.parametrize("caller", [DESK, WITHOUT_KEYS])
def test_after_a_restart_the_same_key_is_answered_as_before_and_no_other(caller):
    body = carried_out(caller)
    handed_on = []
    again = AlarmOrders([body], handed_on.append)
    for other in {DESK, OTHER, WITHOUT_KEYS} - {caller}:
        assert again.take(request(), other).refused == "its token names another request"
    assert again.take(request(), caller).changed == [body]
    assert handed_on == []


@given(st.text(max_size=64), st.sampled_from([DESK, WITHOUT_KEYS]))
def test_the_record_survives_the_journal(by, caller):
    body = carried_out(caller, by)
    told = AlarmBody.model_validate_json(canonical(body.model_dump()))
    assert told == body
    assert alarm_from(told).command.key == caller.key


def test_a_record_of_before_there_were_keys_is_of_none():
    fields = carried_out(WITHOUT_KEYS).model_dump(mode="json")
    del fields["command"]["said_by"]
    assert alarm_from(AlarmBody.model_validate_json(canonical(fields))).command.key is None
