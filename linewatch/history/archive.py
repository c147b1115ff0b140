"""The image archive: a PNG file and a row per defect. Under pressure the least valuable images are removed first.

A file is written before its row and removed before its row. A kill therefore leaves either a file without a row, which
the sweep after the next start removes, or a row without a file, which is the next to be removed.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa
import structlog

from linewatch.config.history import ImageSettings
from linewatch.contracts.coil import file_name
from linewatch.contracts.errors import HistoryError
from linewatch.files import is_part, write_file
from linewatch.history.database import identity
from linewatch.history.retention import Ages
from linewatch.history.tables import COIL, IMAGE
from linewatch.history.writer import StoredService
from linewatch.wire.schema import CropMessage

log = structlog.get_logger()

MARK: Final = "linewatch-images"
"""The file that marks a folder as an archive. It names the database and since when that has the folder."""
STEP_FILES: Final = 64
"""How many files one step removes; the history stores nothing for these few milliseconds."""
RETRY_S: Final = 10.0
"""How long the archive waits after a failure to write."""
FREE_MARGIN: Final = 1.1
"""Once free space falls below `min_free_mb`, images are removed until this multiple of it is free."""

_SEVERITIES: Final = range(6)  # 0: not graded


class ImageArchive:
    """Stores images and keeps them within their bounds; used by one thread. A disk failure stops nothing but images.

    stored, removed: counts so far. not_stored: images that came while storing was stopped. passed_over: images less
    severe than all that their full coil has.
    """

    def __init__(self, settings: ImageSettings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._bytes = 0
        self._since_ns = 0  # files that are older are not of this database
        self._unswept: Iterator[Path] = iter(())
        self._going: Sequence[Any] = ()  # rows to delete, whose files may be removed already
        self._in_doubt = False  # files may have been written whose rows were not
        self._again_s = 0.0
        self._ages = Ages(settings.days)
        self.stopped: str | None = None
        self.stored = self.removed = self.not_stored = self.passed_over = 0

    def __enter__(self) -> Self:
        """Open the folder, or make it. Raises HistoryError when it is unusable or belongs to another database."""
        folder, mark = self._settings.dir, self._settings.dir / MARK
        ours = _database_name(self._engine)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if is_part(path.name):  # of a kill while the mark was written
                    path.unlink(missing_ok=True)
            if mark.exists():
                theirs = mark.read_text().partition("\n")[0]
                if theirs != ours:
                    raise HistoryError(
                        f"[images] dir {folder} holds the images of {theirs}, not of {ours}; name another folder, or "
                        f"write the new name into {mark} if the database was moved"
                    )
            elif any(folder.iterdir()):
                raise HistoryError(f"[images] dir {folder} holds other files; name a folder of its own")
            else:
                write_file(mark, f"{ours}\n".encode())
            self._take_stock()
        except OSError as error:
            raise HistoryError(f"[images] dir {folder} cannot be used ({error.strerror}); name another") from error
        return self

    def __exit__(self, *_: object) -> None:
        log.info("image_archive_closed", stored=self.stored, removed=self.removed, not_stored=self.not_stored)

    @property
    def used_mb(self) -> float:
        """The size of all images, by their rows."""
        return self._bytes / 1e6

    def look_again(self) -> None:
        """Take stock anew before the next removal, as the database is another one."""
        self._in_doubt, self._going, self._ages = True, (), Ages(self._settings.days)

    def state(self) -> str:
        """Return a line for `systemctl status`."""
        return f"IMAGES STOPPED: {self.stopped}" if self.stopped else f"{self.used_mb:.0f} MB of images"

    def store(self, service: StoredService, crops: Sequence[CropMessage]) -> list[CropMessage]:
        """Store the crops that are worth it; return those whose coil is not stored yet. Raises DBAPIError."""
        unknown: list[CropMessage] = []
        self._in_doubt = True
        with self._engine.begin() as connection:
            for crop in crops:
                coil = connection.execute(
                    sa.select(COIL.c.id, COIL.c.coil, COIL.c.begun_unix_ns).filter_by(
                        service_id=service.service_id,
                        journal=service.journal,
                        epoch=crop.passage[0],
                        ordinal=crop.coil_ordinal,
                    )
                ).first()
                if coil is None:
                    unknown.append(crop)
                elif not self._may_write():
                    self.not_stored += 1
                else:
                    self._keep(connection, coil, crop)
        self._in_doubt = False
        return unknown

    def tidy(self) -> bool:
        """Remove a part of what must go; return whether there is more. On DBAPIError the files may be gone already."""
        try:
            if self._in_doubt:
                self._take_stock()
            for folder in self._unswept:
                self._sweep(folder)
                return True
            if not self._going:
                self._going = self._must_go()
            for row in self._going:
                path = self._settings.dir / row.path
                path.unlink(missing_ok=True)
                for emptied in path.parents[:2]:
                    with suppress(OSError):
                        emptied.rmdir()
        except OSError as error:
            self._stop(f"{error.filename or self._settings.dir}: {error.strerror}")
            return False
        if not self._going:
            return False
        with self._engine.begin() as connection:
            connection.execute(sa.delete(IMAGE).where(IMAGE.c.id.in_([row.id for row in self._going])))
        self._bytes -= sum(row.bytes for row in self._going)
        self.removed += len(self._going)
        self._going = ()
        return True

    def _take_stock(self) -> None:
        """Sum the sizes and list the folders to sweep: at the start, and after a commit that failed."""
        with self._engine.begin() as connection:
            self._bytes = int(connection.execute(sa.select(sa.func.sum(IMAGE.c.bytes))).scalar() or 0)
            self._since_ns = self._belongs_since(identity(connection))
        self._unswept = iter(sorted(path for day in _folders(self._settings.dir) for path in _folders(day)))
        self._in_doubt = False

    def _belongs_since(self, database: int) -> int:
        """Return from when on the files are those of this database, by the mark; note in it when another takes over."""
        mark = self._settings.dir / MARK
        name, *noted = mark.read_text().splitlines()
        if len(noted) == 2 and noted[0] == str(database) and noted[1].isdecimal():
            return int(noted[1])
        since_ns = time.time_ns() if noted else 0
        write_file(mark, f"{name}\n{database}\n{since_ns}\n".encode())
        if noted:
            log.warning("image_folder_of_another_database", folder=str(self._settings.dir), earlier_images="stay")
        return since_ns

    def _may_write(self) -> bool:
        if time.monotonic() < self._again_s:
            return False
        try:
            free_mb, least_mb = self._free_mb(), self._settings.min_free_mb
        except OSError as error:
            self._stop(f"{self._settings.dir}: {error.strerror}")
            return False
        if free_mb < least_mb:
            self._stop(
                f"{free_mb:.0f} MB are free on the disk of {self._settings.dir}, {least_mb:g} MB stay for records"
            )
            return False
        return True

    def _stop(self, why: str) -> None:
        self._again_s = time.monotonic() + RETRY_S
        if self.stopped is None:
            log.error("image_storing_stopped", why=why, decisions="are stored as before")
        self.stopped = why

    def _keep(self, connection: sa.Connection, coil: Any, crop: CropMessage) -> None:
        of_coil = sa.select(IMAGE).where(IMAGE.c.coil_id == coil.id)
        if connection.execute(of_coil.where(IMAGE.c.name == crop.id)).first() is not None:
            return
        severity, displaced = crop.severity or 0, None
        counted = connection.execute(sa.select(sa.func.count()).select_from(of_coil.subquery())).scalar_one()
        if counted >= self._settings.max_per_coil:
            least = of_coil.order_by(IMAGE.c.severity, IMAGE.c.area_mm2, IMAGE.c.id).limit(1)
            displaced = connection.execute(least).one()
            if (severity, crop.area_mm2) <= (displaced.severity, displaced.area_mm2):
                self.passed_over += 1
                return
        path = _path(coil, crop)
        try:
            whole = self._settings.dir / path
            whole.parent.mkdir(parents=True, exist_ok=True)
            write_file(whole, crop.png)
            if displaced is not None:
                (self._settings.dir / displaced.path).unlink(missing_ok=True)
        except OSError as error:
            self._stop(f"{self._settings.dir}: {error.strerror}")
            self.not_stored += 1
            return
        if displaced is not None:
            connection.execute(sa.delete(IMAGE).where(IMAGE.c.id == displaced.id))
            self._bytes -= displaced.bytes
            self.removed += 1
        connection.execute(
            sa.insert(IMAGE).values(
                coil_id=coil.id,
                name=crop.id,
                severity=severity,
                area_mm2=crop.area_mm2,
                path=path,
                bytes=len(crop.png),
                stored_unix_ns=time.time_ns(),
                **{name: getattr(crop, name) for name in ("first_line", "lines", "left_px", "columns", "scale")},
                across_begin_mm=crop.across_mm[0],
                across_end_mm=crop.across_mm[1],
                along_begin_mm=crop.along_mm[0],
                along_end_mm=crop.along_mm[1],
            )
        )
        self._bytes += len(crop.png)
        self.stored += 1
        if self.stopped is not None:
            log.info("image_storing_resumed", not_stored=self.not_stored)
            self.stopped = None

    def _must_go(self) -> Sequence[Any]:
        """Return the next images to remove: of coils that expired or are too old, or too many for the disk."""
        columns = IMAGE.c.id, IMAGE.c.path, IMAGE.c.bytes, IMAGE.c.severity, IMAGE.c.stored_unix_ns
        some, now_ns = sa.select(*columns).limit(STEP_FILES), time.time_ns()
        by_age = some.order_by(IMAGE.c.stored_unix_ns)
        with self._engine.begin() as connection:
            if expired := connection.execute(some.where(IMAGE.c.coil_id.is_(None))).all():
                return expired
            of_old = IMAGE.c.coil_id <= self._ages.newest_too_old(connection, now_ns)
            if too_old := connection.execute(some.where(of_old)).all():
                return too_old
            each = [connection.execute(by_age.where(IMAGE.c.severity == severity)).all() for severity in _SEVERITIES]
        oldest = [row for rows in each for row in rows]
        excess = self._bytes - self._settings.max_mb * 1e6
        free_mb, least_mb = self._free_mb(), self._settings.min_free_mb
        if free_mb < least_mb:
            excess = max(excess, (FREE_MARGIN * least_mb - free_mb) * 1e6)
        going: list[Any] = []
        for row in sorted(oldest, key=lambda row: _weighted_age(row, now_ns), reverse=True)[:STEP_FILES]:
            if excess <= 0:
                break
            going.append(row)
            excess -= row.bytes
        return going

    def _sweep(self, folder: Path) -> None:
        """Remove the folder's files without a row, and rows whose file is missing or has another size.

        Files from before this database took over the folder stay: they are of a former one, which may come back.
        """
        passage = folder.name.partition("-")[0]
        with self._engine.begin() as connection:
            rows = (
                connection.execute(sa.select(IMAGE).where(IMAGE.c.coil_id == int(passage))).all()
                if passage.isdecimal()
                else ()
            )
            named = {self._settings.dir / row.path: row for row in rows}
            with os.scandir(folder) as entries:
                there = {Path(entry.path): entry.stat() for entry in entries if entry.is_file()}
            sizes = {path: about.st_size for path, about in there.items()}
            damaged = [row for path, row in named.items() if sizes.get(path) != row.bytes]
            connection.execute(sa.delete(IMAGE).where(IMAGE.c.id.in_([row.id for row in damaged])))
        self._bytes -= sum(row.bytes for row in damaged)
        unnamed = {path for path in sizes.keys() - named.keys() if there[path].st_mtime_ns >= self._since_ns}
        stray = unnamed | {self._settings.dir / row.path for row in damaged}
        for path in stray:
            path.unlink(missing_ok=True)
        if stray:
            log.info("image_folder_swept", folder=str(folder), files=len(stray), rows=len(damaged))

    def _free_mb(self) -> float:
        return shutil.disk_usage(self._settings.dir).free / 1e6


def _weighted_age(row: Any, now_ns: int) -> float:
    """Return the age over 1 + severity: an image of severity s stays 1 + s times as long as one without a grade."""
    return (now_ns - row.stored_unix_ns) / (1 + row.severity)


def _path(coil: Any, crop: CropMessage) -> str:
    """Return the path below the folder: day, passage, place of the defect."""
    day = datetime.fromtimestamp(coil.begun_unix_ns / 1e9, UTC)
    return f"{day:%Y-%m-%d}/{coil.id}-{file_name(coil.coil)}/{file_name(crop.id.rpartition('/')[2])}.png"


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _database_name(engine: sa.Engine) -> str:
    if engine.dialect.name == "sqlite" and engine.url.database:
        return str(Path(engine.url.database.removeprefix("file:")).resolve())
    return engine.url.render_as_string(hide_password=True)
