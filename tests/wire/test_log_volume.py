"""Whatever connects or sends, the log has the first of a kind and then sums, each with its peer and its reason."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import logging_sockets
import pytest
import structlog
import zmq
from forked import spoken_with
from waiting import PATIENCE_S, wait_until

from linewatch import logs
from linewatch.contracts.access import Role
from linewatch.logs import (
    ANY_OTHER,
    FROM_OUTSIDE,
    MOST_KINDS,
    OTHERS,
    SUM_INTERVAL_S,
    LogSums,
)
from linewatch.wire.access.certificates import fingerprint, read_certificate
from linewatch.wire.access.keyring import make_pair

HOURS = 4
KNOCKS = 150  # refused keys on all sockets, as many at once as one peer may have
REQUESTS = [510, pytest.param(5_100, marks=pytest.mark.heavy)]  # bad ones to each ROUTER socket
CONNECTIONS = [340, pytest.param(3_400, marks=pytest.mark.heavy)]  # junk ones on each of the three sockets


class Sockets:
    """The process of `logging_sockets`: its ports, and its log."""

    def __init__(self, folder, *keys):
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process, self._wire = spoken_with(logging_sockets.main, folder, bool(keys), log=log.fileno())
        self.ports = json.loads(self._wire.readline())

    def lines(self):
        """Return all lines of the log so far, with all sums."""
        self._wire.write("\n")
        self._wire.flush()
        assert self._wire.readline() == "logged\n"
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def end(self):
        self._wire.close()
        assert self._process.wait(PATIENCE_S) == 0


@contextlib.contextmanager
def three_sockets(folder, *keys):
    sockets = Sockets(folder, *keys)
    try:
        yield sockets
    finally:
        sockets.end()


def counted(lines, event, *fields):
    """Return how many events the lines stand for, by the given fields."""
    count = Counter()
    for line in lines:
        if line["event"] == event:
            count[tuple(line[field] for field in fields)] += line.get("more", 1)
    return count


def all_of(count, least):
    return count if sum(count.values()) >= 3 * least else None


@pytest.fixture
def folder(tmp_path):
    make_pair(tmp_path, "server")
    make_pair(tmp_path, "stranger")
    make_pair(tmp_path, "hmi", Role.OBSERVER)
    return tmp_path


JUNK = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 9, os.urandom(40), b"\xff" + b"\0" * 8 + b"\x7f\x03" + b"x" * 53]


@pytest.mark.slow
@pytest.mark.parametrize("keys", [(), ("keys",)], ids=["without keys", "with keys"])
@pytest.mark.parametrize("each", CONNECTIONS)
def test_many_junk_connections_are_counted_in_a_few_lines(folder, keys, each):
    with three_sockets(folder, *keys) as service:
        for name in ("publish", "serve", "commands"):
            for number in range(each):
                junk = socket.create_connection(("127.0.0.1", service.ports[name]), timeout=10)
                with junk, contextlib.suppress(ConnectionError):
                    junk.sendall(JUNK[number % len(JUNK)])
        count = wait_until(lambda: all_of(counted(service.lines(), "handshake_failed", "socket"), each), 60)
        lines = service.lines()
    assert set(count) == {("publish",), ("serve",), ("commands",)}
    assert len(lines) < 100
    assert {line["peer"] for line in lines} <= {"127.0.0.1", "unknown"}
    assert any("not ZeroMQ" in line["why"] for line in lines)


def test_a_junk_connection_that_stays_for_a_while_is_named_by_its_address(folder):
    def knock():  # until the service looked while the connection was open, and nothing else had come
        with socket.create_connection(("127.0.0.1", service.ports["serve"]), timeout=10) as junk:
            time.sleep(0.2)
            with contextlib.suppress(ConnectionError):
                junk.sendall(JUNK[1])
        return any(line.get("peer") == "127.0.0.1" for line in service.lines())

    with three_sockets(folder) as service:
        wait_until(knock, 60)


@pytest.mark.slow
def test_a_refused_key_that_tries_again_and_again_is_named_once_by_its_fingerprint(folder):
    stranger = read_certificate(folder / "stranger.key_secret")
    server = read_certificate(folder / "server.key").public
    with three_sockets(folder, "keys") as service, zmq.Context() as clients:

        def knock(number):
            name = ("publish", "serve", "commands")[number % 3]
            dealer = clients.socket(zmq.SUB if name == "publish" else zmq.DEALER)
            dealer.linger = 0
            dealer.curve_publickey, dealer.curve_secretkey = stranger.public, stranger.secret
            dealer.curve_serverkey = server
            dealer.connect(f"tcp://127.0.0.1:{service.ports[name]}")
            return dealer

        knocking = [knock(number) for number in range(KNOCKS)]

        wait_until(lambda: sum(counted(service.lines(), "key_refused").values()) >= KNOCKS, 60)
        for one in knocking:
            one.close()
        lines = service.lines()
    told = [line for line in lines if line["event"] == "key_refused"]
    assert {(line["fingerprint"], line["peer"]) for line in told} == {(fingerprint(stranger.public), "127.0.0.1")}
    assert "more" not in told[0]
    assert sum("more" not in line for line in told) == 1
    assert {line["event"] for line in lines} == {"allow_list_read", "key_refused"}, "the authenticator alone logs it"


@pytest.mark.parametrize(
    ("own", "why"),
    [(False, "client without keys|only one side has keys"), (True, "it encrypts for another server key")],
)
def test_a_client_without_the_right_keys_is_told_with_its_reason(folder, own, why):
    with three_sockets(folder, "keys") as service, zmq.Context() as clients:
        dealer = clients.socket(zmq.DEALER)
        dealer.linger = 0
        if own:
            hmi = read_certificate(folder / "hmi.key_secret")
            dealer.curve_publickey, dealer.curve_secretkey = hmi.public, hmi.secret
            dealer.curve_serverkey = zmq.curve_keypair()[0]
        dealer.connect(f"tcp://127.0.0.1:{service.ports['serve']}")

        wait_until(service.lines, 20)
        lines = service.lines()
        dealer.close()
    assert {(line["event"], line["socket"]) for line in lines} == {("handshake_failed", "serve")}
    assert all(re.search(why, line["why"]) for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("each", REQUESTS)
def test_many_bad_requests_are_counted_in_a_few_lines(folder, each):
    with three_sockets(folder) as service, zmq.Context() as clients:
        for name, event in (("serve", "request_refused"), ("commands", "command")):
            dealer = clients.socket(zmq.DEALER)
            dealer.linger, dealer.sndhwm, dealer.rcvhwm = 0, 0, 0
            dealer.connect(f"tcp://127.0.0.1:{service.ports[name]}")
            for number in range(each):
                dealer.send(b"{" * (1 + number % 50) + os.urandom(8))
                while dealer.poll(0):
                    dealer.recv()
            wait_until(lambda event=event: sum(counted(service.lines(), event).values()) == each, 60)
            dealer.close()
        lines = service.lines()
    assert counted(lines, "request_refused", "socket", "peer", "outcome") == {
        ("serve", "127.0.0.1", "bad_request"): each
    }
    assert counted(lines, "command", "peer", "outcome") == {("127.0.0.1", "bad_request"): each}
    assert sum("more" not in line for line in lines) < each // 20, "the others are sums, which this test asks for"


class Log:
    """Events through `LogSums` with a clock of its own."""

    def __init__(self):
        self.now_s, self.lines = 0.0, []
        self.sums = LogSums(lambda: self.now_s)
        structlog.configure(processors=[self.sums, self._keep], cache_logger_on_first_use=False)
        self.info = structlog.get_logger().info

    def _keep(self, _logger, method, event):
        self.lines.append({**event, "method": method})
        raise structlog.DropEvent

    def pass_s(self, seconds):
        self.now_s += seconds
        self.sums.log_due()


@pytest.fixture
def log():
    yield Log()
    structlog.reset_defaults()


def test_a_master_that_connects_for_every_poll_costs_one_line_in_ten_minutes(log):
    """Three polls a second, for hours."""
    for _ in range(HOURS * 3600):
        for _ in range(3):
            log.info("plc_connected", peer="10.0.0.7", connections=1)
        log.pass_s(1.0)
    log.sums.log_due(last=True)
    first, *sums = log.lines
    assert "more" not in first
    assert len(sums) == HOURS * 3600 / SUM_INTERVAL_S
    assert sum(line["more"] for line in sums) + 1 == 3 * HOURS * 3600
    assert (sums[5]["peer"], sums[5]["more"], sums[5]["within_s"]) == ("10.0.0.7", 1800, SUM_INTERVAL_S)


def test_after_a_quiet_interval_the_first_of_a_kind_is_logged_again(log):
    for _ in range(2):
        log.info("plc_refused", peer="10.0.0.7")
    log.pass_s(SUM_INTERVAL_S)
    log.pass_s(SUM_INTERVAL_S)
    log.info("plc_refused", peer="10.0.0.7")
    assert [line.get("more") for line in log.lines] == [None, 1, None]


def test_any_number_of_peers_costs_bounded_memory_and_lines(log):
    for number in range(20_000):
        log.info("key_refused", fingerprint=f"{number:x}", peer=f"10.0.{number % 256}.{number % 7}")
    log.pass_s(SUM_INTERVAL_S)
    firsts = [line for line in log.lines if "more" not in line]
    sums = [line for line in log.lines if "more" in line]
    assert len(firsts) == MOST_KINDS + 1
    assert [(line["fingerprint"], line["peer"], line["more"]) for line in sums] == [
        (OTHERS, OTHERS, 20_000 - len(firsts))
    ]
    assert sum(map(len, log.sums._kinds.values())) == 1, "kinds without a repetition are forgotten"


def test_no_event_at_all_can_fill_the_log(log):
    """What flaps inside the service, as overload four times a second for hours, is summed as well."""
    for number in range(HOURS * 3600 * 4):
        log.info("lines_missed", lines=number)
        if number % 4 == 3:
            log.pass_s(1.0)
    assert len(log.lines) == ANY_OTHER.one_by_one + HOURS * 3600 / SUM_INTERVAL_S
    assert log.lines[-1]["lines"] == HOURS * 3600 * 4 - 1, "a sum has the newest of what it stands for"


def test_one_accepted_command_that_is_repeated_hides_no_other(log):
    for _ in range(90_000):
        log.info("command", key="hmi", role="engineer", what="alarm shelve", outcome="accepted")
    log.info("command", key="hmi", role="engineer", what="rules reload", outcome="accepted")
    assert len(log.lines) == FROM_OUTSIDE["command"].one_by_one + 1
    assert log.lines[-1]["what"] == "rules reload"


def test_every_event_of_the_table_is_logged_somewhere():
    sources = [path.read_text() for path in Path(logs.__file__).parent.rglob("*.py")]
    for event in FROM_OUTSIDE:
        assert any(f'"{event}"' in source and "log." in source for source in sources), event


def test_the_end_of_a_process_logs_what_was_summed():
    program = (
        "import structlog; from linewatch.logs import configure_logs; configure_logs('info')\n"
        "for _ in range(500): structlog.get_logger().info('plc_refused', peer='10.0.0.7')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line.get("more") for line in lines] == [None, 499]
    assert time.strptime(lines[1]["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
