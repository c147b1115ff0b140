"""What one camera has told and the strip has not decided yet."""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from linewatch.contracts.verdict import CoilNotice, CoilState, Verdict
from linewatch.strip.coverage import CameraShare, ToldSpan, told_of
from linewatch.strip.raster import View

Item = Verdict | CoilNotice
CLOSE_MM: Final = 1e-6
"""Places that differ by less are the same."""


@dataclass(slots=True, eq=False)
class Feed:
    """The decisions of one camera's service, in their order, on their way through the present coil.

    queue: not taken up yet; its first one begins a passage or goes on with the present coil. member: it tells of the
    present coil. told_mm: up to where, in the strip's positions; infinite when it has told all. end_mm: where the coil
    ended by it. left_out: it was waited for too long. over: nothing more will come. outvoted: it told of another coil
    when the present one began. held: verdicts of the present coil whose defects are not decided yet. spans: of strip
    that is not decided yet. seen_mm: strip across that it saw last. known_mm: the same, of what is decided.
    shown_mm: that of the newest decided frame; None where it showed no strip.
    skipped: the coil of a passage that is left out.
    """

    view: View
    queue: deque[Item] = field(default_factory=deque)
    member: bool = False
    told_mm: float = 0.0
    end_mm: float | None = None
    left_out: bool = False
    over: bool = False
    outvoted: bool = False
    held: deque[tuple[float, Verdict]] = field(default_factory=deque)
    last: CoilNotice | None = None
    spans: deque[ToldSpan] = field(default_factory=deque)
    seen_mm: tuple[float, float] | None = None
    known_mm: tuple[float, float] | None = None
    shown_mm: tuple[float, float] | None = None
    skipped: str | None = None

    @property
    def head(self) -> str | None:
        """The coil of which it tells next; None: not known yet."""
        while self.queue:
            first = self.queue[0]
            ends = isinstance(first, CoilNotice) and first.state is CoilState.ENDED
            starts = isinstance(first, CoilNotice) and not ends
            skipped = first.coil == self.skipped and not starts
            if not ends and not skipped:
                self.skipped = None
                return first.coil
            self.queue.popleft()
            if ends:
                self.skipped = None
        return None

    def skip_passage(self) -> None:
        """Leave out the passage at the head of the queue."""
        self.skipped = self.queue.popleft().coil

    def begin(self, coil: str) -> CoilNotice | None:
        """Begin a coil, of which this camera tells or not; return how it starts by this camera."""
        self.member, self.told_mm, self.end_mm, self.last = self.head == coil, 0.0, None, None
        self.held.clear()
        self.spans.clear()
        notice = None
        if self.member:
            self.outvoted = False
            if isinstance(self.queue[0], CoilNotice):
                first = self.queue.popleft()
                assert isinstance(first, CoilNotice)
                notice = first
        return notice

    def take_up(self, coil: str) -> None:
        """Take up what the queue holds of the present coil."""
        while self.member and self.end_mm is None and self.queue:
            first = self.queue[0]
            ended = isinstance(first, CoilNotice)
            if first.coil != coil or ended:
                if isinstance(first, CoilNotice) and first.coil == coil and first.state is CoilState.ENDED:
                    self.last = first
                    self.queue.popleft()
                    self.told_mm = max(self.told_mm, first.along_mm + self.view.camera.along_offset_mm)
                self._end()
                return
            assert isinstance(first, Verdict)
            self.queue.popleft()
            self._verdict(first)
        if self.member and self.end_mm is None and self.over:
            self._end()

    def _end(self) -> None:
        self.end_mm, self.told_mm = self.told_mm, math.inf

    def _verdict(self, verdict: Verdict) -> None:
        end_mm = self.view.along_mm(verdict)[1]
        strip_mm = self.view.strip_mm(verdict)
        self.held.append((end_mm, verdict))
        across_mm = strip_mm or self.seen_mm or self.view.camera.view_mm
        for span in verdict.spans:
            offset_mm = self.view.camera.along_offset_mm
            along_mm = span.along_mm[0] + offset_mm, span.along_mm[1] + offset_mm
            if along_mm[1] > along_mm[0]:
                wanders = strip_mm is not None and self.view.sees_one_edge(strip_mm)
                self.spans.append(told_of(self.view, along_mm, across_mm, span, wanders=wanders))
        self.seen_mm = strip_mm or self.seen_mm
        self.told_mm = max(self.told_mm, end_mm)

    def share(self, begin_mm: float, stop_mm: float) -> CameraShare:
        """Return what it told of some strip. Where it told nothing, the strip counts as wide as it was known to be."""
        before = takewhile(lambda one: one.begin_mm < stop_mm, self.spans)
        told = tuple(one for one in before if one.stop_mm > begin_mm)
        low, high = self.view.owned_mm
        coming_mm = self.view.strip_mm(self.held[0][1]) if self.held else None
        across = self.known_mm or coming_mm or self.view.camera.view_mm
        return CameraShare(self.view, told, max(0.0, min(high, across[1]) - max(low, across[0])))

    def forget(self, before_mm: float) -> None:
        """Forget the spans that end before a place."""
        while self.spans and self.spans[0].stop_mm <= before_mm:
            self.spans.popleft()
