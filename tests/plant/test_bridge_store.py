"""The store of a bridge: in order, within its bound, over kills, full disks and damage; it tells what it dropped."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from linewatch.client import Lost, Position
from linewatch.contracts.errors import ConfigError
from linewatch.plant.keeper import EventKeeper
from linewatch.plant.store import EventStore, StoreFullError, StoreSettings
from linewatch.wire.schema import Topic

ROOT = Path(__file__).parents[2]
JOURNAL = "0a0b0c0d-0000-4000-8000-000000000000"


def settings(folder: Path, max_mb: float = 1.0) -> StoreSettings:
    return StoreSettings(file=folder / "store.sqlite", max_mb=max_mb)


def fill(store: EventStore, first: int, end: int, size: int = 10) -> None:
    for sequence in range(first, end):
        positions = {"defect": Position(1, sequence + 1)}
        store.append("defect", 1, sequence, 1000 + sequence, b"x" * size, positions, JOURNAL)


def sequences(store: EventStore, number: int = 0) -> list[int]:
    return [event.sequence for event in store.after(number, 1_000_000)]


def test_what_no_consumer_lacks_goes_and_the_rest_is_there_after_a_restart(tmp_path):
    with EventStore(settings(tmp_path), ["plain", "spb"]) as store:
        fill(store, 0, 10)
        store.confirm("plain", 10)
        store.confirm("spb", 4)
        assert sequences(store) == list(range(4, 10))
    with EventStore(settings(tmp_path), ["plain", "spb"]) as store:
        assert sequences(store) == list(range(4, 10))
        assert (store.confirmed("plain"), store.confirmed("spb")) == (10, 4)
        assert (store.waiting("plain"), store.waiting("spb")) == (0, 6)
        assert store.positions == {"defect": Position(1, 10)}
        assert store.journal == JOURNAL
        assert [event.at_unix_ms for event in store.after(4, 2)] == [1004, 1005]
        store.confirm("spb", 10)
        fill(store, 10, 11)
        assert [event.number for event in store.after(0, 9)] == [11]
    with EventStore(settings(tmp_path), ["plain", "new"]) as store:
        assert (store.waiting("plain"), store.waiting("new")) == (1, 0)  # a new consumer begins with the next event


def test_the_oldest_go_beyond_the_bound_and_each_consumer_that_lacks_them_is_told(tmp_path):
    with EventStore(settings(tmp_path, max_mb=1.0), ["plain", "spb"]) as store:
        fill(store, 0, 50, size=10_000)
        store.confirm("spb", 30)
        fill(store, 50, 150, size=10_000)
        kept = sequences(store)
        assert kept == list(range(kept[0], 150))
        assert 85 <= len(kept) <= 100
        assert (store.dropped("plain"), store.dropped("spb")) == (kept[0], kept[0] - 30)
        (told,) = store.dropped_of("spb")
        assert (told.topic, told.epoch, told.first, told.end, told.events) == ("defect", 1, 30, kept[0], kept[0] - 30)
    with EventStore(settings(tmp_path), ["plain", "spb"]) as store:
        assert store.dropped("plain") == kept[0]
        (told,) = store.dropped_of("plain")
        store.forget_dropped("plain", told.number)
        assert store.dropped_of("plain") == []
        assert store.dropped_of("spb") != []
    assert (tmp_path / "store.sqlite").stat().st_size < 2.5e6


def test_a_second_bridge_is_refused(tmp_path):
    with EventStore(settings(tmp_path), ["plain"]), pytest.raises(ConfigError, match="another process has it"):
        EventStore(settings(tmp_path), ["plain"])


def test_a_damaged_file_is_put_aside(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    with EventStore(settings(tmp_path), ["plain"]) as store:
        fill(store, 0, 1)
        assert sequences(store) == [0]
    assert len(list(tmp_path.glob("store.sqlite.damaged-*"))) == 1


def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used as a store"):
        EventStore(StoreSettings(file=tmp_path / "file" / "store.sqlite"), ["plain"])


def test_an_event_and_its_position_are_kept_together_or_not_at_all(tmp_path):
    """A disk that is full takes neither, and takes both when it has room again."""
    told = []
    with EventStore(settings(tmp_path), ["plain"]) as store:
        keeper = EventKeeper(store, [Topic.DEFECT], lambda: told.append(store.newest))
        fill(store, 0, 3)
        store._database.execute("PRAGMA max_page_count = 1")  # as a full disk: SQLite's own error
        lost = Lost(Topic.DEFECT, 1, 3, 5, "gone" * 3000)
        assert not keeper.keep(lost, {"defect": Position(1, 5)}, JOURNAL)
        assert (store.newest, keeper.positions) == (3, {"defect": Position(1, 3)})
        with pytest.raises(StoreFullError):
            fill(store, 3, 4, size=50_000)
        store._database.execute("PRAGMA max_page_count = 100000")
        assert keeper.keep(lost, {"defect": Position(1, 5)}, JOURNAL)
        assert (store.newest, keeper.positions, told) == (4, {"defect": Position(1, 5)}, [4])
        assert b'"messages":2' in store.after(3, 1)[0].body


def test_a_kill_leaves_every_event_with_the_position_behind_it(tmp_path):
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from test_bridge_store import EventStore, fill, settings\n"
        "store = EventStore(settings(Path(sys.argv[1])), ['plain'])\n"
        "for at in range(0, 10**6, 10):\n    fill(store, at, at + 10, 200)\n    print(at, flush=True)\n"
    )
    paths = [str(ROOT), str(ROOT / "tests" / "support"), str(Path(__file__).parent)]
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path, *paths], stdout=subprocess.PIPE, text=True)
    said = [int(process.stdout.readline()) for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with EventStore(settings(tmp_path), ["plain"]) as store:
        kept = sequences(store)
        assert kept == list(range(len(kept)))
        assert len(kept) >= said[-1]
        assert store.positions == {"defect": Position(1, len(kept))}
    with sqlite3.connect(tmp_path / "store.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
