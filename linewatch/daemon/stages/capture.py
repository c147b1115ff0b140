"""The capture stage: frames from the camera into the service."""

from collections.abc import Callable

from linewatch.contracts.frame import Frame
from linewatch.daemon.stages.wiring import TICK_S, Wiring


def run_capture(read: Callable[[float], tuple[Frame, ...] | None], wiring: Wiring) -> None:
    """Hand frames on in strip order until the source ends. read: as `Intake.frames`."""
    (give,) = wiring.gives
    while not wiring.aborted:
        frames = read(TICK_S)
        wiring.tick()
        if frames is None:
            break
        wiring.handled.done += len(frames)
        give(*frames)
    wiring.end()
