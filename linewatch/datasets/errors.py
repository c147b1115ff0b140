"""The error of all data sets."""

from linewatch.contracts.errors import LinewatchError


class DatasetError(LinewatchError):
    """A data set's folder does not match its tables."""

    exit_code = 3
