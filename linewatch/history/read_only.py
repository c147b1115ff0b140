"""Opens a SQLite history for reading, also for users who may not write it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from linewatch.contracts.errors import HistoryError
from linewatch.history.database_file import FileState, wal_path

BUSY_S: Final = 5.0
"""How long a process waits for another that is writing the SQLite file."""


@contextmanager
def reading_file(path: Path) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Yield what connects to the file. Raises HistoryError where there is none, or this user may not read it.

    A user who may write the file and its folder opens it like a writer, and SQLite removes its -wal and -shm files
    afterwards. Any other user opens it read-only beside a writer, by the -wal and -shm files that the writer has made.
    Without a writer these files do not exist, and such a user may not make them: the file is then read as unchanging,
    and the end checks that it did not change meanwhile.
    """
    before = _state(path)
    unchanging = False

    def connect() -> sqlite3.Connection:
        nonlocal unchanging
        if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
            return _opened(path, "mode=rw")
        if wal_path(path).exists():
            try:
                return _opened(path, "mode=ro")
            except sqlite3.OperationalError as error:
                if wal_path(path).exists():  # else its writer has ended at this moment
                    raise HistoryError(
                        f"{path}: was not closed properly, and this user may not repair it ({error}); start its "
                        "`linewatch history` once, or run this command as its user"
                    ) from error
        unchanging = True
        return _opened(path, "mode=ro&immutable=1")

    yield connect
    if unchanging and _state(path) != before:
        raise HistoryError(f"{path}: was changed while it was read; run the command again")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", timeout=BUSY_S, uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _state(path: Path) -> object:
    """Return the file and its content. Raises HistoryError."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HistoryError(f"{path}: there is no history yet; `linewatch history CONFIG` makes one") from error
    except OSError:  # of its folder
        pass
    if not os.access(path, os.R_OK):  # not by opening it: closing gives up the locks of a writer in this process
        raise HistoryError(
            f"{path}: this user may not read it; let the user read the file, its -wal and -shm files, and its folder"
        )
    found = FileState.of(path)
    return found.database, found.content
