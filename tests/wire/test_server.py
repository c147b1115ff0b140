"""The server answers every request with a bounded reply, and survives whatever arrives."""

import contextlib
import json
import socket
import threading
from types import SimpleNamespace

import pytest
import zmq
from decisions import alarm, coil_notice, defect_event, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from linewatch.config.journal import JournalSettings
from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.verdict import CoilState
from linewatch.journal.journal import Journal
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import REPLY, ErrorCode, ErrorReply, ReplayReply, SnapshotReply, canonical
from linewatch.wire.server import MAX_REPLY_BYTES, Server
from linewatch.wire.snapshot import SnapshotTracker


class BrokenStore:
    """A journal whose disk is gone."""

    identity = ""

    def epochs(self):
        return [1]

    def span(self, epoch, topic):
        raise JournalError("the disk is gone")


@contextlib.contextmanager
def serving(store, standing):
    """A server on a thread of its own, and a connected DEALER."""
    wire = WireSettings(serve="tcp://127.0.0.1:*")
    ready, stop = threading.Event(), threading.Event()
    context = zmq.Context()
    found = SimpleNamespace()

    def serve():
        with Server(context, wire, None, store, standing.snapshot) as server:
            found.endpoint = server.endpoint
            ready.set()
            while not stop.is_set():
                server.poll(20)

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(10)
    dealer = context.socket(zmq.DEALER)
    dealer.connect(found.endpoint)
    found.dealer, found.context = dealer, context
    try:
        yield found
    finally:
        stop.set()
        thread.join(10)
        context.destroy(0)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Journal(JournalSettings(dir=tmp_path_factory.mktemp("journal"))) as journal:
        sequencer, standing = Sequencer(journal.epoch), SnapshotTracker(journal.epoch, [])
        many = [verdict(n, (defect_event(n, runs=2000),), (alarm(n),) * (n % 40 == 0)) for n in range(100)]
        for decided in [coil_notice(CoilState.STARTED), *many]:
            messages = drafts(decided)
            journal.append([sequencer.record(draft) for draft in messages], sync=False)
            standing.follow(messages, sequencer.sequences)
        with serving(journal, standing) as found:
            yield found


def ask(dealer, request):
    dealer.send(request if isinstance(request, bytes) else canonical({"schema_version": 1, "id": 5} | request))
    assert dealer.poll(10_000), "no reply"
    header, *parts = dealer.recv_multipart()
    return REPLY.validate_json(header), [parts[at : at + 3] for at in range(0, len(parts), 3)]


def replay(topic, first, end=None, epoch=1):
    return {"request": "replay", "topic": topic, "epoch": epoch, "from_sequence": first, "to_sequence": end}


def test_what_was_published_is_served_again_page_by_page(service):
    got, first, pages = [], 0, 0
    while True:
        reply, records = ask(service.dealer, replay("defect", first))
        assert isinstance(reply, ReplayReply)
        assert reply.records == len(records) > 0
        assert sum(len(part) for record in records for part in record) <= MAX_REPLY_BYTES + 1000
        got += [json.loads(header)["sequence"] for _, header, _ in records]
        first, pages = got[-1] + 1, pages + 1
        if not reply.more:
            break
    assert got == list(range(100))
    assert pages > 5
    assert (reply.id, reply.oldest, reply.next, reply.next_epoch, reply.oldest_epoch) == (5, 0, 100, None, 1)


def test_a_range_is_half_open_and_may_lie_beyond_what_there_is(service):
    for (first, end), wanted in {
        (3, 6): [3, 4, 5],
        (98, None): [98, 99],
        (98, 300): [98, 99],
        (6, 3): [],
        (100, None): [],
    }.items():
        reply, records = ask(service.dealer, replay("frame", first, end))
        assert [json.loads(header)["sequence"] for _, header, _ in records] == wanted
        assert not reply.more


def test_an_epoch_of_which_nothing_is_kept_is_said_to_be_so(service):
    for epoch, next_epoch in ((0, 1), (2, None)):
        reply, records = ask(service.dealer, replay("frame", 0, epoch=epoch))
        assert (reply.oldest, reply.next, reply.next_epoch, records) == (None, None, next_epoch, [])


