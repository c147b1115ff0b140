"""The whole configuration file of one camera's service."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.config.capture import CaptureSettings
from linewatch.config.decision import AlarmRule, AlarmSettings, DecisionSettings, SystemAlarmSettings
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
    alarms: AlarmSettings = AlarmSettings()
    system_alarms: SystemAlarmSettings | None = None
    journal: JournalSettings = JournalSettings()
    wire: WireSettings = WireSettings()
    log: LogSettings = LogSettings()
