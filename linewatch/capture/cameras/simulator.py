"""The simulator as a camera: a rendered strip with known defects, for trials without a mill."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.ports import Camera, Clock
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.counter_faults import CounterFault, FaultyCounterCamera
from linewatch.simulation.course import Course, Turn
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.free_running import FreeRunningSimulator
from linewatch.simulation.optics import OpticsSettings
from linewatch.simulation.strip import SimulatedRollMark, SimulatedStrip, Texture
from linewatch.simulation.uneven import UnevenCamera
from linewatch.simulation.window import SeenStrip, StripWindow


class SimulatorSource(SourceSettings):
    """A rendered strip with known defects. Turns, welds and counter faults need `[line.encoder]`, which shows them."""

    type: Literal["simulator"]
    seed: int = Field(default=7, ge=0)
    length_m: float = Field(default=100.0, gt=0, le=20_000)
    defects_per_m: float = Field(default=1.0, ge=0, le=50)
    threading_m: float | None = Field(
        default=None,
        ge=0,
        description="head and tail that pass at a fifth of the line rate; none: 5 m, at most a twentieth of the coil",
    )
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
    optics: OpticsSettings | None = Field(default=None, description="what is wrong with light and lens; none: nothing")
    light_falloff: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the light that the ends of the camera's line lack; above 0, pixels answer unalike as "
        "well, so that the camera needs a flat field",
    )
    shows: Literal["strip", "dark", "white"] = Field(
        default="strip", description="dark, white: the references of a flat field, in place of the strip"
    )
    strip_px: int | None = Field(
        default=None,
        ge=32,
        le=65_536,
        description="pixels of the whole rendered strip, of which this camera sees a window as wide as its line; none: "
        "the camera sees all of it",
    )
    view_offset_px: int = Field(
        default=0, ge=0, description="with strip_px: first pixel of the rendered strip that this camera sees"
    )
    runs_on: Annotated[Path | None, Field(strict=False)] = Field(
        default=None,
        description="live: file that keeps when the strip began to run, so that it runs on while the service is down",
    )

    @property
    def has_encoder_count(self) -> bool:
        return True

    @model_validator(mode="after")
    def _sees_a_window_of_a_strip(self) -> Self:
        if self.view_offset_px and self.strip_px is None:
            raise ValueError("view_offset_px without strip_px: the camera sees the whole strip; give strip_px, too")
        return self

    def strip(self, line: LineSettings) -> SimulatedStrip:
        """Return the whole strip that these settings describe, also where the camera sees a window of it only."""
        if self.strip_px is not None:
            offset_mm = line.across_offset_mm - self.view_offset_px * line.mm_per_px
            line = line.model_copy(update={"width_px": self.strip_px, "across_offset_mm": offset_mm})
        return SimulatedStrip(
            self.seed,
            self.length_m,
            self.defects_per_m,
            line,
            roll_marks=self.roll_mark,
            texture=self.texture,
            optics=self.optics,
        )

    def _seen(self, line: LineSettings) -> SeenStrip:
        strip = self.strip(line)
        if self.strip_px is None:
            return strip
        if self.view_offset_px + line.width_px > self.strip_px:
            raise ConfigError(
                f"[source] the camera would see pixels {self.view_offset_px} to {self.view_offset_px + line.width_px} "
                f"of a strip of {self.strip_px}; lower view_offset_px or widen strip_px"
            )
        return StripWindow(strip, line, self.view_offset_px)

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        camera = self._even(line, clock, live=live)
        reference = None if self.shows == "strip" else self.shows
        if self.light_falloff or reference:
            camera = UnevenCamera(camera, line.width_px, self.light_falloff, reference, self.seed)
        return camera

    def _even(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        strip = self._seen(line)
        course = Course.of(self.turns, strip.total_lines, line.mm_per_line)
        began_unix_ns = partial(_began, self.runs_on) if live and self.runs_on else None
        threading_mm = None if self.threading_m is None else 1000.0 * self.threading_m
        profile = SpeedProfile.typical(
            course.rows * line.mm_per_line, line.line_rate_hz * line.mm_per_line, threading_mm
        )
        if line.encoder is None:
            if self.turns or self.welds_m or self.counter_faults:
                raise ConfigError(
                    "[source] turns, welds_m and counter_faults show in an encoder's counts only, and there is no "
                    "[line.encoder]; give the configuration one, or take them out"
                )
            return SimulatorCamera(strip, profile, clock, self.coil, live, began_unix_ns=began_unix_ns)
        welds = [round(weld * 1000 / line.mm_per_line) for weld in self.welds_m]
        simulator = SimulatorCamera if line.encoder.triggers else FreeRunningSimulator
        camera = simulator(strip, profile, clock, self.coil, live, course, welds, began_unix_ns)
        return FaultyCounterCamera(camera, line.encoder, self.counter_faults)


def _began(path: Path) -> int:
    """Return when the strip began to run, in Unix nanoseconds: now, if the file does not say. Raises SourceError."""
    now_ns = time.time_ns()
    try:
        if path.is_file():
            return int(path.read_text())
        path.write_text(f"{now_ns}\n")
    except (OSError, ValueError) as error:
        raise SourceError(
            f"[source] runs_on = {str(path)!r} cannot be used ({error}); expected a file with a Unix time in "
            "nanoseconds, or none: remove it, or name another one"
        ) from error
    return now_ns
