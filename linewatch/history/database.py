"""Opens the history's database, SQLite in WAL mode or PostgreSQL, after a check or an upgrade of its revision."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from linewatch.contracts.errors import HistoryError
from linewatch.history.database_file import FileState, header_of, is_settled, set_apart, wal_path
from linewatch.history.read_only import BUSY_S, reading_file
from linewatch.history.server_deadline import CONNECT_ARGS, ServerDeadline

WAL_BYTES = 4 << 20
"""Size of the -wal file from which `upkeep` moves its commits into the database."""

_STATE = "state of the files"
_OPENED_AT_MOST: Final = 5

R = TypeVar("R")


class FileChangedError(HistoryError):
    """The SQLite file at the path is not the one that is open. `reopen` opens the one that is there."""


@contextmanager
def writing(url: str) -> Iterator[sa.Engine]:
    """Open the database for writing; create or migrate it if needed. Transactions take the write lock when they begin.

    Raises HistoryError when it is locked, read-only, damaged, not a linewatch history, or of a newer linewatch.
    """
    engine = _engine(url, begin="BEGIN IMMEDIATE")
    try:
        _make_ready(engine, url)
        with ExitStack() as stack, explained(url):
            if engine.dialect.name == "postgresql":
                stack.callback(ServerDeadline(engine).close)
            yield engine
    finally:
        engine.dispose()


def write_once(url: str, change: Callable[[sa.Connection], R]) -> R:
    """Return what `change` returns for a transaction of its own, beside a history that runs. Raises as `writing` does.

    The history may move commits from the -wal file into the file behind its opening here: then it is opened anew.
    """
    for left in reversed(range(_OPENED_AT_MOST)):
        try:
            with writing(url) as engine, explained(url), engine.begin() as connection:
                return change(connection)
        except FileChangedError:  # told before the transaction began
            if not left:
                raise
    raise AssertionError("it returns or raises")


def reopen(engine: sa.Engine, url: str) -> None:
    """Open the database at the path anew, or make it; whatever is open is closed. Raises HistoryError as `writing`."""
    if (path := _file(url)) is not None:
        _let_go(engine, path)
    engine.dispose()
    _make_ready(engine, url)


def upkeep(engine: sa.Engine, url: str) -> None:
    """Check that the database is there, and move commits from a large -wal file into it. Call it every second or so.

    Raises FileChangedError, HistoryError for a file that cannot be opened, and DBAPIError.
    """
    path = _file(url)
    if path is None:
        with engine.begin() as connection:
            connection.execute(sa.select(1))
        return
    try:
        opened = engine.raw_connection()
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: {error}") from error
    try:
        _check_file(opened.info.get(_STATE), path)
        wal = wal_path(path)
        if wal.exists() and wal.stat().st_size >= WAL_BYTES:
            with suppress(sqlite3.Error):  # as of a full disk: the commits stay where they are, and the next one fails
                opened.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
            opened.info[_STATE] = FileState.of(path)
    finally:
        opened.close()


@contextmanager
def reading(url: str) -> Iterator[sa.Connection]:
    """Open one snapshot of the database for queries. Raises HistoryError as `writing` does, and if none exists yet.

    A user who may only read the file can read it, too. Where such a reader cannot be protected from a writer that
    starts meanwhile, the end raises HistoryError if one has changed the file.
    """
    path = _file(url)
    if path is not None:
        with reading_file(path) as opened:
            yield from _snapshot(url, _engine(url, begin="BEGIN", creator=opened))
    else:
        yield from _snapshot(url, _engine(url, begin="BEGIN"))


def _snapshot(url: str, engine: sa.Engine) -> Iterator[sa.Connection]:
    try:
        with explained(url), engine.connect() as connection:
            found, known = _revision(connection, url), _head()
            if found != known:
                raise HistoryError(
                    f"{shown(url)}: is of revision {found}, this linewatch reads {known}; "
                    "start its `linewatch history` once, which brings it up to date"
                )
            yield connection
    finally:
        engine.dispose()


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn errors of the database into HistoryErrors with a remedy."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise HistoryError(f"{shown(url)}: {_remedy(error)}") from error


def is_passing(error: BaseException) -> bool:
    """Return whether a failure to write may pass: locked, disk full, server down; not damage, nor a read-only file."""
    if isinstance(error, HistoryError):
        return error.__cause__ is not None and is_passing(error.__cause__)
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return False
    return "readonly" not in str(error.orig)


def identity(connection: sa.Connection) -> int:
    """Return the number that a SQLite file got when it was made, which its copies share; 0 without one."""
    if connection.dialect.name != "sqlite":
        return 0
    found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    return found if found > 1 else 0  # 1: not given one yet


def used_mb(connection: sa.Connection) -> float:
    """Return the size of a SQLite file without its free pages, which are filled first."""
    pages, free, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size / 1e6


def _make_ready(engine: sa.Engine, url: str) -> None:
    """Make the file's folder, and create or migrate the tables."""
    if (path := _file(url)) is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HistoryError(f"{path.parent}: the folder of the history cannot be made ({error.strerror})") from error
    with explained(url), engine.begin() as connection:
        _migrate(connection, url)
        if engine.dialect.name == "sqlite":
            # A write, so that a read-only file fails now.
            known = identity(connection) or secrets.randbelow(1 << 30) + 2
            connection.exec_driver_sql(f"PRAGMA user_version = {known}")


