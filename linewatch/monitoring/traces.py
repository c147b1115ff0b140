"""The way of one frame in many, from the camera to the publication, as a trace for OpenTelemetry.

The spans are made from the times that the frame carries anyway, once it is published. What a collector does, or does
not, holds nothing up: spans wait in a bounded queue and a thread of their own sends them.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.core import Metric

from linewatch import __version__
from linewatch.config.tracing import TracingSettings
from linewatch.contracts.prediction import Timing
from linewatch.monitoring.endpoint import read_token
from linewatch.monitoring.families import counters
from linewatch.terminal import extra

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult

log = structlog.get_logger()

QUEUED_SPANS: Final = 1_024
"""That wait for the collector; more are dropped and counted."""
SEND_WITHIN_S: Final = 2.0
Steps = Sequence[tuple[str, int, int]]
"""Name, begin and end in nanoseconds of the monotonic clock, one behind the other."""


class FrameTraces:
    """Traces every `every_frames`-th frame. Used by one thread; `figures` by any."""

    def __init__(self, settings: TracingSettings, camera: str) -> None:
        """Raises ConfigError without the extra `tracing`, and for a token that cannot be used."""
        with extra("tracing"):
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we tell it ourselves, once
        token = read_token(settings.token_file, "[tracing]").decode() if settings.token_file else None
        exporter = OTLPSpanExporter(
            endpoint=settings.endpoint,
            certificate_file=str(settings.ca_file) if settings.ca_file else None,
            headers={"authorization": f"Bearer {token}"} if token else None,
            timeout=SEND_WITHIN_S,
        )
        self._sending = _Sending(exporter.export)
        exporter.export = self._sending  # type: ignore[method-assign]
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": "linewatch", "service.version": __version__, "service.instance.id": camera}
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUED_SPANS,
                schedule_delay_millis=1_000,
                max_export_batch_size=QUEUED_SPANS // 2,
                export_timeout_millis=SEND_WITHIN_S * 1e3,
            )
        )
        self._tracer = self._provider.get_tracer("linewatch", __version__)
        self._every = settings.every_frames

    def due(self, ordinal: int) -> bool:
        """Return whether this frame of a coil is traced."""
        return ordinal % self._every == 0

    def add(self, steps: Steps, facts: dict[str, str | int | float]) -> None:
        """Trace one frame with a span for each step. facts: the attributes of the whole."""
        from opentelemetry.trace import set_span_in_context

        since_1970_ns = time.time_ns() - time.monotonic_ns()
        whole = self._tracer.start_span("frame", start_time=since_1970_ns + steps[0][1], attributes=facts)
        inside = set_span_in_context(whole)
        for name, begin_ns, end_ns in steps:
            span = self._tracer.start_span(name, context=inside, start_time=since_1970_ns + begin_ns)
            span.end(since_1970_ns + end_ns)
        whole.end(since_1970_ns + steps[-1][2])
        self._sending.handed(len(steps) + 1)

    def figures(self) -> Iterable[Metric]:
        """Return what became of the spans."""
        yield counters("trace_spans", "spans of traced frames", ["outcome"], self._sending.counts())

    def close(self) -> None:
        """Send what waits, for a moment."""
        self._provider.shutdown()


class _Sending:
    """Counts what the collector takes, and logs when it begins and ceases to refuse."""

    def __init__(self, send: "Callable[[Sequence[ReadableSpan]], SpanExportResult]") -> None:
        self._send, self._lock = send, Lock()
        self._made = self._sent = self._lost = 0
        self._fails = False

    def handed(self, spans: int) -> None:
        """Count spans that were made."""
        with self._lock:
            self._made += spans

    def __call__(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._send(spans)
        except Exception as error:  # whatever a collector answers
            result, why = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"[:200]
        else:
            why = f"not taken within {SEND_WITHIN_S:g} s, or refused"
        taken = result is SpanExportResult.SUCCESS
        with self._lock:
            self._sent += len(spans) * taken
            self._lost += len(spans) * (not taken)
            changed, self._fails = self._fails is taken, not taken
        if changed and taken:
            log.info("traces_taken_again")
        elif changed:
            log.warning("traces_not_taken", why=why)
        return result

    def counts(self) -> dict[tuple[str, ...], int]:
        with self._lock:
            return {("made",): self._made, ("sent",): self._sent, ("refused",): self._lost}


def steps_of(timing: Timing, published_ns: int) -> Steps:
    """Return the steps of a frame that its times tell of."""
    stamps = (
        ("intake", timing.queued_ns),
        ("screen", timing.screened_ns),
        ("outline", timing.predicted_ns),
        ("decide", timing.decided_ns),
        ("publish", published_ns),
    )
    steps, begin_ns = [], timing.captured_ns
    for name, end_ns in stamps:
        if end_ns:  # 0: the frame did not pass the stage
            steps.append((name, begin_ns, end_ns))
            begin_ns = end_ns
    return steps


@contextmanager
def traced(settings: TracingSettings | None, camera: str) -> Iterator[FrameTraces | None]:
    """Trace frames until the end of the block; None: nothing is traced."""
    if settings is None:
        yield None
        return
    traces = FrameTraces(settings, camera)
    try:
        yield traces
    finally:
        traces.close()
