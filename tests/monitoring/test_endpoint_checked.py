"""`linewatch check` and `linewatch doctor` find what is wrong with the endpoint for Prometheus before it matters."""

import json
import socket
from pathlib import Path

import pytest
from certificates_of_brokers import DAY, NOW, Authority

from linewatch import cli
from linewatch.check import units
from linewatch.contracts.errors import ConfigError
from linewatch.server_certificate import read_server_certificate

BRIDGE = '[service]\npublish = "ipc:///tmp/none"\nserve = "ipc:///tmp/none-rep"\n[plc]\naddress = "127.0.0.1"\n'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a bridge with an endpoint, whose certificate is good for 90 days."""
    monkeypatch.setattr(units, "UNIT_FOLDERS", ())
    monkeypatch.chdir(tmp_path)
    Authority(tmp_path, "mill").certify("line1", "line1.mill.example", NOW + 90 * DAY)
    (token := tmp_path / "token").write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    files = 'certificate_file = "line1.crt"\nkey_file = "line1.key"\ntoken_file = "token"\n'
    config = tmp_path / "s7.toml"
    config.write_text(f"{BRIDGE}[monitoring]\nport = {free_port()}\n{files}")
    return config


def checked(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main(["check", str(config)])
    told = capsys.readouterr()
    return code, " ".join((told.out + told.err).split())


def doctors(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    cli.main(["doctor", str(config), "--json"])
    return {one["subject"]: one for one in json.loads(capsys.readouterr().out)["findings"]}


def test_a_good_endpoint_is_told(bridge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = checked(bridge, capsys)
    assert code == 0, said
    for told in ("is free on 127.0.0.1", "for line1.mill.example, valid until", "holds a token of 32 characters"):
        assert told in said
    found = doctors(bridge, capsys)
    assert {found[f"secret {name}"]["level"] for name in ("line1.key", "token")} == {"ok"}
    assert found["certificate of [monitoring] certificate_file"]["level"] == "ok"


def test_a_taken_port_an_old_certificate_and_a_short_token_are_faults(
    bridge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Authority(bridge.parent, "mill").certify("line1", "line1.mill.example", NOW - DAY)
    (bridge.parent / "token").write_text("short")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines = [f"port = {port}" if line.startswith("port =") else line for line in bridge.read_text().split("\n")]
        bridge.write_text("\n".join(lines))
        code, said = checked(bridge, capsys)
        found = doctors(bridge, capsys)
    assert code != 0
    for told in (f"port {port} is in use", "certificate has expired", "found 5 bytes, expected at least 16"):
        assert told in said
    assert found[f"port {port} ([monitoring] port)"]["level"] == "fault"
    assert found["certificate of [monitoring] certificate_file"]["level"] == "fault"


def test_what_ends_soon_or_others_can_read_is_a_warning(bridge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Authority(bridge.parent, "mill").certify("line1", "line1.mill.example", NOW + 10 * DAY)
    (bridge.parent / "token").chmod(0o644)
    found = doctors(bridge, capsys)
    assert found["certificate of [monitoring] certificate_file"]["level"] == "warning"
    assert found["secret token"]["level"] == "warning"
    assert found["secret token"]["mend"] == f"sudo chmod 600 {bridge.parent / 'token'}"


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    mill = Authority(tmp_path, "mill")
    (certificate, _), (_, other) = mill.certify("a", "10.0.0.1"), mill.certify("b", "10.0.0.2")
    with pytest.raises(ConfigError, match="expected a certificate and its unencrypted key"):
        read_server_certificate(certificate, other)
    assert read_server_certificate(certificate, tmp_path / "a.key").names == ("10.0.0.1",)
