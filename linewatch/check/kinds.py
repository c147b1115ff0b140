"""Which kind of configuration a file is."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from linewatch.config.grading import GradingSettings
from linewatch.config.history import HistorySettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.hmi.settings import HmiSettings
from linewatch.plant.registry import BRIDGES
from linewatch.service_settings import ServiceSettings
from linewatch.strip.settings import StripSettings

_KINDS: Sequence[type[BaseModel]] = (
    ServiceSettings,
    StripSettings,
    GradingSettings,
    HistorySettings,
    *(kind.settings for kind in BRIDGES.values()),
    HmiSettings,
    Taxonomy,
)


def kind_of(tree: Mapping[str, Any]) -> type[BaseModel]:
    """Return the model with the most keys of the file; a service's where several have as many."""
    if isinstance(tree.get("service"), list):
        return HistorySettings
    if isinstance(tree.get("camera"), list) and "access" not in tree:
        return StripSettings
    return max(_KINDS, key=lambda kind: len(kind.model_fields.keys() & tree))
