"""The whole configuration file of one camera's service."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.capture import CaptureSettings
from linewatch.config.coil_data import CoilDataSettings
from linewatch.config.crops import CropSettings
from linewatch.config.decision import AlarmRule, AlarmSettings, DecisionSettings, SystemAlarmSettings
from linewatch.config.inference import InferenceSettings
from linewatch.config.journal import JournalSettings
from linewatch.config.line import LineSettings
from linewatch.config.recipe import MOST_RECIPES, RecipeSettings, recipe_faults
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.config.source import SourceSettings
from linewatch.config.wire import WireSettings


class LogSettings(Settings):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class ServiceSettings(Settings):
    """`linewatch run CONFIG` reads exactly this."""

    taxonomy: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="the house's classes: which are pseudo-defects that never alarm"
    )
    line: LineSettings = LineSettings()
    source: SourceSettings | None = None
    capture: CaptureSettings = CaptureSettings()
    inference: InferenceSettings = InferenceSettings()
    decision: DecisionSettings = DecisionSettings()
    alarm: Annotated[tuple[AlarmRule, ...], Field(strict=False)] = ()
    alarms: AlarmSettings = AlarmSettings()
    system_alarms: SystemAlarmSettings | None = None
    roll: Annotated[tuple[RollSettings, ...], Field(strict=False)] = ()
    periodic: PeriodicSettings = PeriodicSettings()
    recipe: Annotated[tuple[RecipeSettings, ...], Field(strict=False, max_length=MOST_RECIPES)] = ()
    coil_data: CoilDataSettings | None = None
    journal: JournalSettings = JournalSettings()
    wire: WireSettings = WireSettings()
    crops: CropSettings | None = None
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _rolls_can_be_told(self) -> Self:
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
    def _recipes_can_be_told(self) -> Self:
        if faults := recipe_faults(self.recipe):
            raise ValueError("; ".join(faults))
        return self

    def identity(self) -> str:
        """12 hex digits that change with whatever in these settings, or in the files they name, changes a decision.

        Reads those files as they are now: to be asked when they are read, and kept.
        """
        tree = self.model_dump(mode="json", include=_DECIDING)  # type: ignore[arg-type]  # pydantic's type is too narrow
        if not self.recipe:
            del tree["recipe"]
        gradings = [(f"grading of {recipe.name}", recipe.grading) for recipe in self.recipe if recipe.grading]
        for name, path in (("taxonomy", self.taxonomy), ("grading", self.decision.grading), *gradings):
            tree[name] = path.read_text() if path else ""
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
    "inference": {"screen", "classify", "segment", "tile_overlap_px", "screen_threshold", "claim_share"},
}
"""The engines themselves have identities of their own."""