def test_the_snapshot_says_where_to_go_on(service):
    reply, _ = ask(service.dealer, {"request": "snapshot"})
    assert isinstance(reply, SnapshotReply)
    assert reply.snapshot.sequences == {"frame": 100, "defect": 100, "alarm": 3, "coil": 1, "roll_mark": 0}
    assert len(reply.snapshot.standing_alarms) == 3


def test_a_req_socket_may_ask_too(service):
    with service.context.socket(zmq.REQ) as req:
        req.connect(service.endpoint)
        for _ in range(2):
            assert isinstance(ask(req, {"request": "snapshot"})[0], SnapshotReply)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (b"", ErrorCode.BAD_REQUEST, "JSON"),
        (b"\xff\xfe{}", ErrorCode.BAD_REQUEST, "JSON"),
        (b"{}", ErrorCode.BAD_REQUEST, "request"),
        (b"[" * 4000, ErrorCode.BAD_REQUEST, "JSON"),
        (b" " * 5000, ErrorCode.TOO_LARGE, "at most 4096"),
        ({"request": "reboot"}, ErrorCode.BAD_REQUEST, "reboot"),
        ({"request": "snapshot", "more": 1}, ErrorCode.BAD_REQUEST, "more"),
        ({"request": "snapshot", "schema_version": 2}, ErrorCode.BAD_REQUEST, "schema version 2"),
        (replay("frame", -1), ErrorCode.BAD_REQUEST, "from_sequence"),
        (replay("frame", "0"), ErrorCode.BAD_REQUEST, "from_sequence"),
        (replay("weather", 0), ErrorCode.BAD_REQUEST, "topic"),
        (replay("status", 0), ErrorCode.NOT_KEPT, "not journaled"),
    ],
)
def test_a_bad_request_gets_an_error_reply_that_says_why(service, request_, code, text):
    reply, records = ask(service.dealer, request_)
    assert isinstance(reply, ErrorReply)
    assert reply.error == code
    assert text.lower() in reply.text.lower()
    assert records == []


def test_numbers_beyond_any_journal_are_answered(service):
    reply, records = ask(service.dealer, replay("frame", 10**17, 10**18, epoch=10**16))
    assert (reply.records, records) == (0, [])
    reply, _ = ask(service.dealer, replay("frame", 10**30, 10**31, epoch=10**25))
    assert (reply.error, "epoch" in reply.text) == (ErrorCode.BAD_REQUEST, True), "no counter has more than 64 bits"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_whatever_arrives_is_answered(service, parts):
    service.dealer.send_multipart(parts)
    assert service.dealer.poll(10_000)
    assert isinstance(REPLY.validate_json(service.dealer.recv_multipart()[-1]), ErrorReply)


def test_garbage_on_the_port_and_an_endless_request_cost_only_their_sender(service):
    host, port = service.endpoint.removeprefix("tcp://").split(":")
    for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" + bytes(8) + b"\x01\x7f" + b"\xff" * 5000):
        with socket.create_connection((host, int(port))) as stranger, contextlib.suppress(OSError):
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
            stranger.recv(100)
    with service.context.socket(zmq.DEALER) as rude:
        rude.linger = 0
        rude.connect(service.endpoint)
        rude.send(bytes(1 << 20))
        assert isinstance(ask(service.dealer, {"request": "snapshot"})[0], SnapshotReply)
        assert rude.poll(0) == 0


def test_one_who_asks_and_never_reads_does_not_stop_the_others(service):
    with service.context.socket(zmq.DEALER) as greedy:
        greedy.linger = 0
        greedy.rcvhwm = 1
        greedy.connect(service.endpoint)
        for _ in range(300):
            with contextlib.suppress(zmq.Again):
                greedy.send(canonical({"schema_version": 1} | replay("defect", 0)), zmq.DONTWAIT)
        assert isinstance(ask(service.dealer, {"request": "snapshot"})[0], SnapshotReply)


def test_a_journal_that_cannot_be_read_is_an_error_reply():
    with serving(BrokenStore(), SnapshotTracker(1, [])) as found:
        reply, _ = ask(found.dealer, replay("frame", 0))
        assert (reply.error, reply.text, reply.id) == (ErrorCode.UNAVAILABLE, "the disk is gone", 5)
