"""Opening the history's database: SQLite in WAL mode or PostgreSQL, brought to this program's revision or refused."""

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
"""How long one process waits for another that writes a SQLite file."""


@contextmanager
def writing(url: str) -> Iterator[sa.Engine]:
    """The database, made or migrated if need be. Every transaction takes the write lock at its begin.

    Raises HistoryError when it is locked, read-only, damaged, no database of ours, or of a newer linewatch.
    """
    path = _file(url)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HistoryError(
                f"{path.parent}: cannot be made ({error.strerror}); the history is to lie there"
            ) from error
    engine = _engine(url, begin="BEGIN IMMEDIATE")
    try:
        with explained(url):
            with engine.begin() as connection:
                _migrate(connection, url)
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA user_version = 1")  # a write: a file that takes none says so now
            yield engine
    finally:
        engine.dispose()


@contextmanager
def reading(url: str) -> Iterator[sa.Connection]:
    """One snapshot of the database for queries. Raises HistoryError as `writing` does, and when there is none yet."""
    path = _file(url)
    if path is not None and not path.exists():
        raise HistoryError(f"{path}: there is no history yet; `linewatch history CONFIG` keeps one")
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
    """Errors of the database in an operator's words."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise HistoryError(f"{shown(url)}: {_remedy(error)}") from error


def is_passing(error: BaseException) -> bool:
    """Whether a failure to write may be over later: locked, disk full, server away. Damage and read-only are not."""
    if isinstance(error, HistoryError):
        return error.__cause__ is not None and is_passing(error.__cause__)
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return False
    return "readonly" not in str(error.orig)


def used_mb(connection: sa.Connection) -> float:
    """What the records of a SQLite file take; pages that were freed are not counted, they are filled again first."""
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
            connection.isolation_level = None  # the driver begins no transactions of its own
            connection.execute("PRAGMA foreign_keys = ON")
            if begin == "BEGIN IMMEDIATE":
                connection.execute("PRAGMA journal_mode = WAL")
                # A commit may be lost with the power, but only whole: its positions go with it, it is fetched again.
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
    """Of the database, None of an empty one. Raises HistoryError for one that is not ours or newer."""
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
    """A database for people, without its password."""
    return str(_file(url) or sa.make_url(url).render_as_string(hide_password=True))


def _remedy(error: sa.exc.DBAPIError) -> str:
    said = str(error.orig).strip()
    for sign, remedy in _REMEDIES.items():
        if sign in said:
            return f"{said}; {remedy}"
    return said


_REMEDIES = {
    "database is locked": "another process has been writing to it for seconds; end it",
    "readonly database": "the file, or its folder, may not be written by this user",
    "unable to open": "the file, or its folder, is not there or may not be read by this user",
    "not a database": "this is no history; move it away, what the services' journals still hold is then fetched again",
    "malformed": "the file is damaged; move it away, what the services' journals still hold is then fetched again",
    "disk is full": "nothing was lost of what is stored; make room on the disk",
    "disk I/O error": "the disk fails or is full; see the host's log",
    "refused": "is the server running there?",
}
