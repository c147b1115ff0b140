"""`verdicts.jsonl`: one line per decision. Two replays of one recording give equal bytes, except in `timing`."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from linewatch.contracts.errors import JournalError
from linewatch.contracts.verdict import Decided
from linewatch.wire.encode import verdict_line
from linewatch.wire.schema import LINE, AlarmsLine, CoilLine, Line, VerdictLine, canonical, explain


class VerdictFile:
    """Writes each decision at once, so that it survives the process.

    An existing file is replaced. Raises JournalError when it cannot be made or the disk is full; earlier lines stay
    whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._size = 0

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise JournalError(
                f"cannot make {self._path}: {error.strerror}; name a file that can be written"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._file = -1

    def write(self, decided: Decided) -> None:
        """Append one line."""
        self.write_line(line_of(decided))

    def write_line(self, data: bytes) -> None:
        """Append one line, as `line_of` makes it."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._undo()
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            found = f"the disk is full ({error.strerror})" if full else error.strerror
            raise JournalError(
                f"cannot write to {self._path}: {found}; its first {self._size} bytes are whole lines: "
                "free space, or name a file on another disk"
            ) from error
        self._size += len(data)

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        except OSError:
            pass  # not a regular file, /dev/stdout for example


def line_of(decided: Decided) -> bytes:
    """Return the line of a decision."""
    return canonical(verdict_line(decided).model_dump()) + b"\n"


def read_verdicts(path: Path) -> Iterator[Line]:
    """Yield the lines of a verdict file, without a last line that was cut short by a kill.

    Raises JournalError when the file cannot be read, or a line is not valid.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):  # noqa: B007 - the handler names it
                if text.endswith(b"\n"):
                    yield LINE.validate_json(text)
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}; expected a verdict file") from error
    except ValidationError as error:
        raise JournalError(f"{path}, line {number}: {explain(error)}; expected a line of a verdict file") from error


def read_strip(path: Path) -> Iterator[VerdictLine | CoilLine]:
    """Yield the lines of frames and coils, without those of commands and the host. Raises like `read_verdicts`."""
    return (line for line in read_verdicts(path) if not isinstance(line, AlarmsLine))
