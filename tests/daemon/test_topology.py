"""The topology is the whole service: no thread runs that it does not list, and docs/overview.md lists each of them."""

import re
import threading
from pathlib import Path

import pytest

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.config.coil_data import CoilDataSettings
from linewatch.daemon.service import open_service
from linewatch.daemon.topology import HELPER_THREADS, TOPOLOGY
from linewatch.service_settings import ServiceSettings
from linewatch.signals import on_end

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
SERVICE = (
    "capture",
    "config",
    "contracts",
    "daemon",
    "decision",
    "geometry",
    "inference",
    "journal",
    "simulation",
    "wire",
)
STARTS_A_THREAD = re.compile(r"\b(Thread|Timer|ThreadPoolExecutor)\(")


def test_every_thread_of_a_service_is_in_the_topology(settings: ServiceSettings, tmp_path: Path) -> None:
    """With every optional stage configured, the threads are exactly those of the topology."""
    assert settings.source is not None
    settings = settings.model_copy(
        update={
            "coil_data": CoilDataSettings(folder=tmp_path),
            "wire": settings.wire.model_copy(update={"commands": "tcp://127.0.0.1:*"}),
        }
    )
    source = settings.source.model_copy(update={"length_m": 1000.0})
    others, started, clock = set(threading.enumerate()), set(), MonotonicClock()
    with (
        open_camera(source, settings.line, clock, live=True) as camera,
        open_service(settings, camera, clock) as service,
        on_end(service.stop),
    ):

        def watch() -> None:
            started.update(thread.name for thread in set(threading.enumerate()) - others)
            if service.totals.frames:
                service.stop()

        service.run(watch=watch)
    workers = {f"engine-{worker}" for worker in range(settings.inference.workers or 0)}
    assert started == {row.name for row in TOPOLOGY if not row.per_worker} | workers | set(HELPER_THREADS)


def test_threads_are_made_by_the_runner_and_the_declared_helpers_only() -> None:
    files = [path for room in SERVICE for path in (ROOT / "linewatch" / room).rglob("*.py")]
    files += (ROOT / "linewatch").glob("*.py")
    makers = {
        path.relative_to(ROOT / "linewatch").as_posix() for path in files if STARTS_A_THREAD.search(path.read_text())
    }
    assert makers - {"daemon/record.py"} == {  # `linewatch record` is no service
        "capture/calibration_watch.py",  # whose disk may hang
        "capture/cameras/stream_decoder.py",  # in the decoder's own process
        "capture/genicam/connection.py",  # lets go of a lost camera
        "capture/genicam/discovery.py",  # asks for the name of the host that holds a camera
        "capture/lasting.py",  # a device
        "capture/position/beside.py",  # a counter beside it
        "daemon/runner.py",
        "daemon/host_monitor.py",
        "daemon/slow_start.py",  # while a start waits for the disk of its journal
        "inference/trial.py",  # while an engine is on trial
        "journal/keeper.py",
        "signals.py",
    }


def test_the_overview_lists_every_thread() -> None:
    lines = (ROOT / "docs" / "overview.md").read_text().splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("| thread |"))
    documented: set[str] = set()
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        names = re.findall(r"`([^`]+)`", line.split("|")[1])
        assert names, f"no thread's name in backticks: {line}"
        documented.update(re.sub(r"-(N|\d+)$", "", name) for name in names)
    assert documented >= {row.name for row in TOPOLOGY} | set(HELPER_THREADS)
