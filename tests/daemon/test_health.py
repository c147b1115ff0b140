"""A hung stage is noticed within two seconds; from then on heartbeat and watchdog stand still."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_backends import FailingBackend, HungBackend
from waiting import wait_until

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Lost, Subscriber
from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import StageError
from linewatch.daemon import runner, sight
from linewatch.daemon.health import Health
from linewatch.daemon.service import open_service
from linewatch.daemon.stages.wiring import TICK_S
from linewatch.daemon.topology import CAPTURE, COIL_FILES, DECISION, EXCHANGE, TOPOLOGY
from linewatch.inference.backends.registry import open_backend
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import StatusMessage

pytestmark = pytest.mark.service


class SetClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def wait_until_ns(self, deadline_ns: int, stop: threading.Event | None = None) -> bool:
        self.ns = max(self.ns, deadline_ns)
        return True


def test_a_hung_stage_is_known_within_two_seconds() -> None:
    """The topology's limit, tick and heartbeat add up to less, so that the test below needs no stopwatch."""
    beat_s = 1 / WireSettings().heartbeat_hz
    aside = (CAPTURE, EXCHANGE, COIL_FILES)
    assert all(row.silence_limit_s + TICK_S + beat_s < 2.0 for row in TOPOLOGY if row not in aside)


def test_a_stage_is_silent_after_its_own_limit() -> None:
    clock = SetClock()
    health = Health(clock)
    health.expect("capture", 10.0)
    health.expect("engine-0", 1.5)
    clock.ns = 1_500_000_000
    assert health.silent() == ()
    clock.ns += 1
    assert health.silent() == ("engine-0",)
    health.tick("engine-0")
    assert health.silent() == ()
    clock.ns = 20_000_000_000
    health.finish("capture")
    assert health.silent() == ("engine-0",)


def test_a_process_that_was_stopped_has_no_hung_stage() -> None:
    """SIGSTOP, or a paused virtual machine: all threads stand, the one that looks as well."""
    clock = SetClock()
    running = runner.Runner(clock, (DECISION,), 1, lambda: None)
    running.stages["decision"] = DECISION
    running.health.expect("decision", DECISION.silence_limit_s)

    def look(for_s: float, *, ticking: bool = False) -> bool:
        for _ in range(int(4 * for_s)):
            clock.ns += 250_000_000
            if ticking:
                running.health.tick("decision")
            running._end_if_hung()
        return running.failure is not None

    assert not look(30.0, ticking=True)
    clock.ns += 60_000_000_000
    assert not look(5.0)
    assert not look(30.0, ticking=True)
    assert not look(10.0)
    assert look(1.0), "hung, while the others go on"


