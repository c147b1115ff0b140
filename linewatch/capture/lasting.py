"""A live camera that is opened again when it is lost, for as long as the service runs."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Self

import structlog

from linewatch.capture.continuation import Continuation
from linewatch.config.line import LineSettings
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.camera import CameraLife, CameraState
from linewatch.contracts.errors import ConfigError, LinewatchError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, Clock

log = structlog.get_logger()

THREAD: Final = "camera"
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
"""Between two attempts to open the camera; the longest keeps the first picture within 2 s of the camera's return."""
SETTLING_S = 2.0
"""An opened camera without a picture counts as open after so long; one that fails at once was never back."""
OPENING_S = 10.0
"""A camera that takes longer to open at the start counts as absent until it is open."""
SILENT_S = 10.0
"""Without a grab for so long, nothing is inspected: the line stands, or the camera's driver hangs."""
_ENDING_S = 1.0  # a driver that hangs delays the end by no more than this
_LONGEST_WHY, _LONGEST_SERIAL = 500, 100


class LastingCamera:
    """Opens and reads a live camera on a thread of its own, and opens it again with back-off whenever it is lost.

    So neither a driver that hangs nor an address that does not answer holds up the service or its end. Strip that
    passed while the camera was away is a grab without an image, with cause CAMERA, before the first one behind it. A
    grab is valid until the next `wait` or `read`. A camera that is absent when the service starts is waited for; one
    whose settings cannot be right is refused.
    """

    live = True
    grabs: int | None = None

    def __init__(self, reopen: Callable[[], Camera], line: LineSettings, clock: Clock, within_s: float) -> None:
        """reopen: returns the camera, not yet entered; raises SourceError while it cannot be opened, and ConfigError
        where its settings are wrong, which is refused at the start only. within_s: as for `Continuation`.
        """
        self._reopen = reopen
        self._clock = clock
        self._strip = Continuation(line, within_s)
        self._changed = threading.Condition()
        self._offered: tuple[Grab, bool] | None = None  # with whether it is the first of an opened camera
        self._held = False  # the reader of the newest grab may still use its image
        self._ready: deque[Grab] = deque()
        self._ended = self._stopped = False
        self._refused: ConfigError | None = None
        self._tried = threading.Event()
        self._camera: Camera | None = None
        self._thread: threading.Thread | None = None
        self._opened_ns: int | None = None  # of a camera that does not count as open yet
        self._away_ns: int | None = None  # since the start, while no grab has come
        self._returning = False
        self._newest_ns = clock.now_ns()
        self.serial = ""
        self.life = CameraLife(CameraState.ABSENT, clock.now_ns(), "it is being opened")

    @property
    def trouble(self) -> str:
        """Why no strip is inspected now: the camera is away, or silent; "": it gives pictures."""
        if self.life.state is not CameraState.OPEN:
            return str(self.life)
        silent_s = self.silent_s
        return f"camera silent: no grab for {silent_s:.0f} s" if silent_s > SILENT_S else ""

    @property
    def silent_s(self) -> float:
        """Seconds since the newest grab, or since the camera was opened; 0 while it is away."""
        if self.life.state is not CameraState.OPEN:
            return 0.0
        return (self._clock.now_ns() - max(self._newest_ns, self.life.since_ns)) / 1e9

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until `read` returns at once; return False if it would still block after `timeout_s`."""
        if self._ready:
            return True
        with self._changed:
            if self._held:
                self._held = False
                self._changed.notify_all()
            if self._opened_ns is not None and self._clock.now_ns() - self._opened_ns > SETTLING_S * 1e9:
                self._is_open()
            return bool(self._changed.wait_for(lambda: self._offered or self._ended or self._stopped, timeout_s))

    def read(self) -> Grab | None:
        while True:
            if self._stopped:
                return None
            if self._ready:
                return self._ready.popleft()
            self.wait(None)
            with self._changed:
                offered, self._offered = self._offered, None
                self._held = offered is not None
            if offered is None:
                return None
            grab, first = offered
            self._newest_ns = self._clock.now_ns()
            self._returning |= first
            if not grab.lines:
                if self._returning:
                    continue  # nothing passed that could tell how the strip goes on
                return self._strip.follow(grab)
            if self._returning:
                self._ready.extend(self._strip.return_with(grab, self._away_ns))
                self._returning, self._away_ns = False, None
            else:
                return self._strip.follow(grab)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            camera = self._camera
            self._changed.notify_all()
        if camera is not None:
            camera.stop()

    def __enter__(self) -> Self:
        """Begin to open the camera, and wait for the first attempt. Raises ConfigError when its settings are wrong."""
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()
        self._tried.wait(OPENING_S)
        if self._refused is not None:
            raise self._refused
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(_ENDING_S)
            if self._thread.is_alive():
                log.warning("camera_hangs", text="its driver did not end; it is left behind")

    def _run(self) -> None:
        pause_s = SHORTEST_PAUSE_S
        while not self._stopped:
            why = self._life_of_one()
            if why is None:
                return
            if self.life.state is CameraState.OPEN:
                pause_s = SHORTEST_PAUSE_S
            self._is_away(why)
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _life_of_one(self) -> str | None:
        """Open the camera and pass on its grabs; return why it cannot be opened or was lost, None at its end."""
        try:
            camera = self._reopen()
            with camera:
                self._has_opened(camera)
                first = True
                while not self._stopped:
                    grab = camera.read()
                    if grab is None:
                        self._end()
                        return None
                    self._offer(grab, first=first)
                    first = False
        except ConfigError as error:
            if not self._tried.is_set():
                self._refused = error
                self._end()
                return None
            return str(error)
        except LinewatchError as error:
            return str(error)
        except Exception as error:  # a camera's answer ends no service
            log.exception("camera_failed")
            return f"{type(error).__name__}: {error}"
        finally:
            with self._changed:
                self._camera = None
        return None

    def _offer(self, grab: Grab, *, first: bool) -> None:
        with self._changed:
            if first:
                self._is_open()
            self._offered = (grab, first)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or not (self._offered or self._held))

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._tried.set()

    def _has_opened(self, camera: Camera) -> None:
        serial, before = made_printable(camera.serial)[:_LONGEST_SERIAL], self.serial
        if before and serial != before:
            log.warning("camera_replaced", serial=serial, before=before)
        with self._changed:
            self._camera, self.serial, self._opened_ns = camera, serial, self._clock.now_ns()
        self._tried.set()

    def _is_open(self) -> None:
        """Count the opened camera as open. Called with the lock."""
        self._opened_ns, life, now_ns = None, self.life, self._clock.now_ns()
        if life.state is not CameraState.OPEN:
            log.info("camera_open", serial=self.serial, away_s=round((now_ns - life.since_ns) / 1e9, 1))
            self.life = CameraLife(CameraState.OPEN, now_ns, times_lost=life.times_lost)

    def _is_away(self, why: str) -> None:
        why, tried = made_printable(why)[:_LONGEST_WHY], self._tried.is_set()
        with self._changed:
            life, self._opened_ns = self.life, None
            if life.state is CameraState.OPEN:
                self.life = CameraLife(CameraState.LOST, self._clock.now_ns(), why, life.times_lost + 1)
                log.error("camera_lost", why=why)
            elif why != life.why:
                self.life = CameraLife(life.state, life.since_ns, why, life.times_lost)
                log.warning("camera_still_away" if tried else "camera_absent", state=str(life.state), why=why)
            if life.state is CameraState.ABSENT:
                self._away_ns = life.since_ns
        self._tried.set()


def camera_trouble(camera: Camera) -> str:
    """Return why the camera gives no pictures now; "" if it does, or is none that can be lost."""
    return camera.trouble if isinstance(camera, LastingCamera) else ""
