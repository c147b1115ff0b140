"""Records what is known of coils in a run, and from where on, so that a replay decides as that run did.

A running service writes one file for each start, with lines as in a verdict file: the beginning of each coil, and the
frames from which its data changed. A verdict file holds the same lines.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from linewatch.capture.coils import SourceStart
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Verdict
from linewatch.daemon.coils.coil_data import CoilDataEntry
from linewatch.daemon.coils.folder import TAKEN, coil_files, read_coil_file
from linewatch.wire.decode import coil_data_from
from linewatch.wire.schema import CoilLine
from linewatch.wire.verdict_file import VerdictFile, line_of, read_strip

FILES_KEPT = 16


@dataclass(frozen=True, slots=True)
class RecordedCoilData:
    """Where coils began within what the source calls one coil, and what was known of them."""

    starts: tuple[SourceStart, ...] = ()
    entries: tuple[CoilDataEntry, ...] = ()


def read_recorded(path: Path) -> RecordedCoilData:
    """Read a verdict file or a `CoilDataRecorder`'s (*.jsonl), one coil's file (*.json, *.toml), or a folder of these.

    Raises ConfigError or JournalError that says what does not fit.
    """
    if path.is_dir():
        files = [*coil_files(path / TAKEN), *coil_files(path)]
        return RecordedCoilData(entries=tuple(CoilDataEntry(coil_data_from(read_coil_file(file))) for file in files))
    if path.suffix.lower() in (".json", ".toml"):
        return RecordedCoilData(entries=(CoilDataEntry(coil_data_from(read_coil_file(path))),))
    if path.suffix.lower() != ".jsonl":
        raise ConfigError(f"{path}: found suffix {path.suffix!r}, expected .json, .toml, .jsonl or a folder")
    starts: list[SourceStart] = []
    entries: list[CoilDataEntry] = []
    ordinal = -1
    for line in read_strip(path):
        if isinstance(line, CoilLine):
            if line.state is not CoilState.STARTED:
                continue
            ordinal += 1
            if line.source_coil not in ("", line.coil):
                starts.append(SourceStart(line.coil, line.source_coil, line.source_line, line.between_coils))
            data, from_line = line.data, 0
        else:
            data, from_line = line.coil_data, line.first_line
        if data is not None:
            entries.append(CoilDataEntry(coil_data_from(data), ordinal, from_line))
    return RecordedCoilData(tuple(starts), tuple(entries))


class CoilDataRecorder:
    """Writes the file that `read_recorded` reads, at the first line. Used by the outlet."""

    def __init__(self, folder: Path, epoch: int, keep: Callable[[Callable[[], None]], None] | None = None) -> None:
        """keep: have a line written where a disk that hangs or fails holds nothing up; None: `write` does it itself,
        and raises JournalError.
        """
        self._path = folder / f"coils-{epoch:010d}.jsonl"
        self._keep = keep
        self._file: VerdictFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, trace)

    def write(self, decided: Decided) -> None:
        """Write the line of a coil's beginning, or of a frame from which its data changed."""
        if isinstance(decided, CoilNotice):
            written = decided.state is CoilState.STARTED
        else:
            written = isinstance(decided, Verdict) and decided.coil_data is not None
        if not written:
            return
        line = line_of(decided)
        if self._keep is not None:
            self._keep(partial(self._write, line))
        else:
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            for old in sorted(self._path.parent.glob("coils-*.jsonl"))[: -(FILES_KEPT - 1)]:
                old.unlink(missing_ok=True)
            self._file = VerdictFile(self._path).__enter__()
        self._file.write_line(line)
