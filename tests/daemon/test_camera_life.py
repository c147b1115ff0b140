"""A service outlives its camera: absent at the start, there, lost, back again, and told to end while it is away."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from bright_strip import LINES, WIDTH, write_service
from stream_servers import mjpeg_server
from waiting import wait_until

from linewatch.client import Subscriber
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.camera import CameraState
from linewatch.contracts.verdict import Quality
from linewatch.wire.schema import AlarmMessage, FrameMessage, StatusMessage

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
RATE = 10


class Heard:
    """What a consumer and systemd were told, on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.statuses: list[StatusMessage] = []
        self.frames: list[FrameMessage] = []
        self.alarms: list[tuple[str, AlarmState]] = []
        self.notes: list[str] = []
        self._folder, self._end = folder, threading.Event()
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(folder / "notify"))
        self._systemd.setblocking(False)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        endpoints = f"ipc://{self._folder}/pub", f"ipc://{self._folder}/rep"
        with Subscriber(*endpoints, ["frame", "alarm", "status"], since="journal") as wire, self._systemd:
            while not self._end.is_set():
                match wire.poll(0.05):
                    case StatusMessage() as status:
                        self.statuses.append(status)
                    case FrameMessage() as frame:
                        self.frames.append(frame)
                    case AlarmMessage() as alarm:
                        self.alarms.append((alarm.rule, alarm.state))
                try:
                    self.notes.append(self._systemd.recv(4096).decode())
                except BlockingIOError:
                    continue

    def close(self) -> None:
        self._end.set()
        self._thread.join(PATIENCE_S)

    def comes(self, state: CameraState, healthy: bool) -> StatusMessage:
        """Wait for the next status that tells this state of the camera."""
        begun = len(self.statuses)

        def found() -> StatusMessage | None:
            fit = [one for one in self.statuses[begun:] if one.camera_status and one.camera_status.state is state]
            return next((one for one in fit if one.healthy == healthy), None)

        return wait_until(found, PATIENCE_S)


@pytest.mark.timeout(300)
def test_a_service_outlives_its_camera(tmp_path: Path) -> None:
    camera = mjpeg_server(f"{WIDTH}x{LINES}", rate=RATE, pictures="strip").start()
    camera.kill()  # its port is known
    config = write_service(tmp_path, 0, RATE)
    source = f'type = "stream"\nurl = "http://127.0.0.1:{camera.port}/?token=hidden"\ncoil = "C"'
    config.write_text(re.sub(r'type = "folder"\npath = ".*"', source, config.read_text()))
    heard = Heard(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "linewatch.cli", "run", str(config)]
        service = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log)
    try:
        absent = heard.comes(CameraState.ABSENT, healthy=False)
        assert absent.failure is not None
        assert "camera absent: no camera at http://127.0.0.1" in absent.failure
        assert absent.quality is Quality.MISSED
        wait_until(lambda: ("camera-away", AlarmState.RAISED) in heard.alarms, PATIENCE_S)
        waits = ("WATCHDOG=1", "waiting for its camera")
        wait_until(lambda: any(all(text in note for text in waits) for note in heard.notes), PATIENCE_S)

        camera.start()
        there = heard.comes(CameraState.OPEN, healthy=True)
        assert there.heartbeat >= absent.heartbeat
        inspected = wait_until(
            lambda: [one for one in heard.frames if one.spans[-1].quality is Quality.INSPECTED], PATIENCE_S
        )
        assert inspected[0].first_line > 0, "what passed before is missed"
        wait_until(lambda: ("camera-away", AlarmState.CLEARED) in heard.alarms, PATIENCE_S)

        camera.kill()
        lost = heard.comes(CameraState.LOST, healthy=False)
        later = heard.comes(CameraState.LOST, healthy=False)
        assert later.heartbeat == lost.heartbeat, "a PLC must see that nothing is inspected"
        camera.start()
        heard.comes(CameraState.OPEN, healthy=True)
        wait_until(lambda: sum(_missed(frame) > 0 for frame in heard.frames) == 2, PATIENCE_S)
        last = heard.frames[-1].sequence
        wait_until(lambda: heard.frames[-1].sequence > last + 3, PATIENCE_S)
        told = [state for rule, state in heard.alarms if rule == "camera-away"]
        assert told == [AlarmState.RAISED, AlarmState.CLEARED] * 2

        camera.kill()
        heard.comes(CameraState.LOST, healthy=False)
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE_S) == 0
    finally:
        service.kill()
        service.wait()
        camera.kill()
        heard.close()
    check(heard.frames, (tmp_path / "log").read_text())


def check(frames: list[FrameMessage], log: str) -> None:
    for before, frame in pairwise(frames):
        assert frame.first_line == before.first_line + before.lines
    assert {frame.coil for frame in frames} == {"C"}
    assert "hidden" not in log
    assert log.count('"camera_lost"') == 2
    assert log.count('"camera_open"') == 2


def _missed(frame: FrameMessage) -> int:
    return sum(span.lines for span in frame.spans if span.cause == "camera")
