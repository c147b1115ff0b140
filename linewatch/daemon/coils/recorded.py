"""What was known of the coils in an earlier run, and when: so that a replay decides as that run did.

A running service keeps it, one file for each start, as lines of a verdict file: the beginning of each coil, and the
frames from which its data changed. A verdict file holds the same lines.
"""

from dataclasses import dataclass
from pathlib import Path

from linewatch.capture.coils import SourceStart
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Verdict
from linewatch.daemon.coils.folder import TAKEN, coil_files, read_coil_file
from linewatch.daemon.coils.known import Told
from linewatch.wire.decode import coil_data_from
from linewatch.wire.schema import CoilLine
from linewatch.wire.verdict_file import VerdictFile, read_strip

SCRIPTS_KEPT = 16


@dataclass(frozen=True, slots=True)
class CoilScript:
    """Where coils began within what the source calls one, and what was known of them from where on."""

    starts: tuple[SourceStart, ...] = ()
    told: tuple[Told, ...] = ()


def read_script(path: Path) -> CoilScript:
    """Of a verdict file or what a service kept (*.jsonl), of one coil's file (*.json, *.toml), or of a folder of them.

    Raises ConfigError or JournalError that says what does not fit.
    """
    if path.is_dir():
        files = [*coil_files(path / TAKEN), *coil_files(path)]
        return CoilScript(told=tuple(Told(coil_data_from(read_coil_file(file))) for file in files))
    if path.suffix in (".json", ".toml"):
        return CoilScript(told=(Told(coil_data_from(read_coil_file(path))),))
    if path.suffix != ".jsonl":
        raise ConfigError(f"{path}: found suffix {path.suffix!r}, expected .json, .toml, .jsonl or a folder")
    starts: list[SourceStart] = []
    told: list[Told] = []
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
            told.append(Told(coil_data_from(data), ordinal, from_line))
    return CoilScript(tuple(starts), tuple(told))


class CoilTrace:
    """Keeps the script of a run; written by the outlet, opened and closed with it. Raises JournalError."""

    def __init__(self, folder: Path, epoch: int) -> None:
        for old in sorted(folder.glob("coils-*.jsonl"))[: -(SCRIPTS_KEPT - 1)]:
            old.unlink(missing_ok=True)
        self.file = VerdictFile(folder / f"coils-{epoch:010d}.jsonl")

    def write(self, decided: Decided) -> None:
        """Keep what was known, if it is news."""
        if isinstance(decided, CoilNotice):
            news = decided.state is CoilState.STARTED
        else:
            news = isinstance(decided, Verdict) and decided.coil_data is not None
        if news:
            self.file.write(decided)
