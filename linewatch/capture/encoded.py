"""A camera whose lines an encoder triggers: its counts become places on the strip."""

from dataclasses import replace
from typing import Self

import structlog

from linewatch.capture.odometer import Odometer, Reading, Run
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Grab, PositionFault
from linewatch.contracts.ports import Camera

log = structlog.get_logger()


class EncodedCamera:
    """`camera`'s grabs, placed by their `encoder_count` and `encoder_stop`; the places that it gave are not looked at.

    A coil begins where the camera's coil changes. A grab during which the strip turned shows nothing that could be
    placed: what passed for good meanwhile is a fault TURNED, the rest comes again. Grabs of strip that runs back are
    given on, where they lie: admission does not count a line twice. Used by one thread.
    """

    def __init__(self, camera: Camera, line: LineSettings) -> None:
        if line.encoder is None:
            raise ValueError("an encoded camera needs [line.encoder]")
        self.live = camera.live
        self.grabs = camera.grabs
        self._camera = camera
        self._line = line
        self._encoder = line.encoder
        self._mm_per_line = line.encoder.mm_per_line
        self._odometer: Odometer | None = None
        self._coil: str | None = None
        self._head = 0  # of the coil, in the odometer's lines
        self._fault: PositionFault | None = None
        self._waiting: Grab | None = None

    def read(self) -> Grab | None:
        grab, self._waiting = self._waiting, None
        if grab is None and (grab := self._camera.read()) is not None:
            grab = self._placed(grab)
        return grab

    def stop(self) -> None:
        self._camera.stop()

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._camera.__exit__(*exc)

    def _placed(self, grab: Grab) -> Grab:
        before = self._odometer or Odometer(grab.encoder_count)
        reading = Reading(grab.sequence, grab.lines, grab.encoder_count, grab.encoder_stop, grab.captured_ns)
        self._odometer, place = before.step(reading, self._line, self._encoder)
        self._tell(place.fault, grab)
        ended, old_head = self._coil, self._head
        if grab.coil != ended:
            self._coil, self._head = grab.coil, max(before.reached, place.first_line)
        turned = place.run is Run.TURNED
        cut = min(max(0, self._head - place.first_line), place.lines)  # before the coil's head: the last one's tail
        image, change = grab.image, grab.change_line
        if turned:
            image = None
        elif image is not None and cut:
            image = image[cut:] if len(image) > cut else None
        if change is not None and (place.run is Run.BACK or not cut <= change < place.lines):
            change = None  # strip that is not accounted for yet brings its weld again
        fault = grab.fault
        if image is None and place.lines > cut:
            fault = Cause.TURNED if turned else fault or Cause.TRUNCATED
        first_line = max(0, place.first_line - self._head)
        placed = replace(
            grab,
            image=image,
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
        )
        if ended is None or grab.coil == ended or place.first_line <= before.reached:
            return placed
        # What passed unseen where a coil changed was the old coil's tail.
        self._waiting = placed
        return replace(
            placed,
            image=None,
            coil=ended,
            sequence=grab.sequence - 1,
            first_line=before.reached - old_head,
            lines=place.first_line - before.reached,
            along_mm=(before.reached - old_head) * self._mm_per_line,
            fault=Cause.LOST,
            change_line=None,
        )

    def _tell(self, fault: PositionFault | None, grab: Grab) -> None:
        if fault is self._fault:
            return
        before, self._fault = self._fault, fault
        if fault is None:
            log.info("encoder_believed_again", was=str(before), coil=grab.coil)
            return
        measured = self._odometer.measured_pitch if self._odometer and fault is PositionFault.PITCH else None
        log.error(
            "encoder_not_believed",
            fault=str(fault),
            coil=grab.coil,
            count=grab.encoder_count,
            counts_per_line=measured,
            expected_counts_per_line=self._encoder.counts_per_line,
        )
