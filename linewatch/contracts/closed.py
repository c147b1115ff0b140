"""The base of models that are read from files or sent: unknown fields are errors, instances cannot be changed."""

import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from linewatch.contracts.errors import OutdatedWarning


class ClosedModel(BaseModel):
    """A frozen model that refuses unknown fields, nan and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def without_outdated(tree: Any, key: str, said: str) -> Any:
    """Return the tree of a model without a key that earlier versions had, with a warning where it says something."""
    if not isinstance(tree, Mapping) or key not in tree:
        return tree
    if tree[key]:
        warnings.warn(said, OutdatedWarning, stacklevel=3)
    return {name: value for name, value in tree.items() if name != key}
