"""The endpoint that Prometheus reads: what it answers, to whom, and what peers cannot do to it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from certificates_of_brokers import Authority
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.config.monitoring import MonitoringSettings
from linewatch.contracts.errors import ConfigError, WireError
from linewatch.contracts.histogram import BOUNDS_S, DurationHistogram
from linewatch.monitoring import endpoint
from linewatch.monitoring.endpoint import CONNECTIONS, monitored
from linewatch.monitoring.families import counter, histograms

TOKEN = "0123456789abcdef"


def families() -> Iterator[Metric]:
    took = DurationHistogram()
    for duration_s in (0.0005, 0.001, 0.7, 99.0):
        took.add(duration_s)
    yield counter("frames", "frames that were decided", 7)
    yield histograms("frame_step_seconds", "what a frame took", ["step"], {("decide",): took})


@contextmanager
def endpoint_of(**settings: Any) -> Iterator[int]:
    """Yield the port of an endpoint."""
    with capture_logs() as logs, monitored(MonitoringSettings(port=0, **settings), families):
        yield next(line["port"] for line in logs if line["event"] == "monitoring")


def answer(connection: HTTPConnection, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_figures_are_told_in_both_formats() -> None:
    with endpoint_of() as port:
        status, told = answer(HTTPConnection("127.0.0.1", port))
        _, open_metrics = answer(HTTPConnection("127.0.0.1", port), Accept="application/openmetrics-text")
        assert answer(HTTPConnection("127.0.0.1", port), "/")[0] == 404
    assert status == 200
    assert "linewatch_frames_total 7.0\n" in told
    found = {family.name: family for family in text_string_to_metric_families(open_metrics)}
    assert "process_resident_memory_bytes" in found
    buckets = [one.value for one in found["linewatch_frame_step_seconds"].samples if one.name.endswith("_bucket")]
    assert buckets == [2.0] * 8 + [2.0, 3.0, 3.0, 3.0, 4.0]
    assert len(buckets) == len(BOUNDS_S) + 1


def test_nothing_listens_without_the_section() -> None:
    before = set(threading.enumerate())
    with monitored(None, families):
        assert set(threading.enumerate()) == before


def test_peers_that_never_finish_are_closed_and_more_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight that send a byte now and then hold all places; they lose them, and the scraper is served again."""
    monkeypatch.setattr(endpoint, "CONNECTION_S", 0.5)
    with endpoint_of() as port, ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        for one in slow:
            one.sendall(b"GET /metrics HTTP/1.1\r\nX: ")

        def is_served() -> bool:
            for one in slow:
                try:
                    one.sendall(b"a")
                except OSError:
                    continue
            try:
                return answer(HTTPConnection("127.0.0.1", port, timeout=5))[0] == 200
            except OSError:
                return False

        assert wait_until(is_served)


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01" * 400, b"GET /metrics\r\n\r\n", b"GET /" + b"a" * 100_000, b"\r\n" * 9000]
)
def test_junk_ends_its_own_connection_alone(junk: bytes) -> None:
    with endpoint_of() as port:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
            try:
                peer.sendall(junk)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
            except OSError:
                pass
        assert answer(HTTPConnection("127.0.0.1", port))[0] == 200


def test_other_hosts_need_a_token_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "mill")
    certificate, key = authority.certify("line1", "127.0.0.1")
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    files = {"certificate_file": certificate, "key_file": key, "token_file": secret}
    context = ssl.create_default_context(cafile=str(authority.file))

    def asked(**headers: str) -> int:
        return answer(HTTPSConnection("127.0.0.1", port, context=context), **headers)[0]

    with endpoint_of(address="0.0.0.0", **files) as port:
        assert asked(Authorization=f"Bearer {TOKEN}") == 200
        assert asked() == asked(Authorization="Bearer 0123456789abcdeX") == asked(Authorization="Bearer \xe9") == 401
        with pytest.raises((OSError, ssl.SSLError)):
            answer(HTTPConnection("127.0.0.1", port, timeout=30))
        assert asked(Authorization=f"Bearer {TOKEN}") == 200


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "token"
    short.write_text("short")
    with pytest.raises(ValueError, match=r"address 0\.0\.0\.0 is reached by other hosts; name certificate_file"):
        MonitoringSettings(port=0, address="0.0.0.0")
    with pytest.raises(ValueError, match="certificate_file and key_file belong together"):
        MonitoringSettings(port=0, certificate_file=short)
    for settings, refusal in (
        ({"token_file": short}, "found 5 bytes, expected at least 16 ASCII characters; write one"),
        ({"token_file": tmp_path / "none"}, "cannot be read"),
        ({"certificate_file": short, "key_file": short}, "cannot be used"),
    ):
        with pytest.raises(ConfigError, match=refusal), endpoint_of(**settings):
            pass
    with endpoint_of() as port:
        taken = rf"port {port}: Address already in use; choose another"
        with pytest.raises(WireError, match=taken), monitored(MonitoringSettings(port=port), families):
            pass
