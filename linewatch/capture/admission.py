"""From what a camera gave to what can be inspected: every check on a grab, and the account of every line."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from linewatch.capture.coils import CoilAccount, CoilPart
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Frame, Grab, PositionFault
from linewatch.contracts.ports import Camera

_BRIGHT_SHARE = 0.001


@dataclass(slots=True)
class AdmissionCounts:
    """What was let in and what was not, so far."""

    grabs: int = 0
    lines: int = 0  # that passed, whether seen or not
    repeated_lines: int = 0  # that were given a second time (the strip ran back) and are not counted again
    faults: Counter[Cause] = field(default_factory=Counter)
    missed_lines: Counter[Cause] = field(default_factory=Counter)
    encoded: bool = False  # whether an encoder placed the newest grab
    position_fault: PositionFault | None = None  # and why it is not believed


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a grab's image is worth: leading lines that can be inspected, and why not all."""

    gray: np.ndarray | None
    fault: Cause | None


class Admission:
    """`Grab` -> `Frame`s, in strip order. Used by the capture thread only, but for `coils`.

    Every line that passed is in exactly one frame: lines that never reached us (a jump of `first_line`, or of
    `sequence` over a change of coil) are a frame of their own with cause LOST; a grab that cannot be inspected is a
    frame without pixels and its cause; without a free ring slot that cause is OVERRUN. A grab in which a coil begins
    is divided there: a frame is of one coil. Never raises for what a grab holds.
    """

    def __init__(
        self, line: LineSettings, settings: CaptureSettings, ring: FrameRing, coils: CoilAccount | None = None
    ) -> None:
        self.counts = AdmissionCounts()
        self.coils = coils or CoilAccount()
        self._line = line
        self._settings = settings
        self._ring = ring
        self._ordinal = 0
        self._before: Grab | None = None  # the last one that brought new lines
        self._captured_ns: int | None = None
        self._sequence = 0
        self._counts_per_line = 0.0
        self._previous = np.zeros((line.frame_lines, line.width_px), np.uint8)
        self._bright = np.zeros_like(self._previous)
        self._previous_lines = 0

    def admit(self, grab: Grab) -> tuple[Frame, ...]:
        """The frames that this grab accounts for: lost lines before it first, then itself."""
        return tuple(self.frames(grab))

    def frames(self, grab: Grab) -> Iterator[Frame]:
        """The same, one at a time: each takes its ring slot when it is asked for. Use them up before the next grab."""
        self.counts.grabs += 1
        self.counts.encoded, self.counts.position_fault = grab.encoded, grab.position_fault
        sequence, self._sequence = self._sequence, grab.sequence
        since_ns, self._captured_ns = self._captured_ns, grab.captured_ns
        if not grab.lines:
            return
        self._learn_counts_per_line(grab)
        before, repeated = self._before, self._repeated(grab)
        self._before = grab if grab.lines > repeated else before
        self.counts.repeated_lines += repeated
        begin = grab.first_line + repeated
        if before is None:
            self.coils.enter(grab.coil)
        elif grab.coil == before.coil:
            begin = min(begin, before.first_line + before.lines)
        else:
            # Lost around a change of coil: the new coil's share is known, the rest was the old one's tail, by full
            # frames.
            unseen = max(0, grab.sequence - sequence - 1) * self._line.frame_lines
            begin -= min(unseen, grab.first_line)
            tail = unseen - (grab.first_line - begin)
            for part in self.coils.parts(before, before.first_line + before.lines, tail):
                yield self._frame(before, part, captured_ns=grab.captured_ns, fault=Cause.LOST)
            self.coils.enter(grab.coil)
        if repeated >= grab.lines:
            return
        self.coils.note(grab, begin, since_ns)
        seen = grab.first_line + repeated
        for part in self.coils.parts(grab, begin, seen - begin):
            yield self._frame(grab, part, fault=Cause.LOST)
        sight = self._sight(grab)
        for part in self.coils.parts(grab, seen, grab.lines - repeated):
            yield self._seen(grab, part, sight)

    def _seen(self, grab: Grab, part: CoilPart, sight: _Sight) -> Frame:
        """A frame of the part of a grab that came, with its pixels where there are any and a slot is free."""
        first, stop = part.first_line - grab.first_line, part.stop_line - grab.first_line
        rows = None if sight.gray is None else sight.gray[first:stop]
        shown = 0 if rows is None else len(rows)
        fault = sight.fault if shown < stop - first else None
        slot = self._ring.acquire() if shown else None
        pixels = None
        if slot is not None:
            pixels = self._ring.pixels(slot)
            pixels[:shown] = rows
            pixels[shown:] = 0
            pixels = pixels.view()
            pixels.flags.writeable = False
        elif shown:
            fault, shown = Cause.OVERRUN, 0
        return self._frame(grab, part, pixels=pixels, slot=slot, valid_lines=shown, fault=fault)

    def _learn_counts_per_line(self, grab: Grab) -> None:
        before = self._before
        if before is not None and before.coil == grab.coil and grab.first_line > before.first_line:
            counts = grab.encoder_count - before.encoder_count
            self._counts_per_line = counts / (grab.first_line - before.first_line)

    def _repeated(self, grab: Grab) -> int:
        before = self._before
        if before is None or before.coil != grab.coil:
            return 0
        return min(grab.lines, max(0, before.first_line + before.lines - grab.first_line))

    def _frame(
        self,
        grab: Grab,
        part: CoilPart,
        *,
        fault: Cause | None,
        pixels: np.ndarray | None = None,
        slot: int | None = None,
        valid_lines: int = 0,
        captured_ns: int | None = None,
    ) -> Frame:
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        lines, ahead = part.stop_line - part.first_line, part.first_line - grab.first_line
        self.counts.lines += lines
        if fault is not None:
            self.counts.faults[fault] += 1
            self.counts.missed_lines[fault] += lines - valid_lines
        return Frame(
            pixels=pixels,
            slot=slot,
            ordinal=ordinal,
            coil=part.coil,
            side=self._line.side,
            camera=self._line.camera,
            sequence=grab.sequence,
            first_line=part.first_line - part.head_line,
            lines=lines,
            valid_lines=valid_lines,
            encoder_count=grab.encoder_count + round(ahead * self._counts_per_line),
            along_mm=grab.along_mm + ahead * grab.mm_per_line - part.head_mm,
            mm_per_line=grab.mm_per_line,
            mm_per_px=self._line.mm_per_px,
            captured_ns=grab.captured_ns if captured_ns is None else captured_ns,
            encoded=grab.encoded,
            fault=fault,
            position_fault=grab.position_fault,
            source_coil=part.source_coil,
            head_line=part.head_line,
            between_coils=part.between,
        )

    def _sight(self, grab: Grab) -> _Sight:
        gray = self._gray(grab)
        if isinstance(gray, Cause):
            return _Sight(None, gray)
        # OpenCV compares and counts without an array of its own for every pixel.
        frozen = len(gray) == self._previous_lines and not cv2.norm(gray, self._previous[: len(gray)], cv2.NORM_INF)
        self._previous[: len(gray)] = gray
        self._previous_lines = len(gray)
        bright = self._bright[: len(gray)]
        cv2.threshold(gray, self._settings.black_level, 1, cv2.THRESH_BINARY, dst=bright)
        if cv2.countNonZero(bright) <= _BRIGHT_SHARE * gray.size:
            return _Sight(None, Cause.BLACK)
        if frozen:
            return _Sight(None, Cause.FROZEN)
        return _Sight(gray, Cause.TRUNCATED if len(gray) < grab.lines else None)

    def _gray(self, grab: Grab) -> np.ndarray | Cause:
        image = grab.image
        if image is None or grab.fault not in {None, Cause.TRUNCATED}:
            return grab.fault or Cause.CORRUPT
        if image.dtype != np.uint8:
            return Cause.DEPTH
        if image.ndim == 3 and not _is_gray(image):
            return Cause.COLOUR
        gray = image[..., 0] if image.ndim == 3 else image
        if gray.shape[1:] != (self._line.width_px,) or not len(gray) <= grab.lines <= self._line.frame_lines:
            return Cause.WRONG_SIZE
        return gray if gray.size else Cause.TRUNCATED


