"""When a joined line was taken, by the clock of the host that joins."""

import time

import pytest
from decisions import verdict

from linewatch.strip.join_stage import tell_times

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize("ahead_ns", [0, DAY_NS, -DAY_NS])
def test_no_line_is_taken_after_it_was_decided(ahead_ns, monkeypatch):
    taken_unix_ns, taken_ns = time.time_ns(), time.monotonic_ns()
    unix_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: unix_ns() - ahead_ns)
    joined = verdict(0)
    joined.timing.captured_ns = taken_unix_ns
    tell_times(joined)
    assert 0 <= joined.timing.captured_ns <= joined.timing.decided_ns
    if not ahead_ns:
        assert joined.timing.captured_ns == pytest.approx(taken_ns, abs=10**9)
