"""Watches the file of a camera's calibration, so that a new one is taken up without a restart."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import structlog

from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.find_calibration import camera_serial
from linewatch.config.calibration import CalibrationSettings
from linewatch.config.calibration_file import calibration_path
from linewatch.contracts.errors import ConfigError

log = structlog.get_logger()

THREAD: Final = "calibration"
EVERY_S: Final = 1.0

Mark = tuple[int, int, int] | None
"""Differs where a file was replaced or written; None: there is none."""


class CalibrationWatch:
    """Looks at the file on a thread of its own, since a disk may hang; reads it when it has changed."""

    def __init__(
        self, calibrated: CalibrationInForce, settings: CalibrationSettings, serial: Callable[[], str]
    ) -> None:
        """serial: of the camera that is connected, as it tells it."""
        self._calibrated, self._settings, self._serial = calibrated, settings, serial
        self._closed = threading.Event()
        self._seen: tuple[Path | None, Mark] = self._newest()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name=THREAD, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()  # not joined: it may hang

    def _watch(self) -> None:
        while not self._closed.wait(EVERY_S):
            try:
                self.look()
            except Exception as error:  # whatever the disk does, the next look may find it well again
                log.error("calibration_unreadable", error=f"{type(error).__name__}: {error}"[:500])

    def look(self) -> None:
        """Have the calibration found again where its file is another one than at the last look."""
        newest = self._newest()
        before, self._seen = self._seen, newest
        path, mark = newest
        if path is not None and mark is not None and newest != before:
            self._calibrated.look()

    def _newest(self) -> tuple[Path | None, Mark]:
        try:
            serial = camera_serial(self._settings, self._serial())
        except ConfigError:  # `meet` tells it
            return None, None
        if not serial:
            return None, None
        path = calibration_path(self._settings.folder, serial)
        try:
            found = path.stat()
        except OSError:
            return path, None
        return path, (found.st_mtime_ns, found.st_size, found.st_ino)
