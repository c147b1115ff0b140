"""How long frames took, from their last line to each stage's end."""

from collections import deque
from typing import Final

from linewatch.contracts.histogram import DurationHistogram
from linewatch.contracts.prediction import Timing

_KEPT: Final = 1 << 16
WHOLE: Final = "whole"
STEPS: Final = ("intake", "screen", "outline", "decide", "publish")
"""From one stamp of `Timing` to the next: from the camera to the queue, to the screen's scores, to the prediction, to
the verdict, to journal and socket. Time in a queue counts to the step behind it.
"""


class FrameTimes:
    """Written by the outlet; any thread may read it."""

    def __init__(self) -> None:
        self.newest_ns: deque[int] = deque(maxlen=_KEPT)
        """Of the newest frames, from the last line to the publication."""
        self.steps = {name: DurationHistogram() for name in (*STEPS, WHOLE)}

    def add(self, timing: Timing, now_ns: int) -> None:
        """Count a frame that has just been published."""
        stamps_ns = (timing.captured_ns, timing.queued_ns, timing.screened_ns, timing.predicted_ns, timing.decided_ns)
        self.newest_ns.append(now_ns - timing.captured_ns)
        self.steps[WHOLE].add((now_ns - timing.captured_ns) / 1e9)
        before_ns = stamps_ns[0]
        for name, stamp_ns in zip(STEPS, (*stamps_ns[1:], now_ns), strict=True):
            if stamp_ns:  # 0: the frame did not pass the stage
                self.steps[name].add((stamp_ns - before_ns) / 1e9)
                before_ns = stamp_ns
