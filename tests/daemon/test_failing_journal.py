"""A journal's disk that fails closes no eye: the strip is inspected, alarms are raised, everything is published."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from failing_disk import FailingDisk
from waiting import wait_until

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Lost, Subscriber
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.journal import JournalState
from linewatch.daemon.service import Service, open_service
from linewatch.journal import keeper
from linewatch.journal.journal import Journal
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import AlarmMessage, FrameMessage, StatusMessage

pytestmark = pytest.mark.service


class Heard:
    """What a consumer got, on a thread of its own."""

    def __init__(self, service: Service) -> None:
        self.frames: list[int] = []
        self.lost: list[Lost] = []
        self.status: StatusMessage | None = None
        self.alarms: dict[str, AlarmState] = {}
        self._service, self._stop = service, threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        topics = ["frame", "alarm", "status"]
        with Subscriber(self._service.publisher.endpoint, self._service.server.endpoint, topics, since="epoch") as wire:
            while not self._stop.is_set():
                message = wire.poll(0.05)
                if isinstance(message, FrameMessage):
                    self.frames.append(message.sequence)
                elif isinstance(message, StatusMessage):
                    self.status = message
                elif isinstance(message, AlarmMessage):
                    self.alarms[message.rule] = message.state
                elif isinstance(message, Lost):
                    self.lost.append(message)

    def is_journal(self, state: JournalState) -> bool:
        return self.status is not None and self.status.journal is not None and self.status.journal.state is state

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)


@contextmanager
def running(settings: ServiceSettings) -> Iterator[tuple[Service, Heard]]:
    """A live service on a simulated strip, and a consumer."""
    clock, ready = MonotonicClock(), threading.Event()
    assert settings.source is not None
    with (
        open_camera(settings.source, settings.line, clock, live=True) as camera,
        open_service(settings, camera, clock) as service,
    ):
        thread = threading.Thread(target=service.run, kwargs={"ready": ready.set})
        thread.start()
        assert ready.wait(60)
        heard = Heard(service)
        try:
            yield service, heard
        finally:
            service.stop()
            heard.end()
            thread.join(60)
    assert service.runner.failure is None


@pytest.fixture(autouse=True)
def tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the disk would be tried again seconds later, the more the longer it failed."""
    monkeypatch.setattr(keeper, "RETRY_S", 0.2)
    monkeypatch.setattr(keeper, "MOST_RETRY_S", 0.2)


@pytest.fixture
def on_small_disk(settings: ServiceSettings, failing_disk: FailingDisk) -> ServiceSettings:
    assert settings.source is not None
    return settings.model_copy(
        update={
            "source": settings.source.model_copy(update={"length_m": 5_000.0, "threading_m": 0.0}),
            "line": settings.line.model_copy(update={"line_rate_hz": 1_500.0}),
            "journal": settings.journal.model_copy(update={"dir": failing_disk.folder / "journal"}),
        }
    )


def test_a_disk_that_gets_full_is_told_and_nothing_is_lost(
    on_small_disk: ServiceSettings, failing_disk: FailingDisk
) -> None:
    with running(on_small_disk) as (service, heard):
        wait_until(lambda: heard.is_journal(JournalState.KEPT) and heard.frames)
        failing_disk.fill()
        wait_until(lambda: heard.is_journal(JournalState.LOST))
        seen = len(heard.frames)
        wait_until(lambda: len(heard.frames) > seen + 10)
        assert heard.status is not None
        assert heard.status.healthy
        assert "the disk is full" in (heard.status.journal.why or "")
        wait_until(lambda: heard.alarms.get("journal-lost") is AlarmState.RAISED)
        failing_disk.free()
        wait_until(lambda: heard.is_journal(JournalState.KEPT))
        wait_until(lambda: heard.alarms.get("journal-lost") is not AlarmState.RAISED)
        with Subscriber(service.publisher.endpoint, service.server.endpoint, ["frame"], since="epoch") as late:
            first = wait_until(lambda: late.poll(1.0))
            assert isinstance(first, FrameMessage)
            assert first.sequence == 0
    assert heard.lost == []
    assert heard.frames == list(range(len(heard.frames)))


def test_a_service_starts_on_a_full_disk(on_small_disk: ServiceSettings, failing_disk: FailingDisk) -> None:
    failing_disk.fill()
    with running(on_small_disk) as (_, heard):
        wait_until(lambda: heard.is_journal(JournalState.LOST) and len(heard.frames) > 10)
        failing_disk.free()
        wait_until(lambda: heard.is_journal(JournalState.KEPT))
    assert heard.lost == []
    assert heard.frames[0] == 0
    assert list((failing_disk.folder / "journal").glob("*.segment"))


def test_a_disk_that_is_pulled_out_ends_nothing(on_small_disk: ServiceSettings, failing_disk: FailingDisk) -> None:
    with running(on_small_disk) as (_, heard):
        wait_until(lambda: heard.frames)
        failing_disk.go_away()
        wait_until(lambda: heard.is_journal(JournalState.LOST))
        seen = len(heard.frames)
        wait_until(lambda: len(heard.frames) > seen + 10)
        failing_disk.mount()
        wait_until(lambda: heard.is_journal(JournalState.KEPT))
    assert heard.lost == []


def test_a_start_on_a_disk_that_hangs_says_what_it_waits_for_and_goes_on(
    settings: ServiceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first read of the journal's folder hangs, as that of a network share whose server is away."""
    answers, recover = threading.Event(), Journal._recover
    heard: list[str] = []

    def hanging(journal: Journal, **more: bool) -> object:
        assert answers.wait(60)
        return recover(journal, **more)

    monkeypatch.setattr(Journal, "_recover", hanging)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, ThreadPoolExecutor() as aside:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)

        def listen() -> None:
            while not any("READY=1" in text for text in heard):
                heard.append(manager.recv(4096).decode())
                if "waits for the disk of the journal" in heard[-1]:
                    answers.set()

        listening = aside.submit(listen)
        with running(settings):
            listening.result(60)
    first = heard[0].splitlines()
    assert first[0] == f"STATUS=STARTING, waits for the disk of the journal in {settings.journal.dir}"
    assert first[1].startswith("EXTEND_TIMEOUT_USEC=")
