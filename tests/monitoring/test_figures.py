"""The figures of a real service: they are those that it decided, and are known to Prometheus by conventional names."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.daemon.figures import ServiceFigures
from linewatch.daemon.frame_times import STEPS
from linewatch.daemon.service import open_service
from linewatch.service_settings import ServiceSettings

pytestmark = pytest.mark.service


class _Of(Collector):
    def __init__(self, figures: ServiceFigures) -> None:
        self._figures = figures

    def collect(self) -> list[Metric]:
        return list(self._figures())


def test_a_service_tells_what_it_decided(settings: ServiceSettings) -> None:
    assert settings.source is not None
    clock = MonotonicClock()
    with (
        open_camera(settings.source, settings.line, clock, live=False) as camera,
        open_service(settings, camera, clock) as service,
    ):
        before = [family.name for family in service.figures()]  # also before the first status
        service.run()
        registry = CollectorRegistry()
        registry.register(_Of(service.figures))
        told = {one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())}
        totals = service.totals
    assert "linewatch_frames" in before

    def sums(name: str, label: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for sample in told[name].samples:
            found[sample.labels[label]] = found.get(sample.labels[label], 0.0) + sample.value
        return found

    lines = sums("linewatch_lines", "quality")
    assert lines == {quality.value: number for quality, number in totals.lines.items() if number}
    area = totals.area
    assert sums("linewatch_strip_square_metres", "quality") == pytest.approx(
        {"inspected": area.inspected_mm2 / 1e6, "degraded": area.degraded_mm2 / 1e6, "missed": area.missed_mm2 / 1e6}
    )
    certain = sums("linewatch_defects", "certainty") if totals.defects else {}
    assert sum(certain.values()) == totals.defects.total()
    assert told["linewatch_frames"].samples[0].value == totals.frames > 0
    counts = {
        one.labels["step"]: one.value
        for one in told["linewatch_frame_step_seconds"].samples
        if one.name.endswith("_count")
    }
    assert counts["whole"] == counts["publish"] == totals.frames
    assert set(counts) == {"whole", *STEPS}
    batches = [one for one in told["linewatch_engine_batch_seconds"].samples if one.name.endswith("_count")]
    assert {one.labels["task"] for one in batches} >= {"screen"}
    assert sum(one.value for one in batches) > 0
    assert told["linewatch_uptime_seconds"].samples[0].value > 0
    assert not [name for name in told if not name.startswith("linewatch_")]
