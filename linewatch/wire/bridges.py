"""The bridges to the plant, as they report to the serve socket."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

import structlog

from linewatch.contracts.access import Caller
from linewatch.wire.schema import BridgeFigures, BridgeHealth, BridgeReport, BridgeStatus

SILENT_S: Final = 10.0
MOST_BRIDGES: Final = 32

log = structlog.get_logger()
_Name = tuple[str | None, str]  # the key, so that no key can speak for another one's bridge, and the bridge's own name


class Bridges:
    """`take` is called by the serve socket's thread, `shown` by the one that makes the status.

    A bridge that falls silent stays in the list; one that says that it ends does not.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = Lock()
        self._heard: OrderedDict[_Name, tuple[BridgeReport, float]] = OrderedDict()  # by when they reported last

    def take(self, report: BridgeReport, caller: Caller) -> str | None:
        """Take note of a report, and return why that is refused, or None."""
        name, now_s = (caller.key, report.name), self._now_s()
        with self._lock:
            known = self._heard.pop(name, None)
            if report.ending and known is not None:
                log.info("bridge_ended", bridge=report.name, protocol=report.protocol, key=caller.key)
            if report.ending:
                return None
            if known is None and len(self._heard) >= MOST_BRIDGES:
                oldest, (_, heard_s) = next(iter(self._heard.items()))
                if now_s - heard_s <= SILENT_S:
                    return f"{MOST_BRIDGES} bridges report already; expected no more, each under one lasting name"
                del self._heard[oldest]
            self._heard[name] = report, now_s
        if known is None:
            log.info("bridge_reports", bridge=report.name, protocol=report.protocol, key=caller.key)
        return None

    def shown(self) -> tuple[BridgeStatus, ...]:
        """Return the state of each bridge now, by name."""
        now_s = self._now_s()
        with self._lock:
            heard = sorted(self._heard.items(), key=lambda item: (item[0][1], item[0][0] or ""))
        return tuple(_status(key, report, max(0.0, now_s - heard_s)) for (key, _), (report, heard_s) in heard)


def _status(key: str | None, report: BridgeReport, age_s: float) -> BridgeStatus:
    health, text = BridgeHealth.SERVING, report.trouble
    if age_s > SILENT_S:
        health, text = BridgeHealth.SILENT, f"no report for {age_s:.0f} s: the bridge, or the way to it, is down"
    elif report.trouble is not None:
        health = BridgeHealth.TROUBLED
    figures = {name: getattr(report, name) for name in BridgeFigures.model_fields}
    return BridgeStatus(
        name=report.name,
        protocol=report.protocol,
        key=key,
        health=health,
        text=text,
        report_age_s=round(age_s, 3),
        **figures,
    )
