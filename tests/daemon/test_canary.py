"""A frame with known defects goes through the running chain: where it is lost, the service is unhealthy and says so."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from bright_strip import LINES, WIDTH, write_service
from waiting import wait_until

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.client import Subscriber
from linewatch.config.canary import CanarySettings, KnownDefect
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.daemon.canary import known_frame
from linewatch.daemon.service import Service, open_service
from linewatch.service_settings import ServiceSettings, load_settings
from linewatch.wire.schema import FrameMessage, StatusMessage

pytestmark = pytest.mark.service

PATIENCE_S = 60.0
CANARY = """
[canary]
every_s = 1.0
picture = "{folder}/canary.png"
[[canary.defect]]
line = 30
column = 100
"""


def write_canary(folder: Path, **changes: object) -> ServiceSettings:
    """Write a service whose strip shows no defect; only the canary does."""
    path = write_service(folder, frames=400, frames_per_s=20, squares=0.0, **changes)  # type: ignore[arg-type]
    picture = np.full((LINES, WIDTH), 90, np.uint8)
    picture[20:40, 90:110] = 250
    cv2.imwrite(str(folder / "canary.png"), picture)
    text = path.read_text().replace("workers = 1\n", "workers = 1\ndeadline_ms = 60000.0\n")  # on a busy host as well
    path.write_text(text + CANARY.format(folder=folder))
    return load_settings(path)


@contextmanager
def running(settings: ServiceSettings) -> Iterator[Service]:
    clock, found, ready = MonotonicClock(), [], threading.Event()

    def run() -> None:
        camera = open_camera(settings.source, settings.line, clock, live=False)
        with PacedCamera(camera, clock, "line-rate") as paced, open_service(settings, paced, clock) as service:
            found.append(service)
            service.run(ready.set)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield found[0]
    finally:
        found[0].stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def status(settings: ServiceSettings) -> tuple[StatusMessage, list]:
    """Return a status after some frames, and all that was told until then."""
    told: list = []
    with Subscriber(settings.wire.publish, settings.wire.serve, since="epoch") as wire:

        def found() -> StatusMessage | None:
            message = wire.poll(0.5)
            if message is not None:
                told.append(message)
            return message if isinstance(message, StatusMessage) and message.frames > 30 else None

        return wait_until(found, PATIENCE_S), told


def test_a_canary_that_is_found_is_told_nowhere(tmp_path: Path) -> None:
    settings = write_canary(tmp_path)
    with running(settings) as service:
        wait_until(lambda: service.canary is not None and service.canary.judged, PATIENCE_S)
        now, told = status(settings)
    assert (now.healthy, now.failure) == (True, None)
    assert now.heartbeat > 0
    assert {message.topic.value for message in told} == {"frame", "coil", "status"}, "no defect and no alarm of it"
    assert {message.coil for message in told if isinstance(message, FrameMessage)} == {"strip"}
    ordinals = [message.ordinal for message in told if isinstance(message, FrameMessage)]
    assert ordinals == list(range(len(ordinals)))
    assert now.defects == 0


@pytest.mark.parametrize("dull", [Task.SCREEN, Task.CLASSIFY, Task.SEGMENT])
def test_the_stage_that_lost_it_is_named_and_the_heartbeat_stands(tmp_path: Path, dull: Task) -> None:
    """The strip is inspected all the same, and every line of it counts as inspected: nothing else tells."""
    settings = write_canary(tmp_path, dull=dull)
    with running(settings) as service:
        wait_until(lambda: service.canary is not None and service.canary.trouble, PATIENCE_S)
        first, _ = status(settings)
        second, _ = status(settings)
    assert not second.healthy
    assert second.failure is not None
    assert second.failure.startswith(f"known defects are not found, lost by {dull.value}: ")
    assert first.heartbeat == second.heartbeat
    assert second.frames >= first.frames
    assert second.coverage == 1.0


def test_a_picture_that_cannot_be_a_canary_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((8, 9), np.uint8))
    line = write_canary(tmp_path).line
    with pytest.raises(ConfigError, match=f"found 9 x 8 pixels of uint8, expected a frame of {WIDTH} x {LINES}"):
        known_frame(CanarySettings(picture=tmp_path / "small.png", defect=(KnownDefect(line=1, column=1),)), line)
    with pytest.raises(ConfigError, match="outside the picture"):
        known_frame(CanarySettings(picture=tmp_path / "canary.png", defect=(KnownDefect(line=1, column=WIDTH),)), line)
    with pytest.raises(ValueError, match="belong together"):
        CanarySettings(picture=tmp_path / "canary.png")


def test_the_rendered_frame_shows_whole_defects() -> None:
    line = ServiceSettings().line
    known = known_frame(CanarySettings(), line)
    assert known.pixels.shape == (line.frame_lines, line.width_px)
    assert len(known.defects) >= 3
    for box in known.defects:
        assert 0.0 <= box.along_mm[0] < box.along_mm[1] <= line.frame_lines * line.mm_per_line
