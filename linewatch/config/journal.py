"""`[journal]`: the record that the service keeps of its messages."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings


class JournalSettings(Settings):
    """The record that the service keeps of its messages: append-only and bounded, the oldest segments go first."""

    dir: Annotated[Path, Field(strict=False)] = Field(default=Path("out/journal"), description="folder of the segments")
    max_mb: int = Field(default=512, ge=8, description="all segments together")
    segment_mb: int = Field(default=16, ge=1, description="one segment")
    group_commit_ms: float = Field(
        default=50.0,
        ge=0,
        le=10_000,
        description="longest time before a verdict is synced to disk; alarms are synced at once",
    )
    held_mb: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="live: what is held in memory while the disk is full, fails or hangs; beyond it the oldest is lost",
    )
