"""The whole configuration file of one camera's service: every room's section, and what must fit between them."""

import hashlib
import json
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from linewatch.capture.cameras.folder import FolderSource, coil_name
from linewatch.capture.cameras.recording import RecordingSource, recorded_line
from linewatch.capture.cameras.registry import AnySource
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.config.base import Settings
from linewatch.config.calibration import CalibrationSettings
from linewatch.config.canary import CanarySettings
from linewatch.config.capture import CaptureSettings
from linewatch.config.coil_data import CoilDataSettings
from linewatch.config.crops import CropSettings
from linewatch.config.decision import AlarmRule, AlarmSettings, DecisionSettings, SystemAlarmSettings
from linewatch.config.grading import GradingSettings
from linewatch.config.grading_file import DEFAULT, load_grading
from linewatch.config.journal import JournalSettings
from linewatch.config.line import LineSettings
from linewatch.config.load import checked, load
from linewatch.config.log import LogSettings
from linewatch.config.monitoring import MonitoringSettings
from linewatch.config.picture import PictureSettings
from linewatch.config.recipe import MOST_RECIPES, RecipeSettings, recipe_faults
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.config.text import read_text
from linewatch.config.tracing import TracingSettings
from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.inference.settings import InferenceSettings
from linewatch.pictures.reading import SUFFIXES

SIMULATOR = "simulator"
"""As a replay's source: the configuration's simulated strip."""


class ServiceSettings(Settings):
    """`linewatch run CONFIG` reads exactly this."""

    taxonomy: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="the house's classes: which are pseudo-defects that never alarm"
    )
    line: LineSettings = LineSettings()
    source: AnySource | None = None
    capture: CaptureSettings = CaptureSettings()
    picture: PictureSettings = PictureSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    inference: InferenceSettings = InferenceSettings()
    decision: DecisionSettings = DecisionSettings()
    alarm: Annotated[tuple[AlarmRule, ...], Field(strict=False)] = ()
    alarms: AlarmSettings = AlarmSettings()
    system_alarms: SystemAlarmSettings = SystemAlarmSettings()
    roll: Annotated[tuple[RollSettings, ...], Field(strict=False)] = ()
    periodic: PeriodicSettings = PeriodicSettings()
    recipe: Annotated[tuple[RecipeSettings, ...], Field(strict=False, max_length=MOST_RECIPES)] = ()
    coil_data: CoilDataSettings | None = None
    journal: JournalSettings = JournalSettings()
    wire: WireSettings = WireSettings()
    crops: CropSettings | None = None
    canary: CanarySettings | None = None
    monitoring: MonitoringSettings | None = Field(default=None, description="none: no figures for Prometheus")
    tracing: TracingSettings | None = Field(default=None, description="none: no frame is traced")
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _rolls_are_distinguishable(self) -> Self:
        names = [roll.name for roll in self.roll]
        for roll in self.roll:
            if names.count(roll.name) > 1:
                raise ValueError(f"two [[roll]] are named '{roll.name}'; give each its own name")
            low, high = roll.pitch_mm
            if low < self.periodic.min_pitch_mm or high > self.periodic.max_pitch_mm:
                raise ValueError(
                    f"[[roll]] '{roll.name}' leaves marks every {low:.0f} to {high:.0f} mm, but [periodic] looks for "
                    f"{self.periodic.min_pitch_mm:g} to {self.periodic.max_pitch_mm:g} mm only: widen min_pitch_mm or "
                    "max_pitch_mm, or correct the roll's diameters and thicknesses"
                )
        return self

    @model_validator(mode="after")
    def _target_is_beside_the_strip(self) -> Self:
        if self.picture.target_px is not None:
            first, stop = self.picture.target_px
            most = min(self.line.width_px, first + self.capture.edge_min_width_px - 1)
            if stop > most:
                raise ValueError(
                    f"[picture] target_px [{first}, {stop}] must lie in the {self.line.width_px} columns of the line "
                    f"and be narrower than [capture] edge_min_width_px ({self.capture.edge_min_width_px}), or it is "
                    f"taken for strip; expected at most {most} as its end"
                )
        return self

    @model_validator(mode="after")
    def _recipes_are_distinguishable(self) -> Self:
        if faults := recipe_faults(self.recipe):
            raise ValueError("; ".join(faults))
        return self

    def identity(self) -> str:
        """Return 12 hex digits that change whenever a setting or a named file changes a decision.

        Reads those files as they are now: call it when they are read, and keep the result.
        """
        tree = self.model_dump(mode="json", include=_DECIDING)  # type: ignore[arg-type]  # pydantic's type is too narrow
        if not self.recipe:
            del tree["recipe"]
        gradings = [(f"grading of {recipe.name}", recipe.grading) for recipe in self.recipe if recipe.grading]
        for name, path in (("taxonomy", self.taxonomy), ("grading", self.decision.grading), *gradings):
            tree[name] = read_text(path, f"the configuration names it as {name}") if path else ""
        if self.decision.normal is not None:
            tree["normal"] = read_text(self.decision.normal, "the configuration names it as [decision] normal")
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]


