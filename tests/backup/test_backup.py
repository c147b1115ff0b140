"""State is backed up while it is written to, and put back whole or not at all."""

import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from linewatch.backup.manifest import MANIFEST_NAME
from linewatch.cli import main

Members = dict[str, bytes]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a folder with a configuration, a key, an empty folder and a database in WAL mode."""
    folder = tmp_path / "state"
    (folder / "keys").mkdir(parents=True, mode=0o700)
    (folder / "empty").mkdir()
    (folder / "line.toml").write_text('database = "postgresql+psycopg://linewatch@db/linewatch"\n')
    (folder / "keys" / "server.secret").write_text("secret")
    (folder / "keys" / "server.secret").chmod(0o600)
    (folder / "current").symlink_to("line.toml")
    with closing(sqlite3.connect(folder / "history.sqlite")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE pairs (a INTEGER, b INTEGER)")
        database.commit()
    return folder


@pytest.fixture
def archive(state: Path, tmp_path: Path) -> Path:
    assert main(["backup", str(state), "--out", str(tmp_path / "b.tar.gz")]) == 0
    return tmp_path / "b.tar.gz"


def _tree(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.suffix not in (".sqlite-wal", ".sqlite-shm")
    }


def test_a_backup_is_taken_while_a_database_is_written_and_comes_back_whole(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The writer keeps two columns equal and commits only both: a copy of half a commit would differ."""
    out, ended, wrote = tmp_path / "b.tar.gz", threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(state / "history.sqlite", timeout=60)) as database:
            number = 0
            while not ended.is_set():
                database.execute("INSERT INTO pairs VALUES (?, 0)", (number,))
                database.execute("UPDATE pairs SET b = a WHERE a = ?", (number,))
                database.commit()
                number += 1
                wrote.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(60)
        assert main(["backup", str(state), "--out", str(out)]) == 0
    finally:
        ended.set()
        writer.join()
    said = capsys.readouterr().out
    assert "pg_dump" in said
    assert "current: a link" in said
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert main(["backup", "verify", str(out)]) == 0

    (state / "keys" / "server.secret").write_text("another")
    (state / "new.toml").write_text("")
    assert main(["restore", str(out), str(state)]) == 0
    assert (state / "keys" / "server.secret").read_text() == "secret"
    assert stat.S_IMODE((state / "keys" / "server.secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "keys").stat().st_mode) == 0o700
    assert (state / "empty").is_dir()
    assert not (state / "new.toml").exists()
    with closing(sqlite3.connect(state / "history.sqlite")) as database:
        count, unequal = database.execute("SELECT count(*), sum(a != b) FROM pairs").fetchone()
    assert count > 0
    assert unequal == 0
    (former,) = tmp_path.glob("state.before-restore-*")
    assert (former / "keys" / "server.secret").read_text() == "another"


def _rewritten(archive: Path, change: Callable[[Members, dict[str, object]], None]) -> None:
    with tarfile.open(archive) as tar:
        members = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    manifest = json.loads(members.pop(MANIFEST_NAME))
    change(members, manifest)
    members[MANIFEST_NAME] = json.dumps(manifest).encode()
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            if name == "state/0/link":
                about.type, about.linkname, about.size = tarfile.SYMTYPE, "/etc", 0
            tar.addfile(about, io.BytesIO(data))


def _climbs(members: Members, manifest: dict[str, object]) -> None:
    members["state/0/../../escaped"] = b"x"


def _links(members: Members, manifest: dict[str, object]) -> None:
    members["state/0/link"] = b""


def _differs(members: Members, manifest: dict[str, object]) -> None:
    members["state/0/line.toml"] = b"another"


def _lacks(members: Members, manifest: dict[str, object]) -> None:
    del members["state/0/line.toml"]


def _is_newer(members: Members, manifest: dict[str, object]) -> None:
    manifest["linewatch"] = "999.0"


def _is_of_a_newer_format(members: Members, manifest: dict[str, object]) -> None:
    manifest["format"] = 2


def _names_a_path_outside(members: Members, manifest: dict[str, object]) -> None:
    manifest["folders"][0]["folders"].append(  # type: ignore[index]
        {"path": "../out", "mode": 511, "owner": "root", "group": "root"}
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_climbs, "does not lie in its folder"),
        (_links, "does not belong in it"),
        (_differs, "is not what the manifest says"),
        (_lacks, "is not what the manifest says"),
        (_is_newer, "was made by linewatch 999.0"),
        (_is_of_a_newer_format, "install that version"),
        (_names_a_path_outside, "does not lie in its folder"),
    ],
)
def test_an_archive_that_was_changed_is_refused_and_nothing_is_touched(
    change: Callable[[Members, dict[str, object]], None],
    said: str,
    state: Path,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _rewritten(archive, change)
    before = _tree(tmp_path)
    assert main(["backup", "verify", str(archive)]) == 3
    assert main(["restore", str(archive), str(state)]) == 3
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(said in line for line in errors)
    assert _tree(tmp_path) == before


def test_an_archive_that_was_cut_anywhere_is_refused(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = archive.read_bytes()
    for size in (0, 1, 20, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        archive.write_bytes(whole[:size])
        assert main(["backup", "verify", str(archive)]) == 3, size
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_restore_needs_its_folders_named_and_unused(
    state: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", str(archive)]) == 2
    assert "nobody asked for" in capsys.readouterr().err
    with _working_in(state) as process:
        assert main(["restore", str(archive), str(state)]) == 3
        assert f"process {process.pid} uses it" in capsys.readouterr().err
    assert main(["restore", str(archive), str(state), "--into", str(tmp_path / "trial")]) == 0
    assert _tree(tmp_path / "trial" / state.relative_to("/")).keys() == _tree(state).keys() - {"current"}


@contextmanager
def _working_in(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with its working directory in a folder."""
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=folder, stdin=subprocess.PIPE) as process:
        yield process
        process.communicate(b"\n")


def test_where_one_folder_cannot_be_exchanged_all_stay(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("of the backup")
    archive = tmp_path / "b.tar.gz"
    assert main(["backup", str(state), str(other), "--out", str(archive)]) == 0
    (other / "file").write_text("of now")
    (state / "line.toml").write_text("of now")
    before, rename = _tree(tmp_path), Path.rename

    def fail(path: Path, to: Path) -> Path:
        if path.name.startswith(".other.restore-"):
            raise OSError(5, os.strerror(5))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail)
    assert main(["restore", str(archive), str(state), str(other)]) == 2
    assert _tree(tmp_path) == before


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(tmp_path / "none"), "--out", str(tmp_path / "b.tar.gz")]) == 3
    assert "found no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_ends_the_backup(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "history.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert main(["backup", str(state), "--out", str(tmp_path / "b.tar.gz")]) == 3
    assert "history.sqlite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
