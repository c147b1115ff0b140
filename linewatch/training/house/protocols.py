"""The training protocols of the shipped engines: `linewatch train screen|classify|segment|inspect`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import ENGINE_NAME
from linewatch.datasets import HOUSE_SETS, severstal_frames
from linewatch.training.fit import TrainingSettings
from linewatch.training.house.classify import CLASSIFY, ClassifySettings
from linewatch.training.house.inspect import train as train_inspect
from linewatch.training.house.inspect_fit import InspectSettings
from linewatch.training.house.screen import ScreenSettings
from linewatch.training.house.screen import train as train_screen
from linewatch.training.house.segment import SEGMENT, SegmentSettings

WEIGHTS = "imagenet_weights"


@dataclass(frozen=True)
class HouseProtocol:
    """A training that ends in an engine, from these sets."""

    name: str
    about: str
    settings: TrainingSettings
    train: Callable[[Path, Path, Any, Path], None]
    """Takes the data folder (sets and `imagenet_weights` by name), the engine folder, settings and the run folder."""
    sets: tuple[str, ...] = HOUSE_SETS


HOUSE_PROTOCOLS: dict[str, HouseProtocol] = {
    protocol.name: protocol
    for protocol in (
        HouseProtocol("screen", "where in a frame to look", ScreenSettings(), train_screen),
        HouseProtocol("classify", "which house classes a tile shows", ClassifySettings(), CLASSIFY.train),
        HouseProtocol("segment", "which pixels of a tile are defect", SegmentSettings(), SEGMENT.train),
        HouseProtocol(
            "inspect", "what is where in a frame", InspectSettings(), train_inspect, sets=(severstal_frames.NAME,)
        ),
    )
}


def train_house(
    name: str, folders: Mapping[str, Path], changes: Sequence[str], weights: str | None, run: Path, out: Path
) -> None:
    """Train one of the house's engines into `out`. `weights`: the folder `imagenet_weights`; default: beside the sets.

    `ConfigError` for an engine name that is not allowed, a missing set or missing weights.
    """
    protocol = HOUSE_PROTOCOLS[name]
    if not re.fullmatch(ENGINE_NAME, out.name):
        raise ConfigError(
            f"--out {out}: its last part becomes the engine's name; expected lower-case letters, digits, - and _"
        )
    missing = [one for one in protocol.sets if one not in folders]
    if missing:
        raise ConfigError(
            f"{name} learns from {', '.join(protocol.sets)}; --data names no {', '.join(missing)}: add --data "
            f"{missing[0]}=DIR, or name the folder that holds them all"
        )
    root = folders[protocol.sets[0]]
    imagenet = (
        Path(weights)
        if weights
        else next((one / WEIGHTS for one in (root, root.parent) if (one / WEIGHTS).is_dir()), root.parent / WEIGHTS)
    )
    if not imagenet.is_dir():
        raise ConfigError(f"{imagenet}: no such folder; name the folder of ImageNet weights with --weights")
    data = run / "data"
    data.mkdir(parents=True, exist_ok=True)
    for link, folder in {**{one: folders[one] for one in protocol.sets}, WEIGHTS: imagenet}.items():
        (data / link).unlink(missing_ok=True)
        (data / link).symlink_to(folder.resolve())
    protocol.train(data, out, protocol.settings.with_settings(changes), run)
