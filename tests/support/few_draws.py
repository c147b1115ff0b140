"""A bootstrap of few draws, for tests of what is around it; tests/metrics/test_intervals.py tests the bootstrap."""

from functools import wraps

import pytest

from linewatch.metrics import intervals

FEW = 40


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = intervals.intervals

    @wraps(usual)
    def with_few(metrics, groups, draws=FEW, seed=0):  # type: ignore[no-untyped-def]
        return usual(metrics, groups, min(draws, FEW), seed)

    monkeypatch.setattr(intervals, "intervals", with_few)
