"""Sources of coil records: a verdict file, or the history as `history:COIL` or `history:#PASSAGE`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linewatch.contracts.errors import ConfigError
from linewatch.review.coil_record import CoilRecord, MaskSelection, no_masks
from linewatch.review.from_verdicts import read_coil, read_coils
from linewatch.terminal import coil_named

PREFIX = "history:"


class CoilSource(Protocol):
    """Where records are read from; `str()` names it. Reading raises a LinewatchError with what is missing."""

    def records(self, masked: MaskSelection = no_masks) -> Iterator[CoilRecord]:
        """Read every passage that it names, in order."""

    def record(self, masked: MaskSelection = no_masks) -> CoilRecord:
        """Read the only passage that it names."""


@dataclass(frozen=True, slots=True)
class VerdictFileSource:
    """A verdict file, of which it reads one coil or all. Raises as `from_verdicts` does."""

    path: Path
    coil: str | None = None

    def __str__(self) -> str:
        return str(self.path)

    def records(self, masked: MaskSelection = no_masks) -> Iterator[CoilRecord]:
        return read_coils(self.path, self.coil, masked)

    def record(self, masked: MaskSelection = no_masks) -> CoilRecord:
        return read_coil(self.path, self.coil, masked)


def source_of(text: str, database: Callable[[], str], coil: str | None = None) -> CoilSource:
    """Return the source that a user names by `text`. coil: which one of a verdict file.

    `database` returns the URL of the history; it is called only for a source in the history, which needs the extra
    `history`. `#` and digits are the number of a passage, also where a coil is named so. Raises ConfigError for a text
    that names no source.
    """
    if not text.startswith(PREFIX):
        return VerdictFileSource(Path(text), coil)
    from linewatch.review.from_history import HistorySource

    named = text.removeprefix(PREFIX)
    if not named:
        raise ConfigError(f"{text}: names no coil; expected {PREFIX}COIL, or {PREFIX}#PASSAGE")
    if named.startswith("#") and named[1:].isdecimal():
        return HistorySource(database(), passage=int(named[1:]))
    return HistorySource(database(), coil_named(named))
