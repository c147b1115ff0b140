"""The base of the settings models: closed, frozen, and with the units in the names of the fields."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ShortText = Annotated[str, Field(min_length=1, max_length=64)]


class Settings(BaseModel):
    """Base of every settings model. Unknown keys are fatal; values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
