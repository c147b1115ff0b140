"""The subscriber returns each message once and in order per topic, whatever fails on the way."""

import socket
import time
from collections import defaultdict

import pytest

from linewatch.client import Loss, Lost, Position, Subscriber
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import AlarmMessage, DefectMessage, FrameMessage, StatusMessage, Topic

pytestmark = pytest.mark.service

PATIENCE_S = 120.0


def read_until(subscriber, enough, patience_s=PATIENCE_S):
    """Return messages, without heartbeats, up to the first that satisfies `enough`."""
    deadline, messages = time.monotonic() + patience_s, []
    while time.monotonic() < deadline:
        message = subscriber.poll(0.2)
        if message is not None and not isinstance(message, StatusMessage):
            messages.append(message)
            if enough(message):
                return messages
    raise AssertionError(f"{len(messages)} messages and not what was waited for; last {messages[-1:]}")


def listen(subscriber):
    """Return when the first message of the service has come."""
    while subscriber.heartbeat_age_s == float("inf"):
        subscriber.poll(0.2)


def names(messages):
    """Return (epoch, sequence) of each message by topic, in order of arrival."""
    found = defaultdict(list)
    for message in messages:
        found[message.topic].append((message.epoch, message.sequence))
    return dict(found)


def is_frame(epoch, sequence):
    return lambda m: isinstance(m, FrameMessage) and (m.epoch, m.sequence) == (epoch, sequence)


def test_messages_come_typed_with_their_masks(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve) as subscriber:
        listen(subscriber)
        service.tell("frames 1 5")
        service.tell("alarm")
        messages = read_until(subscriber, lambda m: isinstance(m, AlarmMessage))
        assert names(messages) == {Topic.FRAME: [(1, 0), (1, 1)], Topic.DEFECT: [(1, 0)], Topic.ALARM: [(1, 0)]}
        (defect,) = (one for one in messages if isinstance(one, DefectMessage))
        alarm = messages[-1]
        assert defect.runs.shape == (5, 3)
        assert alarm.rule == "scratches"
        assert subscriber.filled == subscriber.rejected == 0
        assert any(isinstance(subscriber.poll(5.0), StatusMessage) for _ in range(3))


def test_only_the_topics_that_were_asked_for_come(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve, ["alarm"]) as subscriber:
        listen(subscriber)
        service.tell("frames 5 3")
        service.tell("alarm")
        assert isinstance(subscriber.poll(10.0), AlarmMessage)
        assert subscriber.poll(0.3) is None
    with pytest.raises(ValueError, match="weather"):
        Subscriber(service.publish, service.serve, ["weather"])


def test_a_late_joiner_gets_the_epoch_from_its_beginning_or_from_now_as_it_wishes(start_service):
    service = start_service()
    service.tell("frames 50 3")
    service.tell("alarm")
    with (
        Subscriber(service.publish, service.serve, since="epoch") as whole,
        Subscriber(service.publish, service.serve) as live,
    ):
        listen(live)
        read_until(whole, lambda m: isinstance(m, FrameMessage) and m.sequence == 50)
        service.tell("frames 1 3")
        late = [m for m in read_until(whole, is_frame(1, 51)) if isinstance(m, FrameMessage)]
        assert [m.sequence for m in late] == [51]
        assert read_until(live, is_frame(1, 51))[0].sequence == 51
    with Subscriber(service.publish, service.serve, ["alarm"], since="epoch") as alarms:
        assert isinstance(alarms.poll(10.0), AlarmMessage), "the heartbeat tells of topics that are silent now"


