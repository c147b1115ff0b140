"""`[canary]`: a frame with known defects that goes through the running engines beside the strip."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings


class KnownDefect(Settings):
    """A pixel of the picture in the middle of a defect."""

    line: int = Field(ge=0, description="of the image, from its top")
    column: int = Field(ge=0, description="of the image, from its left side")


class CanarySettings(Settings):
    """A frame with known defects, inspected again and again: where nothing is found on it, silence means nothing.

    Without this table there is none.
    """

    every_s: float = Field(default=60.0, ge=1, le=86_400, description="from one to the next; the first at the start")
    picture: Annotated[Path | None, Field(strict=False)] = Field(
        default=None,
        description="gray image as large as a frame; none: a rendered frame, which suits the shipped engines",
    )
    defect: Annotated[tuple[KnownDefect, ...], Field(strict=False)] = Field(
        default=(), description="the defects on the picture; it is found when one of them is"
    )

    @model_validator(mode="after")
    def _picture_has_defects(self) -> Self:
        if (self.picture is None) != (not self.defect):
            raise ValueError(
                "picture and [[canary.defect]] belong together: name the picture and where it shows defects, or neither"
            )
        return self
