"""Joined frames of which a camera was silent, and how they are put right when it tells of them later."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from linewatch.contracts.verdict import CoverageSpan
from linewatch.decision.decide import RunningCoil
from linewatch.strip.coverage import CameraShare, Lines, append, put_right, spans_across
from linewatch.strip.feed import CLOSE_MM, Feed

OWED_FRAMES: Final = 4_096
"""Joined frames that wait to be put right, at most; of older ones the silent shares stay missed."""
_CORRECTIONS: Final = 128
"""Corrected spans in one frame, about: a message has a bound."""


@dataclass(slots=True, eq=False)
class OwedFrame:
    """A joined frame of which a share was silent. shares: by camera. late: cameras that have not told of it yet."""

    lines: Lines
    shares: dict[int, CameraShare]
    spans: tuple[CoverageSpan, ...]
    narrow_mm: Mapping[str, float]
    late: set[int]


class OwedFrames:
    """Those of one coil, by the first line."""

    def __init__(self, feeds: Sequence[Feed], mm_per_line: float) -> None:
        self._feeds, self._mm_per_line = feeds, mm_per_line
        self._owed: OrderedDict[int, OwedFrame] = OrderedDict()
        self._looked_at: dict[int, float] = {}  # up to where cameras that owe frames had told, when these were checked

    def clear(self) -> None:
        """Forget all: another coil begins."""
        self._owed.clear()
        self._looked_at.clear()

    def remember(
        self,
        lines: Lines,
        shares: dict[int, CameraShare],
        spans: tuple[CoverageSpan, ...],
        narrow_mm: Mapping[str, float],
    ) -> None:
        """Keep a frame of which a camera that is left out may tell yet."""
        end_mm = lines.along_mm[1]
        late = {
            feed.view.index
            for feed in self._feeds
            if feed.left_out and (not feed.member or feed.told_mm < end_mm - CLOSE_MM)
        }
        for at in late:
            self._looked_at.setdefault(at, math.nan)
        if late:
            self._owed[lines.first_line] = OwedFrame(lines, shares, spans, narrow_mm, late)
            while len(self._owed) > OWED_FRAMES:
                self._owed.popitem(last=False)

    def put_right(self, coil: RunningCoil) -> tuple[tuple[CoverageSpan, ...], tuple[CoverageSpan, ...], RunningCoil]:
        """Return the spans of earlier frames of which a silent camera has told since, what they were, and the coil."""
        corrections: list[CoverageSpan] = []
        corrected: list[CoverageSpan] = []
        if all(self._feeds[at].told_mm == told_mm for at, told_mm in self._looked_at.items()):
            return (), (), coil
        for first, owed in list(self._owed.items()):
            if len(corrections) >= _CORRECTIONS:
                break  # the next frame tells the rest
            begin_mm, end_mm = owed.lines.along_mm
            told = [self._feeds[at] for at in owed.late if self._feeds[at].told_mm >= end_mm - CLOSE_MM]
            for feed in told:
                feed.forget(begin_mm)
                owed.shares[feed.view.index] = feed.share(begin_mm, end_mm)
                owed.late.discard(feed.view.index)
            if not told:
                continue
            spans = spans_across(owed.lines, tuple(owed.shares.values()), owed.narrow_mm)
            if spans != owed.spans:
                for span in spans:
                    append(corrections, span)
                for span in owed.spans:
                    append(corrected, span)
                grading = coil.grading
                if grading is not None:
                    looked = grading.looked.put_right(owed.spans, spans, grading.rules.head_mm)
                    grading = replace(grading, looked=looked)
                sums = put_right(coil.sums, owed.spans, spans, self._mm_per_line)
                coil = replace(coil, sums=sums, grading=grading)
                owed.spans = spans
            if not owed.late:
                del self._owed[first]
        still_late = set().union(*(owed.late for owed in self._owed.values()))
        done = len(corrections) < _CORRECTIONS
        self._looked_at = {at: self._feeds[at].told_mm if done else math.nan for at in still_late}
        return tuple(corrections), tuple(corrected), coil
