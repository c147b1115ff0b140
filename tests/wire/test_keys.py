"""With keys, an allowed client gets every message, and any other client gets none."""

import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest
import zmq
from decisions import verdict
from zmq.utils.monitor import recv_monitor_message

from linewatch.client.keys import ClientKeys, Credentials
from linewatch.config.journal import JournalSettings
from linewatch.config.wire import KeySettings, WireSettings
from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.journal.journal import Journal
from linewatch.wire.access import allow_list
from linewatch.wire.access.keyring import allow, make_pair, revoke, rotate
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.endpoints import load_keys
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import canonical
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker

SNAPSHOT = canonical({"schema_version": 1, "request": "snapshot"})
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)  # not today, which may be over before a test is


@pytest.fixture
def folder(tmp_path):
    make_pair(tmp_path, "server")
    make_pair(tmp_path, "stranger")
    make_pair(tmp_path, "hmi", Role.OBSERVER)
    return tmp_path


@pytest.fixture
def endpoints(folder):
    """A secured publisher and server; it publishes until the test ends."""
    settings = WireSettings(
        publish="tcp://127.0.0.1:*",
        serve="tcp://127.0.0.1:*",
        keys=KeySettings(server_secret_file=folder / "server.key_secret", clients_dir=folder / "clients"),
    )
    context, ready, stop, found = zmq.Context(), threading.Event(), threading.Event(), []

    def serve():
        keys = load_keys(settings)
        with (
            Journal(JournalSettings(dir=folder / "journal")) as journal,
            Publisher(context, settings, keys) as publisher,
            Server(context, settings, keys, journal, SnapshotTracker(journal.epoch, []).snapshot) as server,
        ):
            found.extend([publisher.endpoint, server.endpoint])
            ready.set()
            sequencer = Sequencer(journal.epoch)
            while not stop.is_set():
                server.poll(5)
                publisher.send(sequencer.record(drafts(verdict(0))[0]))

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(10)
    yield found
    stop.set()
    thread.join(10)
    context.destroy(0)


def connect(context, kind, endpoint, folder, name=None):
    socket = context.socket(kind)
    socket.linger = 0
    if name is not None:
        Credentials(ClientKeys(folder / f"{name}.key_secret", folder / "server.key")).secure(socket)
    events = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | REFUSED)
    if kind == zmq.SUB:
        socket.subscribe(b"")
    socket.connect(endpoint)
    return socket, events


REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


def handshake_succeeded(events) -> bool:
    assert events.poll(10_000), "no handshake at all"
    return recv_monitor_message(events)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED


def test_a_known_client_hears_and_is_answered(folder, endpoints):
    with zmq.Context() as context:
        sub, _ = connect(context, zmq.SUB, endpoints[0], folder, "hmi")
        assert sub.poll(10_000)
        assert sub.recv_multipart()[0] == b"frame"
        dealer, _ = connect(context, zmq.DEALER, endpoints[1], folder, "hmi")
        dealer.send(SNAPSHOT)
        assert dealer.poll(10_000)
        assert b'"reply":"snapshot"' in dealer.recv_multipart()[0]
        context.destroy(0)


@pytest.mark.parametrize("name", [None, "stranger"])
def test_an_unencrypted_or_unknown_client_gets_nothing(folder, endpoints, name):
    with zmq.Context() as context:
        sub, sub_events = connect(context, zmq.SUB, endpoints[0], folder, name)
        dealer, dealer_events = connect(context, zmq.DEALER, endpoints[1], folder, name)
        dealer.send(SNAPSHOT)
        assert not handshake_succeeded(sub_events)
        assert not handshake_succeeded(dealer_events)
        known, _ = connect(context, zmq.SUB, endpoints[0], folder, "hmi")
        assert known.poll(10_000), "messages do flow"
        assert sub.poll(200) == 0
        assert dealer.poll(200) == 0
        context.destroy(0)


