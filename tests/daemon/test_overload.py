"""When engines are too slow or fail, lines are missed with their cause, each once, and the service goes on."""

import json
import os
import threading
from pathlib import Path

import pytest
import structlog
from faulty_backends import FailingBackend, LateBackend
from structlog.testing import capture_logs

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.contracts.ports import Backend
from linewatch.contracts.verdict import Quality
from linewatch.daemon.replay import replay
from linewatch.daemon.service import open_service
from linewatch.daemon.topology import ENGINE
from linewatch.inference.backends.registry import open_backend
from linewatch.service_settings import ServiceSettings

pytestmark = pytest.mark.service


def spans(path: Path) -> list[dict[str, object]]:
    return [span for text in path.read_text().splitlines() for span in json.loads(text).get("spans", ())]


def test_live_capture_never_waits_and_counts_every_line_it_misses(settings: ServiceSettings, tmp_path: Path) -> None:
    """With engines far too slow for the line, the coil passes at its own pace and every line is accounted for once."""
    assert settings.source is not None
    settings = settings.model_copy(update={"capture": settings.capture.model_copy(update={"ring_slots": 8})})
    source = settings.source.model_copy(update={"length_m": 30.0})
    backend, clock = LateBackend(open_backend(settings.inference.backend), 0.4, seed=1), MonotonicClock()
    beats: list[bool] = []
    with (
        capture_logs() as logs,
        open_camera(source, settings.line, clock, live=True) as camera,
        open_service(settings, camera, clock, verdicts=tmp_path / "v.jsonl", backends=[backend]) as service,
    ):
        service.run(watch=lambda: beats.append(not service.runner.health.silent()))
    found = spans(tmp_path / "v.jsonl")
    lines = [line for span in found for line in range(span["first_line"], span["first_line"] + span["lines"])]  # type: ignore[call-overload]
    assert lines == list(range(30_000))
    missed = [span for span in found if span["quality"] == Quality.MISSED]
    assert missed, "engines were fast enough"
    assert {span["cause"] for span in missed} <= {"overload", "overrun", "lost"}
    assert any(span["quality"] == Quality.INSPECTED for span in found)
    assert sum(beats) > 0.9 * len(beats), "a stage fell silent under overload"
    assert "lines_missed" in [event["event"] for event in logs]


def test_the_heavy_engines_work_is_shed_before_strip_is_missed(settings: ServiceSettings, tmp_path: Path) -> None:
    """Every tile passes and is to be segmented, at some 20 ms a call, which the screen alone can keep up with."""
    assert settings.source is not None
    inference = settings.inference.model_copy(update={"screen_threshold": 0.0, "claim_share": 0.0, "workers": 2})
    line = settings.line.model_copy(update={"line_rate_hz": 4000.0})
    settings = settings.model_copy(update={"inference": inference, "line": line})
    source = settings.source.model_copy(update={"length_m": 12.0})
    backend, clock = LateBackend(open_backend(settings.inference.backend), 0.04, seed=1), MonotonicClock()
    with (
        capture_logs() as logs,
        open_camera(source, settings.line, clock, live=True) as camera,
        open_service(settings, camera, clock, verdicts=tmp_path / "v.jsonl", backends=[backend]) as service,
    ):
        service.run()
    found = spans(tmp_path / "v.jsonl")
    assert sum(span["lines"] for span in found) == 12_000  # type: ignore[misc]
    degraded = [span for span in found if span["quality"] == Quality.DEGRADED]
    missed = [span for span in found if span["quality"] == Quality.MISSED]
    assert {span["cause"] for span in degraded} == {"overload"}
    assert len(degraded) > len(missed)
    assert "shedding" in [event["event"] for event in logs]


class PriorityBackend(LateBackend):
    """Records the priority of every thread that runs an engine."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner, 0.0, seed=0)
        self.nice: set[int] = set()

    def before(self) -> None:
        if threading.current_thread() is not threading.main_thread():  # which warms them up
            self.nice.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))


def test_engines_stand_back_for_the_stages_around_them(settings: ServiceSettings, tmp_path: Path) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    backend = PriorityBackend(open_backend(settings.inference.backend))
    replay(settings, out=tmp_path / "v.jsonl", backend=backend)
    assert backend.nice == {min(19, own + ENGINE.nice)}
    assert ENGINE.nice > 0
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_a_failing_engine_costs_its_frames_and_is_logged_once(
    settings: ServiceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that the screen failed on are missed, cause engine; with one event each for begin and end."""
    structlog.reset_defaults()
    monkeypatch.setattr("linewatch.daemon.stages.engine.RECOVERED_AFTER_S", 0.0)
    one = settings.inference.model_copy(update={"workers": 1})
    backend = FailingBackend(open_backend(settings.inference.backend), first=10, last=14)
    with capture_logs() as logs:
        summary = replay(settings.model_copy(update={"inference": one}), out=tmp_path / "v.jsonl", backend=backend)
    events = [event["event"] for event in logs]
    assert "engine_failing" in events
    assert events.count("engine_failing") == events.count("engine_recovered")
    assert set(summary.lines_missed_by_cause) == {"engine"}
    assert 0 < summary.lines_missed_by_cause["engine"] <= 5 * 256
    assert summary.metres == pytest.approx(10.0)
