"""The alarm journal gives every transition, the newest first, and only those that were asked for."""

from dataclasses import replace

import pytest
from decisions import alarm, verdict
from stored_coils import messages_of, store_messages

from linewatch.contracts.alarm import AlarmAction, AlarmChange, AlarmCommand, AlarmState, Priority
from linewatch.history.alarm_journal import AlarmFilter, alarm_journal, alarm_rules
from linewatch.history.database import reading, writing

SECOND = 1_000_000_000


@pytest.fixture
def journal(tmp_path):
    """Return what asks a history with four transitions, one a second."""
    asked = AlarmCommand("token-123", AlarmAction.ACKNOWLEDGE, "hmi-3", 5, "ann", "seen")
    told = [
        (alarm(0, name="a"), 0),
        (replace(alarm(1, name="b"), rule="hole", priority=Priority.URGENT, text="hole: 50 % of it"), 1),
        (replace(alarm(2, name="a"), change=AlarmChange.ACKNOWLEDGED, acked_state=True, command=asked), 2),
        (replace(alarm(3, AlarmState.CLEARED, name="b"), rule="hole", coil="C2", change=AlarmChange.INACTIVE), 3),
    ]
    decided = []
    for one, second in told:
        frame = verdict(second, (), (one,))
        frame.timing.published_unix_ns = (second + 1) * SECOND
        decided.append(frame)
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    with writing(url) as engine:
        store_messages(engine, messages_of(*decided))

    def ask(limit=100, before=None, **wanted):
        with reading(url) as connection:
            return alarm_journal(connection, AlarmFilter(**wanted), before=before, limit=limit)

    with reading(url) as connection:
        assert alarm_rules(connection) == sorted({one.rule for one, _ in told})
    return ask


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["b", "a", "b", "a"]),
        ({"since_unix_ns": 2 * SECOND, "until_unix_ns": 4 * SECOND}, ["a", "b"]),
        ({"priorities": [Priority.URGENT]}, ["b"]),
        ({"changes": [AlarmChange.ACKNOWLEDGED, AlarmChange.INACTIVE]}, ["b", "a"]),
        ({"rule": "hole"}, ["b", "b"]),
        ({"coil": "C2"}, ["b"]),
        ({"by": "ann"}, ["a"]),
        ({"by": "hmi-3"}, ["a"]),
        ({"by": "nobody"}, []),
        ({"text": "HOLE: 50 %"}, ["b"]),
        ({"text": "%"}, ["b"]),
        ({"service": "svc"}, ["b", "a", "b", "a"]),
        ({"service": "other"}, []),
    ],
)
def test_the_filter_lets_through_what_was_asked_for(journal, wanted, names):
    assert [row.body["id"] for row in journal(**wanted)] == names


def test_pages_go_on_where_the_last_one_ended_and_tell_who_asked(journal):
    first = journal(limit=3)
    (last,) = journal(limit=3, before=first[-1].number)
    assert [row.happened_unix_ns // SECOND for row in (*first, last)] == [4, 3, 2, 1]
    assert first[1].body["command"]["said_by"] == "ann"
    assert first[1].body["command"]["comment"] == "seen"
