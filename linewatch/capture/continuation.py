"""Places the grabs of a camera that was opened anew behind those that it gave before. No clock, no thread."""

from dataclasses import dataclass, replace

from linewatch.capture.restart import resumption
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.restart import CAMERA_AWAY, LastPlace, SourcePlace


@dataclass(frozen=True, slots=True)
class _Offset:
    """What is added to the grabs of an opened camera. All but `sequence` hold for the coil of before only."""

    coil: str = ""
    lines: int = 0
    mm: float = 0.0
    counts: int = 0
    sequence: int = 0


class Continuation:
    """Turns the grabs of one opened camera after the other into those of one strip.

    A camera that is opened anew counts grabs and lines from its own beginning. How much strip passed meanwhile is found
    as behind a restart of the service: by the encoder, else by the source's positions, else by clock and line rate.
    """

    def __init__(self, line: LineSettings, within_s: float) -> None:
        """within_s: after a longer time the clock tells nothing, and the coil counts as over."""
        self._line = line
        self._within_s = within_s
        self._last: Grab | None = None  # the one that reached farthest in its coil
        self._sequence = -1
        self._offset = _Offset()

    def follow(self, grab: Grab) -> Grab:
        """Return the next grab of a camera that stayed open, placed on the strip."""
        return self._told(_moved(grab, self._offset))

    def return_with(self, grab: Grab, away_ns: int | None) -> tuple[Grab, ...]:
        """Return the first grab with lines of an opened camera, behind one for the strip that passed unseen, if any.

        away_ns: when the service began to wait for a camera that has given nothing yet; None: it came at once.
        """
        last = self._last
        if last is None and away_ns is None:
            return (self.follow(grab),)
        place = _place_of(last) if last else LastPlace(grab.coil, grab.coil, 0, False, 0, 0.0, away_ns)
        found = resumption(place, grab, self._line, self._within_s)
        gap = replace(found.gap, began=CAMERA_AWAY)
        sequence = self._sequence + 1 - grab.sequence
        if not gap.goes_on:
            self._offset, self._last = _Offset(sequence=sequence), None
            return (self._told(replace(_moved(grab, self._offset), gap=gap)),)
        pitch = self._line.encoder.counts_per_line if self._line.encoder else 1.0
        counts = grab.encoder_count if last is None else last.encoder_count + round(last.lines * pitch)
        counter = grab.counter
        if counter is not None and self._line.encoder is not None:
            back = round(grab.lines * pitch) * (1 if self._line.encoder.counts_up else -1)
            counter = (counter - back) % (1 << self._line.encoder.bits)
        unseen = replace(
            grab,
            image=None,
            coil=place.coil,
            sequence=self._sequence + 1,
            first_line=place.next_line,
            lines=gap.lines,
            encoder_count=counts,
            along_mm=place.end_mm,
            captured_ns=grab.captured_ns - round(grab.lines / self._line.line_rate_hz * 1e9),
            encoded=grab.encoded and last is not None,
            fault=Cause.CAMERA,
            encoder_stop=None,
            change_line=None,
            counter=counter,
            gap=gap,
        )
        if grab.coil == place.coil:
            behind_mm = (grab.first_line + found.offset_lines - place.next_line) * grab.mm_per_line
            self._offset = _Offset(
                grab.coil,
                found.offset_lines,
                place.end_mm + behind_mm - grab.along_mm,
                counts + round(gap.lines * pitch) - grab.encoder_count,
            )
        else:
            self._offset = _Offset()
        told = (self._told(unseen),) if gap.lines else ()
        self._offset = replace(self._offset, sequence=sequence + len(told))
        first = self.follow(grab)
        return (*told, first) if told else (replace(first, gap=gap),)

    def _told(self, grab: Grab) -> Grab:
        last = self._last
        self._sequence = max(self._sequence, grab.sequence)
        if grab.lines and (
            last is None or grab.coil != last.coil or grab.first_line + grab.lines >= last.first_line + last.lines
        ):
            self._last = replace(grab, image=None)
        return grab


def _moved(grab: Grab, offset: _Offset) -> Grab:
    if offset == _Offset():
        return grab
    if grab.coil != offset.coil:
        return replace(grab, sequence=grab.sequence + offset.sequence)
    return replace(
        grab,
        sequence=grab.sequence + offset.sequence,
        first_line=grab.first_line + offset.lines,
        along_mm=grab.along_mm + offset.mm,
        encoder_count=grab.encoder_count + offset.counts,
    )


def _place_of(last: Grab) -> LastPlace:
    stop = last.first_line + last.lines
    return LastPlace(
        coil=last.coil,
        source_coil=last.coil,
        head_line=0,
        between=False,
        next_line=stop,
        end_mm=last.along_mm + last.lines * last.mm_per_line,
        captured_ns=last.captured_ns,
        place=SourcePlace(last.counter, stop),
    )
