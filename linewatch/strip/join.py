"""Join what the cameras of one strip tell into one record. No clock, I/O or threads; equal input gives equal output.

The process around it feeds a `Joiner` with what each camera's service has decided (`gather.Gatherer` makes it of the
wire's messages, `wire.decode.decided_from` of a verdict file's lines) and journals and publishes what it returns, as a
camera's service does with its own decisions.
"""

from linewatch.contracts.verdict import CoilNotice, Decided, Verdict
from linewatch.decision.decide import DecisionState
from linewatch.strip.settings import StripSettings


class Joiner:
    """One strip under several cameras, named by `StripCamera.key` ("top/cam1").

    A joined frame is decided once every camera has told of all of its strip, so what is returned does not depend on
    the order in which the cameras are heard. Only `tick` gives up waiting: a camera that is silent `wait_s` after
    another one has told of all of a frame is left out, its share of the frame is missed (cause `silent`), and nobody
    waits for it until it has caught up. What it tells later of such a frame is put right in `Verdict.corrections` of
    the next frame, until the coil ends. Without `tick`, as in a replay, there is no limit.
    """

    def __init__(self, settings: StripSettings, state: DecisionState | None = None) -> None:
        """state: behind the last joined frame of an earlier run (`decision.resume.resumed`). Raises ConfigError."""
        raise NotImplementedError

    def take(self, camera: str, told: Verdict | CoilNotice, now_ns: int = 0) -> tuple[Decided, ...]:
        """Take the next thing that a camera's service has decided; return what is decided of the strip by it.

        now_ns: when it arrived, by any clock that `tick` uses as well. Raises KeyError for an unknown camera.
        """
        raise NotImplementedError

    def over(self, camera: str, now_ns: int = 0) -> tuple[Decided, ...]:
        """Take note that nothing more comes of a camera: its recording is at its end."""
        raise NotImplementedError

    def tick(self, now_ns: int) -> tuple[Decided, ...]:
        """Return what is decided because a camera has been waited for long enough."""
        raise NotImplementedError

    def finish(self) -> tuple[Decided, ...]:
        """Decide all that was told, without waiting for anything, and end the coil."""
        raise NotImplementedError

    @property
    def state(self) -> DecisionState:
        """The decision's state: for alarm orders (`decide.carry_out`) and the host (`decide.follow_host`); settable."""
        raise NotImplementedError

    @property
    def behind_mm(self) -> dict[str, float]:
        """By camera, how much strip it is behind the foremost one; infinite while it tells nothing of this coil."""
        raise NotImplementedError
