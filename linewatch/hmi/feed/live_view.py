"""The service as the pages show it: the coil so far, defects, roll marks, alarms, and what changed since the last look.

Everything is bounded: what is kept of the coil under the camera, and what has changed and was not fetched yet.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

from linewatch.client import Lost
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.verdict import CoilState, DefectState, RollMarkState
from linewatch.hmi.feed.outlines import FrameMasks
from linewatch.hmi.feed.strip_so_far import StripSoFar
from linewatch.plant.view import ServiceView
from linewatch.wire.schema import (
    AlarmBody,
    AlarmMessage,
    AnyMessage,
    CoilMessage,
    CropMessage,
    DefectMessage,
    FrameMessage,
    RollMarkMessage,
    Snapshot,
    StatusMessage,
)

MOST_DEFECTS: Final = 20_000
MOST_CROPS: Final = 200
MOST_NEWS: Final = 20_000
"""Changes that wait to be fetched; beyond it everybody gets the whole state instead."""
STATUS_EVERY: Final = 10
"""Of ten status messages a second, the whole of one is sent on; of each its pulse."""
STANDS_AFTER_S: Final = 1.5
"""After so long without a frame the strip does not move, as far as anybody can tell."""
_SPEED_OVER_NS: Final = 500_000_000

TOPICS: Final = ("pulse", "status", "coil", "strip", "defects", "roll_marks", "alarms")
"""What a page can ask for. `state` brings all of it, `news` what has changed:

