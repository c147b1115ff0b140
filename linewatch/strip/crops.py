"""Pictures of a strip's defects: those that the services of its cameras make, under the ids of the joined defects.

A service's picture comes before or after the joined defect has closed. Both wait here for each other, for so long and
within so many bytes. Of a defect of several parts, the largest part's picture is passed on; where none comes in time,
that of the next smaller part.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from linewatch.contracts.crop import Crop, CropWindow
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Defect, DefectState, StripBox, Verdict
from linewatch.strip.raster import StripLayout
from linewatch.wire.schema import CropMessage

HELD_BYTES: Final = 16 << 20
"""Of pictures whose joined defect has not closed; beyond that, the oldest is dropped."""
HELD: Final = 512
WAITING: Final = 256
"""Closed defects that wait for their picture; beyond that, the oldest gets none."""
WAIT_NS: Final = 10_000_000_000
"""A service with many defects at once makes the last of their pictures some seconds later."""
_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_MOST_PX: Final = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class HeardCrop:
    """A picture that a camera's service has made. camera: its number in the configuration."""

    camera: int
    message: CropMessage
    captured_ns: int  # of its frame, by this host's monotonic clock

    @classmethod
    def of(cls, camera: int, message: CropMessage) -> "HeardCrop":
        """Take a message that has just come."""
        age_ns = max(0, message.timing.published_ns - message.timing.captured_ns)
        return cls(camera, message, max(0, time.monotonic_ns() - age_ns))


@dataclass(frozen=True, slots=True, eq=False)
class _ClosedDefect:
    """parts: ids of the cameras' defects that it was joined of, the largest first."""

    defect: Defect
    parts: Sequence[str]
    coil_ordinal: int | None
    coil_epoch: int | None
    ordinal: int
    until_ns: int


