"""Families of figures in Prometheus' terms, and those of a service's status.

Names follow Prometheus' conventions: base units, the unit in the name, `_total` for what only grows. Labels have few
values: no coil, defect or client stands in one.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from linewatch.contracts.camera import CameraState
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.histogram import BOUNDS_S, DurationHistogram
from linewatch.contracts.journal import JournalState
from linewatch.contracts.manifest import Task
from linewatch.wire.schema import BackendState, BridgeHealth, BridgeStatus, JoinedCameraState, StatusBody

PREFIX: Final = "linewatch_"
_NS_PER_S: Final = 1e9
_MB: Final = 1e6

Values = Mapping[Any, float]
"""By the values of the labels: tuple[str, ...], one for each label."""


def gauge(name: str, help_: str, value: float | bool) -> Metric:
    """Return a family of one gauge."""
    return GaugeMetricFamily(PREFIX + name, help_, value=float(value))


def gauges(name: str, help_: str, labels: Sequence[str], values: Values) -> Metric:
    """Return a family of gauges."""
    return _filled(GaugeMetricFamily(PREFIX + name, help_, labels=labels), values)


def counter(name: str, help_: str, value: float) -> Metric:
    """Return a family of one counter. name: without `_total`, which Prometheus' formats append."""
    return CounterMetricFamily(PREFIX + name, help_, value=float(value))


