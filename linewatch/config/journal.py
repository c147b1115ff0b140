"""`[journal]`: the daemon's own record."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings


class JournalSettings(Settings):
    """Append-only, bounded: the oldest segments go first."""

    dir: Annotated[Path, Field(strict=False)] = Path("out/journal")
    max_mb: int = Field(default=512, ge=8)
    segment_mb: int = Field(default=16, ge=1)
    group_commit_ms: float = Field(
        default=50.0, ge=0, le=10_000, description="longest time a verdict stays unsynced; alarms sync at once"
    )
