"""The same history in a real PostgreSQL, where Debian's is installed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from decisions import coil_notice, crop, defect_event, verdict
from history_process import PATIENCE_S, start_history, stored_frames, wait_for, write_config
from records import assert_same
from stored_coils import coil_messages, messages_of, store_messages, stored_facts

from linewatch.config.history import ImageSettings
from linewatch.contracts.coil import MAX_COIL_NAME
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import CoilState
from linewatch.history.alarm_journal import AlarmFilter, alarm_journal
from linewatch.history.archive import ImageArchive
from linewatch.history.archived_images import archived_images
from linewatch.history.database import reading, writing
from linewatch.history.labels import LabelVerdict, export_labels, label
from linewatch.history.queries import coils, defects
from linewatch.history.tables import CLASS_COUNT, METADATA
from linewatch.history.writer import stored_service
from linewatch.review.coil_record import all_masks
from linewatch.review.from_history import read_passage
from linewatch.spreadsheet import csv_rows
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import decode

pytestmark = pytest.mark.service

FOLDER = Path("/tmp") / f"linewatch-postgresql-{os.getpid()}"
"""A socket's path is short, and not below a private folder."""
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=Path("none")).parent


def _as_server(*command: object) -> None:
    """initdb and the server refuse to run as root."""
    user = "postgres" if os.getuid() == 0 else None
    subprocess.run([str(part) for part in command], check=True, capture_output=True, user=user, timeout=120)


def _start(folder: Path) -> None:
    _as_server(BINARIES / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "start")