def _check_file(opened: FileState | None, path: Path) -> None:
    """Raise FileChangedError where the files are not those that were opened."""
    if opened is not None and (change := opened.change_to(FileState.of(path))) is not None:
        raise FileChangedError(f"{path}: {change}")


def _let_go(engine: sa.Engine, path: Path) -> None:
    """Move the commits in the -wal file into the file that is open, wherever that is now.

    Behind this the -wal file at the path holds nothing that SQLite would apply to another file there. Raises
    HistoryError while that cannot be reached.
    """
    try:
        connection = engine.raw_connection()
    except sqlite3.Error:
        return  # nothing is open
    try:
        opened: FileState | None = connection.info.get(_STATE)
        if opened is None:
            return
        now = FileState.of(path)
        if now.database == opened.database and now.content != opened.content:
            _part_from_overwritten(connection.cursor(), path)
        with suppress(sqlite3.Error):
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        now, wal = FileState.of(path), wal_path(path)
        if now.database not in (None, opened.database) and now.wal == opened.wal and wal.stat().st_size > 0:
            raise HistoryError(f"{wal}: belongs to the former file, and another process reads it; end that one")
    except OSError as error:
        raise HistoryError(
            f"{path}: was changed while it was open, and is not usable yet ({error.strerror})"
        ) from error
    finally:
        connection.close()


def _part_from_overwritten(cursor: Any, path: Path) -> None:
    """Make an overwritten file one of its own, unless another program has only moved commits from the -wal file to it.

    Raises HistoryError while it is still being written, and OSError.
    """
    if not is_settled(path):
        raise HistoryError(f"{path}: is being written by another program; waiting for it to end")
    names = "page_count", "freelist_count", "schema_version"
    with suppress(sqlite3.Error, ValueError):
        if header_of(path) == tuple(cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in names):
            return
    set_apart(path)


def _engine(url: str, begin: str, creator: Callable[[], sqlite3.Connection] | None = None) -> sa.Engine:
    made_by: dict[str, Any] = {} if creator is None else {"creator": creator}
    path = _file(url) if begin == "BEGIN IMMEDIATE" else None
    try:
        arguments = {"timeout": BUSY_S} if url.startswith("sqlite") else CONNECT_ARGS
        engine = sa.create_engine(url, connect_args=arguments, **made_by)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise HistoryError(f"database = {url!r} cannot be used: {error}") from error
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _settings(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # the driver must not begin transactions
            connection.execute("PRAGMA foreign_keys = ON")
            if begin == "BEGIN IMMEDIATE":
                connection.execute("PRAGMA journal_mode = WAL")
                # A power failure may lose whole commits, with their positions: they are fetched again.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA wal_autocheckpoint = 0")  # `upkeep` does it: who else writes is noticed

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            opened = connection.info.get(_STATE)
            if path is not None:
                _check_file(opened, path)
            connection.exec_driver_sql(begin)
            if path is not None and opened is None:
                connection.info[_STATE] = FileState.of(path)

    return engine


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _head() -> str | None:
    return ScriptDirectory.from_config(_migrations()).get_current_head()


def _revision(connection: sa.Connection, url: str) -> str | None:
    """Return the revision; None for an empty database. Raises HistoryError for a foreign or newer one."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None and (tables := sa.inspect(connection).get_table_names()):
        raise HistoryError(
            f"{shown(url)}: holds other tables ({', '.join(sorted(tables)[:3])} ...) and no history; "
            "name a database of its own"
        )
    try:
        ScriptDirectory.from_config(_migrations()).get_revision(found or "base")
    except CommandError as error:
        raise HistoryError(
            f"{shown(url)}: was written by a newer linewatch (revision {found}, this one knows up to {_head()}); "
            "upgrade linewatch, or name another database"
        ) from error
    return found


def _migrate(connection: sa.Connection, url: str) -> None:
    if _revision(connection, url) == _head():
        return
    config = _migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _file(url: str) -> Path | None:
    parsed = sa.make_url(url)
    return Path(parsed.database) if parsed.drivername == "sqlite" and parsed.database and not parsed.query else None


def shown(url: str) -> str:
    """Return the database's name for people, without its password."""
    return str(_file(url) or sa.make_url(url).render_as_string(hide_password=True))


def _remedy(error: sa.exc.DBAPIError) -> str:
    text = str(error.orig).strip()
    for sign, remedy in _REMEDIES.items():
        if sign in text:
            return f"{text}; {remedy}"
    return text


_REMEDIES = {
    "database is locked": "another process has been writing for seconds; end it",
    "readonly database": "this user may not write the file or its folder",
    "unable to open": "the file or its folder does not exist, or this user may not read it",
    "not a database": "this is not a history; move it away, and what the services' journals still hold is fetched anew",
    "malformed": "the file is damaged; move it away, and what the services' journals still hold is fetched anew",
    "disk is full": "nothing stored is lost; make room on the disk",
    "disk I/O error": "the disk is failing or full; see the host's log",
    "refused": "is the server running there?",
    "timeout": "the server or the network does not answer; nothing stored is lost",
    "closed the connection unexpectedly": "it was restarted, or did not answer in time; nothing stored is lost",
}