def counters(name: str, help_: str, labels: Sequence[str], values: Values) -> Metric:
    """Return a family of counters. name: without `_total`."""
    return _filled(CounterMetricFamily(PREFIX + name, help_, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def histograms(name: str, help_: str, labels: Sequence[str], read: Mapping[Any, DurationHistogram]) -> Metric:
    """Return a family of histograms of durations, in seconds."""
    family = HistogramMetricFamily(PREFIX + name, help_, labels=labels)
    for key, histogram in read.items():
        counts, sum_s = histogram.read()
        buckets, so_far = [], 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        family.add_metric(key, buckets, sum_s)
    return family


def build(software: Mapping[str, str], process: str) -> Metric:
    """Return the versions of linewatch, Python and the packages that results depend on, and which process this is."""
    versions = {name.replace("-", "_"): version for name, version in software.items()}
    return InfoMetricFamily(PREFIX + "build", "versions; always 1", {"process": process, **versions})


def of_status(status: StatusBody) -> Iterator[Metric]:
    """Yield what a service's newest status tells. Figures are at most one heartbeat old."""
    yield gauge("healthy", "1: every stage ticks, the camera is there, and strip is inspected", status.healthy)
    age_s = (time.monotonic_ns() - status.now_ns) / _NS_PER_S
    yield gauge("status_age_seconds", "since the newest status was made; what is told here is so old", age_s)
    yield gauge("uptime_seconds", "since the service started", status.uptime_s)
    yield counter("heartbeats", "counts while the service is healthy", status.heartbeat)
    yield counter("untold_messages", "decisions and pictures that no message could hold", status.untold)
    yield gauge("ring_free_slots", "free frame slots between the camera and the engines", status.ring_free)
    yield gauge("ring_slots", "frame slots between the camera and the engines", status.ring_slots)
    yield gauges(
        "shed_tasks",
        "1: the task is left out now, to keep up with the line",
        ["task"],
        {(task.value,): task in status.shed for task in Task},
    )
    if status.deadline_ms is not None:
        yield gauge(
            "frame_deadline_seconds", "a frame's time limit ([inference] deadline_ms)", status.deadline_ms / 1e3
        )
    yield from _stages(status)
    yield from _camera(status)
    yield from _journal(status)
    yield from _host(status)
    yield from _bridges(status.bridges)
    if status.cameras:
        yield gauges(
            "joined_camera_inspecting",
            "1: the camera of the joined strip inspects",
            ["camera"],
            {(one.name,): one.state is JoinedCameraState.INSPECTING for one in status.cameras},
        )


def _stages(status: StatusBody) -> Iterator[Metric]:
    stages = status.stages
    label = ["stage"]
    yield gauges("queue_items", "items that wait for a stage", label, {(one.name,): one.queued for one in stages})
    yield gauges("queue_size_items", "items that may wait", label, {(one.name,): one.queue_size for one in stages})
    yield counters("stage_items", "items that a stage has handled", label, {(one.name,): one.done for one in stages})
    yield counters(
        "stage_dropped_items", "items that were dropped", label, {(one.name,): one.dropped for one in stages}
    )
    yield gauges(
        "stage_tick_age_seconds",
        "since a stage last ticked",
        label,
        {(one.name,): one.tick_age_ms / 1e3 for one in stages},
    )
    yield gauges(
        "stage_deadline_seconds",
        "tick age at which the service becomes unhealthy",
        label,
        {(one.name,): one.deadline_ms / 1e3 for one in stages},
    )


def _camera(status: StatusBody) -> Iterator[Metric]:
    camera = status.camera_status
    if camera is not None:
        yield gauge("camera_open", "1: the camera gives pictures", camera.state is CameraState.OPEN)
        yield counter("camera_losses", "how often the camera was lost", camera.times_lost)
    if status.position is not None:
        has_encoder = status.position.source is PositionSource.ENCODER
        yield gauge("position_has_encoder", "1: an encoder is configured", has_encoder)
        yield gauge("position_encoded", "1: positions come from the encoder", status.position.encoded)
    if (backend := status.backend) is not None:
        serving = {(backend.name,): backend.state is BackendState.SERVING}
        yield gauges("backend_serving", "1: the engines run on the configured backend", ["backend"], serving)
    if (calibration := status.calibration) is not None:
        now_ns = status.now_unix_ns
        yield gauges(
            "calibration_age_seconds",
            "since a part of the camera's calibration was made",
            ["part"],
            {(name,): (now_ns - made_ns) / _NS_PER_S for name, made_ns in calibration.made_unix_ns.items()},
        )
        yield gauge("calibration_in_trouble", "1: the calibration cannot be used", calibration.trouble is not None)
    if (picture := status.picture) is not None:
        label, readings = ["quantity"], picture.readings
        values = {(one.quantity.value,): one.value for one in readings if one.value is not None}
        limits = {(one.quantity.value,): one.limit for one in readings}
        bad = {(one.quantity.value,): one.bad for one in readings if one.bad is not None}
        yield gauges("picture_reading", "health of the picture, each in a unit of its own", label, values)
        yield gauges("picture_limit", "where the alarm of a reading begins", label, limits)
        yield gauges("picture_bad", "1: a reading is beyond its limit", label, bad)


def _journal(status: StatusBody) -> Iterator[Metric]:
    if (journal := status.journal) is not None:
        yield gauge("journal_kept", "1: decisions reach the journal's disk in time", journal.state is JournalState.KEPT)
        yield gauge("journal_held_messages", "messages in memory that the disk has not taken", journal.held)
        yield gauge("journal_held_bytes", "the same in bytes", journal.held_mb * _MB)
        yield counter("journal_dropped_messages", "messages that were published and are in no journal", journal.dropped)


def _host(status: StatusBody) -> Iterator[Metric]:
    disks = status.disks
    yield gauges(
        "disk_free_bytes", "free on a watched disk", ["disk"], {(one.name,): one.free_mb * _MB for one in disks}
    )
    yield gauges("disk_size_bytes", "of a watched disk", ["disk"], {(one.name,): one.size_mb * _MB for one in disks})
    if (clock := status.clock) is not None and clock.synchronised is not None:
        yield gauge("clock_synchronised", "1: something keeps the host's clock right", clock.synchronised)


def _bridges(bridges: Sequence[BridgeStatus]) -> Iterator[Metric]:
    labels, keys = ["bridge", "protocol"], [(one.name, one.protocol) for one in bridges]

    def of(values: Iterable[float]) -> Values:
        return dict(zip(keys, values, strict=True))

    serving = of(one.health is BridgeHealth.SERVING for one in bridges)
    yield gauges("bridge_serving", "1: the plant's side is served", labels, serving)
    yield gauges("bridge_peers", "controllers, clients or brokers", labels, of(one.peers for one in bridges))
    yield gauges(
        "bridge_waiting_messages", "kept until the plant takes them", labels, of(one.waiting for one in bridges)
    )
    yield counters("bridge_dropped_messages", "that the plant never gets", labels, of(one.dropped for one in bridges))