_DECIDING: Final = {
    "line": True,
    "decision": True,
    "alarm": True,
    "alarms": True,
    "system_alarms": True,
    "roll": True,
    "periodic": True,
    "recipe": True,
    "picture": True,
    "inference": {
        "chain",
        "screen",
        "classify",
        "segment",
        "inspect",
        "tile_overlap_px",
        "screen_threshold",
        "claim_share",
    },
}
"""The engines themselves have identities of their own."""


def load_settings(path: Path) -> ServiceSettings:
    """Return the settings in a service's TOML file, as `linewatch.config.load.load` does. Raises ConfigError."""
    return load(path, ServiceSettings)


def settings_from(tree: Mapping[str, Any], origin: str) -> ServiceSettings:
    """Validate a tree as TOML gives it. `origin` names it in errors. Raises ConfigError."""
    return checked(tree, origin, ServiceSettings)


def gradings_for(settings: ServiceSettings, taxonomy: Taxonomy | None) -> dict[str, GradingSettings]:
    """Return the grading rules that a service's configuration names, by the recipe that names them, or `DEFAULT`.

    Raises ConfigError as `load_grading` does.
    """
    default = settings.decision
    named = [(DEFAULT, "[decision]", default.grading, default.product)]
    named += [(one.name, f"[[recipe]] '{one.name}'", one.grading, one.product) for one in settings.recipe]
    found = {}
    for name, place, path, product in named:
        if path is None:
            continue
        if taxonomy is None:
            raise ConfigError(
                f'{place} grading needs the classes that its rules name; write taxonomy = "configs/taxonomy.toml", too'
            )
        rules = found[name] = load_grading(path, taxonomy)
        if product is not None and rules.product != product:
            raise ConfigError(
                f"{path}: is for product {rules.product!r}, {place} product is {product!r}; name rules for that one"
            )
    return found


def settings_or_defaults(path: Path | None) -> ServiceSettings:
    """Return the settings in the file `path`, or the defaults where there is none. Raises ConfigError."""
    return ServiceSettings() if path is None else load_settings(path)


def with_source(settings: ServiceSettings, name: str, *, own_line: bool) -> ServiceSettings:
    """Return settings that read the recording, folder or "simulator" that a user named; `times` stays as configured.

    own_line: take the line's geometry from the recording's sidecar where it has one. Raises ConfigError, SourceError.
    """
    if name == SIMULATOR:
        if not isinstance(settings.source, SimulatorSource):
            raise ConfigError('the configuration has no simulator; give one with [source] type = "simulator"')
        return settings
    path, configured = Path(name), settings.source
    if path.is_file() and path.suffix.lower() in SUFFIXES:  # a TIFF of many pages
        pictures = FolderSource(
            type="folder", path=path.parent, pattern=escape(path.name), subfolders=False, coil=coil_name(path.stem)
        )
        return settings.model_copy(update={"source": pictures})
    if path.is_dir():
        folder = FolderSource(type="folder", path=path)
        if isinstance(configured, FolderSource):
            folder = configured.model_copy(update={"path": path, "coil": None})
        return settings.model_copy(update={"source": folder})
    if not path.is_file():
        found = "no such file or folder"
        if "://" in name:
            found = "found an address, expected a file: fetch it first"
        elif path.exists():
            found = "found a pipe, socket or device, expected a file: copy what it gives into one first"
        raise SourceError(f"{name}: {found}; give a video, a folder of frames, or '{SIMULATOR}'")
    recorded = recorded_line(path) if own_line else None
    recording = RecordingSource(type="recording", path=path)
    if isinstance(configured, RecordingSource):
        recording = configured.model_copy(update={"path": path, "coil": None})
    return settings.model_copy(update={"source": recording, "line": recorded or settings.line})
