"""`linewatch run`: the live service, until its source ends or a signal comes."""

from collections.abc import Callable
from contextlib import ExitStack

import structlog

from linewatch.capture.cameras.registry import open_for_service
from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.capture.find_calibration import calibrations
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.ports import Camera
from linewatch.daemon.progress import ProgressNote
from linewatch.daemon.reloading import reloading
from linewatch.daemon.replay import ReplaySummary, summary_of
from linewatch.daemon.service import open_service
from linewatch.monitoring.endpoint import monitored
from linewatch.service_settings import ServiceSettings
from linewatch.signals import on_end, on_reload
from linewatch.terminal import progress_bar


def run(settings: ServiceSettings, reread: Callable[[], ServiceSettings] | None = None) -> ReplaySummary:
    """Inspect the configured source: a live one never waits, and a camera that is absent or lost is
    waited for; a recording is played at line rate and loses nothing.

    SIGTERM, by which systemd stops and restarts, leaves the coil under the camera open: the next start goes on with it.
    reread: returns the settings as their file has them now, for `linewatch reload rules` and SIGHUP. Raises
    LinewatchErrors.
    """
    if settings.source is None:
        raise ConfigError("the configuration has no [source], expected one; add [source]")
    clock = MonotonicClock()
    with ExitStack() as stack:
        within_s = settings.capture.restart_within_s
        find = calibrations(settings.calibration, settings.line, settings.source)
        camera: Camera = open_for_service(settings.source, settings.line, clock, within_s, find)
        camera = stack.enter_context(camera if camera.live else PacedCamera(camera, clock, "line-rate"))
        structlog.get_logger().info(
            "starting", source=settings.source.type, engines_dir=str(settings.inference.engines_dir)
        )
        service = stack.enter_context(open_service(settings, camera, clock, reread=reread))
        stack.enter_context(monitored(settings.monitoring, service.figures))
        stack.enter_context(on_end(service.stop, service.pause))
        stack.enter_context(on_reload(reloading(service.rules)))
        note = ProgressNote(service.totals)
        show = stack.enter_context(progress_bar("run", camera.grabs))
        service.run(watch=lambda: show(service.totals.frames, note()))
        return summary_of(service)
