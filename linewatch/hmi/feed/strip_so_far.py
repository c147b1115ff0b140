"""The strip of the coil so far, as the map draws it: how each stretch was inspected, and where the edges lie."""

from bisect import bisect_left
from typing import Any, Final

from linewatch.contracts.verdict import Quality
from linewatch.wire.schema import FrameMessage
from linewatch.wire.schema.frame import SpanBody

MOST_STRETCHES: Final = 20_000
_TOUCHING_MM: Final = 0.01
_SAME_EDGE_MM: Final = 1.0
"""An edge that moves less is drawn as a straight line."""

Stretch = tuple[float, float, str, str, str]
"""Begin and end along in mm, quality, cause or "", and the side where one side alone is concerned, else ""."""
Edge = tuple[float, float, float | None, float | None]
"""Begin and end along in mm, left and right edge across in mm; None: no strip could be inspected."""


class StripSoFar:
    """Grows with the frames of a coil. Beyond MOST_STRETCHES the oldest go, and `begin_mm` says from where it holds."""

    def __init__(self) -> None:
        self.begin_mm = 0.0
        self._spans: list[Stretch] = []
        self._edges: list[Edge] = []

    def add(self, frame: FrameMessage) -> dict[str, Any]:
        """Take a frame in; return what a map that was up to date has to add."""
        spans = [_stretch(span) for span in frame.spans]
        corrections = [_stretch(span) for span in frame.corrections]
        for one in (*spans, *corrections):
            self._lay(one)
        edge: Edge = (*frame.along_mm, *(frame.strip_mm or (None, None)))
        if self._edges and _same(self._edges[-1], edge):
            self._edges[-1] = (self._edges[-1][0], edge[1], *self._edges[-1][2:])
        else:
            self._edges.append(edge)
        self._forget()
        return {"spans": spans + corrections, "edge": edge}

    def all(self) -> dict[str, Any]:
        """Return all of it, for a map that begins."""
        return {"begin_mm": self.begin_mm, "spans": list(self._spans), "edges": list(self._edges)}

    def _lay(self, new: Stretch) -> None:
        """Put a stretch in the place of whatever was told of its length before."""
        begin, end = new[:2]
        if end - begin <= 0:
            return
        if self._spans and self._spans[-1][1] <= begin + _TOUCHING_MM:
            last = self._spans[-1]
            if last[2:] == new[2:] and begin - last[1] < _TOUCHING_MM:
                self._spans[-1] = (last[0], end, *last[2:])
            else:
                self._spans.append(new)
            return
        at = bisect_left(self._spans, begin, key=lambda one: one[1])
        kept: list[Stretch] = []
        until = at
        while until < len(self._spans) and self._spans[until][0] < end:
            one = self._spans[until]
            if one[0] < begin:
                kept.append((one[0], begin, *one[2:]))
            if one[1] > end:
                kept.append((end, one[1], *one[2:]))
            until += 1
        self._spans[at:until] = sorted([*kept, new])

    def _forget(self) -> None:
        for kept in (self._spans, self._edges):
            if len(kept) > MOST_STRETCHES:
                del kept[: MOST_STRETCHES // 10]
                self.begin_mm = max(self.begin_mm, kept[0][0])


def _stretch(span: SpanBody) -> Stretch:
    sides = {name.partition("/")[0] for name in span.uninspected_mm2_by_camera}
    one_side = sides.pop() if len(sides) == 1 else ""
    cause = "" if span.quality is Quality.INSPECTED or span.cause is None else span.cause.value
    return (*span.along_mm, span.quality.value, cause, one_side)


def _same(before: Edge, after: Edge) -> bool:
    if before[1] < after[0] - _TOUCHING_MM or (before[2] is None) != (after[2] is None):
        return False
    if before[2] is None or before[3] is None or after[2] is None or after[3] is None:
        return True
    return abs(before[2] - after[2]) < _SAME_EDGE_MM and abs(before[3] - after[3]) < _SAME_EDGE_MM
