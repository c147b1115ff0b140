"""Wait for a condition instead of sleeping for a guessed time."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], within_s: float = 30.0) -> None:
    """Return as soon as `condition` is true. Raises AssertionError when it is still false after `within_s` seconds."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"still not true after {within_s:g} s: {condition}"
        time.sleep(0.01)
