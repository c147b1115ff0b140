"""The configuration file of `linewatch strip`: the cameras over one strip, and how their records are joined."""

import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from linewatch.client import ClientKeys
from linewatch.config.base import Settings
from linewatch.config.calibration_file import CameraCalibration, read_calibration
from linewatch.config.coil_data import CoilDataSettings
from linewatch.config.decision import AlarmRule, AlarmSettings, SystemAlarmSettings
from linewatch.config.journal import JournalSettings
from linewatch.config.load import load
from linewatch.config.log import LogSettings
from linewatch.config.monitoring import MonitoringSettings
from linewatch.config.recipe import MOST_RECIPES, RecipeSettings, recipe_faults
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.config.text import read_text
from linewatch.config.wire import ClientKeySettings, PeerEndpoint, WireSettings
from linewatch.contracts.defect_fields import BOTH_SIDES
from linewatch.contracts.errors import ConfigError

Side = Literal["top", "bottom"]
_ROUNDING_MM: Final = 0.01


class StripCamera(Settings):
    """`[[camera]]`: one camera over the strip, and the service that inspects its picture."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$", description="[line] camera of its service; unique on its side")
    side: Side = Field(default="top", description="[line] side of its service")
    publish: PeerEndpoint = Field(default="tcp://127.0.0.1:5570", description="[wire] publish of its service")
    serve: PeerEndpoint = Field(default="tcp://127.0.0.1:5571", description="[wire] serve of its service")
    commands: PeerEndpoint | None = Field(
        default=None, description="[wire] commands of its service; none: no command about a coil reaches it"
    )
    keys: ClientKeySettings | None = Field(
        default=None, description="of an operator where `commands` is named; none: its service has no keys"
    )
    silence_s: float = Field(
        default=2.0, ge=0.5, le=60, description="after so long without a heartbeat, the camera counts as silent"
    )
    required: bool = Field(
        default=True,
        description="true: the heartbeat of the joined record stands while this camera does not inspect; false: the "
        "status and the alarm `camera-out` tell it",
    )
    width_px: int = Field(default=1600, ge=32, le=16384, description="[line] width_px of its service")
    mm_per_px: float = Field(default=0.5, gt=0, le=10, description="[line] mm_per_px of its service")
    across_offset_mm: float = Field(default=0.0, description="[line] across_offset_mm of its service")
    across_shift_mm: float = Field(
        default=0.0,
        ge=-1_000,
        le=1_000,
        description="added to its positions across, so that they agree with those of its neighbours, as measured on "
        "strip that both see",
    )
    along_offset_mm: float = Field(
        default=0.0,
        ge=-1e6,
        le=1e6,
        description="added to its positions along, so that they count from the strip's head as those of the others do",
    )
    calibration: Annotated[Path, Field(strict=False)] | None = Field(
        default=None,
        description="its calibration file, as its service applies it (`[calibration] folder`/SERIAL.json). Read at "
        "start: `overlap` gives across_shift_mm and along_offset_mm, `geometry` across_offset_mm and mm_per_px; leave "
        "these out then",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_calibrated(cls, given: Any) -> Any:
        """Add what the calibration says: whether neighbours meet depends on it."""
        if not isinstance(given, dict) or not isinstance(path := given.get("calibration"), str | Path):
            return given
        try:
            values = _calibrated(read_calibration(Path(path)), path)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        for name, value in values.items():
            if _contradicts(given.get(name), value):
                raise ValueError(
                    f"{name} = {given[name]:g} contradicts {path}, which has {value:.8g}; leave {name} out, or "
                    "calibrate the camera again"
                )
        return {**given, **values}

    @property
    def key(self) -> str:
        """Its name on the whole strip: `SIDE/NAME`."""
        return f"{self.side}/{self.name}"

    @property
    def client_keys(self) -> ClientKeys | None:
        """The key files as the client takes them."""
        return ClientKeys(self.keys.secret_file, self.keys.server_public_file) if self.keys else None

    @property
    def view_mm(self) -> tuple[float, float]:
        """What it sees across the strip, in the joined record's positions."""
        left_mm = self.across_offset_mm + self.across_shift_mm
        return left_mm, left_mm + self.width_px * self.mm_per_px


