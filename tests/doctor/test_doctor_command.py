"""`linewatch doctor` on this host: what it says of it, in words and as JSON, and its exit codes."""

import json
import socket
from pathlib import Path

import pytest

from linewatch import cli
from linewatch.check import units
from linewatch.doctor import disks

FREE = '[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n'


def test_a_service_on_this_host_and_what_mends_its_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that is taken, a key that others can read and an expired one; then none of them."""
    monkeypatch.setattr(units, "UNIT_FOLDERS", ())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(disks, "_SYNCS", 3)
    for words in ("new server", "new hmi --role operator --expires 2999-01-01"):
        assert cli.main(["keys", *words.split(), "--dir", "keys"]) == 0
    (secret := tmp_path / "keys/server.key_secret").chmod(0o644)
    allowed = tmp_path / "keys/clients/hmi.key"
    allowed.write_text(allowed.read_text().replace("2999-01-01", "2020-01-01"))
    keys = '[wire.keys]\nserver_secret_file = "keys/server.key_secret"\nclients_dir = "keys/clients"\n'
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "line.toml"
        config.write_text(FREE.replace(":*", f":{port}", 1) + keys)
        capsys.readouterr()
        assert cli.main(["doctor", str(config), "--json"]) == 3
        report = json.loads(capsys.readouterr().out)
    found = {one["subject"]: one for one in report["findings"]}
    assert [one["subject"] for one in report["findings"] if one["level"] == "fault"] == [
        f"port {port} ([wire] publish)",
        "key server.key_secret",
    ]
    assert found["key server.key_secret"]["mend"].startswith(f"chmod 600 {secret}")
    assert found["key hmi"]["found"] == "expired on 2020-01-01"
    assert found["sync of [journal] dir"]["found"].startswith("a sync takes up to")
    assert {"versions", "cores", "governor", "NUMA", "memory", "GPU", "clock", "open files"} <= found.keys()

    secret.chmod(0o600)
    assert cli.main(["doctor", str(config)]) == 0
    said = capsys.readouterr().out
    assert "warning key hmi: expired on 2020-01-01" in said
    assert f"mend:  linewatch keys allow {allowed} --role operator --expires DATE --dir {tmp_path / 'keys'}" in said
    assert {path.name for path in tmp_path.iterdir()} == {"keys", "line.toml"}, "it leaves no trace"


def test_what_no_process_runs_by_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", str(Path(__file__).parents[2] / "configs/taxonomy.toml")]) == 2
    assert "no process runs by it" in capsys.readouterr().err
    (bad := tmp_path / "bad.toml").write_text("[journal]\nmax_mb = 'x'\n")
    assert cli.main(["doctor", str(bad)]) == 2
    assert cli.main(["doctor", str(bad), "--working-dir", "/nonexistent"]) == 2
