"""The whole configuration file of one camera's service."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.config.capture import CaptureSettings
from linewatch.config.decision import AlarmRule, DecisionSettings
from linewatch.config.inference import InferenceSettings
from linewatch.config.journal import JournalSettings
from linewatch.config.line import LineSettings
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
    journal: JournalSettings = JournalSettings()
    wire: WireSettings = WireSettings()
    log: LogSettings = LogSettings()

    def identity(self) -> str:
        """12 hex digits that change with whatever in these settings, or in the taxonomy's file, changes a decision."""
        tree = self.model_dump(mode="json", include=_DECIDING)  # type: ignore[arg-type]  # pydantic's type is too narrow
        tree["taxonomy"] = self.taxonomy.read_text() if self.taxonomy else ""
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]


_DECIDING: Final = {
    "line": True,
    "decision": True,
    "alarm": True,
    "inference": {"screen", "classify", "segment", "tile_overlap_px", "screen_threshold", "claim_share"},
}
"""The engines themselves have identities of their own."""
