"""Admission: checks a camera's grabs and turns them into frames, so that every line of strip is accounted for."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import structlog

from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.coils import CoilAccount, CoilPart
from linewatch.capture.gray import gray_of
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.restart import resumption
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Frame, Grab, PositionFault
from linewatch.contracts.ports import Camera
from linewatch.contracts.restart import LastPlace, SourcePlace, StripGap

log = structlog.get_logger()

_BRIGHT_SHARE = 0.001


@dataclass(slots=True)
class AdmissionCounts:
    """Counts so far of what was admitted and what was not."""

    grabs: int = 0
    lines: int = 0  # of strip that passed, seen or not
    repeated_lines: int = 0  # that came a second time because the strip ran back; not counted again
    faults: Counter[Cause] = field(default_factory=Counter)
    missed_lines: Counter[Cause] = field(default_factory=Counter)
    encoded: bool = False  # whether an encoder placed the newest grab
    position_fault: PositionFault | None = None  # why its position is not trusted
    gap: StripGap | None = None  # before the first grab, where an earlier run of the service left a coil


@dataclass(frozen=True, slots=True)
class _CheckedImage:
    """The leading lines of a grab's image that can be inspected, and why not all of them can."""

    gray: np.ndarray | None
    fault: Cause | None


class Admission:
    """Turns each `Grab` into `Frame`s, in strip order. Only the capture thread may use it, except for `coils`.

    Every line that passed is in exactly one frame. Lines that never arrived (a jump of `first_line`, or of `sequence`
    over a change of coil) are a frame of their own with cause LOST. A grab that cannot be inspected becomes a frame
    without pixels, with its cause; without a free ring slot the cause is OVERRUN. A grab in which a coil begins is
    divided there, since a frame belongs to one coil. Nothing that a grab contains makes it raise.

    Whether a grab is black, frozen or of the wrong kind is judged by what the camera gave; all that follows sees its
    lines as the camera's calibration corrects them.
    """

    def __init__(
        self,
        line: LineSettings,
        settings: CaptureSettings,
        ring: FrameRing,
        coils: CoilAccount | None = None,
        calibrated: CalibrationInForce | None = None,
    ) -> None:
        self.counts = AdmissionCounts()
        self.calibrated = calibrated or CalibrationInForce(line)
        self.coils = coils or CoilAccount()
        self._line = line
        self._settings = settings
        self._ring = ring
        self._ordinal = 0
        self._coil = ""  # of the newest lines that were delivered
        self._before: Grab | None = None  # the newest one with new lines
        self._captured_ns: int | None = None
        self._sequence = 0
        self._counts_per_line = 0.0
        self._previous = np.zeros((line.frame_lines, line.width_px), np.uint8)
        self._bright = np.zeros_like(self._previous)
        self._previous_lines = 0
        self._last: LastPlace | None = None  # until the first grab with lines
        self._gap: StripGap | None = None  # until the first frame
        self._moved: tuple[str, int, float] = "", 0, 0.0  # the source's coil whose count begins anew; lines, mm

    def resume(self, last: LastPlace) -> None:
        """Go on behind the last line that an earlier run decided. Call it before the first grab."""
        self._last = last
        self.coils.take_names(last.names)
        self.coils.resume(last)

    def admit(self, grab: Grab) -> tuple[Frame, ...]:
        """Return the frames that this grab accounts for: lost lines before it first, then its own."""
        return tuple(self.frames(grab))

    def frames(self, grab: Grab) -> Iterator[Frame]:
        """Yield the frames of `admit`. Each takes its ring slot when requested; request all before the next grab."""
        self.counts.grabs += 1
        self.counts.encoded, self.counts.position_fault = grab.encoded, grab.position_fault
        sequence, self._sequence = self._sequence, grab.sequence
        since_ns, self._captured_ns = self._captured_ns, grab.captured_ns
        if not grab.lines or (grab.fault is Cause.CAMERA and self._last is not None):
            return  # what passed before a camera came is part of the restart's gap
        if grab.gap is not None and self._last is None:
            self._gap = grab.gap
            if not grab.gap.goes_on:
                self._before = None
        lost_for = Cause.LOST
        unseen = max(0, grab.sequence - sequence - 1) * self._line.frame_lines
        if self._last is not None:
            lost_for, unseen = Cause.RESTART, self._go_on(self._last, grab)
        coil, lines, mm = self._moved
        if grab.coil == coil:
            grab = replace(grab, first_line=grab.first_line + lines, along_mm=grab.along_mm + mm)
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
            # Grabs were lost around a change of coil: the new coil's share of their lines is known; the rest, counted
            # in full frames, was the tail of the old coil.
            begin -= min(unseen, grab.first_line)
            tail = unseen - (grab.first_line - begin)
            for part in self.coils.parts(before, before.first_line + before.lines, tail):
                yield self._frame(before, part, captured_ns=grab.captured_ns, fault=lost_for)
            self.coils.enter(grab.coil)
        if repeated >= grab.lines:
            return
        self.coils.find_starts(grab, begin, since_ns)
        seen = grab.first_line + repeated
        for part in self.coils.parts(grab, begin, seen - begin):
            yield self._frame(grab, part, fault=lost_for)
        image = self._check_image(grab)
        for part in self.coils.parts(grab, seen, grab.lines - repeated):
            yield self._delivered(grab, part, image)

    def _go_on(self, last: LastPlace, grab: Grab) -> int:
        """Find the place of the first grab after a restart; return the lines that passed unseen before it."""
        self._last = None
        found = resumption(last, grab, self._line, self._settings.restart_within_s)
        gap = self.counts.gap = self._gap = found.gap
        log.warning("restart_gap", coil=last.coil, at_mm=round(last.end_mm, 3), lines=gap.lines, text=gap.text)
        if not gap.goes_on:
            return 0
        head_mm = last.head_line * grab.mm_per_line
        self.coils.head_lies_at(head_mm)
        reached_mm = head_mm + last.end_mm
        if grab.coil == last.source_coil:
            behind_mm = (grab.first_line + found.offset_lines - last.source_line) * grab.mm_per_line
            self._moved = grab.coil, found.offset_lines, reached_mm + behind_mm - grab.along_mm
        self._before = replace(
            grab,
            image=None,
            coil=last.source_coil,
            first_line=last.source_line,
            lines=0,
            along_mm=reached_mm,
            counter=None,  # it is that of the grab's end
        )
        if last.length_mm is not None and last.end_mm < last.length_mm < last.end_mm + gap.mm:
            self.coils.order_end(at_mm=last.length_mm)  # its tail passed, too
        return gap.lines

    def _delivered(self, grab: Grab, part: CoilPart, image: _CheckedImage) -> Frame:
        """Return a frame of lines that were delivered, with their pixels where there are any and a slot is free."""
        if part.coil != self._coil:
            self._coil = part.coil
            self.calibrated.take_up()
        first, stop = part.first_line - grab.first_line, part.stop_line - grab.first_line
        rows = None if image.gray is None else image.gray[first:stop]
        shown = 0 if rows is None else len(rows)
        fault = image.fault if shown < stop - first else None
        slot = self._ring.acquire() if shown else None
        pixels = None
        if slot is not None and rows is not None:
            pixels = self._ring.pixels(slot)
            self.calibrated.correct(rows, pixels[:shown], first)
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
        gap = self.counts.gap if fault is Cause.RESTART else grab.gap if fault is Cause.CAMERA else self._gap
        self._gap = None
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
            columns=self.calibrated.columns,
            captured_ns=grab.captured_ns if captured_ns is None else captured_ns,
            encoded=grab.encoded,
            fault=fault,
            position_fault=grab.position_fault,
            source_coil=part.source_coil,
            head_line=part.head_line,
            between_coils=part.between,
            place=SourcePlace(grab.counter, grab.first_line + grab.lines),
            gap=gap,
            calibration=self.calibrated.told,
        )

    def _check_image(self, grab: Grab) -> _CheckedImage:
        gray = self._gray(grab)
        if isinstance(gray, Cause):
            return _CheckedImage(None, gray)
        # OpenCV compares and counts without a temporary array.
        frozen = len(gray) == self._previous_lines and not cv2.norm(gray, self._previous[: len(gray)], cv2.NORM_INF)
        self._previous[: len(gray)] = gray
        self._previous_lines = len(gray)
        bright = self._bright[: len(gray)]
        cv2.threshold(gray, self._settings.black_level, 1, cv2.THRESH_BINARY, dst=bright)
        if cv2.countNonZero(bright) <= _BRIGHT_SHARE * gray.size:
            return _CheckedImage(None, Cause.BLACK)
        if frozen:
            return _CheckedImage(None, Cause.FROZEN)
        if self.calibrated.trouble is not None:
            return _CheckedImage(None, Cause.CALIBRATION)
        return _CheckedImage(gray, Cause.TRUNCATED if len(gray) < grab.lines else None)

    def _gray(self, grab: Grab) -> np.ndarray | Cause:
        image = grab.image
        if image is None or grab.fault not in {None, Cause.TRUNCATED}:
            return grab.fault or Cause.CORRUPT
        gray = gray_of(image, self._line)
        if isinstance(gray, Cause):
            return gray
        if len(gray) > grab.lines:
            return Cause.WRONG_SIZE
        return gray if gray.size else Cause.TRUNCATED


