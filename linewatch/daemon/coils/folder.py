"""Takes coils' data from Level 2 by files: one a coil in a folder, moved to a subfolder when taken or rejected."""

import json
import os
import threading
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import structlog

from linewatch.config.coil_data import CoilDataSettings
from linewatch.config.load import validated
from linewatch.config.text import text_of, why_not
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.errors import ConfigError
from linewatch.wire.schema import SCHEMA_VERSION, CoilAction, CoilDataBody, CoilRequest

log = structlog.get_logger()

TAKEN, REJECTED = "taken", "rejected"
MAX_FILE_BYTES = 64 << 10
MOVED_KEPT = 256
"""Files kept in each of the two subfolders; beyond that, the oldest are removed."""
_FILES_A_SCAN = 64  # then the folder is listed again


def coil_files(folder: Path) -> list[Path]:
    """Return the coils' files in a folder, the oldest first. Hidden files are not complete yet and left out."""
    return [folder / name for _, name, _ in _listed(folder)]


def _listed(folder: Path) -> list[tuple[int, str, int]]:
    """Return when each of these files was changed, its name and its size. What cannot be looked at is left out."""
    found = []
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if entry.name.lower().endswith((".json", ".toml")) and not entry.name.startswith("."):
            with suppress(OSError):  # it has just gone, or is a link in a circle
                if entry.is_file():
                    found.append((entry.stat().st_mtime_ns, entry.name, entry.stat().st_size))
    return sorted(found)


def read_coil_file(path: Path) -> CoilDataBody:
    """Read a coil's data from a *.json or *.toml. Raises ConfigError with a line for each fault."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({why_not(path, error)}); expected one coil's data") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_FILE_BYTES} bytes; expected one coil's data")
    try:
        text = text_of(content, path)
        tree = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not {path.suffix[1:].upper()}: {error}") from error
    data, faults = validated(CoilDataBody, tree, str(path))
    if data is None:
        raise ConfigError("\n".join(faults))
    return data


class CoilFolder:
    """Used by one thread. Never raises: whatever is in the folder, the strip is inspected."""

    def __init__(self, settings: CoilDataSettings, take: Callable[[CoilRequest], object | str]) -> None:
        """take: carry out a request; a text says why it is refused."""
        self._folder, self._scan_s, self._take_request = settings.folder, settings.look_s, take
        self._seen: set[tuple[int, str, int]] = set()  # files that could not be moved away
        self._next_s = 0.0
        self._idle = threading.Event()  # never set: the caller ends the service
        self.trouble: str | None = None  # of the folder itself

    def scan(self, timeout_s: float) -> None:
        """Take new files when it is time, else wait for at most `timeout_s`."""
        if (wait_s := self._next_s - time.monotonic()) > 0:
            self._idle.wait(min(wait_s, timeout_s))
            return
        try:
            trouble = None if self._folder.is_dir() else f"{self._folder}: no such folder; no coil's data come by file"
            listed = _listed(self._folder)
            self._seen &= set(listed)
            for file in [file for file in listed if file not in self._seen][:_FILES_A_SCAN]:
                trouble = self._take(file) or trouble
        except OSError as error:
            trouble = f"{self._folder}: {error.strerror}; no coil's data come by file"
        if trouble != self.trouble:
            if trouble:
                log.error("coil_folder_failed", trouble=trouble)
            else:
                log.info("coil_folder_recovered")
        self.trouble = trouble
        self._next_s = time.monotonic() + self._scan_s

    def _take(self, file: tuple[int, str, int]) -> str | None:
        """Take one of those listed. Return why a good one is refused; it stays then, and is tried again."""
        changed_ns, name, size = file
        path, key = self._folder / name, (name, changed_ns, size)
        try:
            data = read_coil_file(path)
            token = sha256(f"{key} {data.model_dump_json()}".encode()).hexdigest()[:40]
            request = CoilRequest(
                schema_version=SCHEMA_VERSION,
                request="coil",
                token=token,
                action=CoilAction.DATA,
                data=data,
                by=f"file {made_printable(path.name)}"[:64],
            )
            refused = self._take_request(request)
            if isinstance(refused, str):
                return f"{path}: {refused}"
            log.info("coil_file_taken", path=str(path), data=data.model_dump(exclude_none=True))
        except ConfigError as error:
            if os.path.lexists(path):  # else its writer has removed it
                log.error("coil_file_rejected", path=str(path), error=str(error))
                self._move(path, file, REJECTED, str(error))
        else:
            self._move(path, file, TAKEN)
        return None

    def _move(self, path: Path, file: tuple[int, str, int], where: str, reason: str | None = None) -> None:
        folder = self._folder / where
        try:
            folder.mkdir(exist_ok=True)
            if reason is not None:
                (folder / f"{path.name}.reason").write_text(reason + "\n", errors="backslashreplace")
            path.replace(folder / path.name)
            for old in coil_files(folder)[:-MOVED_KEPT]:
                old.unlink(missing_ok=True)
                old.with_name(f"{old.name}.reason").unlink(missing_ok=True)
        except OSError as error:
            log.error("coil_file_not_moved", path=str(path), error=str(error))
            self._seen.add(file)