class JoinSettings(Settings):
    """`[strip]`: the joined record, and how far its cameras may disagree."""

    name: str = Field(
        default="strip", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="stands for `camera` in the joined record"
    )
    frame_lines: int = Field(default=256, ge=16, le=4096, description="lines of a frame of the joined record")
    mm_per_line: float = Field(default=1.0, gt=0, le=10, description="along the strip, of the joined record")
    mm_per_px: float = Field(default=0.5, gt=0, le=10, description="across the strip, of the joined record's masks")
    wait_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="live: a camera that is silent for so long after another one has told of a frame holds nothing up "
        "any more: its share is missed (cause silent) until it is told of",
    )
    catch_up_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="live: for so long, a camera that is fetching what was missed, as after a restart, is waited for",
    )
    readers: int = Field(
        default=0,
        ge=0,
        le=16,
        description="live: processes that receive and check what the cameras tell, each for its share of them; 0: "
        "threads of this process do",
    )
    seam_across_mm: float = Field(
        default=3.0, ge=0, le=50, description="distance across up to which defects of two cameras touch"
    )
    seam_along_mm: float = Field(
        default=6.0, ge=0, le=500, description="distance along up to which defects of two cameras touch"
    )
    max_slip_mm: float = Field(
        default=50.0,
        ge=0,
        le=1_000,
        description="encoders of two neighbours may slip against each other by so much within a coil: their difference "
        "is followed by the defects that both see, up to here",
    )
    ends_mm: float = Field(
        default=100.0,
        ge=0,
        le=10_000,
        description="cameras may differ by so much about where a coil ends; the shortest of them then holds",
    )


class StripDecisionSettings(Settings):
    """`[decision]`: what the joined defects count for."""

    call_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="a joined defect counts for grades and alarms from this probability on; none: where a camera that "
        "it is taken from called it",
    )
    head_excluded_m: float = Field(
        default=0.0, ge=0, le=1_000, description="head of each coil whose defects count for neither grades nor alarms"
    )
    tail_excluded_m: float = Field(default=0.0, ge=0, le=200, description="the same at the tail")
    grading: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="file of grading rules; none: coils are not graded"
    )


