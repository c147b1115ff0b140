"""The history, as pages read it: queries run in threads, and a database that hangs holds up its own pages only."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from linewatch.config.history import HistorySettings
from linewatch.contracts.errors import HistoryError
from linewatch.hmi.page import PageError
from linewatch.hmi.texts import N_

if TYPE_CHECKING:
    import sqlalchemy as sa

AT_ONCE: Final = 2
WAIT_S: Final = 20.0

R = TypeVar("R")


class Records:
    """`ask` and `write` are for the event loop."""

    def __init__(self, settings: HistorySettings | None) -> None:
        """settings: of `linewatch history`; None: this page has no history."""
        self._settings = settings
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="history")

    @property
    def there(self) -> bool:
        """Whether the configuration names a history."""
        return self._settings is not None

    @property
    def images_dir(self) -> Path | None:
        """The folder of the image archive; None where no images are kept."""
        images = self._settings.images if self._settings is not None else None
        return images.dir if images is not None else None

    @property
    def database(self) -> str:
        """The database's URL. Raises PageError where there is no history."""
        if self._settings is None:
            raise PageError(404, N_("This page has no history: name its configuration by `history`."))
        return self._settings.database

    def close(self) -> None:
        """Return when every query has ended; those that wait are dropped."""
        self._threads.shutdown(cancel_futures=True)

    async def ask(self, query: Callable[["sa.Connection"], R]) -> R:
        """Return what `query` returns for a connection that only reads. Raises PageError 404, 503 or 504."""
        from linewatch.history.database import reading

        url = self.database

        def read() -> R:
            with reading(url) as connection:
                return query(connection)

        return await self._run(read)

    async def write(self, change: Callable[["sa.Connection"], R]) -> R:
        """Return what `change` returns for a transaction that writes, such as a label. Raises as `ask` does."""
        from linewatch.history.database import write_once

        url = self.database
        return await self._run(lambda: write_once(url, change))

    async def _run(self, work: Callable[[], R]) -> R:
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except HistoryError as error:
            raise PageError(503, N_("The history cannot be read: {why}"), why=error) from error
        except TimeoutError as error:
            raise PageError(504, N_("The history did not answer in time.")) from error
