"""Opens the history's database, SQLite in WAL mode or PostgreSQL, after a check or an upgrade of its revision."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from linewatch.contracts.errors import HistoryError

BUSY_S = 5.0
"""How long a process waits for another that is writing the SQLite file."""


@contextmanager
def writing(url: str) -> Iterator[sa.Engine]:
    """Open the database for writing; create or migrate it if needed. Transactions take the write lock when they begin.

    Raises HistoryError when it is locked, read-only, damaged, not a linewatch history, or of a newer linewatch.
    """
    path = _file(url)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HistoryError(f"{path.parent}: the folder of the history cannot be made ({error.strerror})") from error
    engine = _engine(url, begin="BEGIN IMMEDIATE")
    try:
        with explained(url):
            with engine.begin() as connection:
                _migrate(connection, url)
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA user_version = 1")  # a write, so that a read-only file fails now
            yield engine
    finally:
        engine.dispose()


@contextmanager
def reading(url: str) -> Iterator[sa.Connection]:
    """Open one snapshot of the database for queries. Raises HistoryError as `writing` does, and if none exists yet."""
    path = _file(url)
    if path is not None and not path.exists():
        raise HistoryError(f"{path}: there is no history yet; `linewatch history CONFIG` makes one")
    engine = _engine(url, begin="BEGIN")
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


def used_mb(connection: sa.Connection) -> float:
    """Return the size of a SQLite file without its free pages, which are filled first."""
    pages, free, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size / 1e6


def _engine(url: str, begin: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_S} if url.startswith("sqlite") else {})
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

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

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
}
