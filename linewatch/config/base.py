"""The base of the settings models: closed, frozen, and with the units in the names of the fields."""

from pydantic import BaseModel, ConfigDict

from linewatch.contracts.bounds import ShortText  # noqa: F401 - for the modules of settings


class Settings(BaseModel):
    """Base of every settings model. Unknown keys are fatal; values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
