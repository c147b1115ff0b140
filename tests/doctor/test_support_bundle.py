"""`linewatch support-bundle`: what is in it, and that no secret of any kind is."""

import json
import tarfile
from pathlib import Path

import pytest
from small_services import SmallService

from linewatch import cli
from linewatch.check import units
from linewatch.doctor import bundle as bundles
from linewatch.doctor import disks
from linewatch.doctor.bundle import SupportBundle
from linewatch.wire.access.certificates import read_certificate

MARK = "hunter2"
"""In every secret of these tests, so that a part of one is found as well."""


def files_of(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return {one.name.removeprefix("linewatch-support/"): tar.extractfile(one).read().decode() for one in tar}  # type: ignore[union-attr]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(units, "UNIT_FOLDERS", ())
    monkeypatch.setattr(bundles, "UNIT_FOLDERS", ())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(disks, "_SYNCS", 3)
    return tmp_path


@pytest.mark.service
def test_no_secret_of_any_kind_leaves_the_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two configurations hold or name each kind of secret; a log repeats all of them in every way."""
    for words in ("new server", "new hmi --role operator"):
        assert cli.main(["keys", *words.split(), "--dir", "keys"]) == 0
    curve = [read_certificate(folder / f"keys/{name}.key_secret").secret for name in ("server", "hmi")]
    (folder / "camera.login").write_text(f"admin:{MARK} in/file\nnot read\n")
    monkeypatch.setenv("CAMERA_ACCESS", f"admin:{MARK}-in-variable")
    monkeypatch.setenv("PGPASSWORD", f"{MARK}-of-postgres")
    monkeypatch.setenv("LINEWATCH_STORE", f"https://mill:{MARK}-in-environment@files.mill/x")
    service = f"""# the old password was {MARK}-in-a-comment
[source]
type = "genicam"
features = {{ UserPassword = "{MARK}-feature", Gain = 2 }}
[calibration]
folder = "calibrations"
[wire]
publish = "tcp://127.0.0.1:*"
serve = "tcp://127.0.0.1:*"
[wire.keys]
server_secret_file = "keys/server.key_secret"
clients_dir = "keys/clients"
"""
    stream = f"""[source]
type = "stream"
url = "rtsp://10.0.0.5/user=admin_password={MARK}-path_channel=1?auth={MARK}-query"
login_file = "camera.login"
login_variable = "CAMERA_ACCESS"
"""  # both logins: no configuration that the service takes, and the more to be kept
    at_url = f'[source]\ntype = "stream"\nurl = "rtsp://admin:{MARK}@-in-url@10.0.0.5/ch1"\n'
    history = f"""database = "postgresql+psycopg://mill:{MARK}%2Fdatabase@db/history?sslpassword={MARK}-ssl"
[[service]]
name = "top"
publish = "tcp://127.0.0.1:*"
[service.keys]
secret_file = "keys/hmi.key_secret"
server_public_file = "keys/server.key"
"""
    said = [
        f"{MARK} in/file",
        f"admin:{MARK}-in-variable",
        f"{MARK}-of-postgres",
        f"{MARK}/database",
        f"{MARK}%2Fdatabase",
        *(key.decode() for key in curve if key),
    ]
    lines = [json.dumps({"event": "camera_lost", "why": f"401 for {one}", "level": "warning"}) for one in said]
    lines += [f"Authorization: Basic {MARK}", f"token={MARK}", f"rtsp://a:{MARK}@h/p", f'"passwd": "{MARK} x"', "kept"]
    (log := folder / "service.log").write_text("\n".join(lines))
    for number, text in enumerate((service, stream, at_url, history, f"password = {MARK}\n= {MARK}")):
        (config := folder / "c.toml").write_text(text)
        capsys.readouterr()
        words = ["support-bundle", str(config), "--out", "b.tar.gz", "--log", str(log)]
        assert cli.main(words) == 0, capsys.readouterr().err
        printed = capsys.readouterr()
        assert MARK not in printed.out + printed.err
        files = files_of(folder / "b.tar.gz")
        expected = {"host.json", "doctor.json", "packages.txt", "logs/service.log"}
        assert expected | ({"configuration.json"} if number < 4 else set()) <= files.keys()
        assert all(name in printed.out for name in files), "the listing names every file"
        named = {
            0: said[5:6],
            1: said[:2],
            3: [*said[3:5], said[6]],
        }  # what a log says bare, where the configuration leads to it
        for name, content in files.items():
            if name != "logs/service.log":
                assert MARK not in content, name
            for one in (*named.get(number, ()), said[2]):
                assert one not in content, name
        assert files["logs/service.log"].endswith("kept")
        bare = [line for line in files["logs/service.log"].splitlines()[len(said) :] if MARK in line]
        assert not bare, "what a form gives away goes with every configuration"


def test_a_running_service_tells_how_it_is(
    folder: Path, start_service: "type[SmallService]", capsys: pytest.CaptureFixture[str]
) -> None:
    running = start_service()
    running.tell("frames 3 2")
    (folder / "c.toml").write_text(
        f'[wire]\npublish = "{running.publish}"\nserve = "{running.serve}"\n[journal]\ndir = "journal"\n'
    )
    assert cli.main(["support-bundle", "c.toml", "--out", "held/b.tar.gz"]) == 0
    archive = folder / "held/b.tar.gz"
    assert archive.stat().st_mode & 0o777 == 0o600
    files = files_of(archive)
    assert json.loads(files["status/service.json"])["state"] == "running"
    snapshot = json.loads(files["status/service-snapshot.json"])
    assert len(snapshot["open_defects"]) == 3
    assert "segment" in files["folders.txt"] or ".lwj" in files["folders.txt"] or "journal" in files["folders.txt"]
    assert {one["subject"] for one in json.loads(files["doctor.json"])} >= {"cores", "clock", "disk of [journal] dir"}
    assert "numpy==" in files["packages.txt"]
    assert json.loads(files["configuration.json"])["journal"] == {"dir": "journal"}
    assert not any(name.endswith((".png", ".jpg", ".avi", ".bin")) for name in files)
    said = capsys.readouterr().out
    assert f"{archive}: {len(files)} files" in said


def test_a_bundle_is_bounded_and_keeps_what_is_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MOST_BYTES_OF_ONE", 4_000)
    monkeypatch.setattr(bundles, "MOST_BYTES", 15_000)
    bundle = SupportBundle(())
    lines = "".join(f"line {number}\n" for number in range(600))
    for number in range(6):
        bundle.add(f"{number}.log", lines)
    assert sum(map(len, bundle.files.values())) <= bundles.MOST_BYTES
    assert bundle.files["0.log"].endswith(b"line 599\n")
    assert bundle.files["0.log"].startswith(b"line ")
    assert len(bundle.left_out) == 6
