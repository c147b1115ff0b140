"""A frame's way is seen in a collector of OpenTelemetry, and what the collector does holds nothing up."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.proto", reason="needs the extra tracing")

from live_service import live_service
from otlp_collector import otlp_collector
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.config.tracing import TracingSettings
from linewatch.contracts.prediction import Timing
from linewatch.monitoring.traces import QUEUED_SPANS, FrameTraces, steps_of, traced
from linewatch.service_settings import ServiceSettings

STEPS = ["intake", "screen", "outline", "decide", "publish"]


def settings_for(port: int, every_frames: int = 1, **more: object) -> TracingSettings:
    url = f"http://127.0.0.1:{port}/v1/traces"
    return TracingSettings.model_validate({"endpoint": url, "every_frames": every_frames, **more})


def timing(captured_ns: int) -> Timing:
    at = [captured_ns + 1_000_000 * step for step in range(5)]
    return Timing(captured_ns=at[0], queued_ns=at[1], screened_ns=at[2], predicted_ns=at[3], decided_ns=at[4])


def add_frame(traces: FrameTraces, ordinal: int) -> None:
    now_ns = time.monotonic_ns()
    traces.add(steps_of(timing(now_ns - 5_000_000), now_ns), {"linewatch.coil": "C-7", "linewatch.ordinal": ordinal})


def counts(traces: FrameTraces) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in traces.figures()
        for sample in family.samples
        if sample.name == "linewatch_trace_spans_total"
    }


def test_a_frame_is_one_trace_with_its_steps_one_behind_the_other(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    with otlp_collector() as collector:
        with traced(settings_for(collector.port, token_file=str(tmp_path / "token")), "cam1") as traces:
            assert traces is not None
            before_ns = time.time_ns()
            add_frame(traces, 12)
        ((spans),) = collector.traces().values()
    whole = next(span for span in spans if not span.parent_span_id)
    steps = sorted((span for span in spans if span.parent_span_id), key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in steps] == STEPS
    assert {span.parent_span_id for span in steps} == {whole.span_id}
    assert steps[0].start_time_unix_nano == whole.start_time_unix_nano
    assert steps[-1].end_time_unix_nano == whole.end_time_unix_nano
    assert all(a.end_time_unix_nano == b.start_time_unix_nano for a, b in pairwise(steps))
    assert abs(whole.end_time_unix_nano - before_ns) < 60e9
    told = {one.key: one.value.string_value or one.value.int_value for one in whole.attributes}
    assert told == {"linewatch.coil": "C-7", "linewatch.ordinal": 12}
    assert collector.resources[0]["service.name"] == "linewatch"
    assert collector.resources[0]["service.instance.id"] == "cam1"
    assert collector.tokens == {"Bearer 0123456789abcdef"}


def test_a_step_that_a_frame_did_not_pass_is_left_out() -> None:
    shed = Timing(captured_ns=100, queued_ns=200, screened_ns=0, predicted_ns=0, decided_ns=400)
    assert steps_of(shed, 500) == [("intake", 100, 200), ("decide", 200, 400), ("publish", 400, 500)]


def test_one_frame_of_so_many_is_traced() -> None:
    with traced(settings_for(1, every_frames=100), "cam1") as traces:
        assert traces is not None
        assert [ordinal for ordinal in range(250) if traces.due(ordinal)] == [0, 100, 200]


def test_a_collector_that_hangs_holds_nothing_up_and_what_it_misses_is_counted() -> None:
    """Ten times as many spans as may wait: none waits for the collector, and memory is bounded."""
    frames = 10 * QUEUED_SPANS // (len(STEPS) + 1)
    with otlp_collector(hangs=True) as collector, capture_logs() as logs:
        with traced(settings_for(collector.port), "cam1") as traces:
            assert traces is not None
            for ordinal in range(frames):
                add_frame(traces, ordinal)
            assert counts(traces)["made"] == frames * (len(STEPS) + 1)
            assert counts(traces)["sent"] == 0
            wait_until(lambda: counts(traces)["refused"])
        assert [line["event"] for line in logs] == ["traces_not_taken"]
        assert len(collector.spans) < QUEUED_SPANS


def test_a_collector_that_refuses_or_is_away_is_told_once_and_once_it_is_back() -> None:
    with otlp_collector() as free:
        port = free.port
    with capture_logs() as logs, traced(settings_for(port), "cam1") as traces:
        assert traces is not None
        add_frame(traces, 0)
        wait_until(lambda: counts(traces)["refused"])
        with otlp_collector(port) as collector:

            def is_taken() -> bool:
                add_frame(traces, 1)
                return bool(collector.spans)

            wait_until(is_taken)
            wait_until(lambda: counts(traces)["sent"])
    assert [line["event"] for line in logs][:2] == ["traces_not_taken", "traces_taken_again"]


@pytest.mark.service
def test_a_live_service_tells_the_way_of_its_frames(settings: ServiceSettings, tmp_path: Path) -> None:
    with otlp_collector() as collector:
        traced_settings = settings.model_copy(update={"tracing": settings_for(collector.port, every_frames=2)})
        with live_service(traced_settings, tmp_path / "verdicts.jsonl", 500.0) as live:
            wait_until(lambda: len(collector.traces()) >= 3)
            sent = counts(live.service.figures.traces)["sent"]
    assert sent >= 3
    for spans in list(collector.traces().values())[:3]:
        (whole,) = (span for span in spans if not span.parent_span_id)
        told = {one.key: one.value.string_value or one.value.int_value for one in whole.attributes}
        assert told["linewatch.ordinal"] % 2 == 0
        assert told["linewatch.quality"] in ("inspected", "degraded", "missed")
        steps = sorted((span for span in spans if span.parent_span_id), key=lambda span: span.start_time_unix_nano)
        names = [span.name for span in steps]  # a frame that a busy host sheds passes fewer
        assert [name for name in STEPS if name in names] == names
        assert {"intake", "publish"} <= set(names)


def test_another_host_needs_encryption() -> None:
    for endpoint in ("http://10.0.0.7:4318/v1/traces", "http://collector.mill/v1/traces", "ftp://x/", "nonsense"):
        with pytest.raises(ValueError, match="endpoint"):
            TracingSettings(endpoint=endpoint)
    for endpoint in (
        "http://localhost:4318/v1/traces",
        "http://[::1]:4318/v1/traces",
        "https://collector.mill/v1/traces",
    ):
        TracingSettings(endpoint=endpoint)
