"""Errors that a user can resolve. Each message says what was found, what was expected and what to do.

The CLI prints them as one line and exits with `exit_code`. Any other exception is a bug and keeps its traceback.
"""


class LinewatchError(Exception):
    """Base of all errors that are caused from outside the program."""

    exit_code = 1


class OutputError(LinewatchError):
    """Standard output cannot be written, as on a full disk."""

    exit_code = 1


class ConfigError(LinewatchError):
    """A configuration file, or a setting in it, cannot be used."""

    exit_code = 2


class SourceError(LinewatchError):
    """A camera, recording or folder cannot be opened or read."""

    exit_code = 3


class EngineError(LinewatchError):
    """An engine or its manifest is missing, damaged or unsuitable."""

    exit_code = 4


class WireError(LinewatchError):
    """A socket cannot be bound, a peer does not answer, or it sent an invalid message."""

    exit_code = 5


class JournalError(LinewatchError):
    """The journal cannot be written or read."""

    exit_code = 6


class HistoryError(LinewatchError):
    """The history's database cannot be opened, read or written, or lacks the requested data."""

    exit_code = 8


class StageError(LinewatchError):
    """A stage of the running service failed or stopped ticking."""

    exit_code = 7


class OutdatedWarning(FutureWarning):
    """A file names what an earlier version used and this one ignores."""