pulse       state, coil, place, speed, rates and latency, ten times a second
status      the wire's `status`, once a second
coil        the wire's newest `coil` with `passage`
strip       stretches and edges; news: a list of one entry a frame
defects     by id; news: a list, in which a defect that merged into another has `gone`
roll_marks  by id; news: a list of the wire's `roll_mark`s
alarms      by id; news: a list of the wire's `alarm`s, of which those that do not `retain` have gone
"""


class LiveView(ServiceView):
    """`take` and `sync` are for the follower's thread, `news`, `state_of` and `crop` for the event loop's."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._passage: tuple[int, int | None] | None = None
        self._coil_body: dict[str, Any] | None = None
        self._strip = StripSoFar()
        self._defects: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._roll_marks: dict[str, dict[str, Any]] = {}
        self._alarm_bodies: dict[str, dict[str, Any]] = {}
        self._status: dict[str, Any] | None = None
        self._news: dict[str, Any] = {}
        self._waiting = 0
        self._begins_anew = True  # the next news is a whole state
        self._heard = 0
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=400)  # captured_ns, along_mm, latency_ms
        self._frame_heard_s = float("-inf")
        self._crops: OrderedDict[str, CropMessage] = OrderedDict()
        self.masks = FrameMasks()

    def take(self, message: AnyMessage | Lost) -> None:
        """Follow one message."""
        with self._lock:
            super().take(message)
            match message:
                case StatusMessage():
                    self._heard += 1
                    if self._status is None or self._heard % STATUS_EVERY == 0:
                        self._status = message.model_dump(mode="json")
                        self._news["status"] = self._status
                case FrameMessage():
                    self._take_strip(message)
                case DefectMessage():
                    self._take_defect(message)
                case RollMarkMessage():
                    self._begin(message.passage)
                    body = message.model_dump(mode="json", exclude={"timing"})
                    self._roll_marks[message.id] = body
                    self._add("roll_marks", body)
                case AlarmMessage():
                    self._take_alarm(message)
                case CoilMessage():
                    self._take_coil(message)
                case CropMessage():
                    self._crops[message.id] = message
                    if len(self._crops) > MOST_CROPS:
                        self._crops.popitem(last=False)
                case Lost():
                    self._begins_anew = True

    def sync(self, snapshot: Snapshot) -> None:
        """Take alarms and roll marks from `snapshot`, beside what the base class takes."""
        with self._lock:
            super().sync(snapshot)
            alarms: Iterable[AlarmBody] = (*snapshot.standing_alarms, *snapshot.suppressed_or_shelved)
            self._alarm_bodies = {
                alarm.id: alarm.model_dump(mode="json")
                | {"since_unix_ms": snapshot.active_since_unix_ns.get(alarm.id, 0) // 1_000_000 or None}
                for alarm in alarms
            }
            for mark in snapshot.roll_marks:
                self._roll_marks.setdefault(mark.id, mark.model_dump(mode="json"))
            self._begins_anew = True

    def news(self) -> tuple[dict[str, Any], bool]:
        """Return what has changed since the last call, and whether everybody needs the whole state instead."""
        with self._lock:
            changed, anew = self._news, self._begins_anew
            self._news, self._begins_anew, self._waiting = {}, False, 0
            if self.status is not None:
                changed["pulse"] = self._pulse(self.status)
            return changed, anew

    def state_of(self) -> dict[str, Any]:
        """Return all of it, by topic. Call it right after `news`: what comes later is in the next news."""
        with self._lock:
            return {
                "pulse": self._pulse(self.status) if self.status is not None else None,
                "status": self._status,
                "coil": self._coil_body,
                "strip": self._strip.all(),
                "defects": list(self._defects.values()),
                "roll_marks": list(self._roll_marks.values()),
                "alarms": list(self._alarm_bodies.values()),
            }

    def crop(self, defect: str) -> bytes | None:
        """Return the PNG of a defect that closed lately; None where there is none."""
        with self._lock:
            found = self._crops.get(defect)
            return found.png if found is not None else None

    def _begin(self, passage: tuple[int, int | None]) -> None:
        """Forget the coil before, with the first message of another one."""
        if passage == self._passage:
            return
        self._passage, self._strip, self._coil_body = passage, StripSoFar(), None
        self._defects.clear()
        self._roll_marks.clear()
        self._recent.clear()
        self.masks.clear()
        self._begins_anew = True

    def _take_strip(self, frame: FrameMessage) -> None:
        self._begin(frame.passage)
        self._add("strip", self._strip.add(frame))
        self.masks.begin_frame(frame)
        timing = frame.timing
        if timing.captured_ns and timing.published_ns:
            latency_ms = (timing.published_ns - timing.captured_ns) / 1e6
            self._frame_heard_s = time.monotonic()
            self._recent.append((timing.captured_ns, frame.along_mm[1], latency_ms))

    def _take_defect(self, defect: DefectMessage) -> None:
        self._begin(defect.passage)
        self.masks.add(defect)
        if defect.merged_into is not None:
            self._defects.pop(defect.id, None)
            self._add("defects", {"id": defect.id, "gone": True})
            return
        shown = {
            "id": defect.id,
            "side": defect.side,
            "camera": defect.camera,
            "class": defect.defect_class,
            "across_mm": defect.across_mm,
            "along_mm": defect.along_mm,
            "area_mm2": round(defect.area_mm2, 1),
            "severity": defect.severity,
            "tentative": defect.tentative,
            "probability": round(defect.probability, 3),
            "excluded": defect.excluded,
            "closed": defect.state is DefectState.CLOSED,
        }
        if defect.state is DefectState.OPENED:  # what the page's delay is measured from
            shown["published_unix_ms"] = defect.timing.published_unix_ns // 1_000_000
        self._defects[defect.id] = shown
        if len(self._defects) > MOST_DEFECTS:
            self._defects.popitem(last=False)
        self._add("defects", shown)

    def _take_alarm(self, alarm: AlarmMessage) -> None:
        body = alarm.model_dump(mode="json", exclude={"timing"})
        body["at_unix_ms"] = alarm.timing.published_unix_ns // 1_000_000
        if alarm.retain:
            before = self._alarm_bodies.get(alarm.id, {})
            body["since_unix_ms"] = before.get("since_unix_ms", body["at_unix_ms"])
            self._alarm_bodies[alarm.id] = body
        else:
            self._alarm_bodies.pop(alarm.id, None)
        self._add("alarms", body)

    def _take_coil(self, coil: CoilMessage) -> None:
        self._begin(coil.passage)
        if coil.state is CoilState.ENDED:
            for mark in self._roll_marks.values():
                mark["state"] = RollMarkState.ENDED.value
        self._coil_body = coil.model_dump(mode="json", exclude={"timing"}) | {"passage": coil.passage}
        self._coil_body["at_unix_ms"] = coil.timing.published_unix_ns // 1_000_000
        self._news["coil"] = self._coil_body

    def _add(self, topic: str, item: Any) -> None:
        if self._waiting >= MOST_NEWS:  # nobody has fetched them for long
            self._news, self._begins_anew = {}, True
            return
        self._waiting += 1
        self._news.setdefault(topic, []).append(item)

    def _pulse(self, status: StatusMessage) -> dict[str, Any]:
        area = self.coil.area
        return {
            "service": self.state.name.lower(),
            "failure": status.failure,
            "heartbeat": status.heartbeat,
            "quality": status.quality.value,
            "coil": status.coil,
            "along_mm": self.coil.along_mm,
            "coverage": self.coil.coverage if area.passed_mm2 else None,
            "speed_m_per_s": self._speed_m_per_s(),
            "frames_per_s": status.frames_per_s,
            "latency_ms": round(median(one[2] for one in self._recent), 1) if self._recent else None,
            "alarms": status.alarms_standing,
            "unacknowledged": status.alarms_unacknowledged,
            "now_unix_ms": status.now_unix_ns // 1_000_000,
        }

    def _speed_m_per_s(self) -> float | None:
        """Return the strip's speed over the newest half second; 0 without new frames, None where none has come."""
        if self._recent and time.monotonic() - self._frame_heard_s > STANDS_AFTER_S:
            return 0.0
        if len(self._recent) < 2:
            return None
        newest_ns, newest_mm, _ = self._recent[-1]
        for captured_ns, along_mm, _ in reversed(self._recent):
            if newest_ns - captured_ns >= _SPEED_OVER_NS:
                return (newest_mm - along_mm) / ((newest_ns - captured_ns) / 1e9) / 1e3
        first_ns, first_mm, _ = self._recent[0]
        return (newest_mm - first_mm) / ((newest_ns - first_ns) / 1e9) / 1e3 if newest_ns > first_ns else None


def is_raised(alarm: dict[str, Any]) -> bool:
    """Return whether an alarm, as `alarms` has it, asks for an operator."""
    return bool(alarm["state"] == AlarmState.RAISED.value)
