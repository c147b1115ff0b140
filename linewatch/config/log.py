"""`[log]`: how much the service writes to its log."""

from typing import Literal

from linewatch.config.base import Settings


class LogSettings(Settings):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
