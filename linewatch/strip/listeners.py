"""The listening stage: follows each camera's service on a thread of its own, and gives its decisions in order."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from linewatch.client import Loss, Lost, Position, Subscriber
from linewatch.contracts.errors import WireError
from linewatch.daemon.stages.wiring import TICK_S, Wiring
from linewatch.strip.crops import HeardCrop
from linewatch.strip.in_order import TOPICS, CameraDecision, InOrder, is_end, passage_of
from linewatch.strip.settings import StripCamera
from linewatch.strip.told import ToldDecision
from linewatch.wire.schema import (
    AnyMessage,
    CropMessage,
    FrameMessage,
    JoinedCamera,
    JoinedCameraState,
    StatusMessage,
    Topic,
)

log = structlog.get_logger()

POLL_S: Final = 0.1
ANSWER_S: Final = 2.0
"""How long a service may take to answer a request for what was missed."""
ASK_AGAIN_S: Final = 1.0
"""From one such request that was not answered to the next: what is missing is asked for until it comes."""


@dataclass(frozen=True, slots=True)
class CameraPlace:
    """Where a camera stood: in its journal, and along which passage of a coil. All of it is taken before that place.

    positions: by topic. journal: UUID of the camera's journal; None: not known. passage, end_mm: of the newest
    decision; passage: None: none is known. ended: the passage is over, or the first one is still to come.
    """

    journal: str | None = None
    positions: Mapping[str, Position] = field(default_factory=dict)
    passage: tuple[int, int] | None = None
    end_mm: float = 0.0
    ended: bool = False

    def behind(self, told: CameraDecision, journal: str | None) -> "CameraPlace":
        """Return the place behind a decision."""
        head, positions = told.head, dict(self.positions)
        for message in (*told.defects, head):
            positions[message.topic.value] = Position(message.epoch, message.sequence + 1)
        end_mm = head.along_mm[1] if isinstance(head, FrameMessage) else head.along_mm
        return CameraPlace(journal, positions, passage_of(head), end_mm, is_end(head))


@dataclass(frozen=True, slots=True)
class HeardDecision:
    """A decision of one camera and the place behind it, or the news that the camera's journal was replaced.

    camera: its number in the configuration. told: None where the journal was replaced; `place` is then in the new one,
    and where what was told cannot be joined.
    """

    camera: int
    told: ToldDecision | None
    place: CameraPlace


@dataclass(frozen=True, slots=True)
class CameraReport:
    """How a camera is heard now. heartbeat_age_s: infinite before the first. late_s: age of the newest decision when it
    came.
    """

    state: JoinedCameraState
    text: str | None
    heartbeat_age_s: float = float("inf")
    late_s: float = 0.0
    coil: str | None = None
    along_mm: float | None = None


class HeardCamera(Protocol):
    """One camera as the status and the alarms see it; from any thread."""

    name: str
    required: bool

    def state(self) -> tuple[JoinedCameraState, str | None]: ...
    def news(self) -> str: ...
    def shown(self) -> JoinedCamera: ...


def shown_as(settings: StripCamera, report: CameraReport, journal: str | None) -> JoinedCamera:
    """Return a camera's part of the status."""
    age_s = report.heartbeat_age_s
    return JoinedCamera(
        name=settings.key,
        required=settings.required,
        state=report.state,
        text=report.text,
        heartbeat_age_s=round(age_s, 3) if age_s < float("inf") else None,
        late_s=round(max(0.0, report.late_s), 3),
        coil=report.coil,
        along_mm=report.along_mm,
        journal_id=journal,
    )


Give = Callable[[HeardDecision], None]
"""Takes what was heard."""
Show = Callable[[HeardCrop], None]
"""Takes a picture that a camera's service has made."""


