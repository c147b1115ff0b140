"""The journal of a live service goes on whatever its disk does, says so, and accounts for what is on no disk."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_disk import FailingDisk
from waiting import wait_until

from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.journal import JournalState
from linewatch.contracts.record import Record
from linewatch.journal.journal import Journal
from linewatch.journal.keeper import JournalKeeper
from linewatch.journal.segment import scan

PAGE = 64 << 10
ALL_BYTES = 1 << 40


def frame(epoch: int, sequence: int, size: int = 1_000) -> Record:
    return Record(epoch, "frame", sequence, b"{}", bytes(size))


def alarm(epoch: int, sequence: int, name: str = "a") -> Record:
    return Record(epoch, "alarm", sequence, f'{{"id":"{name}","state":"raised"}}'.encode(), b"")


def settings(folder: Path, **more: int) -> JournalSettings:
    return JournalSettings(dir=folder, **{"max_mb": 64, "segment_mb": 4, "held_mb": 1, **more})


def sequences(journal: Journal | JournalKeeper, epoch: int, topic: str = "frame") -> list[int]:
    """Fetch page by page, as consumers do."""
    found: list[int] = []
    while page := journal.read(epoch, topic, found[-1] + 1 if found else 0, PAGE):
        found += [record.sequence for record in page]
    return found


def state_becomes(keeper: JournalKeeper, state: JournalState) -> Callable[[], bool]:
    return lambda: keeper.state.state is state


def test_a_full_disk_loses_nothing_that_memory_can_hold(failing_disk: FailingDisk) -> None:
    folder = failing_disk.folder / "journal"
    with JournalKeeper(settings(folder)) as keeper:
        keeper.append([frame(1, 0)], sync=True)
        failing_disk.fill()
        for n in range(1, 200):
            keeper.append([frame(1, n)], sync=n % 10 == 0)
        assert keeper.state.state is JournalState.LOST
        assert "the disk is full" in (keeper.state.why or "")
        assert sequences(keeper, 1) == list(range(200))
        assert keeper.span(1, "frame").next == 200
        failing_disk.free()
        wait_until(state_becomes(keeper, JournalState.KEPT))
        keeper.append([frame(1, 200)], sync=True)
        assert keeper.state.dropped == 0
    with Journal(settings(folder)) as journal:
        assert sequences(journal, 1) == list(range(201))


def test_beyond_the_bound_the_oldest_are_lost_and_counted_and_alarms_are_not(failing_disk: FailingDisk) -> None:
    folder = failing_disk.folder / "journal"
    with JournalKeeper(settings(folder)) as keeper:
        keeper.append([frame(1, 0)], sync=True)
        failing_disk.fill()
        keeper.append([alarm(1, 0), frame(1, 1)], sync=True)
        for n in range(2, 3_000):
            keeper.append([frame(1, n)], sync=False)
        assert keeper.state.held_bytes <= 1 << 20
        kept = sequences(keeper, 1)
        assert (kept[0], kept[-1]) == (0, 2_999)
        assert keeper.state.dropped == 3_000 - len(kept) > 1_000
        assert sequences(keeper, 1, "alarm") == [0]
        failing_disk.free()
        wait_until(state_becomes(keeper, JournalState.KEPT))
    with Journal(settings(folder)) as journal:
        assert sequences(journal, 1) == kept
        assert [record.sequence for record in journal.retained_alarms()] == [0]


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with JournalKeeper(settings(folder)) as keeper:
        keeper.append([alarm(1, 0), frame(1, 0)], sync=True)
        shutil.rmtree(folder)
        wait_until(lambda: list(folder.glob("*.segment")) if folder.exists() else [])
        keeper.append([frame(1, 1)], sync=True)
        assert sequences(keeper, 1) == [1]
        assert keeper.epochs() == [1]
    with Journal(settings(folder)) as journal:
        assert sequences(journal, 1) == [1]
        assert len(journal.retained_alarms()) == 1  # an alarm that stands is repeated


def test_a_disk_that_goes_away_is_waited_for(failing_disk: FailingDisk) -> None:
    """What is decided meanwhile does not fill the disk below."""
    folder = failing_disk.folder / "journal"
    with JournalKeeper(settings(folder)) as keeper:
        keeper.append([frame(1, 0)], sync=True)
        failing_disk.go_away()
        wait_until(state_becomes(keeper, JournalState.LOST))
        wait_until(lambda: "nothing is mounted at" in (keeper.state.why or ""))
        keeper.append([frame(1, 1)], sync=True)
        assert list(failing_disk.folder.iterdir()) == []
        failing_disk.mount()
        wait_until(state_becomes(keeper, JournalState.KEPT))
        assert sequences(keeper, 1) == [1]


def test_earlier_segments_that_vanish_hang_nobody(tmp_path: Path) -> None:
    with Journal(settings(tmp_path)) as journal:
        journal.append([frame(1, 0)], sync=True)
    with JournalKeeper(settings(tmp_path)) as keeper:
        next(tmp_path.glob("0000000001-*")).unlink()
        assert keeper.span(1, "frame") is None
        assert keeper.epochs() == [2]


def test_a_disk_that_hangs_holds_up_neither_appends_nor_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file system here can be made to hang, so fdatasync and pread wait instead."""
    hangs, goes_on = threading.Event(), threading.Event()
    sync, read = os.fdatasync, os.pread

    def waiting(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if hangs.is_set():
                goes_on.wait(60)
            return function(*arguments)

        return call

    monkeypatch.setattr(os, "fdatasync", waiting(sync))
    monkeypatch.setattr(os, "pread", waiting(read))
    with JournalKeeper(settings(tmp_path)) as keeper:
        keeper.append([frame(1, 0)], sync=True)
        hangs.set()
        for n in range(1, 1_000):
            keeper.append([frame(1, n)], sync=True)  # the first waits for half a second
        assert keeper.state.state is JournalState.LATE
        assert "does not answer" in (keeper.state.why or "")
        assert [record.sequence for record in keeper.read(1, "frame", 900, ALL_BYTES)] == list(range(900, 1_000))
        with pytest.raises(JournalError, match="does not answer; ask again"):
            keeper.read(1, "frame", 0, ALL_BYTES)
        hangs.clear()
        goes_on.set()
        wait_until(state_becomes(keeper, JournalState.KEPT))
        assert sequences(keeper, 1) == list(range(1_000))


@pytest.mark.parametrize("trouble", ["full", "no folder"])
def test_it_starts_without_its_disk(failing_disk: FailingDisk, trouble: str) -> None:
    """A full disk can be read: epochs and alarms go on. Where nothing can be read, the epoch is above all others."""
    folder = failing_disk.folder / "journal"
    with Journal(settings(folder)) as journal:
        journal.append([alarm(1, 0), frame(1, 0)], sync=True)
        identity = journal.identity
    if trouble == "full":
        failing_disk.fill()
    else:
        folder.rename(failing_disk.folder / "elsewhere")
        folder.write_text("no folder")
    with JournalKeeper(settings(folder)) as keeper:
        epoch = keeper.epoch
        assert keeper.state.state is JournalState.LOST
        assert len(keeper.journal.retained_alarms()) == (trouble == "full")
        assert keeper.identity == (identity if trouble == "full" else ""), "no UUID that nobody will know again"
        keeper.append([frame(epoch, 0)], sync=True)
        assert sequences(keeper, epoch) == [0]
        if trouble == "full":
            assert (epoch, sequences(keeper, 1)) == (2, [0])
            failing_disk.free()
        else:
            assert epoch > 1_000_000_000
            with pytest.raises(JournalError, match="Not a directory"):
                keeper.span(1, "frame")
            folder.unlink()
            (failing_disk.folder / "elsewhere").rename(folder)
        wait_until(state_becomes(keeper, JournalState.KEPT))
        assert sequences(keeper, 1) == [0]
        assert keeper.identity == identity
    with Journal(settings(folder)) as journal:
        assert (journal.epoch, sequences(journal, epoch)) == (epoch + 1, [0])


def test_a_disk_that_is_mounted_only_after_the_start_is_taken(failing_disk: FailingDisk, tmp_path: Path) -> None:
    """Its mount point lies on a disk that refuses. The journal on it is the one that goes on, whatever its epochs."""
    folder = failing_disk.folder / "journal"
    folder.mkdir()
    late = FailingDisk(tmp_path / "late", 3_000)
    for _ in range(3):
        with Journal(settings(late.folder / "journal")) as journal:
            journal.append([frame(journal.epoch, 0)], sync=True)
            identity = journal.identity
    failing_disk.fill()
    with JournalKeeper(settings(folder)) as keeper:
        keeper.append([frame(keeper.epoch, 0)], sync=True)
        assert keeper.state.state is JournalState.LOST
        subprocess.run(["mount", "--bind", late.folder / "journal", folder], check=True)
        wait_until(state_becomes(keeper, JournalState.KEPT))
        assert (keeper.identity, keeper.epochs()) == (identity, [1, 2, 3, keeper.epoch])
    subprocess.run(["umount", "-l", folder], check=True)
    assert list(folder.glob("*.segment")) == []
    late.go_away()


def test_another_journal_is_refused_at_every_attempt(failing_disk: FailingDisk) -> None:
    """Its epochs run past this service's own: their numbers would mean two things."""
    folder = failing_disk.folder / "journal"
    with Journal(settings(folder)):
        pass
    kept = failing_disk.folder / "kept"
    shutil.copytree(folder, kept)
    for _ in range(4):
        with Journal(settings(folder)) as journal:
            journal.append([frame(journal.epoch, 0)], sync=True)
    folder.rename(failing_disk.folder / "other")
    kept.rename(folder)
    failing_disk.fill()
    with JournalKeeper(settings(folder)) as keeper:
        epoch = keeper.epoch
        keeper.append([frame(epoch, 0)], sync=True)
        folder.rename(kept)
        (failing_disk.folder / "other").rename(folder)
        failing_disk.free()
        wait_until(lambda: "it is another journal" in (keeper.state.why or ""))
        for _ in range(2):
            with pytest.raises(JournalError, match="another journal"):
                keeper.journal.begin_again({})
        assert (keeper.epoch, keeper.state.state) == (epoch, JournalState.LOST)


def test_earlier_records_are_readable_at_any_moment_of_an_attempt_to_open_again(
    failing_disk: FailingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = failing_disk.folder / "journal"
    with Journal(settings(folder)) as journal:
        journal.append([frame(1, 0)], sync=True, state=b"here")
    failing_disk.fill()
    journal = Journal(settings(folder))
    with pytest.raises(JournalError):
        journal.__enter__()
    assert journal.open_without_disk() is None
    seen = []

    def looked(path: Path, *more: object) -> object:
        seen.append((journal.epoch, journal.epochs(), sequences(journal, 1), journal.state))
        return scan(path, *more)

    monkeypatch.setattr("linewatch.journal.journal.scan", looked)
    with pytest.raises(JournalError, match="the disk is full"):
        journal.begin_again({})
    assert seen == [(2, [1], [0], b"here")]


def test_a_state_is_not_ahead_of_its_records_after_a_failed_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a kill right after the journal was begun again: the records that it belongs to are not yet written anew."""
    with Journal(settings(tmp_path)) as journal:
        journal.append([frame(1, 0)], sync=True, state=b"first")
        sync = os.fdatasync

        def fail(file: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(JournalError, match="Input/output"):
            journal.append([frame(1, 1)], sync=True, state=b"second")
        monkeypatch.setattr(os, "fdatasync", sync)
        journal.begin_again({"frame": 1})
    with Journal(settings(tmp_path)) as journal:
        assert journal.state == b"first"
