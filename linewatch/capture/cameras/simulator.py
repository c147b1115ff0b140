"""The simulator as a camera: a rendered strip with known defects, for trials without a mill."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.ports import Camera, Clock
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.counter_faults import CounterFault, FaultyCounterCamera
from linewatch.simulation.course import Course, Turn
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.free_running import FreeRunningSimulator
from linewatch.simulation.strip import SimulatedRollMark, SimulatedStrip, Texture


class SimulatorSource(SourceSettings):
    """A rendered strip with known defects. Turns, welds and counter faults need `[line.encoder]`, which shows them."""

    type: Literal["simulator"]
    has_encoder_count: ClassVar[bool] = True
    seed: int = Field(default=7, ge=0)
    length_m: float = Field(default=100.0, gt=0, le=20_000)
    defects_per_m: float = Field(default=1.0, ge=0, le=50)
    coil: CoilName = "SIM-7"
    texture: Texture = Field(
        default="drawn",
        description="clean strip; drawn: by hand, which no network takes for real; measured: by statistics of real "
        "strip; tread_plate: that, with a raised pattern",
    )
    roll_mark: Annotated[tuple[SimulatedRollMark, ...], Field(strict=False)] = ()
    turns: Annotated[tuple[Turn, ...], Field(strict=False)] = ()
    welds_m: Annotated[tuple[float, ...], Field(strict=False)] = Field(
        default=(), description="places behind which another coil begins; the camera's input reports each"
    )
    counter_faults: Annotated[tuple[CounterFault, ...], Field(strict=False)] = ()

    def strip(self, line: LineSettings) -> SimulatedStrip:
        """Return the strip that these settings describe."""
        return SimulatedStrip(
            self.seed, self.length_m, self.defects_per_m, line, roll_marks=self.roll_mark, texture=self.texture
        )

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        strip = self.strip(line)
        course = Course.of(self.turns, strip.total_lines, line.mm_per_line)
        profile = SpeedProfile.typical(course.rows * line.mm_per_line, line.line_rate_hz * line.mm_per_line)
        if line.encoder is None:
            if self.turns or self.welds_m or self.counter_faults:
                raise ConfigError(
                    "[source] turns, welds_m and counter_faults show in an encoder's counts only, and there is no "
                    "[line.encoder]; give the configuration one, or take them out"
                )
            return SimulatorCamera(strip, profile, clock, self.coil, live)
        welds = [round(weld * 1000 / line.mm_per_line) for weld in self.welds_m]
        simulator = SimulatorCamera if line.encoder.triggers else FreeRunningSimulator
        camera = simulator(strip, profile, clock, self.coil, live, course, welds)
        return FaultyCounterCamera(camera, line.encoder, self.counter_faults)
