"""The base of models that are read from files or sent: unknown fields are errors, instances cannot be changed."""

from pydantic import BaseModel, ConfigDict


class ClosedModel(BaseModel):
    """A frozen model that refuses unknown fields, nan and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
