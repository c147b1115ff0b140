"""The configuration file of `linewatch history`: the services, the database, and how long records are kept."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.log import LogSettings
from linewatch.config.monitoring import MonitoringSettings
from linewatch.config.wire import ClientKeySettings, Endpoint

DATABASE_URL = r"^(sqlite:///.+|postgresql\+psycopg://.+)$"
DATABASE_URLS = "sqlite:///PATH (absolute: four slashes) or postgresql+psycopg://USER@HOST/NAME"


class HistoryServiceSettings(Settings):
    """The service of one camera. Its records are stored under its name: do not change the name later."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="unique")
    publish: Endpoint = Field(default="tcp://127.0.0.1:5570", description="[wire] publish of the service")
    serve: Endpoint = Field(default="tcp://127.0.0.1:5571", description="[wire] serve of the service")
    keys: ClientKeySettings | None = Field(default=None, description="none: the service has no keys")


class KeepSettings(Settings):
    """How long coils are kept. The oldest are removed first, with their defects; labels stay.

    A pause between two coils counts as at most a tenth of `days` (or as a day), so that a wrong clock removes little.
    """

    days: float = Field(default=365.0, gt=0, description="age at which a coil is removed")
    max_mb: int | None = Field(default=None, ge=16, description="records in SQLite; none: no bound")


class ImageSettings(Settings):
    """Images of defects, from services with `[crops]`. Without this table none are stored.

    Images of coils older than `days` are removed. For room, the oldest and least severe go first: an image of severity
    s is kept 1 + s times as long as an ungraded one.
    """

    dir: Annotated[Path, Field(strict=False)] = Field(description="a folder for the images alone")
    max_per_coil: int = Field(default=200, ge=1, description="beyond it a worse defect replaces the least severe one")
    days: float = Field(default=90.0, gt=0, description="age of a coil at which its images are removed")
    max_mb: int = Field(default=20_000, ge=1, description="all images together")
    min_free_mb: float = Field(
        default=2048.0,
        ge=16,
        description="free disk space; below it images are removed and none are stored, to leave room for records",
    )


class HistorySettings(Settings):
    """The whole file that `linewatch history` reads."""

    database: str = Field(default="sqlite:///out/history.sqlite", pattern=DATABASE_URL, description=DATABASE_URLS)
    commit_ms: float = Field(
        default=250.0, ge=10, le=10_000, description="longest time before a received message is written"
    )
    service: Annotated[tuple[HistoryServiceSettings, ...], Field(strict=False, min_length=1)] = Field(
        description="one or more"
    )
    keep: KeepSettings = KeepSettings()
    images: ImageSettings | None = None
    monitoring: MonitoringSettings | None = Field(default=None, description="none: no figures for Prometheus")
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [service.name for service in self.service]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"two [[service]] are named {', '.join(twice)}; records are stored by name: give each its own"
            )
        if self.keep.max_mb is not None and not self.database.startswith("sqlite"):
            raise ValueError(
                "[keep] max_mb bounds a SQLite file; PostgreSQL frees space at its own times: set [keep] days instead"
            )
        return self
