"""What we are held against runs: the runtimes' own tools, whose options and reports are theirs to change."""

import pytest

from benchmarks.ratio import median_ratio
from benchmarks.runtimes import compare
from linewatch.contracts.manifest import Task
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import load_engines
from linewatch.service_settings import ServiceSettings


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_every_peer_gives_a_rate(name: str, settings: ServiceSettings) -> None:
    """One round of a second each, on two workers."""
    backend = open_backend(name)
    engine = load_engines(settings.inference, backend.siblings).by_task()[Task.SEGMENT]
    rows = compare(backend, engine, workers=2, rounds=1, turn_s=1)
    assert rows
    for row in rows:
        assert min(*row.ours_rows_per_s, *row.peer_rows_per_s) > 0


def test_a_ratio_is_the_median_of_its_rounds_within_its_bootstrap() -> None:
    ratio, low, high = median_ratio([10.0, 20.0, 90.0], [10.0, 10.0, 30.0])
    assert ratio == pytest.approx(2.0)
    assert low <= ratio <= high
    assert median_ratio([3.0] * 5, [2.0] * 5) == pytest.approx((1.5, 1.5, 1.5))