def test_a_slow_reader_loses_nothing(start_service):
    service = start_service(send_high_water=10)
    with Subscriber(service.publish, service.serve, receive_high_water=10) as subscriber:
        listen(subscriber)
        service.tell("frames 500 1000")
        service.tell("alarm")
        # Order holds within a topic only: the tail of one that was dropped shows at the next heartbeat.
        last = {(Topic.FRAME, 500), (Topic.DEFECT, 499), (Topic.ALARM, 0)}
        messages = read_until(
            subscriber, lambda m: isinstance(m, Lost) or last.discard((m.topic, m.sequence)) or not last
        )
        assert not [m for m in messages if isinstance(m, Lost)]
        assert names(messages)[Topic.FRAME] == [(1, n) for n in range(501)]
        assert names(messages)[Topic.DEFECT] == [(1, n) for n in range(500)]
        assert subscriber.filled > 0


def test_a_message_lost_at_the_end_of_a_topic_shows_by_the_next_heartbeat(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve, ["alarm"]) as subscriber:
        listen(subscriber)
        service.tell("unheard")
        alarm = subscriber.poll(10.0)
        assert isinstance(alarm, AlarmMessage)
        assert (alarm.sequence, subscriber.filled) == (0, 1)


def test_after_kill_9_and_a_restart_both_epochs_come_whole(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve) as subscriber:
        listen(subscriber)
        service.tell("frames 3 3")
        read_until(subscriber, is_frame(1, 2))
        service.tell("unheard")
        service.restart()
        service.tell("frames 4 3")  # the subscriber may be connected again or not
        service.restart()
        service.tell("alarm")
        messages = read_until(subscriber, lambda m: isinstance(m, AlarmMessage) and m.epoch == 3)
        messages += [m for m in (subscriber.poll(0.2) for _ in range(20)) if m and not isinstance(m, StatusMessage)]
        found = names(messages)
        assert found[Topic.FRAME] == [(1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0)]
        assert found[Topic.ALARM] == [(1, 0), (3, 0)]
        assert found[Topic.DEFECT][-4:] == [(2, 0), (2, 1), (2, 2), (2, 3)]
        snapshot = subscriber.snapshot()
        assert [alarm.id for alarm in snapshot.standing_alarms] == ["1/3", "3/0"]
        assert snapshot.epoch == 3


def test_a_consumer_resumes_where_another_one_stood(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve, since="epoch") as first:
        service.tell("frames 5 3")
        read_until(first, is_frame(1, 2))
        positions = first.positions
    assert positions["frame"] == Position(1, 3)
    service.restart()
    service.tell("frames 2 3")
    with Subscriber(service.publish, service.serve, ["frame"], positions=positions) as second:
        messages = read_until(second, is_frame(2, 1))
        assert names(messages)[Topic.FRAME] == [(1, 3), (1, 4), (2, 0), (2, 1)]


def test_what_the_journal_no_longer_holds_is_said_exactly(start_service):
    service = start_service()
    service.tell("frames 800 1000")  # about 10 MB where 8 fit
    with Subscriber(service.publish, service.serve, ["frame"], since="epoch") as subscriber:
        lost, *messages = read_until(subscriber, is_frame(1, 799))
        assert isinstance(lost, Lost)
        assert (lost.topic, lost.epoch, lost.first) == (Topic.FRAME, 1, 0)
        assert 0 < lost.end < 800
        assert names(messages)[Topic.FRAME] == [(1, n) for n in range(lost.end, 800)]


def test_a_whole_epoch_that_is_gone_is_said(start_service):
    service = start_service()
    service.tell("alarm")
    service.restart()
    service.tell("frames 1500 1000")
    with Subscriber(service.publish, service.serve, ["alarm"], positions={"alarm": Position(1, 0)}) as subscriber:
        lost = subscriber.poll(10.0)
        assert isinstance(lost, Lost)
        assert (lost.epoch, lost.first, lost.end) == (1, 0, None)
        service.tell("alarm")
        assert isinstance(subscriber.poll(10.0), AlarmMessage)


def test_a_journal_that_began_anew_is_noticed(start_service):
    service = start_service()
    ahead = {"alarm": Position(7, 100)}
    with Subscriber(service.publish, service.serve, ["alarm"], positions=ahead) as subscriber:
        service.tell("alarm")
        lost, alarm = read_until(subscriber, lambda m: isinstance(m, AlarmMessage))
        assert (lost.epoch, lost.first, lost.end, lost.reason) == (7, 100, None, "the service began a new journal")
        assert (alarm.epoch, alarm.sequence) == (1, 0)