class CameraListener:
    """Follows one camera. `follow` is for one thread; the rest may be read from any."""

    def __init__(self, number: int, settings: StripCamera, place: CameraPlace, show: Show) -> None:
        self.name = settings.key
        self.late_s = 0.0
        """Age of the newest decision when it came."""
        self.trouble: str | None = None
        """What is wrong with the connection; None: nothing."""
        self.status: StatusMessage | None = None
        self.required = settings.required
        self._number, self._settings, self.place = number, settings, place
        self._news = ""
        self._show = show
        self._wire: Subscriber | None = None

    def state(self) -> tuple[JoinedCameraState, str | None]:
        """Return whether the camera inspects now, and why not."""
        wire, status, age_s = self._wire, self.status, self.heartbeat_age_s
        if self.trouble is not None:
            return JoinedCameraState.SILENT, self.trouble
        if status is None or wire is None:
            return JoinedCameraState.WAITING, "its service has not been heard yet"
        if not status.healthy:
            return JoinedCameraState.UNHEALTHY, status.failure or f"its service is {status.state}"
        if age_s > self._settings.silence_s:
            return JoinedCameraState.SILENT, f"no heartbeat for {age_s:.1f} s"
        return JoinedCameraState.INSPECTING, None

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the camera's heartbeat advanced; infinite before the first."""
        wire = self._wire
        return float("inf") if wire is None else wire.heartbeat_age_s

    def news(self) -> str:
        """Return, once, that the camera's journal was replaced; else ""."""
        news, self._news = self._news, ""
        return news

    def shown(self) -> JoinedCamera:
        """Return the camera's part of the status."""
        return shown_as(self._settings, self.report(), self.place.journal)

    def report(self) -> CameraReport:
        """Return how the camera is heard now."""
        state, text = self.state()
        status = self.status
        return CameraReport(
            state,
            text,
            self.heartbeat_age_s,
            self.late_s,
            status.coil if status else None,
            status.along_mm if status else None,
        )

    def follow(self, give: Give, goes_on: Callable[[], bool]) -> None:
        """Give what the camera decides for as long as it goes on, which is asked often. Whatever comes, it goes on."""
        again_s = 0.0
        try:
            while goes_on():
                if time.monotonic() < again_s:
                    time.sleep(POLL_S)
                    continue
                try:
                    again_s = 0.0 if self._listen(give) else time.monotonic() + ASK_AGAIN_S
                except WireError as error:  # it speaks another schema version, or its key is wrong
                    self._fail(str(error))
                    again_s = time.monotonic() + ASK_AGAIN_S
                except Exception as error:  # of whatever an odd message holds: it is asked for again
                    log.exception("camera_not_followed", camera=self.name)
                    self._fail(f"{type(error).__name__}: {error}"[:500])
                    again_s = time.monotonic() + ASK_AGAIN_S
        finally:
            self._close()

    def _listen(self, give: Give) -> bool:
        """Take one message; return False to subscribe again later, from the place of the newest decision."""
        if self._wire is None:
            self._wire, self._order = self._subscribe()
        wire = self._wire
        message = wire.poll(POLL_S)
        if message is None:
            return True
        if isinstance(message, StatusMessage):
            self._hear(message)
            if not self.place.positions:
                self._begin(message, wire)
            return True
        if isinstance(message, CropMessage):
            self._show(HeardCrop.of(self._number, message))
            return True
        if isinstance(message, Lost):
            if message.loss is Loss.NO_ANSWER:
                self._fail(message.reason)
                return False
            self._tell_loss(message)
            if message.loss is Loss.NEW_JOURNAL:
                self._begin_again(message, wire, give)
        self._give(message, wire, give)
        return True

    def _give(self, message: AnyMessage | Lost, wire: Subscriber, give: Give) -> None:
        for told in self._order.take(message):
            timing = told.head.timing
            self.late_s = max(0.0, time.time() - timing.published_unix_ns / 1e9)
            self.place = self.place.behind(told, wire.journal)
            try:
                decision = ToldDecision.of(told)
            except Exception as error:  # an odd message; what is behind it is joined
                log.error("not_joined", what=f"what {self.name} told", error=f"{type(error).__name__}: {error}"[:500])
                decision = None
            give(HeardDecision(self._number, decision, self.place))

    def _begin_again(self, lost: Lost, wire: Subscriber, give: Give) -> None:
        """Go on in a new journal of the camera, from its beginning."""
        if self.place.journal == wire.journal:
            return  # another topic has told it
        log.error("camera_journal_replaced", camera=self.name, before=self.place.journal, now=wire.journal)
        self._news = f"{self.name} began a new journal: what it had decided and not told is lost"
        self._order = InOrder(_BEFORE_ALL, ended=True)
        self.place = CameraPlace(wire.journal, dict(wire.positions), _BEFORE_ALL, ended=True)
        give(HeardDecision(self._number, None, self.place))

    def _hear(self, status: StatusMessage) -> None:
        if self.trouble is not None:
            log.info("camera_answers", camera=self.name)
        self.status, self.trouble = status, None

    def _begin(self, status: StatusMessage, wire: Subscriber) -> None:
        """Begin with the coil under way of a camera that is followed for the first time."""
        positions = wire.begin_of_coil(TOPICS)
        self.place = CameraPlace(status.journal_id, positions, _BEFORE_ALL, ended=True)
        log.info("camera_heard", camera=self.name, coil=status.coil)
        self._close()

    def _tell_loss(self, lost: Lost) -> None:
        log.error(
            "messages_lost",
            camera=self.name,
            topic=lost.topic,
            epoch=lost.epoch,
            first=lost.first,
            end=lost.end,
            reason=lost.reason,
        )

    def _fail(self, why: str) -> None:
        if self.trouble != why:
            log.warning("camera_not_answering", camera=self.name, reason=why)
        self.trouble = why
        self._close()

    def _close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _subscribe(self) -> tuple[Subscriber, InOrder]:
        """Go on from the place; before there is one, hear the status alone."""
        settings, place = self._settings, self.place
        wire = Subscriber(
            settings.publish,
            settings.serve,
            (*((*TOPICS, Topic.CROP) if place.positions else ()), Topic.STATUS),
            keys=settings.client_keys,
            positions=place.positions,
            journal=place.journal,
            answer_timeout_s=ANSWER_S,
        )
        return wire, InOrder(place.passage, place.end_mm, ended=place.ended)


_BEFORE_ALL: Final = (0, -1)
"""The passage of what comes before the first coil of a service."""


class Source(Protocol):
    """What one thread of the listening stage follows: a camera, or the process that reads some."""

    def follow(self, give: Give, goes_on: Callable[[], bool]) -> None: ...


class Listeners:
    """The step of the listening stage: its first threads follow a source each, by the number of the thread."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Follow the cameras no longer. From any thread."""
        self._stopped.set()

    def run(self, wiring: Wiring) -> None:
        """Follow the source of this thread until the end."""
        (give,) = wiring.gives

        def goes_on() -> bool:
            wiring.tick()
            return not wiring.aborted and not self._stopped.is_set()

        if wiring.worker < len(self._sources):
            self._sources[wiring.worker].follow(give, goes_on)
        while goes_on():  # cameras that share a reader need fewer threads
            self._stopped.wait(TICK_S)
        wiring.end()
