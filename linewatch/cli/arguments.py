"""What all commands share."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from linewatch.contracts.errors import ConfigError
from linewatch.service_settings import ServiceSettings, load_settings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Work = Callable[[argparse.Namespace], int | None]
"""What a command does with its options; an exit code, or None for 0."""

_WIDE = 150  # columns of a table that goes to a file


def adder(commands: "Commands") -> Callable[[str, Work, str], argparse.ArgumentParser]:
    """Adds a command by its name, its work and what it is about."""

    def command(name: str, work: Work, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(work=work)
        return sub

    return command


def settings_of(path: Path | None) -> ServiceSettings:
    """Of a service's configuration file, or the defaults. Raises ConfigError."""
    return ServiceSettings() if path is None else load_settings(path)


def wide_console() -> Console:
    """For tables with many columns: as wide as the terminal, or wide enough for a file."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """What needs the extra `name` says so where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("linewatch"):
            raise
        raise ConfigError(f"needs {error.name}, which is not installed; pip install 'linewatch[{name}]'") from error