class StripCrops:
    """`hear` is for the listeners' threads, `follow` for the joining one's, `make` for the outlet's."""

    def __init__(self, layout: StripLayout, passage: tuple[int, int] | None = None) -> None:
        """passage: of the coil that goes on over a restart, as in `Sequencer`."""
        self._layout = layout
        self._coil_epoch: int | None = passage[0] if passage else None
        self._coil_ordinal: int | None = passage[1] if passage else None
        self._ordinal = 0
        self._lock = threading.Lock()
        self._heard: OrderedDict[str, HeardCrop] = OrderedDict()  # by the id of the camera's defect
        self._held_bytes = 0
        self._waiting: OrderedDict[str, _ClosedDefect] = OrderedDict()  # by the id of the joined defect
        self._wanted: dict[str, str] = {}  # the joined defect that waits, by the id of its largest part
        self._ready: deque[str] = deque(maxlen=2 * WAITING)  # joined defects whose largest part's picture is here
        self.any_heard = False
        """Whether a service makes pictures at all."""
        self.made = 0
        self.not_made = 0
        """Closed defects without a picture, where services make pictures at all."""

    @property
    def waiting(self) -> int:
        """Closed defects that wait for their picture."""
        return len(self._waiting)

    def hear(self, crop: HeardCrop) -> None:
        """Take a picture of a camera's service."""
        with self._lock:
            self._drop(crop.message.id)
            self._heard[crop.message.id] = crop
            self._held_bytes += len(crop.message.png)
            while len(self._heard) > HELD or self._held_bytes > HELD_BYTES:
                self._drop(next(iter(self._heard)))
            self.any_heard = True
            if (name := self._wanted.get(crop.message.id)) is not None:
                self._ready.append(name)

    def follow(self, decided: Decided, now_ns: int) -> None:
        """Take note of the defects that close with a decision, in the order of decisions."""
        if isinstance(decided, CoilNotice) and decided.state is CoilState.STARTED:
            self._coil_ordinal = 0 if self._coil_ordinal is None else self._coil_ordinal + 1
            self._coil_epoch = None
        if isinstance(decided, Verdict):
            self._ordinal = decided.ordinal
        if not isinstance(decided, Verdict | CoilNotice):
            return
        for event in decided.defects:
            if event.state is DefectState.CLOSED and event.merged_into is None:
                place = self._coil_ordinal, self._coil_epoch, self._ordinal
                closed = _ClosedDefect(event.defect, event.parts or (event.defect.id,), *place, now_ns + WAIT_NS)
                with self._lock:
                    self._wait(closed)

    def make(self, now_ns: int, *, hurry: bool = False) -> Crop | None:
        """Return the next picture that is here, or that no better one was found for in time. hurry: wait no longer."""
        with self._lock:
            found = self._next(now_ns, hurry=hurry)
        if found is None:
            return None
        closed, heard = found
        self.made += 1
        message = heard.message
        camera = self._layout.views[heard.camera].camera
        across_mm = _moved(message.across_mm, camera.across_shift_mm)
        along_mm = _moved(message.along_mm, camera.along_offset_mm)
        left, right = (max(0, self._layout.column(mm)) for mm in across_mm)
        first, stop = (max(0, round(mm / self._layout.mm_per_line)) for mm in along_mm)
        lines, columns = max(1, stop - first), max(1, right - left)
        scale, png = message.scale, message.png
        if (lines, columns) != (message.lines, message.columns):
            scale, png = _resized(png, lines, columns)
        window = CropWindow(first, lines, left, columns, StripBox(across_mm, along_mm))
        return Crop(
            closed.defect,
            closed.coil_ordinal,
            closed.coil_epoch,
            closed.ordinal,
            heard.captured_ns,
            window,
            scale,
            png,
        )

    def _wait(self, closed: _ClosedDefect) -> None:
        name, largest = closed.defect.id, closed.parts[0]
        self._waiting[name], self._wanted[largest] = closed, name
        if largest in self._heard:
            self._ready.append(name)
        if len(self._waiting) > WAITING:
            self._end_wait(next(iter(self._waiting)))
            self.not_made += self.any_heard

    def _end_wait(self, name: str) -> _ClosedDefect:
        closed = self._waiting.pop(name)
        self._wanted.pop(closed.parts[0], None)
        return closed

    def _next(self, now_ns: int, *, hurry: bool) -> tuple[_ClosedDefect, HeardCrop] | None:
        while self._ready:
            name = self._ready.popleft()
            closed = self._waiting.get(name)
            if closed is not None and closed.parts[0] in self._heard:
                return self._end_wait(name), self._take(closed.parts[0], closed)
        while self._waiting:
            name, closed = next(iter(self._waiting.items()))
            if not (hurry or now_ns >= closed.until_ns):
                break
            self._end_wait(name)
            part = next((part for part in closed.parts if part in self._heard), None)
            if part is not None:
                return closed, self._take(part, closed)
            self.not_made += self.any_heard
        return None

    def _take(self, part: str, closed: _ClosedDefect) -> HeardCrop:
        crop = self._heard[part]
        for one in closed.parts:
            self._drop(one)
        return crop

    def _drop(self, part: str) -> None:
        if (crop := self._heard.pop(part, None)) is not None:
            self._held_bytes -= len(crop.message.png)


def _resized(png: bytes, lines: int, columns: int) -> tuple[float, bytes]:
    """Return the picture's scale and PNG file in the strip's lines and columns, of which a camera has others.

    Raises ValueError for what is no PNG file of a picture's size.
    """
    high, wide = int.from_bytes(png[20:24]), int.from_bytes(png[16:20])
    if not png.startswith(_PNG_HEAD) or not 0 < high * wide <= _MOST_PX:
        raise ValueError(f"a camera's picture of {len(png)} bytes is no PNG file of up to {_MOST_PX} pixels")
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError(f"a camera's picture of {len(png)} bytes is a damaged PNG file")
    scale = min(1.0, max(high, wide) / max(lines, columns))
    size = max(1, round(columns * scale)), max(1, round(lines * scale))
    _, resized = cv2.imencode(".png", cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    return scale, resized.tobytes()


def _moved(interval: tuple[float, float], by_mm: float) -> tuple[float, float]:
    return interval[0] + by_mm, interval[1] + by_mm
