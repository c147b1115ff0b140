"""The GenTL producer `viky`, which simulates cameras and comes with the official Python binding of GenICam."""

from importlib.util import find_spec
from pathlib import Path


def viky() -> Path:
    """Return its file. Raises FileNotFoundError where the extra `gentl` is not installed."""
    found = find_spec("genicam")
    if found is None or found.origin is None:
        raise FileNotFoundError("genicam is not installed")
    return Path(found.origin).with_name("viky.cti")