def _stop(folder: Path) -> None:
    _as_server(BINARIES / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of its own: the URL of one of its databases."""
    if not (BINARIES / "initdb").exists():
        pytest.skip("no PostgreSQL under /usr/lib/postgresql: apt-get install postgresql")
    if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root and there is no user postgres")
    folder = FOLDER
    folder.mkdir(mode=0o755)
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _as_server(BINARIES / "initdb", "-D", folder / "data", "-A", "trust", "-U", "mill", "--no-sync")
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n")
        settings.write(f"unix_socket_directories = '{folder}'\n")
    try:
        _start(folder)
        yield f"postgresql+psycopg://mill@127.0.0.1:{port}/postgres"
    finally:
        _stop(folder)
        shutil.rmtree(folder)


def read_passage_of(url):
    with reading(url) as connection:
        return read_passage(connection, coils(connection)[-1].passage, all_masks)


def test_postgresql_holds_what_sqlite_holds(server, tmp_path):
    file = f"sqlite:///{tmp_path / 'h.sqlite'}"
    for url in (server, file):
        sequencer = Sequencer(1, "abc")
        with writing(url) as engine:
            for _ in range(3):
                messages = coil_messages(sequencer)
                store_messages(engine, messages[:5])
                store_messages(engine, messages[5:])
    assert stored_facts(server) == stored_facts(file)
    ours, theirs = (read_passage_of(url) for url in (server, file))
    assert_same(ours, theirs)
    assert len(ours.masks) == 1

    with writing(server) as engine, engine.begin() as connection:
        (found,) = defects(connection, [coils(connection)[0].passage], "scratch", limit=1)
        label(connection, str(found.number), LabelVerdict.WRONG_CLASS, "dent", "eva")
        label(connection, str(found.number), LabelVerdict.NOT_A_DEFECT, None, "eva")
    with reading(server) as connection:
        assert export_labels(connection, tmp_path / "labels.csv") == 1
    assert "not-a-defect,scratch,," in (tmp_path / "labels.csv").read_text()


@pytest.mark.heavy
def test_a_history_of_before_is_brought_up_to_date_on_postgresql(server):
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE older")
    older, sequencer = server.replace("/postgres", "/older"), Sequencer(1, "abc")
    with writing(older) as engine:
        for _ in range(3):
            store_messages(engine, coil_messages(sequencer))
    before, counted = stored_facts(older), sa.select(CLASS_COUNT).order_by(*CLASS_COUNT.primary_key)
    with reading(older) as connection:
        called = connection.execute(counted).all()
        alarms = alarm_journal(connection, AlarmFilter())
    assert any(row.called for row in called)
    assert alarms
    with psycopg.connect(older.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in (
            "DROP INDEX ix_defect_class_probability",
            "ALTER TABLE class_count DROP COLUMN called",
            "DROP INDEX ix_alarm_happened_unix_ns",
            "ALTER TABLE coil DROP COLUMN calibrations",
            "UPDATE alembic_version SET version_num = '0006'",
        ):
            connection.execute(statement)
    with writing(older) as engine, engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert connection.execute(counted).all() == called
        assert alarm_journal(connection, AlarmFilter()) == alarms
    assert stored_facts(older) == before


def test_the_image_archive_on_postgresql(server, tmp_path):
    """Its cap, its retention by bytes and of expired coils, and the sweep, as on SQLite."""
    sequencer = Sequencer(1)
    with writing(server) as engine:
        for _ in range(2):
            store_messages(engine, coil_messages(sequencer), name="pictured")
        with engine.begin() as connection:
            known = stored_service(connection, "pictured")
            newest = coils(connection)[0].passage
        records = [Sequencer(1).crop(crop(n, 1, 700, n % 5 + 1, name=f"C1/a/b/{n}.1"), 0) for n in range(8)]
        crops = [decode(b"crop", record.header, record.payload) for record in records]
        folder = tmp_path / "images"
        with ImageArchive(ImageSettings(dir=folder, min_free_mb=16.0, max_per_coil=4, max_mb=1), engine) as archive:
            assert archive.store(known, crops) == []
            assert sorted(path.name for path in folder.glob("*/*/*.png")) == [
                "2.1.png",
                "3.1.png",
                "4.1.png",
                "7.1.png",
            ]
            while archive.tidy():
                pass
            assert archive.used_mb <= 1
        (stray := next(folder.glob("*/*")) / "9.9.png").write_bytes(b"stray")
        with ImageArchive(ImageSettings(dir=folder, min_free_mb=16.0, days=1e-9), engine) as archive:
            while archive.tidy():
                pass
            assert archive.used_mb == 0
        assert not stray.exists()
        assert list(folder.glob("*/*/*.png")) == []
    with reading(server) as connection:
        assert archived_images(connection, folder, newest, ["C1/a/b/4.1"]) == {}


def test_a_password_is_never_shown(server):
    wrong = server.replace("mill@", "mill:secret@").replace("/postgres", "/none")
    with pytest.raises(HistoryError, match='database "none" does not exist') as refused, writing(wrong):
        pass
    assert "secret" not in str(refused.value)


NAMES = ["123/4", "Bänd 7 ß", "鋼卷 12", "#1", "100 %", "=1+1", "x" * MAX_COIL_NAME]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_any_name_of_a_coil_is_stored_and_found(kind, request, tmp_path):
    url = f"sqlite:///{tmp_path / 'h.sqlite'}" if kind == "sqlite" else request.getfixturevalue("server")
    with writing(url) as engine:
        for name in NAMES:
            sequencer = Sequencer(1, "abc")
            messages = messages_of(
                replace(coil_notice(CoilState.STARTED), coil=name),
                replace(verdict(0, (defect_event(0, name=f"{name}/top/cam1/0.1"),)), coil=name),
                sequencer=sequencer,
            )
            store_messages(engine, messages, f"of {name}"[:64])
    with writing(url) as engine, engine.begin() as connection:
        for name in NAMES:
            (row,) = coils(connection, name)
            (found,) = defects(connection, [row.passage])
            assert (row.coil, found.defect.coil) == (name, name)
            said = label(connection, f"{name}/top/cam1/0.1", LabelVerdict.NOT_A_DEFECT, None, "=eva")
            assert said.coil == name
        assert export_labels(connection, tmp_path / "labels.csv") >= len(NAMES)
    table = (tmp_path / "labels.csv").read_text(encoding="utf-8")
    assert "'=1+1" in table
    assert set(NAMES) <= {row["coil"] for row in csv_rows(table)}
    assert {"=eva"} <= {row["who"] for row in csv_rows(table)}


def test_a_server_that_goes_away_and_comes_back(server, start_service, history_of, tmp_path):
    """Its history waits meanwhile, and stores what it missed."""
    service = start_service()
    settings = history_of(service, database=server)
    config = write_config(tmp_path / "history.toml", settings)
    process = start_history(config)
    before = stored_frames(server)
    service.tell("coil started")
    service.tell("frames 3 3")
    wait_for(lambda: stored_frames(server) == before + 3)
    _stop(FOLDER)
    try:
        service.tell("frames 4 3")
        wait_for(lambda: "history_write_failed" in config.with_suffix(".log").read_text())
    finally:
        _start(FOLDER)
    wait_for(lambda: stored_frames(server) == before + 7)
    with reading(server) as connection:
        (row,) = coils(connection, limit=1)
        assert len(defects(connection, [row.passage])) == 7
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def _processes() -> list[int]:
    """The server and all that it has started."""
    server = int((FOLDER / "data" / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [server, *map(int, children)]


def _signal(number: signal.Signals) -> None:
    for process in _processes():
        with suppress(ProcessLookupError):  # a child may end meanwhile
            os.kill(process, number)


class Network:
    """A way to the server that can swallow what is sent over it."""

    def __init__(self, port: int) -> None:
        self._server_port, self.swallows, self._closed = port, threading.Event(), threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed.is_set():
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if not self.swallows.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._closed.set()
        self._listening.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("the server hangs", marks=pytest.mark.heavy),
        pytest.param("the network swallows packets", marks=pytest.mark.heavy),  # to the history the same
        "the server is read-only",
    ],
)
def test_a_server_that_fails_without_going_away_is_waited_for_and_nothing_is_lost(
    fault, server, start_service, history_of, tmp_path
):
    port = int(server.rpartition(":")[2].partition("/")[0])
    network = Network(port)
    url = server.replace(f":{port}/", f":{network.port}/")
    service = start_service()
    config = write_config(tmp_path / "history.toml", history_of(service, database=url))
    process, log = start_history(config), config.with_suffix(".log").read_text
    before = stored_frames(server)
    service.tell("coil started")
    service.tell("frames 3 3")
    wait_for(lambda: stored_frames(server) == before + 3)
    lost_before = log().count("messages_lost")  # of the journals of earlier tests

    def read_only(value: str) -> None:
        with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")

    if fault == "the server hangs":
        _signal(signal.SIGSTOP)
    elif fault == "the network swallows packets":
        network.swallows.set()
    else:
        read_only("on")
    try:
        service.tell("frames 4 3")
        wait_for(lambda: "history_write_failed" in log())
    finally:
        if fault == "the server hangs":
            _signal(signal.SIGCONT)
        elif fault == "the network swallows packets":
            network.swallows.clear()
        else:
            read_only("off")
    wait_for(lambda: stored_frames(server) == before + 7)
    with reading(server) as connection:
        (row,) = coils(connection, limit=1)
        assert len(defects(connection, [row.passage])) == 7
    assert log().count("messages_lost") == lost_before
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    network.close()
