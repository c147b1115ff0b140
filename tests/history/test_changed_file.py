"""The database's file is moved, deleted, replaced or overwritten under the history: noticed, and nothing is lost."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from history_process import PATIENCE_S, STARTED, start_history, stored_frames, wait_for, write_config

import linewatch
from linewatch.history.database import reading
from linewatch.history.queries import coils, defects, gaps

pytestmark = pytest.mark.service

OTHER = 65534  # a user who owns files
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
"""Runs a command as a user without root's rights, who still reaches this Python."""
needs_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv, to give files to another user"
)


class Stored:
    """A history in a process of its own, in a folder like a disk's, with three frames stored."""

    def __init__(self, service, history_of, tmp_path, **how):
        self.service, self.disk = service, tmp_path / "disk"
        self.file, self.aside = self.disk / "history.sqlite", tmp_path / "aside"
        self.settings = history_of(service, database=f"sqlite:///{self.file}")
        self.url = self.settings.database
        self.config = write_config(tmp_path / "history.toml", self.settings)
        self.process = start_history(self.config, **how)
        service.tell("coil started")
        self.decide(3)
        self.has(3)

    def decide(self, frames: int) -> None:
        self.service.tell(f"frames {frames} 3")

    def has(self, frames: int) -> None:
        wait_for(lambda: stored_frames(self.url) == frames)

    def log(self) -> str:
        return self.config.with_suffix(".log").read_text()

    def backup(self) -> Path:
        """A copy as SQLite's own backup makes it, of another inode."""
        copy = self.disk.with_name("backup.sqlite")
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy

    def holds_each_once(self, frames: int) -> None:
        """It has every frame and every defect once, misses none, and ends as it should."""
        self.has(frames)
        with reading(self.url) as connection:
            (row,) = coils(connection)
            found = defects(connection, [row.passage], limit=10_000)
            assert (len(found), len({one.defect.id for one in found})) == (frames, frames)
            assert gaps(connection) == []
        with closing(sqlite3.connect(self.file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0


@pytest.fixture
def stored(start_service, history_of, tmp_path):
    return Stored(start_service(), history_of, tmp_path)


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "busy"])
def test_moved_away(stored, idle):
    stored.file.rename(stored.aside)
    if idle:
        wait_for(stored.file.exists)  # within seconds, without anything to store
    stored.decide(5)
    stored.holds_each_once(8)
    assert "was moved or deleted while it was open" in stored.log()
    assert "history_reopened" in stored.log()
    with closing(sqlite3.connect(stored.aside)) as former:  # it is whole, without the -wal file that stayed behind
        assert former.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert former.execute("SELECT sum(frames) FROM coil").fetchone() >= (3,)


def test_deleted_with_what_lies_beside_it(stored):
    for path in stored.disk.iterdir():
        path.unlink()
    stored.decide(5)
    stored.holds_each_once(8)
    assert "was moved or deleted while it was open" in stored.log()


def test_its_newest_commits_deleted(stored):
    """The -wal file alone: what it held is moved to the database while it is still open."""
    (stored.disk / "history.sqlite-wal").unlink()
    stored.decide(5)
    stored.holds_each_once(8)
    assert "lost its -wal file while it was open" in stored.log()


@pytest.mark.parametrize("way", ["replaced", "overwritten"])
def test_a_restored_backup(stored, way):
    """Its own positions say what it misses."""
    backup = stored.backup()
    stored.decide(300)
    stored.has(303)
    if way == "replaced":
        backup.rename(stored.file)
    else:
        shutil.copyfile(backup, stored.file)
    wait_for(lambda: "history_reopened" in stored.log())
    assert f"was {way}" in stored.log()
    stored.decide(2)
    stored.holds_each_once(305)


def test_commits_that_another_program_moves_into_the_file_are_no_damage(stored):
    """As a replication tool does, or an administrator."""
    with closing(sqlite3.connect(stored.file)) as other:
        assert other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0
    inode = stored.file.stat().st_ino
    stored.decide(5)
    stored.has(8)
    assert stored.file.stat().st_ino == inode
    stored.holds_each_once(8)


