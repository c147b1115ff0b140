"""A database that cannot be used is refused, with what to do; one that fails for a while is waited for."""

import os
import signal
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from history_process import stored_frames, wait_for
from stored_coils import coil_messages, store_messages, stored_facts

from linewatch.config.history import HistorySettings
from linewatch.contracts.errors import HistoryError
from linewatch.history.database import reading, writing
from linewatch.history.labels import LabelVerdict, export_labels, label
from linewatch.history.queries import coils, defects
from linewatch.history.run import run_history
from linewatch.history.tables import COIL
from linewatch.wire.encode import Sequencer

pytestmark = pytest.mark.service


@pytest.fixture
def file(tmp_path):
    return tmp_path / "h.sqlite"


@pytest.fixture
def url(file):
    return f"sqlite:///{file}"


def opened(url):
    with writing(url):
        pass


def test_no_history_yet(url):
    with pytest.raises(HistoryError, match="no history yet; `linewatch history CONFIG` makes one"), reading(url):
        pass


def test_a_file_that_is_no_database(url, file):
    file.write_bytes(b"steel " * 1000)
    for use in (writing, reading):
        with pytest.raises(HistoryError, match="not a database; this is not a history; move it away"), use(url):
            pass


def test_a_damaged_file(url, file):
    with writing(url) as engine:
        store_messages(engine, coil_messages(Sequencer(1)))
    raw = bytearray(file.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    file.write_bytes(raw)
    with pytest.raises(HistoryError, match=r"malformed.*move it away|not a database"), reading(url) as connection:
        coils(connection)


def test_a_database_of_something_else(url, file):
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE invoices (id INTEGER)")
    other.close()
    with pytest.raises(HistoryError, match=r"holds other tables .invoices .* name a database of its own"):
        opened(url)


def test_a_newer_version(url, file):
    opened(url)
    with sqlite3.connect(file) as later:
        later.execute("UPDATE alembic_version SET version_num = '0099'")
    later.close()
    for use in (writing, reading):
        with (
            pytest.raises(HistoryError, match=r"newer linewatch .revision 0099, this one knows up to 0"),
            use(url),
        ):
            pass


def test_a_file_that_may_not_be_written(url, file):
    opened(url)
    with pytest.raises(HistoryError, match="readonly database; this user may not write the file or its folder"):
        opened(f"sqlite:///file:{file}?mode=ro&uri=true")


def test_a_folder_that_cannot_be_made():
    with pytest.raises(HistoryError, match="cannot be made"):
        opened("sqlite:////proc/nowhere/h.sqlite")


def test_a_server_that_is_not_there():
    with pytest.raises(HistoryError, match="is the server running there"):
        opened("postgresql+psycopg://nobody:secret@127.0.0.1:1/none")


def test_a_locked_file_is_named_as_such(url, file, monkeypatch):
    opened(url)
    monkeypatch.setattr("linewatch.history.database.BUSY_S", 0.1)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryError, match="locked; another process has been writing"):
        opened(url)
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize("trouble", ["locked", "full"])
def test_what_cannot_be_written_for_a_while_is_written_afterwards(
    trouble, start_service, history_of, monkeypatch, file, url
):
    """The disk is as full as SQLite's own bound on a file makes it: the same error, from the same place."""
    monkeypatch.setattr("linewatch.history.database.BUSY_S", 0.1)
    monkeypatch.setattr("linewatch.history.run.RETRY_S", (0.1, 0.2))
    full = threading.Event()

    @sa.event.listens_for(sa.engine.Engine, "begin")
    def bound(connection):
        if trouble == "full" and connection.dialect.name == "sqlite":
            pages = 1 if full.is_set() else 1 << 30  # one page: as many as there are
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    said = []
    monkeypatch.setattr("linewatch.history.run.log.error", lambda event, **more: said.append(more.get("error", event)))
    service = start_service()
    settings: HistorySettings = history_of(service, database=url)

    def mill():
        try:
            service.tell("coil started")
            service.tell("frames 3 3")
            wait_for(lambda: stored_frames(url) == 3)
            full.set()
            other = sqlite3.connect(file, isolation_level=None)
            if trouble == "locked":
                other.execute("BEGIN IMMEDIATE")
            service.tell("frames 200 300")
            wait_for(lambda: len(said) >= 2)
            if trouble == "locked":
                other.execute("ROLLBACK")
            other.close()
            full.clear()
            wait_for(lambda: stored_frames(url) == 203)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=mill)
    thread.start()
    try:
        run_history(settings)
    finally:
        thread.join()
        sa.event.remove(sa.engine.Engine, "begin", bound)
    assert len(said) >= 2
    assert all({"locked": "is locked", "full": "disk is full"}[trouble] in one for one in said)
    with reading(settings.database) as connection:
        assert connection.execute(sa.select(COIL.c.frames)).scalar() == 203
        (row,) = coils(connection)
        assert row.defects_by_class == {"scratch": 203}


def test_a_label_that_cannot_be_meant(url, tmp_path):
    sequencer = Sequencer(1)
    with writing(url) as engine:
        store_messages(engine, [*coil_messages(sequencer), *coil_messages(sequencer)])
        with engine.begin() as connection:
            first, second = coils(connection)
            (found,) = defects(connection, [first.passage])
            (twin,) = defects(connection, [second.passage])
            wrong = LabelVerdict.WRONG_CLASS
            for defect, verdict, right, said in (
                ("99999", wrong, "dent", "no defect '99999' in this history"),
                ("C9/top/cam1/0.1", wrong, "dent", "no defect"),
                (found.defect.id, wrong, "dent", f"is the id of several defects, {twin.number}, {found.number}"),
                (str(found.number), wrong, None, "wrong-class needs --class"),
                (str(found.number), wrong, "scratch", "was found as scratch"),
                (str(found.number), LabelVerdict.NOT_A_DEFECT, "dent", "takes no --class"),
            ):
                with pytest.raises(HistoryError, match=said):
                    label(connection, defect, verdict, right, "eva")
            with pytest.raises(HistoryError, match=r"ends in .csv or .jsonl"):
                export_labels(connection, tmp_path / "labels.xls")
    assert len(stored_facts(url)) == 2