class Manager:
    """Listens in systemd's place: (time, message), in order."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self._stop = threading.Event()
        self.heard: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self.heard.append((time.monotonic(), self._socket.recv(4096).decode()))
            except TimeoutError:
                continue

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    path = tmp_path / "notify"
    listening = Manager(path)
    os.environ["NOTIFY_SOCKET"] = str(path)
    yield listening
    del os.environ["NOTIFY_SOCKET"]
    listening.close()


def test_a_hung_engine_worker_stops_heartbeat_and_watchdog(
    settings: ServiceSettings, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unhealthy within 2 s, the heartbeat stands, the watchdog is unfed, the stage is named, the end is an error."""
    monkeypatch.setattr(runner, "DRAIN_LIMIT_S", 3.0)
    backend = HungBackend(open_backend(settings.inference.backend), at=40)
    assert settings.source is not None
    source = settings.source.model_copy(update={"length_m": 1000.0})
    clock = MonotonicClock()
    statuses: list[tuple[float, StatusMessage]] = []
    finished = threading.Event()

    def listen(publish: str, serve: str) -> None:
        with Subscriber(publish, serve, topics=["status"]) as subscriber:
            while not finished.is_set():
                message = subscriber.poll(0.1)
                if isinstance(message, StatusMessage) and not isinstance(message, Lost):
                    statuses.append((time.monotonic(), message))

    listeners: list[threading.Thread] = []
    with (
        open_camera(source, settings.line, clock, live=True) as camera,
        open_service(settings, camera, clock, backends=[backend]) as service,
    ):

        def ready() -> None:
            listeners.append(
                threading.Thread(target=listen, args=(service.publisher.endpoint, service.server.endpoint))
            )
            listeners[0].start()

        try:
            with pytest.raises(StageError, match=r"engine-\d is hung"):
                service.run(ready)
        finally:
            backend.released.set()
            finished.set()
            listeners[0].join()

    ailing = [(at, status) for at, status in statuses if not status.healthy]
    assert ailing, "no status said that the service is unhealthy"
    assert "engine-" in (ailing[0][1].failure or "")
    assert len({status.heartbeat for _, status in ailing}) == 1
    assert [status for _, status in statuses if status.healthy], "it never was healthy"
    first = [text for _, text in manager.heard if "READY=1" in text]
    assert first, "systemd was never told READY=1"
    told = [text for _, text in manager.heard]
    sick = next(at for at, text in enumerate(told) if "UNHEALTHY, silent: engine-" in text)
    assert any("WATCHDOG=1" in text for text in told[:sick])
    assert not any("WATCHDOG=1" in text for text in told[sick:]), "fed no more once it is unhealthy"


@pytest.mark.parametrize("blinded", [True, False])
def test_a_service_that_misses_every_line_is_unhealthy_until_it_sees_again(
    blinded: bool, settings: ServiceSettings, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stage ticks, nothing is looked at: the heartbeat stands and the watchdog is unfed, until engines run."""
    monkeypatch.setattr(sight, "BLIND_NS", 500_000_000)
    backend = FailingBackend(open_backend(settings.inference.backend), 8, 27 if blinded else 7)
    # A slow line and a late deadline: on a busy machine, too, nothing is missed but by the engines.
    settings = settings.model_copy(
        update={
            "wire": settings.wire.model_copy(update={"heartbeat_hz": 20.0}),
            "line": settings.line.model_copy(update={"line_rate_hz": 1500.0}),
            "inference": settings.inference.model_copy(update={"deadline_ms": 60_000.0}),
        }
    )
    assert settings.source is not None
    source = settings.source.model_copy(update={"length_m": 1000.0, "threading_m": 0.0})
    clock, heard = MonotonicClock(), threading.Event()
    statuses: list[StatusMessage] = []

    with (
        open_camera(source, settings.line, clock, live=True) as camera,
        open_service(settings, camera, clock, backends=[backend]) as service,
    ):

        def listen() -> None:
            with Subscriber(service.publisher.endpoint, service.server.endpoint, topics=["status"]) as subscriber:
                while not heard.is_set():
                    message = subscriber.poll(0.1)
                    if isinstance(message, StatusMessage) and not isinstance(message, Lost):
                        statuses.append(message)

        def recovered() -> bool:
            sick = [at for at, status in enumerate(statuses) if not status.healthy]
            return bool(sick or not blinded) and sum(status.healthy for status in statuses[max(sick, default=0) :]) > 5

        def conduct() -> None:
            try:
                wait_until(recovered, 60.0)
            finally:
                heard.set()
                service.stop()

        threads = [threading.Thread(target=target) for target in (listen, conduct)]
        service.run(lambda: [thread.start() for thread in threads] and None)
        for thread in threads:
            thread.join()

    blind = [status for status in statuses if status.failure]
    assert bool(blind) is blinded
    assert all((status.failure or "").startswith("blind: every line of the last") for status in blind)
    assert all("(engine)" in (status.failure or "") and not status.healthy for status in blind)
    assert len({status.heartbeat for status in blind}) == int(blinded)
    said_blind = [text for _, text in manager.heard if "UNHEALTHY, blind" in text]
    assert bool(said_blind) is blinded
    assert not any("WATCHDOG=1" in text for text in said_blind)
