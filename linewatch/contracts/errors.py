"""Errors that a user can mend. Each message says what was found, what was expected and what to do.

The CLI prints them as one line and exits with `exit_code`; anything else is a defect of ours and keeps its traceback.
"""


class LinewatchError(Exception):
    """Base of every error that is the outside world's doing, not ours."""

    exit_code = 1


class ConfigError(LinewatchError):
    """A configuration file, or a setting in it, cannot be used."""

    exit_code = 2


class SourceError(LinewatchError):
    """A camera, recording or folder cannot be opened or read."""

    exit_code = 3


class EngineError(LinewatchError):
    """An engine or its manifest is missing, damaged or does not fit."""

    exit_code = 4


class WireError(LinewatchError):
    """A socket cannot be bound, or a peer sent something that is not our protocol."""

    exit_code = 5


class JournalError(LinewatchError):
    """The journal cannot be written or read."""

    exit_code = 6


class HistoryError(LinewatchError):
    """The history's database cannot be opened, read or written, or does not hold what was asked for."""

    exit_code = 8


class StageError(LinewatchError):
    """A stage of the running service failed or stopped ticking."""

    exit_code = 7
