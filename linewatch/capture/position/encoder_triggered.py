"""Places the grabs of a camera whose lines an encoder triggers, by the encoder's counts."""

from dataclasses import replace

import structlog

from linewatch.capture.position.odometer import Odometer, Reading, StripMotion
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Grab, PositionFault
from linewatch.contracts.ports import Camera, CameraWrapper

log = structlog.get_logger()


class EncoderTriggeredCamera(CameraWrapper):
    """Places the grabs of `camera` by their `encoder_count` and `encoder_stop`; positions in the grabs are ignored.

    A coil begins where the camera's coil changes. A grab during which the strip reversed cannot be placed: it is given
    empty, and strip in it that does not come again is a grab of its own with fault TURNED. Grabs of strip that runs
    back are given with their positions, since admission does not count a line twice. Use it from one thread.
    """

    def __init__(self, camera: Camera, line: LineSettings) -> None:
        if line.encoder is None:
            raise ValueError("an encoder-triggered camera needs [line.encoder]")
        super().__init__(camera)
        self._line = line
        self._encoder = line.encoder
        self._mm_per_line = line.encoder.mm_per_line
        self._odometer: Odometer | None = None
        self._coil = ""
        self._head = 0  # of the coil, in the odometer's lines
        self._fault: PositionFault | None = None
        self._waiting: Grab | None = None
        self._turned: Grab | None = None  # the newest grab with a reversal, since strip was last accounted for
        self._turned_weld: int | None = None  # line of a weld that passed in it, if the strip ran forward to its end

    def read(self) -> Grab | None:
        grab, self._waiting = self._waiting, None
        if grab is not None:
            return grab
        if (grab := self._camera.read()) is not None:
            return self._placed(grab)
        turned, self._turned = self._turned, None
        odometer = self._odometer
        if turned is None or odometer is None or odometer.next_line <= odometer.reached:
            return None
        return self._unseen(turned, odometer.reached, odometer.next_line, Cause.TURNED)

    def _placed(self, grab: Grab) -> Grab:
        before = self._odometer or Odometer(grab.encoder_count)
        reading = Reading(grab.sequence, grab.lines, grab.encoder_count, grab.encoder_stop, grab.captured_ns)
        self._odometer, place = before.step(reading, self._line, self._encoder)
        self._report(place.fault, grab)
        unseen = None
        if not self._coil:
            self._coil = grab.coil
        brings = place.lines > 0 and place.first_line + place.lines > before.reached
        if brings and (grab.coil != self._coil or (self._turned and place.first_line > before.reached)):
            # Strip that passed unseen before a coil's first line belongs to the old coil.
            # Without any, this grab is empty.
            cause = Cause.TURNED if self._turned else Cause.LOST
            unseen = self._unseen(grab, before.reached, max(before.reached, place.first_line), cause)
            if grab.coil != self._coil:
                self._coil, self._head = grab.coil, max(before.reached, place.first_line)
        turned = place.motion is StripMotion.TURNED
        change = grab.change_line
        if turned:
            self._turned = grab
            self._turned_weld = None if change is None else place.first_line - grab.lines + change
        elif place.lines:
            self._turned = self._turned_weld = None
        cut = min(max(0, self._head - place.first_line), place.lines)  # lines before the coil's head: the last coil's
        image = None if turned or grab.image is None or len(grab.image) <= cut else grab.image[cut:]
        fault = grab.fault
        if image is None and place.lines > cut:
            fault = fault or Cause.TRUNCATED
        if change is not None and (place.motion is not StripMotion.FORWARD or not cut <= change < place.lines):
            change = None  # this strip is not accounted for yet: its weld will pass again
        first_line = max(0, place.first_line - self._head)
        placed = replace(
            grab,
            image=image,
            coil=self._coil,  # a grab without new strip does not belong to the next coil yet
            first_line=first_line,
            lines=place.lines - cut,
            encoder_count=place.count,
            encoder_stop=None,
            along_mm=first_line * self._mm_per_line,
            mm_per_line=self._mm_per_line,
            encoded=place.fault is None,
            fault=fault,
            position_fault=place.fault,
            change_line=None if change is None else change - cut,
            counter=self._odometer.count,
        )
        if unseen is None:
            return placed
        self._waiting = placed
        return unseen

    def _unseen(self, grab: Grab, first_line: int, stop_line: int, cause: Cause) -> Grab:
        """Return an empty grab before `grab`, for strip of the present coil that passed unseen."""
        weld = self._turned_weld
        return replace(
            grab,
            image=None,
            coil=self._coil,
            sequence=grab.sequence - 1,
            first_line=first_line - self._head,
            lines=stop_line - first_line,
            encoder_count=round(first_line * self._encoder.counts_per_line),
            encoder_stop=None,
            along_mm=(first_line - self._head) * self._mm_per_line,
            mm_per_line=self._mm_per_line,
            encoded=self._fault is None,
            fault=cause,
            position_fault=self._fault,
            change_line=weld - first_line if weld is not None and first_line <= weld < stop_line else None,
        )

    def _report(self, fault: PositionFault | None, grab: Grab) -> None:
        if fault is self._fault:
            return
        before, self._fault = self._fault, fault
        if fault is None:
            log.info("encoder_plausible_again", was=str(before), coil=grab.coil)
            return
        measured = self._odometer.measured_pitch if self._odometer and fault is PositionFault.PITCH else None
        log.error(
            "encoder_implausible",
            fault=str(fault),
            coil=grab.coil,
            count=grab.encoder_count,
            counts_per_line=measured,
            expected_counts_per_line=self._encoder.counts_per_line,
        )
