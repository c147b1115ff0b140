"""Where coils are read from: a verdict file, or the history as `history:COIL` or `history:#PASSAGE`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linewatch.contracts.errors import ConfigError
from linewatch.review.coil_record import CoilRecord, Masked, no_masks
from linewatch.review.from_verdicts import read_coil, read_coils

PREFIX = "history:"


class CoilSource(Protocol):
    """`str()` names it. Reading raises a LinewatchError that says what is not there, or what to name."""

    def records(self, masked: Masked = no_masks) -> Iterator[CoilRecord]:
        """Every passage that is meant, in order."""

    def record(self, masked: Masked = no_masks) -> CoilRecord:
        """The one that is meant."""


@dataclass(frozen=True, slots=True)
class CoilInFile:
    """A verdict file; of it one coil, or all. Reads as `history.verdicts` does."""

    path: Path
    coil: str | None = None

    def __str__(self) -> str:
        return str(self.path)

    def records(self, masked: Masked = no_masks) -> Iterator[CoilRecord]:
        return read_coils(self.path, self.coil, masked)

    def record(self, masked: Masked = no_masks) -> CoilRecord:
        return read_coil(self.path, self.coil, masked)


def source_of(text: str, database: Callable[[], str], coil: str | None = None) -> CoilSource:
    """What a user names; `database` is asked for its URL where that is the history. coil: of a verdict file.

    Raises ConfigError for a name that is none. Of the history, needs the extra `history`.
    """
    if not text.startswith(PREFIX):
        return CoilInFile(Path(text), coil)
    from linewatch.review.from_history import CoilInHistory

    named = text.removeprefix(PREFIX)
    if not named.startswith("#"):
        if not named:
            raise ConfigError(f"{text}: names no coil; expected {PREFIX}COIL, or {PREFIX}#PASSAGE")
        return CoilInHistory(database(), named)
    if not named[1:].isdecimal():
        raise ConfigError(f"{text}: expected a number behind #, the passage's in `linewatch coils`")
    return CoilInHistory(database(), passage=int(named[1:]))