def test_a_certificate_that_is_put_there_or_taken_away_counts_from_the_next_connection(folder, endpoints):
    with zmq.Context() as context:
        (folder / "stranger.key").rename(folder / "clients" / "stranger.key")
        arrived, events = connect(context, zmq.DEALER, endpoints[1], folder, "stranger")
        assert handshake_succeeded(events)
        (folder / "clients" / "stranger.key").unlink()
        refused, events = connect(context, zmq.DEALER, endpoints[1], folder, "stranger")
        assert not handshake_succeeded(events)
        known, events = connect(context, zmq.DEALER, endpoints[1], folder, "hmi")
        assert handshake_succeeded(events)
        for socket in (arrived, refused, known):
            socket.close()
        context.destroy(0)


def expire(folder, name, monkeypatch):
    """Let the last day of a key, TOMORROW, be over, without any change of the list."""
    later_s = time.time() + 3 * 86_400
    monkeypatch.setattr(allow_list.time, "time", lambda: later_s)


@pytest.mark.parametrize("end", [lambda folder, name, _: revoke(folder, name), expire], ids=["revoked", "expired"])
def test_the_subscription_of_a_key_that_is_revoked_or_expires_ends_at_once(folder, endpoints, end, monkeypatch):
    allow(folder, folder / "clients" / "hmi.key", Role.OBSERVER, expires=TOMORROW)
    make_pair(folder, "other", Role.OBSERVER)
    with zmq.Context() as context:
        (revoked, events), (other, _) = (
            connect(context, zmq.SUB, endpoints[0], folder, name) for name in ("hmi", "other")
        )
        assert handshake_succeeded(events)
        assert revoked.poll(10_000)
        assert other.poll(10_000)
        end(folder, "hmi", monkeypatch)
        assert events.poll(10_000)
        assert recv_monitor_message(events)["event"] == zmq.EVENT_DISCONNECTED
        while other.poll(0):
            other.recv_multipart()
        assert other.poll(10_000)
        context.destroy(0)


def test_a_key_is_rotated_while_its_sockets_go_on(folder, endpoints, monkeypatch):
    """Both keys may connect until the old one's last day; then its sockets end, and the new one's go on."""
    with zmq.Context() as context:
        old, old_events = connect(context, zmq.SUB, endpoints[0], folder, "hmi")
        assert handshake_succeeded(old_events)
        assert old.poll(10_000)
        private, public, until = rotate(folder, "hmi", TOMORROW)
        assert (private, public, until) == (folder / "hmi.2.key_secret", folder / "clients" / "hmi.2.key", TOMORROW)
        new, new_events = connect(context, zmq.SUB, endpoints[0], folder, "hmi.2")
        again, again_events = connect(context, zmq.DEALER, endpoints[1], folder, "hmi")
        assert handshake_succeeded(new_events)
        assert handshake_succeeded(again_events), "the old key may connect anew"
        again.send(SNAPSHOT)
        assert again.poll(10_000)
        while old.poll(0):
            old.recv_multipart()
        assert old.poll(10_000), "its socket was not closed"
        assert new.poll(10_000)
        assert not old_events.poll(0)
        expire(folder, "hmi", monkeypatch)
        assert old_events.poll(10_000)
        assert recv_monitor_message(old_events)["event"] == zmq.EVENT_DISCONNECTED
        while new.poll(0):
            new.recv_multipart()
        assert new.poll(10_000)
        context.destroy(0)


def test_what_is_rotated_keeps_its_role_and_ends_no_later_than_before(folder):
    ends = datetime.now(UTC).date() + timedelta(days=2)
    allow(folder, folder / "clients" / "hmi.key", Role.OPERATOR, expires=ends)
    assert rotate(folder, "hmi", date(2199, 1, 1))[2] == ends
    rotate(folder, "hmi.2", date(2199, 1, 1))
    known = {key.name: (key.role, key.expires) for key in allow_list.read_allow_list(folder / "clients")}
    assert known == dict.fromkeys(("hmi", "hmi.2", "hmi.3"), (Role.OPERATOR, ends))
    with pytest.raises(WireError, match="there is no usable key 'nobody'"):
        rotate(folder, "nobody", ends)
    with pytest.raises(WireError, match="is over"):
        rotate(folder, "hmi.3", date(2020, 1, 1))
    assert len(allow_list.read_allow_list(folder / "clients")) == 3
