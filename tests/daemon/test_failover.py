"""Engines move to their backend when it is ready, and to the next one when it is lost; inspection goes on."""

import json
import threading
from pathlib import Path

import pytest
from faulty_backends import BuildingBackend, FailingBackend
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.contracts.errors import EngineError
from linewatch.contracts.ports import Backend
from linewatch.contracts.verdict import Quality
from linewatch.daemon.service import Service, open_service
from linewatch.inference.backends.registry import open_backend, open_backends
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import BackendState

pytestmark = pytest.mark.service

PATIENCE_S = 60.0


class Watched:
    """A service on a slow live strip, run by a thread of its own."""

    def __init__(self, settings: ServiceSettings, backends: list[Backend], out: Path) -> None:
        assert settings.source is not None
        inference = settings.inference.model_copy(update={"deadline_ms": 60_000.0})
        line = settings.line.model_copy(update={"line_rate_hz": 1500.0})
        self._settings = settings.model_copy(update={"inference": inference, "line": line})
        self._source = settings.source.model_copy(update={"length_m": 2000.0, "threading_m": 0.0})
        self._backends, self._out = backends, out
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.service: Service | None = None

    def _run(self) -> None:
        clock = MonotonicClock()
        with (
            open_camera(self._source, self._settings.line, clock, live=True) as camera,
            open_service(self._settings, camera, clock, verdicts=self._out, backends=self._backends) as self.service,
        ):
            self.service.run(self._ready.set)

    def __enter__(self) -> "Watched":
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.service is not None
        self.service.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def wait(self, state: BackendState) -> None:
        assert self.service is not None
        exchange = self.service.exchange
        wait_until(lambda: exchange.backend.state is state, PATIENCE_S)

    def frames(self, count: int) -> None:
        """Wait until that many more frames are decided."""
        assert self.service is not None
        totals, target = self.service.totals, self.service.totals.frames + count
        wait_until(lambda: totals.frames >= target, PATIENCE_S)


def verdicts(path: Path) -> list[dict]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if line["kind"] == "verdict"]


def of_chain(settings: ServiceSettings, chain: str) -> ServiceSettings:
    return settings.model_copy(update={"inference": settings.inference.model_copy(update={"chain": chain})})


CHAINS = pytest.mark.parametrize("chain", ["cascade", "inspect"])


@CHAINS
def test_another_backend_serves_until_the_engines_are_ready(
    settings: ServiceSettings, chain: str, tmp_path: Path
) -> None:
    settings = of_chain(settings, chain)
    slow = BuildingBackend(open_backend("onnxruntime"))
    with Watched(settings, [slow, open_backend("onnxruntime")], tmp_path / "v.jsonl") as watched:
        assert watched.service is not None
        watched.wait(BackendState.PREPARING)
        assert "made ready on built-onnxruntime" in (watched.service.exchange.backend.text or "")
        watched.frames(3)
        slow.built.set()
        watched.wait(BackendState.SERVING)
        watched.frames(3)
    found = verdicts(tmp_path / "v.jsonl")
    built = ["built-" in line["engines"][0] for line in found if line["engines"]]
    assert not built[0]
    assert built[-1]
    assert sorted(built) == built, "the engines moved once, between two frames"
    assert {span["quality"] for line in found for span in line["spans"]} == {Quality.INSPECTED}


@CHAINS
def test_a_lost_device_costs_the_frames_that_it_had(settings: ServiceSettings, chain: str, tmp_path: Path) -> None:
    settings = of_chain(settings, chain)
    lost = FailingBackend(BuildingBackend(open_backend("onnxruntime")), first=8, last=1 << 60)
    lost._inner.built.set()  # type: ignore[attr-defined]
    with (
        capture_logs() as logs,
        Watched(settings, [lost, open_backend("onnxruntime")], tmp_path / "v.jsonl") as watched,
    ):
        watched.wait(BackendState.LOST)
        assert watched.service is not None
        exchange = watched.service.exchange
        wait_until(lambda: exchange.backend.name == "onnxruntime", PATIENCE_S)  # its engines have to be made ready
        watched.frames(6)
        backend = exchange.backend
        assert (backend.name, backend.state) == ("onnxruntime", BackendState.LOST)
        assert "the device is lost" in (backend.text or "")
    spans = [span for line in verdicts(tmp_path / "v.jsonl") for span in line["spans"]]
    missed = [span for span in spans if span["quality"] == Quality.MISSED]
    assert missed
    assert {span["cause"] for span in missed} == {"engine"}
    assert spans[-1]["quality"] == Quality.INSPECTED
    events = [event["event"] for event in logs]
    assert events.count("backend_lost") == 1
    assert "engines_moved" in events


def test_without_another_backend_a_lost_one_is_told_and_tried_again(settings: ServiceSettings, tmp_path: Path) -> None:
    backend = FailingBackend(open_backend("onnxruntime"), first=8, last=20)
    with Watched(settings, [backend], tmp_path / "v.jsonl") as watched:
        watched.wait(BackendState.LOST)
        watched.frames(20)
    assert verdicts(tmp_path / "v.jsonl")[-1]["spans"][-1]["quality"] == Quality.INSPECTED


def test_what_is_not_there_is_left_out_and_told(settings: ServiceSettings) -> None:
    opened, errors = open_backends(("tensorrt", "onnxruntime"), settings.inference)
    if errors:  # no GPU here
        assert [backend.name for backend in opened] == ["onnxruntime"]
        assert "tensorrt" in str(errors[0])
        with pytest.raises(EngineError, match="tensorrt"):
            open_backends(("tensorrt",), settings.inference)
    else:
        assert [backend.name for backend in opened] == ["tensorrt", "onnxruntime"]
