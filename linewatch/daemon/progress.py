"""The note beside a progress bar of a running service."""

import time

from linewatch.daemon.totals import Totals
from linewatch.terminal import percent


class ProgressNote:
    """ "12.3 m  coverage 100.00 %  41 defects  78 frames/s" of a running service."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._before = (time.monotonic(), 0)

    def __call__(self) -> str:
        totals, now_s = self._totals, time.monotonic()
        since_s, frames = self._before
        rate = (totals.frames - frames) / max(1e-6, now_s - since_s)
        if now_s - since_s > 1:
            self._before = (now_s, totals.frames)
        return (
            f"{totals.along_mm / 1000:8.1f} m  coverage {percent(totals.coverage):>7}  "
            f"{totals.opened} defects  {totals.alarms_raised} alarms  {rate:5.1f} frames/s"
        )
