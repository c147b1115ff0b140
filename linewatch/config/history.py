"""The configuration file of `linewatch history`: what it listens to, where it keeps it, and for how long."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.log import LogSettings
from linewatch.config.wire import ClientKeySettings, Endpoint

DATABASE_URL = r"^(sqlite:///.+|postgresql\+psycopg://.+)$"
DATABASE_URLS = "sqlite:///PATH (absolute: four slashes) or postgresql+psycopg://USER@HOST/NAME"


class HeardService(Settings):
    """`[[service]]`: one camera's service. Its name is what its records are kept under: do not change it later."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    publish: Endpoint = "tcp://127.0.0.1:5570"
    serve: Endpoint = "tcp://127.0.0.1:5571"
    keys: ClientKeySettings | None = None


class KeepSettings(Settings):
    """`[keep]`: the oldest coils go first, with all that was found on them; labels stay."""

    days: float = Field(default=365.0, gt=0)
    max_mb: int | None = Field(default=None, ge=16, description="of records, SQLite only; none: no bound")


class ImageSettings(Settings):
    """`[images]`: pictures of defects, of services that have `[crops]`. Where it is left out, none are kept.

    The oldest and least severe go first: one of severity s is worth 1 + s times the days of one that is not graded.
    """

    dir: Annotated[Path, Field(strict=False)] = Field(description="a folder of their own; relative to the working one")
    max_per_coil: int = Field(default=200, ge=1, description="then a worse defect takes the least severe one's place")
    days: float = Field(default=90.0, gt=0)
    max_mb: int = Field(default=20_000, ge=1)
    min_free_mb: float = Field(
        default=2048.0, ge=16, description="of their disk: below it pictures go and none come, so that records may"
    )


class HistorySettings(Settings):
    """`linewatch history CONFIG` reads exactly this."""

    database: str = Field(default="sqlite:///out/history.sqlite", pattern=DATABASE_URL, description=DATABASE_URLS)
    commit_ms: float = Field(
        default=250.0, ge=10, le=10_000, description="longest time that what is heard is unwritten"
    )
    service: Annotated[tuple[HeardService, ...], Field(strict=False, min_length=1)]
    keep: KeepSettings = KeepSettings()
    images: ImageSettings | None = None
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [service.name for service in self.service]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two [[service]] are called {', '.join(twice)}; records are kept by that name")
        if self.keep.max_mb is not None and not self.database.startswith("sqlite"):
            raise ValueError(
                "[keep] max_mb bounds a SQLite file; PostgreSQL gives space back when it likes: bound it by [keep] days"
            )
        return self
