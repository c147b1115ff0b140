"""`[source]`: where frames come from, chosen by `type`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings

CoilName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


LongestGap = Annotated[
    float,
    Field(
        gt=0, le=3600, description="with times: no strip passes between two grabs that lie farther apart, in seconds"
    ),
]


class RecordingSource(Settings):
    """A recorded video (FFV1, HFYU or MJPG in AVI/MKV), with the sidecar of `linewatch record` for positions."""

    type: Literal["recording"]
    path: Annotated[Path, Field(strict=False)]
    coil: CoilName | None = Field(
        default=None, description="for a recording without a sidecar; default: the file's name"
    )
    times: Literal["sidecar"] | None = Field(
        default=None, description="place grabs by when they were taken and line_rate_hz, not where the sidecar says"
    )
    longest_gap_s: LongestGap = 1.0


class FolderSource(Settings):
    """A folder of PNG/JPEG frames in natural order."""

    type: Literal["folder"]
    path: Annotated[Path, Field(strict=False)]
    coil: CoilName | None = Field(default=None, description="default: the folder's name")
    times: Literal["name", "mtime"] | None = Field(
        default=None,
        description="place images by when they were taken, as told by their names or files, and line_rate_hz; none: "
        "one lies behind the other",
    )
    longest_gap_s: LongestGap = 1.0


class SimulatedRollMark(Settings):
    """A damaged spot on a roll: one drawing, printed again each turn."""

    pitch_mm: float = Field(ge=50, le=50_000)
    across_mm: float = Field(description="of its middle, in mill coordinates")
    first_mm: float = Field(default=0.0, ge=0, description="where along it begins")
    last_mm: float | None = Field(default=None, gt=0, description="where the roll is changed; default: never")
    jitter_mm: float = Field(default=2.0, ge=0, le=50, description="standard deviation of each mark's place along")
    missed: float = Field(default=0.0, ge=0, lt=1, description="share of turns that leave no mark")
    defect_class: Literal["torn_spot", "inclusion", "patches", "pitted_surface", "rolled_in_scale", "sliver"] = Field(
        default="torn_spot", description="how it looks"
    )

    @model_validator(mode="after")
    def _stays_in_step(self) -> Self:
        if 10 * self.jitter_mm > self.pitch_mm:
            raise ValueError(f"jitter_mm {self.jitter_mm:g} is above a tenth of pitch_mm {self.pitch_mm:g}")
        return self


class Turn(Settings):
    """The strip stops where `at_m` is under the camera, stands, runs back by `back_m`, and comes again."""

    at_m: float = Field(gt=0)
    back_m: float = Field(default=0.0, ge=0, description="0: it only stops")
    pause_s: float = Field(default=0.0, ge=0, le=3600, description="for which it stands each time")


class CounterFault(Settings):
    """The encoder's counter fails from a grab on, to try what is then said of positions."""

    kind: Literal["stuck", "jump", "tenfold"] = Field(description="it stands, is elsewhere, counts ten times too fast")
    from_grab: int = Field(ge=0)
    jump_m: float = Field(default=-1.0, ge=-100_000, le=100_000, description="of kind jump: how far, forward or back")


class SimulatorSource(Settings):
    """A rendered strip with known defects. Its turns and welds are told by the encoder: `[line.encoder]`."""

    type: Literal["simulator"]
    seed: int = Field(default=7, ge=0)
    length_m: float = Field(default=100.0, gt=0, le=20_000)
    defects_per_m: float = Field(default=1.0, ge=0, le=50)
    coil: CoilName = "SIM-7"
    roll_mark: Annotated[tuple[SimulatedRollMark, ...], Field(strict=False)] = ()
    turns: Annotated[tuple[Turn, ...], Field(strict=False)] = ()
    welds_m: Annotated[tuple[float, ...], Field(strict=False)] = Field(
        default=(), description="another coil begins behind each; the camera's input tells of it"
    )
    counter_faults: Annotated[tuple[CounterFault, ...], Field(strict=False)] = ()


SourceSettings = Annotated[RecordingSource | FolderSource | SimulatorSource, Field(discriminator="type")]
