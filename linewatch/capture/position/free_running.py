"""Resamples a camera that runs free beside an encoder: its rows become lines of the strip at the encoder's pitch.

The position of a row follows from the counts latched before and after its grab. Engines and line counts need lines at
the pitch of `[line.encoder]`, so each line of the strip, once, is the row nearest to it.
"""

from collections import deque
from dataclasses import dataclass, replace
from math import floor

import numpy as np
import structlog

from linewatch.capture.position.odometer import SLACK_COUNTS, moved_counts
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Grab, PositionFault
from linewatch.contracts.ports import Camera, CameraWrapper

MAX_LINES_PER_ROW = 1.5
"""Where the strip runs farther than this between two rows, the strip between them was not seen."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Exposure:
    """The counts of one grab, as wide as the counter."""

    rows: int
    count: int  # at its first row
    count_behind: int  # behind its last one
    follows: bool  # no grab was lost before it, so its first row lies where the last one's rows ended


@dataclass(frozen=True, slots=True)
class NewLines:
    """The lines [first_line, first_line + len(rows)) that a grab shows for the first time, in its `rows`, ascending.

    lost: lines directly before them that no grab shows. repeats: the grab began with strip that was seen before.
    too_far_apart: the strip ran faster than rows were taken.
    """

    first_line: int
    rows: np.ndarray  # int, of each line
    lost: int
    repeats: bool
    too_far_apart: bool
    fault: PositionFault | None


@dataclass(frozen=True, slots=True)
class StripTravel:
    """How far the strip has run. Pure: state in, state out; no clock."""

    count: int  # behind the last grab, as the counter shows it
    travelled: int = 0  # counts that were accepted, forward less back
    last_counts: int | None = None  # counts of the last grab
    reached: int = 0  # lines that were accounted for
    rejected: bool = False

    def step(self, exposure: Exposure, line: LineSettings) -> "tuple[StripTravel, NewLines]":
        """Return the lines of the next grab. Never raises, whatever the counter shows; no line comes twice.

        A count that moves faster than `max_speed_m_per_s` is rejected (JUMPED; in several grabs in a row TOO_FAST). The
        strip is then assumed to run on at its last speed, or by one line per row where that is not known.
        """
        encoder = line.encoder
        assert encoder is not None
        mm_per_count = encoder.mm_per_line / encoder.counts_per_line
        most = SLACK_COUNTS + line.max_speed_m_per_s * 1000 * exposure.rows / line.line_rate_hz / mm_per_count
        between = 0 if exposure.follows else moved_counts(encoder, self.count, exposure.count, 0)
        begun = self.count if exposure.follows else exposure.count
        within = moved_counts(encoder, begun, exposure.count_behind, 0)
        plausible = abs(within) <= most
        if not plausible:
            between, within = 0, self.last_counts or 0
            if self.last_counts is None or (self.rejected and not within):
                within = round(exposure.rows * encoder.counts_per_line)
        start = self.travelled + between
        if not exposure.rows:
            start += within  # strip that moved without a row
            within = 0
        stop = start + within
        seen_from, end = _lines_before(start, encoder.counts_per_line), _lines_before(stop, encoder.counts_per_line)
        first, end = max(self.reached, min(seen_from, end)), max(self.reached, end)
        lines = (np.arange(first, end) + 0.5) * encoder.counts_per_line - start
        before = within if self.last_counts is None or not exposure.follows else self.last_counts
        fault = None if plausible else PositionFault.TOO_FAST if self.rejected else PositionFault.JUMPED
        new = NewLines(
            first_line=first,
            rows=_rows_at(lines, within, before, exposure.rows),
            lost=first - self.reached,
            repeats=seen_from < self.reached,
            too_far_apart=within > MAX_LINES_PER_ROW * exposure.rows * encoder.counts_per_line,
            fault=fault,
        )
        return StripTravel(exposure.count_behind, stop, within, end, not plausible), new


def _lines_before(counts: int, counts_per_line: float) -> int:
    """Return the number of lines whose middle has passed."""
    return floor(counts / counts_per_line + 0.5)


def _rows_at(counts: np.ndarray, moved: int, moved_before: int, rows: int) -> np.ndarray:
    """Return the rows at which the strip had moved by `counts`, of `moved` in this grab.

    The strip is assumed to accelerate evenly since the grab before.
    """
    if not len(counts):
        return np.empty(0, np.int64)
    begun = min(2 * moved, max(0, (moved + moved_before) / 2))  # speed at the first row, in counts per grab
    root = np.sqrt(np.maximum(0.0, begun * begun + 4 * (moved - begun) * counts))
    share = 2 * counts / (begun + root)
    return np.clip(share * rows, 0, rows - 1).astype(np.int64)


class FreeRunningCamera(CameraWrapper):
    """Resamples the grabs of `camera`, taken at `line_rate_hz` whatever the strip does, to grabs of the strip's lines
    at the encoder's pitch. Each has `frame_lines` lines; the last of a coil, or before unseen lines, may have fewer.

    Strip that stands or runs back gives no grab. Without `encoder_stop` in its grabs, a camera's grabs come one grab
    late, and the last one is dropped: how far the strip ran in it is unknown. Rows are selected, never blended. A stuck
    counter cannot be distinguished from strip that stands. Use it from one thread.
    """

    def __init__(self, camera: Camera, line: LineSettings) -> None:
        if line.encoder is None or line.encoder.triggers:
            raise ValueError("a free-running camera needs [line.encoder] with triggers = false")
        super().__init__(camera)
        self.grabs: int | None = None
        self._line = line
        self._encoder = line.encoder
        self._travel: StripTravel | None = None
        self._held: Grab | None = None  # waits for the count behind its last row
        self._sequence: int | None = None
        self._ready: deque[Grab] = deque()
        self._ended = False
        self._coil = ""
        self._head = 0
        self._given = 0
        self._source: Grab | None = None  # the newest grab with lines in `_parts`
        self._parts: list[np.ndarray] = []
        self._first = self._next = 0  # the lines in `_parts`
        self._weld: int | None = None
        self._fault: PositionFault | None = None

    def read(self) -> Grab | None:
        while not self._ready and not self._ended:
            grab = self._camera.read()
            if grab is None:
                self._ended = True
                self._flush()
            elif grab.encoder_stop is not None:
                self._take(grab, grab.encoder_stop)
            else:
                image = None if grab.image is None else grab.image.copy()  # the next read reuses it
                held, self._held = self._held, replace(grab, image=image)
                if held is not None:
                    follows = grab.sequence == held.sequence + 1
                    self._take(held, grab.encoder_count if follows else held.encoder_count)
        return self._ready.popleft() if self._ready else None

    def _take(self, grab: Grab, count_behind: int) -> None:
        travel = self._travel or StripTravel(grab.encoder_count)
        follows = self._sequence is not None and grab.sequence == self._sequence + 1
        self._sequence = grab.sequence
        if grab.coil != self._coil:
            self._flush()
            self._coil, self._head = grab.coil, travel.reached
        self._travel, new = travel.step(Exposure(grab.lines, grab.encoder_count, count_behind, follows), self._line)
        self._report(new.fault, grab)
        if new.lost:
            self._miss(grab, travel.reached, new.lost, Cause.LOST)
        stop = new.first_line + len(new.rows)
        weld = None
        if grab.change_line is not None:
            at = int(np.searchsorted(new.rows, grab.change_line))
            if at < len(new.rows) and (at or not new.repeats):
                weld = new.first_line + at
        if new.too_far_apart:
            self._miss(grab, new.first_line, len(new.rows), Cause.LOST, weld)
            return
        image = None if grab.fault not in {None, Cause.TRUNCATED} else grab.image
        shown = 0 if image is None else int(np.searchsorted(new.rows, len(image)))
        at = 0
        while image is not None and at < shown:
            if self._parts and self._parts[0].shape[1:] != image.shape[1:]:
                self._flush()
            part = new.rows[at : min(shown, at + self._line.frame_lines - (self._next - self._first))]
            self._keep(grab, image[part], new.first_line + at, weld)
            at += len(part)
        if shown < len(new.rows):
            cause = grab.fault or (Cause.CORRUPT if image is None else Cause.TRUNCATED)
            self._miss(grab, new.first_line + shown, stop - new.first_line - shown, cause, weld)

    def _keep(self, grab: Grab, lines: np.ndarray, first_line: int, weld: int | None) -> None:
        if not self._parts:
            self._first = self._next = first_line
        self._parts.append(lines)
        self._source, self._next = grab, first_line + len(lines)
        if weld is not None and first_line <= weld < self._next:
            self._weld = weld
        if self._next - self._first == self._line.frame_lines:
            self._flush()

    def _flush(self) -> None:
        """Give the collected lines as one grab."""
        if self._parts and self._source is not None:
            image = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
            weld, self._weld = self._weld, None
            self._give(self._source, image, self._first, self._next - self._first, None, weld)
        self._parts = []

    def _miss(self, grab: Grab, first_line: int, lines: int, cause: Cause, weld: int | None = None) -> None:
        self._flush()
        inside = weld is not None and first_line <= weld < first_line + lines
        self._give(grab, None, first_line, lines, cause, weld if inside else None)

    def _give(
        self, grab: Grab, image: np.ndarray | None, line: int, lines: int, fault: Cause | None, weld: int | None
    ) -> None:
        pitch_mm, first = self._encoder.mm_per_line, line - self._head
        travel = self._travel
        assert travel is not None
        ahead = round((line + lines) * self._encoder.counts_per_line) - travel.travelled
        counter = travel.count + (ahead if self._encoder.counts_up else -ahead)
        self._ready.append(
            replace(
                grab,
                image=image,
                coil=self._coil,
                sequence=self._given,
                first_line=first,
                lines=lines,
                encoder_count=round(line * self._encoder.counts_per_line),
                encoder_stop=None,
                along_mm=first * pitch_mm,
                mm_per_line=pitch_mm,
                encoded=self._fault is None,
                fault=fault,
                position_fault=self._fault,
                change_line=None if weld is None else weld - line,
                counter=counter % (1 << self._encoder.bits),
            )
        )
        self._given += 1

    def _report(self, fault: PositionFault | None, grab: Grab) -> None:
        if fault is self._fault:
            return
        self._flush()  # the lines so far keep the fault that they were placed with
        before, self._fault = self._fault, fault
        if fault is None:
            log.info("encoder_plausible_again", was=str(before), coil=grab.coil)
        else:
            log.error("encoder_implausible", fault=str(fault), coil=grab.coil, count=grab.encoder_count)