def test_a_server_that_does_not_answer_costs_a_gap_and_not_the_stream(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve, ["alarm"], answer_timeout_s=0.3) as subscriber:
        listen(subscriber)
        service.tell("deaf")
        service.tell("unheard")
        service.tell("alarm")
        lost, alarm = read_until(subscriber, lambda m: isinstance(m, AlarmMessage))
        assert isinstance(lost, Lost)
        assert (lost.first, lost.end, alarm.sequence) == (0, 1, 1)
        assert "no answer from the service within 0.3 s" in lost.reason
        with pytest.raises(WireError, match="no answer"):
            subscriber.snapshot()


def test_garbage_is_counted_and_passed_over(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve) as subscriber:
        listen(subscriber)
        service.tell("garbage")
        service.tell("frames 1 3")
        assert names(read_until(subscriber, is_frame(1, 0))) == {Topic.FRAME: [(1, 0)]}
        assert subscriber.rejected == 4


def test_a_peer_that_speaks_no_zeromq_does_no_harm_and_the_service_is_heard_when_it_has_its_port(start_service):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        subscriber = Subscriber(endpoint, endpoint, answer_timeout_s=0.3)
        for _ in range(2):
            stranger, _ = listener.accept()
            stranger.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1000))
            stranger.recv(1000)
            stranger.close()
        assert subscriber.poll(0.2) is None
        assert subscriber.heartbeat_age_s == float("inf")
        with pytest.raises(WireError, match="no answer"):
            subscriber.snapshot()
    start_service(publish=endpoint)
    with subscriber:
        listen(subscriber)


def test_another_schema_version_is_an_error_and_not_silence(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve) as subscriber:
        listen(subscriber)
        service.tell("newer")
        with pytest.raises(WireError, match="schema version 2; this side speaks 1"):
            read_until(subscriber, lambda m: False)


def test_a_heartbeat_that_stops_grows_old(start_service):
    service = start_service()
    with Subscriber(service.publish, service.serve, ["status"]) as subscriber:
        listen(subscriber)
        service.tell("mute")
        while subscriber.heartbeat_age_s < 0.5:
            subscriber.poll(0.1)
        assert subscriber.poll(0.1) is None
        service.restart()
        while subscriber.heartbeat_age_s > 0.4:
            subscriber.poll(0.1)


def test_an_endpoint_that_is_none_is_an_error_with_a_remedy():
    with pytest.raises(WireError, match="expected tcp://HOST:PORT"):
        Subscriber("5570", "tcp://127.0.0.1:5571")


def test_a_new_consumer_can_have_all_that_the_journal_holds(start_service):
    service = start_service()
    for _ in range(3):
        service.tell("frames 2 1")
        service.restart()
    service.tell("frames 2 1")
    with Subscriber(service.publish, service.serve, ["frame"], since="journal") as subscriber:
        messages = read_until(subscriber, is_frame(4, 1))
    assert names(messages) == {"frame": [(epoch, sequence) for epoch in (1, 2, 3, 4) for sequence in (0, 1)]}


def test_who_got_no_answer_can_have_it_by_subscribing_again(start_service):
    service = start_service()
    service.tell("frames 3 1")
    service.tell("deaf")
    start = {"frame": Position(1, 0)}
    with Subscriber(service.publish, service.serve, ["frame"], positions=start, answer_timeout_s=0.3) as subscriber:
        (lost,) = read_until(subscriber, lambda m: isinstance(m, Lost))
    assert lost.loss is Loss.NO_ANSWER
    service.restart()
    with Subscriber(service.publish, service.serve, ["frame"], positions=start) as subscriber:
        service.tell("frames 1 1")
        messages = read_until(subscriber, is_frame(2, 0))
    assert names(messages) == {"frame": [(1, 0), (1, 1), (1, 2), (2, 0)]}