def _is_gray(image: np.ndarray) -> bool:
    """Whether the colour channels are all equal: a gray image in a colour container (alpha is ignored)."""
    if image.shape[2] == 1 or not image.size:
        return True
    if image.shape[2] not in {3, 4}:
        return False
    blue, green, red = cv2.split(image)[:3]
    return np.array_equal(blue, green) and np.array_equal(green, red)


class Intake:
    """The capture stage: a camera, its admission, and the rule of who waits for whom.

    A live camera is read whether or not a ring slot is free; any other is not read before one is, so that it loses
    nothing.
    """

    def __init__(self, camera: Camera, admission: Admission, ring: FrameRing) -> None:
        self._camera = camera
        self._admission = admission
        self._ring = ring
        self._rest: Iterator[Frame] = iter(())  # of the grab in hand

    def frames(self, timeout_s: float) -> tuple[Frame, ...] | None:
        """The next frames in strip order; () when no ring slot came free in time; None at the end of the source.

        Waits for the camera as long as it takes (`Camera.stop` ends that). Raises SourceError when the source is gone.
        """
        if self._camera.live:
            grab = self._camera.read()
            return None if grab is None else self._admission.admit(grab)
        if not self._ring.wait_free(timeout_s):
            return ()
        frame = next(self._rest, None)
        if frame is None:
            grab = self._camera.read()
            if grab is None:
                return None
            self._rest = self._admission.frames(grab)
            frame = next(self._rest, None)
        return () if frame is None else (frame,)
