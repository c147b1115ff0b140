"""Simulated faults of an encoder: its counter is stuck, jumps or counts too fast while the camera continues."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.config.line import EncoderSettings
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, CameraWrapper


class CounterFault(Settings):
    """A fault of the encoder's counter from a grab on, to test what the service then reports of positions."""

    kind: Literal["stuck", "jump", "tenfold"] = Field(
        description="it stands still, jumps once, counts ten times too fast"
    )
    from_grab: int = Field(ge=0)
    jump_m: float = Field(default=-1.0, ge=-100_000, le=100_000, description="of kind jump: how far; negative: back")


class FaultyCounterCamera(CameraWrapper):
    """Gives the grabs of `camera` with the counts of a faulty encoder; each fault lasts until the next one begins."""

    def __init__(self, camera: Camera, encoder: EncoderSettings, faults: Sequence[CounterFault]) -> None:
        super().__init__(camera)
        self._encoder = encoder
        self._faults = sorted(faults, key=lambda fault: fault.from_grab)
        self._fault: CounterFault | None = None
        self._begun = 0  # the count when the fault began

    def read(self) -> Grab | None:
        grab = self._camera.read()
        if grab is None:
            return None
        while self._faults and self._faults[0].from_grab <= grab.sequence:
            self._fault, self._begun = self._faults.pop(0), grab.encoder_count
        stop = grab.encoder_stop
        return replace(
            grab,
            encoder_count=self._faulty(grab.encoder_count),
            encoder_stop=None if stop is None else self._faulty(stop),
        )

    def _faulty(self, count: int) -> int:
        turn, forward = 1 << self._encoder.bits, 1 if self._encoder.counts_up else -1
        match self._fault:
            case None:
                return count
            case CounterFault(kind="stuck"):
                return self._begun
            case CounterFault(kind="jump", jump_m=metres):
                moved = metres * 1000 / self._encoder.mm_per_line * self._encoder.counts_per_line
                return (count + forward * round(moved)) % turn
            case CounterFault():
                return (self._begun + 10 * ((count - self._begun + turn // 2) % turn - turn // 2)) % turn