def test_a_disk_that_goes_and_comes_back(stored):
    """Meanwhile there is a file at the path; what it got is fetched again for the one that comes back."""
    stored.disk.rename(stored.aside)
    stored.decide(4)
    stored.has(7)
    shutil.rmtree(stored.disk)
    stored.aside.rename(stored.disk)
    stored.decide(2)
    stored.holds_each_once(9)
    assert stored.log().count("history_reopened") >= 2


def test_a_file_that_is_no_database(stored):
    stored.aside.write_bytes(b"steel " * 1000)
    stored.aside.rename(stored.file)
    stored.decide(2)
    wait_for(lambda: "not a database" in stored.log())
    stored.file.unlink()
    stored.holds_each_once(5)


@needs_root
def test_a_file_that_may_not_be_written_for_a_while(start_service, history_of, tmp_path):
    """As of a disk that the kernel has made read-only: the history waits, and says so."""
    stored = Stored(start_service(), history_of, tmp_path, by=UNPRIVILEGED)
    shutil.copyfile(stored.backup(), stored.aside)
    stored.aside.chmod(0o444)
    stored.aside.rename(stored.file)
    stored.decide(2)
    wait_for(lambda: "this user may not write the file or its folder" in stored.log())
    stored.file.chmod(0o644)
    stored.holds_each_once(5)


@needs_root
def test_who_may_only_read_the_file_can_report_from_it(start_service, history_of, tmp_path):
    """Beside the running history, without it, and after a kill that left its -wal file."""
    (tmp_path / "disk").mkdir()
    stored = Stored(start_service(), history_of, tmp_path)
    for path in (stored.disk, *stored.disk.iterdir()):
        os.chown(path, OTHER, OTHER)
    page = tmp_path / "page.html"

    def unprivileged(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*UNPRIVILEGED, sys.executable, "-m", "linewatch.cli", *words],
            env={**os.environ, "PYTHONPATH": str(Path(linewatch.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    def frames_seen() -> float:
        ended = unprivileged("coils", "--json", "--config", str(stored.config))
        assert (ended.returncode, ended.stderr) == (0, "")
        (coil,) = json.loads(ended.stdout)["coils"]
        return coil["passed_mm"] / 256

    stored.decide(2)
    stored.has(5)
    assert frames_seen() == 5
    report = unprivileged("report", "C1", "--history", str(stored.config), "--html", str(page))
    assert (report.returncode, report.stderr) == (0, "")
    assert "C1" in page.read_text()
    refused = unprivileged("label", "1", "not-a-defect", "--config", str(stored.config))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (8, 1)
    assert "this user may not write the file or its folder" in refused.stderr

    stored.process.kill()
    stored.process.wait()
    STARTED.remove(stored.process)
    assert (stored.disk / "history.sqlite-wal").stat().st_size > 0
    assert frames_seen() == 5
    (stored.disk / "history.sqlite-shm").unlink()
    ended = unprivileged("coils", "--config", str(stored.config))
    assert (ended.returncode, len(ended.stderr.splitlines())) == (8, 1)
    assert "was not closed properly, and this user may not repair it" in ended.stderr

    again = start_history(stored.config)
    stored.decide(1)
    stored.has(6)
    again.send_signal(signal.SIGTERM)
    assert again.wait(PATIENCE_S) == 0
    assert [path.name for path in stored.disk.iterdir()] == ["history.sqlite"]
    assert frames_seen() == 6
    assert [path.name for path in stored.disk.iterdir()] == ["history.sqlite"]  # a reader leaves nothing behind

    stored.file.chmod(0o600)
    ended = unprivileged("coils", "--config", str(stored.config))
    assert ended.returncode == 8
    assert "this user may not read it; let the user read the file" in ended.stderr


def test_a_file_that_changes_under_a_reader_that_cannot_be_protected(tmp_path, monkeypatch):
    """The end of the reading says so."""
    from linewatch.contracts.errors import HistoryError
    from linewatch.history.database import writing

    file = tmp_path / "h.sqlite"
    with writing(f"sqlite:///{file}"):
        pass
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    with reading(f"sqlite:///{file}") as connection:
        assert coils(connection) == []

    def read_while_it_changes() -> None:
        with reading(f"sqlite:///{file}") as connection:
            assert coils(connection) == []
            file.touch()

    with pytest.raises(HistoryError, match="was changed while it was read; run the command again"):
        read_while_it_changes()