class Intake:
    """The capture stage: reads a camera and admits its grabs.

    A live camera is read whether or not a ring slot is free. Any other camera is read only when a slot is free, so that
    nothing is lost.
    """

    def __init__(self, camera: Camera, admission: Admission, ring: FrameRing) -> None:
        self._camera = camera
        self._admission = admission
        self._ring = ring
        self._rest: Iterator[Frame] = iter(())  # of the grab that was read last

    def frames(self, timeout_s: float) -> tuple[Frame, ...] | None:
        """Return the next frames in strip order, None at the source's end, () when none came in time: no ring slot was
        free, or the line stands, or the camera is away.

        Waits without limit for a camera that is not a `LastingCamera`; `Camera.stop` ends the wait. Raises SourceError
        when the source is gone.
        """
        if isinstance(self._camera, LastingCamera) and not self._camera.wait(timeout_s):
            return ()
        if self._camera.live:
            grab = self._read()
            return None if grab is None else self._admission.admit(grab)
        if not self._ring.wait_free(timeout_s):
            return ()
        frame = next(self._rest, None)
        if frame is None:
            grab = self._read()
            if grab is None:
                return None
            self._rest = self._admission.frames(grab)
            frame = next(self._rest, None)
        return () if frame is None else (frame,)

    def _read(self) -> Grab | None:
        grab = self._camera.read()
        if grab is not None:  # a camera that was absent to the end has no serial
            self._admission.calibrated.meet(self._camera.serial)
        return grab
