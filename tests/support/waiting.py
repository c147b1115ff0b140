"""Waiting for a condition, instead of sleeping for a time that is hoped to be enough."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.01
PATIENCE_S = 120.0
"""For what takes a moment, on a host that is busy: a test that passes waits no longer for it."""

T = TypeVar("T")


def wait_until(condition: Callable[[], T], within_s: float = PATIENCE_S) -> T:
    """Return the first true value of `condition`; raise AssertionError when there is none within `within_s`."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {condition}"
        time.sleep(POLL_S)
    return value
