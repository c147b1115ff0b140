"""What every settings model is: closed, frozen, and explicit about units in its field names."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every settings model. Unknown keys are fatal; values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
