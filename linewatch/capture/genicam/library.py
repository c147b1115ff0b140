"""Aravis, if it is installed: a system library, reached through PyGObject (the extra `genicam`)."""

import shutil
from typing import Any

from linewatch.contracts.errors import ConfigError

_BUILD = "libgirepository1.0-dev libcairo2-dev pkg-config gcc python3-dev"
"""Debian's packages that PyGObject is built with."""


def aravis() -> Any:
    """Return the module `gi.repository.Aravis`. Raises ConfigError that names the missing system package."""
    try:
        import gi
    except ImportError as error:
        raise ConfigError(
            f"genicam cameras need PyGObject, which is not installed ({error}); "
            f"{_installed_by(_BUILD)}, then pip install 'linewatch[genicam]'"
        ) from error
    try:
        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"genicam cameras need Aravis 0.8, which is not installed ({error}); {_installed_by('gir1.2-aravis-0.8')}"
        ) from error
    return Aravis


def _installed_by(packages: str) -> str:
    system = "apt install" if shutil.which("apt") else "install what Debian calls"
    return f"{system} {packages}"


def glib_error() -> type[Exception]:
    """Return the error that every call into Aravis raises. Raises ConfigError where PyGObject is missing."""
    aravis()
    from gi.repository import GLib

    error: type[Exception] = GLib.Error
    return error


def reason(error: Exception) -> str:
    """Return what an error of Aravis says, without its domain and number."""
    return str(getattr(error, "message", error)).strip()
