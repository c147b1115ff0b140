"""A live service on a rendered strip, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.daemon.service import open_service
from linewatch.service_settings import ServiceSettings

PATIENCE_S = 120.0


@contextmanager
def live_service(settings: ServiceSettings, verdicts: Path, line_rate_hz: float) -> Iterator[SimpleNamespace]:
    """Run the service at a slow line rate, and stop it at the end; yield it with its verdicts, endpoints and `stop`."""
    assert settings.source is not None
    changed = settings.model_copy(
        update={
            "line": settings.line.model_copy(update={"line_rate_hz": line_rate_hz}),
            "wire": settings.wire.model_copy(update={"commands": f"ipc://{verdicts.parent}/cmd"}),
        }
    )
    source = settings.source.model_copy(update={"length_m": 2000.0, "threading_m": 0.0})
    clock, found, ready = MonotonicClock(), SimpleNamespace(verdicts=verdicts), threading.Event()

    def run() -> None:
        with (
            open_camera(source, changed.line, clock, live=True) as camera,
            open_service(changed, camera, clock, verdicts=found.verdicts) as opened,
        ):
            found.service = opened
            opened.run(ready.set)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE_S)
    found.commands = found.service.commands.endpoint
    found.publish, found.serve = found.service.publisher.endpoint, found.service.server.endpoint
    found.stop = lambda: (found.service.stop(), thread.join(PATIENCE_S))
    try:
        yield found
    finally:
        found.stop()
        assert not thread.is_alive()
