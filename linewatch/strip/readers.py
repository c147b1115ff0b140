"""Processes that read the services of cameras, since one process of Python computes on one core only.

A reader follows its cameras as the strip process itself would (`listeners.CameraListener`), checks every message, and
passes on decisions that are ready to be joined. The strip process knows behind which decision each camera stands, so a
reader that is killed is started again, and what was on its way is fetched from the services' journals.

Both ends exchange pickles over pipes that nobody else can open. `reader_process` is the reader's end.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, Literal

import structlog

from linewatch.strip.crops import HeardCrop
from linewatch.strip.listeners import (
    POLL_S,
    CameraPlace,
    CameraReport,
    Give,
    HeardDecision,
    Show,
    shown_as,
)
from linewatch.strip.settings import StripCamera
from linewatch.wire.schema import JoinedCamera, JoinedCameraState

log = structlog.get_logger()

PROGRAM: Final = (sys.executable, "-m", "linewatch.strip.reader_process")
HUNG_S: Final = 20.0
"""A reader that tells nothing for longer is ended, and started again."""
AGAIN_S: Final = 1.0
"""From the end of a reader to its next start."""
_NOT_HEARD: Final = CameraReport(JoinedCameraState.WAITING, "its service has not been heard yet")

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class ReaderStart:
    """What a reader is told at its start: its cameras by number, and where each stood."""

    cameras: Mapping[int, tuple[StripCamera, CameraPlace]]
    log_level: Level


@dataclass(frozen=True, slots=True)
class ReaderTold:
    """What a reader passes on. reports: by a camera's number; empty between two reports. news: as in `HeardCamera`."""

    decisions: tuple[HeardDecision, ...] = ()
    reports: tuple[tuple[int, CameraReport, str], ...] = ()
    crops: tuple[HeardCrop, ...] = ()


class ReadCamera:
    """A camera that a reader follows, as the status and the alarms see it."""

    def __init__(self, settings: StripCamera, place: CameraPlace) -> None:
        self.name, self.required, self.place = settings.key, settings.required, place
        self._settings = settings
        self._report, self._told_s, self._news = _NOT_HEARD, time.monotonic(), ""

    def tell(self, report: CameraReport, news: str = "") -> None:
        """Take what its reader says."""
        self._report, self._told_s, self._news = report, time.monotonic(), news or self._news

    def state(self) -> tuple[JoinedCameraState, str | None]:
        """Return whether the camera inspects now, and why not."""
        report, silent_s = self._report, time.monotonic() - self._told_s
        if report.state is JoinedCameraState.INSPECTING and silent_s > self._settings.silence_s:
            return JoinedCameraState.SILENT, f"the process that reads it has told nothing for {silent_s:.1f} s"
        return report.state, report.text

    def news(self) -> str:
        """Return, once, that the camera's journal was replaced; else ""."""
        news, self._news = self._news, ""
        return news

    def shown(self) -> JoinedCamera:
        """Return the camera's part of the status."""
        report, (state, text) = self._report, self.state()
        age_s = report.heartbeat_age_s + time.monotonic() - self._told_s
        now = CameraReport(state, text, age_s, report.late_s, report.coil, report.along_mm)
        return shown_as(self._settings, now, self.place.journal)


class Reader:
    """One reader's process and the cameras that it follows, by number. Used by one thread."""

    def __init__(self, cameras: Mapping[int, tuple[StripCamera, ReadCamera]], log_level: Level, show: Show) -> None:
        self._cameras, self._log_level, self._show = dict(cameras), log_level, show
        self._names = ", ".join(camera.name for _, camera in self._cameras.values())

    def follow(self, give: Give, goes_on: Callable[[], bool]) -> None:
        """Give what the cameras decide. A reader that ends is started again where each of its cameras stands."""
        while goes_on():
            with self._started() as process:
                try:
                    why = self._listen(process, give, goes_on)
                finally:
                    process.kill()
            if why is None:
                return
            log.error("reader_ended", cameras=self._names, why=why)
            for _, camera in self._cameras.values():
                camera.tell(CameraReport(JoinedCameraState.SILENT, f"the process that reads it {why}"))
            again_s = time.monotonic() + AGAIN_S
            while goes_on() and time.monotonic() < again_s:
                time.sleep(POLL_S)

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        with Connection(os.dup(process.stdin.fileno()), readable=False) as start, suppress(BrokenPipeError):
            known = {number: (settings, camera.place) for number, (settings, camera) in self._cameras.items()}
            start.send_bytes(pickle.dumps(ReaderStart(known, self._log_level)))
        return process

    def _listen(self, process: subprocess.Popen[bytes], give: Give, goes_on: Callable[[], bool]) -> str | None:
        """Give what comes, until the end (None) or until the reader ends; return why."""
        assert process.stdout is not None
        heard_s = time.monotonic()
        with Connection(os.dup(process.stdout.fileno()), writable=False) as source:
            while goes_on():
                if not source.poll(POLL_S):
                    if time.monotonic() - heard_s > HUNG_S:
                        return f"has told nothing for {HUNG_S:g} s"
                    continue
                try:
                    heard = pickle.loads(source.recv_bytes())
                except (EOFError, OSError):
                    return _how_ended(process)
                heard_s = time.monotonic()
                for number, report, news in heard.reports:
                    self._cameras[number][1].tell(report, news)
                for crop in heard.crops:
                    self._show(crop)
                for one in heard.decisions:
                    self._cameras[one.camera][1].place = one.place
                    give(one)
        return None


def _how_ended(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    code = process.returncode
    return f"ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with exit code {code}"


def readers_of(
    cameras: Sequence[StripCamera], places: Mapping[str, CameraPlace], count: int, log_level: Level, show: Show
) -> tuple[tuple[ReadCamera, ...], tuple[Reader, ...]]:
    """Return all cameras in their order, and the readers among which they are shared out."""
    read = tuple(ReadCamera(one, places.get(one.key, CameraPlace())) for one in cameras)
    numbered = list(enumerate(zip(cameras, read, strict=True)))
    readers = tuple(Reader(dict(numbered[at::count]), log_level, show) for at in range(min(count, len(cameras))))
    return read, readers
