"""One connection to a broker: mosquitto with TLS, users and an access list, and brokers that answer wrongly or not."""

import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from broker import Broker, free_port, need_mosquitto
from certificates_of_brokers import DAY, NOW, Authority

from linewatch.plant.mqtt import broker as connections
from linewatch.plant.mqtt.broker import BrokerConnection, BrokerError, Will
from linewatch.plant.mqtt.settings import BrokerSettings, TlsSettings

PASSWORD = "kaltwalzwerk-7"


class Peer:
    """What a connection was told."""

    def __init__(self) -> None:
        self.messages, self.answers = [], {}

    def greeted(self) -> None:
        pass

    def arrived(self, message) -> None:
        self.messages.append(message)

    def confirmed(self, number, refused) -> None:
        self.answers[number] = refused


@pytest.fixture
def wake():
    pair = socket.socketpair()
    pair[0].setblocking(False)
    yield pair[0]
    for end in pair:
        end.close()


@pytest.fixture
def connect(wake):
    """Opens connections that end with the test."""
    opened = []

    def connect(url: str, **settings) -> SimpleNamespace:
        peer = Peer()
        broker = BrokerSettings(url=url, **settings)
        connection = BrokerConnection(broker, "plain", Will("t/bridge", b"gone", 1, True), peer, wake, v5=True)
        opened.append(connection)
        return SimpleNamespace(connection=connection, peer=peer)

    yield connect
    for connection in opened:
        connection.abandon()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "mill-ca")


@pytest.fixture
def secure_broker(tmp_path, authority):
    """Starts brokers with TLS, a user and an access list, which end with the test."""
    started = []

    def start(certificate, key) -> Broker:
        users, rights = tmp_path / "users", tmp_path / "acl"
        need_mosquitto()
        subprocess.run(["mosquitto_passwd", "-b", "-c", users, "line1", PASSWORD], check=True, timeout=30)
        users.chmod(0o644)
        rights.write_text("user line1\ntopic readwrite mill/line1/#\n")
        rights.chmod(0o644)
        options = f"certfile {certificate}\nkeyfile {key}\ncafile {authority.file}\n"
        options += f"allow_anonymous false\npassword_file {users}\nacl_file {rights}"
        started.append(Broker(tmp_path, options))
        return started[-1]

    yield start
    for broker in started:
        broker.kill()


def password_file(folder, text: str = PASSWORD + "\n", mode: int = 0o600):
    path = folder / "mqtt.password"
    path.write_text(text)
    path.chmod(mode)
    return path


def until(turning, condition) -> None:
    ends_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_s
        turning.connection.turn(0.05)


def test_a_broker_proves_its_name_and_the_bridge_its_password(tmp_path, authority, secure_broker, connect):
    """And a message that the broker's access list forbids is not taken for delivered."""
    broker = secure_broker(*authority.certify("broker", "127.0.0.1"))
    tls, secret = TlsSettings(ca_file=authority.file), password_file(tmp_path)
    url = f"mqtts://127.0.0.1:{broker.port}"
    opened = connect(url, user="line1", password_file=secret, tls=tls)
    allowed = opened.connection.publish("mill/line1/alarm", b"{}", 1, retain=False)
    forbidden = opened.connection.publish("mill/line2/alarm", b"{}", 1, retain=False)
    until(opened, lambda: {allowed, forbidden} <= opened.peer.answers.keys())
    assert opened.peer.answers[allowed] is None
    assert "Not authorized" in opened.peer.answers[forbidden]
    for wrong, why in (
        ({"tls": TlsSettings()}, "its certificate is refused"),
        ({"password_file": password_file(tmp_path, "guess\n")}, "Not authorized"),
    ):
        with pytest.raises(BrokerError, match=why) as error:
            connect(url, **{"user": "line1", "password_file": secret, "tls": tls, **wrong})
        assert PASSWORD not in str(error.value)
        assert "guess" not in str(error.value)
    with pytest.raises(BrokerError, match="Not authorized"):
        connect(url, tls=tls)
    for text, mode, why in (("", 0o600, "first line is empty"), (PASSWORD, 0o644, "chmod 600")):
        with pytest.raises(BrokerError, match=why) as error:
            connect(url, user="line1", password_file=password_file(tmp_path, text, mode), tls=tls)
        assert PASSWORD not in str(error.value)
    with pytest.raises(BrokerError, match="no certificates in PEM"):
        connect(url, tls=TlsSettings(ca_file=secret))
    password_file(tmp_path)
    with pytest.raises(BrokerError, match="no certificate with its key"):
        connect(url, tls=TlsSettings(ca_file=authority.file, cert_file=authority.file, key_file=secret))


@pytest.mark.parametrize(
    ("host", "until_when", "why"),
    [("other.mill", NOW + DAY, "IP address mismatch"), ("127.0.0.1", NOW - DAY, "certificate has expired")],
    ids=["another name", "expired"],
)
def test_a_certificate_that_is_not_the_brokers_is_refused(authority, secure_broker, connect, host, until_when, why):
    broker = secure_broker(*authority.certify("wrong", host, until_when))
    with pytest.raises(BrokerError, match=why):
        connect(f"mqtts://127.0.0.1:{broker.port}", tls=TlsSettings(ca_file=authority.file))


def test_a_name_that_is_gone_and_a_port_where_nobody_listens_are_errors(connect):
    with pytest.raises(BrokerError, match=r"[Nn]ame|resolution"):
        connect("mqtt://broker.invalid:1883", plaintext_allowed=True)
    with pytest.raises(BrokerError, match="refused"):
        connect(f"mqtt://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_a_broker_that_accepts_and_never_answers_is_given_up(connect, monkeypatch, scheme):
    monkeypatch.setattr(connections, "OPEN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(BrokerError, match=r"answer within 0\.3 s"):
        connect(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\x87\x00",
        b"\x20\x00",
        b"\xff" * 100,
        b"\x30\xff\xff\xff\x7f",
        b"",
    ],
    ids=["http", "refused", "short", "ones", "huge", "closed"],
)
def test_what_is_no_broker_is_an_error_and_no_more(connect, monkeypatch, answer):
    monkeypatch.setattr(connections, "OPEN_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(BrokerError):
            connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


@pytest.mark.heavy
def test_a_broker_that_hangs_is_noticed_within_twice_the_keepalive(tmp_path, connect):
    broker = Broker(tmp_path)
    opened = connect(broker.url, keepalive_s=2)
    broker.process.send_signal(19)  # SIGSTOP: its host's kernel takes everything, and nobody reads it
    began_s = time.monotonic()

    def talk() -> None:
        while True:
            opened.connection.publish("t", b"x" * 1000, 1, retain=False)
            opened.connection.turn(0.1)

    with pytest.raises(BrokerError, match="lost"):
        talk()
    assert time.monotonic() - began_s < 8
    broker.process.send_signal(18)
    broker.kill()
