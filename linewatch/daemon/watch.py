"""Watch the running stages from the main thread: log what begins and ends, and feed the service manager's watchdog."""

from collections.abc import Callable

import structlog

from linewatch.contracts.verdict import Quality
from linewatch.daemon.runner import Runner
from linewatch.daemon.totals import Totals
from linewatch.logs import log_sums
from linewatch.systemd import Notifier
from linewatch.terminal import percent

log = structlog.get_logger()

WATCH_S = 0.25
"""Time from one look to the next."""


class ServiceWatch:
    """Used by the main thread. The watchdog is not fed where a restart may help: a stage is silent, or the service
    itself is why it is blind.
    """

    def __init__(
        self,
        runner: Runner,
        totals: Totals,
        ailment: Callable[[], str | None] = lambda: None,
        shed: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """ailment: what else makes the service unhealthy; None: nothing. shed: the work that is left out now."""
        self._runner, self._totals, self._ailment, self._shed = runner, totals, ailment, shed
        self._notifier = Notifier()
        self._unhealthy = self._blind_before = self._missing = False
        self._missed_lines = 0
        self._shed_before: tuple[str, ...] = ()

    def ready(self) -> None:
        """Tell the service manager that the sockets are bound."""
        self._notifier.ready()

    def look(self) -> None:
        """Log what has changed since the last look, and feed the watchdog if all is well."""
        log_sums()
        totals, silent = self._totals, self._runner.health.silent()
        if silent and not self._unhealthy:
            log.error("stage_silent", stages=silent)
        elif self._unhealthy and not silent:
            log.info("stages_recovered")
        self._unhealthy = bool(silent)
        blind = totals.blind
        if blind and not self._blind_before:
            log.error("blind", cause=blind.cause, seconds=round((blind.now_ns - blind.since_ns) / 1e9, 1))
        elif self._blind_before and not blind:
            log.info("blind_ended")
        self._blind_before = blind is not None
        before, self._missed_lines = self._missed_lines, totals.lines[Quality.MISSED]
        if self._missed_lines > before and not self._missing:
            log.warning("lines_missed", lines_by_cause=dict(totals.lines_by_cause))
        elif self._missed_lines == before and self._missing:
            log.info("inspection_resumed", lines_by_cause=dict(totals.lines_by_cause))
        self._missing = self._missed_lines > before
        before_shed, self._shed_before = self._shed_before, self._shed()
        if (shed := self._shed_before) != before_shed:
            (log.warning if shed else log.info)("shedding" if shed else "shedding_ended", work=shed)
        starve = silent or (blind is not None and blind.of_the_service)
        (self._notifier.unhealthy if starve else self._notifier.alive)(self._status_line(silent))

    def stopped(self) -> None:
        """Tell the service manager that the end is on purpose, and log the sums."""
        totals, failure = self._totals, self._runner.failure
        self._notifier.stopping()
        log.info(
            "stopped",
            frames=totals.frames,
            coverage=round(totals.coverage, 6),
            lines_by_cause=dict(totals.lines_by_cause),
            failure=str(failure) if failure else None,
        )

    def _status_line(self, silent: tuple[str, ...]) -> str:
        totals = self._totals
        where = f"{totals.coil} {totals.along_mm / 1000:.1f} m, coverage {percent(totals.coverage)}, {totals.quality}"
        if silent:
            return f"UNHEALTHY, silent: {', '.join(silent)}; {where}"
        ailment = self._ailment() or (str(totals.blind) if totals.blind else None)
        return f"UNHEALTHY, {ailment}; {where}" if ailment else where