class StripSettings(Settings):
    """`linewatch strip CONFIG` reads exactly this."""

    taxonomy: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="the house's classes: which are pseudo-defects that never alarm"
    )
    strip: JoinSettings = JoinSettings()
    camera: Annotated[tuple[StripCamera, ...], Field(strict=False, min_length=1, max_length=64)]
    decision: StripDecisionSettings = StripDecisionSettings()
    recipe: Annotated[tuple[RecipeSettings, ...], Field(strict=False, max_length=MOST_RECIPES)] = ()
    coil_data: CoilDataSettings | None = None
    alarm: Annotated[tuple[AlarmRule, ...], Field(strict=False)] = ()
    alarms: AlarmSettings = AlarmSettings()
    system_alarms: SystemAlarmSettings = SystemAlarmSettings()
    roll: Annotated[tuple[RollSettings, ...], Field(strict=False)] = ()
    periodic: PeriodicSettings = PeriodicSettings()
    journal: JournalSettings = JournalSettings()
    wire: WireSettings = WireSettings()
    monitoring: MonitoringSettings | None = Field(default=None, description="none: no figures for Prometheus")
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _cameras_are_told_apart(self) -> Self:
        keys = [camera.key for camera in self.camera]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"two [[camera]] are {key!r}; expected one each: correct the side or the name")
        return self

    @model_validator(mode="after")
    def _recipes_grade(self) -> Self:
        faults = recipe_faults(self.recipe)
        faults += [
            f"[[recipe]] '{one.name}' has {name}, which belong to the cameras: write them in their services' "
            "configurations; here a recipe chooses grading and excluded ends"
            for one in self.recipe
            for name, given in (("engines", one.engines.names), ("sensitivity", one.sensitivity))
            if given
        ]
        if self.coil_data is not None and not all(camera.commands for camera in self.camera):
            faults.append("[coil_data] is passed on to all cameras: give each [[camera]] its `commands`")
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @model_validator(mode="after")
    def _neighbours_meet(self) -> Self:
        for side in self.sides:
            for one, other in pairwise(self.across(side)):
                gap_mm = other.view_mm[0] - one.view_mm[1]
                if gap_mm > _ROUNDING_MM:
                    raise ValueError(
                        f"[[camera]] {one.key!r} sees up to {one.view_mm[1]:g} mm, its neighbour {other.key!r} from "
                        f"{other.view_mm[0]:g} mm on: {gap_mm:g} mm of strip lie between them, expected an overlap; "
                        "correct across_offset_mm, or name the camera that is between them"
                    )
                if one.view_mm[1] >= other.view_mm[1] or one.view_mm[0] >= other.view_mm[0]:
                    raise ValueError(
                        f"[[camera]] {one.key!r} and {other.key!r} see {_mm(one.view_mm)} and {_mm(other.view_mm)}: "
                        "expected neighbours, none of which sees all that the other does; correct across_offset_mm"
                    )
        return self

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides on which there are cameras, top first."""
        return tuple(side for side in ("top", "bottom") if any(camera.side == side for camera in self.camera))

    @property
    def side(self) -> str:
        """The side of the joined record."""
        return self.sides[0] if len(self.sides) == 1 else BOTH_SIDES

    def across(self, side: str) -> tuple[StripCamera, ...]:
        """Return the cameras of a side in the order in which they stand across the strip."""
        return tuple(sorted((one for one in self.camera if one.side == side), key=lambda one: one.view_mm))

    @property
    def view_mm(self) -> tuple[float, float]:
        """What all cameras together see across the strip."""
        return min(one.view_mm[0] for one in self.camera), max(one.view_mm[1] for one in self.camera)

    @property
    def width_px(self) -> int:
        """Columns of the joined record's masks, from `view_mm[0]` on."""
        left_mm, right_mm = self.view_mm
        return math.ceil((right_mm - left_mm) / self.strip.mm_per_px - 1e-6)

    def identity(self) -> str:
        """Return 12 hex digits that change whenever a setting or a named file changes what is joined.

        Reads those files as they are now: call it when they are read, and keep the result.
        """
        tree = self.model_dump(mode="json", include=_DECIDING)
        named = [("taxonomy", self.taxonomy), ("grading", self.decision.grading)]
        named += [(f"recipe {one.name}", one.grading) for one in self.recipe]
        tree |= {name: read_text(path, f"the configuration names it as {name}") for name, path in named if path}
        del tree["strip"]["readers"]
        if not tree["recipe"]:
            del tree["recipe"]
        for camera in tree["camera"]:
            for name in ("publish", "serve", "commands", "keys", "silence_s", "required", "calibration"):
                del camera[name]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]


_DECIDING: Final = {"strip", "camera", "decision", "recipe", "alarm", "alarms", "system_alarms", "roll", "periodic"}


def load_strip_settings(path: Path) -> StripSettings:
    """Return the settings in a strip's TOML file, as `linewatch.config.load.load` does. Raises ConfigError."""
    return load(path, StripSettings)


def _calibrated(calibration: CameraCalibration, path: str | Path) -> dict[str, float]:
    """Return the settings of `[[camera]]` that a calibration gives. Raises ConfigError where it gives none."""
    values: dict[str, float] = {}
    if (geometry := calibration.geometry) is not None:
        values |= {
            "across_offset_mm": geometry.across_offset_mm.value,
            "mm_per_px": geometry.mm_per_px.value,
            "width_px": geometry.width_px,
        }
    if (overlap := calibration.overlap) is not None:
        values |= {
            "across_shift_mm": overlap.across_shift_mm.value,
            "along_offset_mm": overlap.along_offset_mm.value,
            "width_px": overlap.width_px,
        }
    if not values:
        raise ConfigError(
            f"{path}: has neither geometry nor overlap, expected one of them; run `linewatch calibrate overlap`, or "
            "leave calibration out"
        )
    return values


def _contradicts(given: Any, value: float) -> bool:
    """Say whether a setting was written otherwise; what is no number is refused elsewhere."""
    return isinstance(given, int | float) and not math.isclose(given, value, rel_tol=1e-4, abs_tol=1e-3)


def _mm(interval: tuple[float, float]) -> str:
    return f"{interval[0]:g} to {interval[1]:g} mm"
