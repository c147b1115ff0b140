"""The networks of a cross-validation of screen or inspect in its run folder, each trained without one fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.export.engine_folder import onnx_bytes
from linewatch.inference.engines import Engine
from linewatch.networks.inspect_shipped import InspectMaps
from linewatch.training.house.inspect_fit import load_network
from linewatch.training.house.screen import ScreenSettings, load_screen


@dataclass(frozen=True)
class FoldNetwork:
    """The graph of a network, and the fold that it has not seen."""

    fold: int
    model: bytes


def fold_networks(run: Path, source: Engine) -> Iterator[FoldNetwork]:
    """Yield every network of the run that trained `source`; `ConfigError` if there is none, or of other settings."""
    manifest = source.manifest
    kinds = {Task.SCREEN: ("without-*/fit/weights.pt", _screen), Task.INSPECT: ("fold-[0-9]/state.pt", _inspect)}
    if manifest.task not in kinds:
        raise ConfigError(
            f"--folds: {manifest.name} is a {manifest.task} engine; only screen and inspect are cross-validated"
        )
    pattern, shipped = kinds[manifest.task]
    files = sorted(run.glob(pattern))
    if not files:
        raise ConfigError(
            f"--folds {run}: holds no networks without a fold; name the run of `linewatch train {manifest.task}`"
        )
    for file in files:
        fold = int(file.relative_to(run).parts[0].split("-")[1])
        try:
            network = shipped(file, manifest)
        except RuntimeError as error:
            raise ConfigError(
                f"--folds {run}: its networks were trained with other settings than {manifest.name}"
            ) from error
        yield FoldNetwork(fold, onnx_bytes(network, manifest.input.lines, manifest.input.width, manifest.output))


def _screen(weights: Path, manifest: EngineManifest) -> nn.Module:
    settings = ScreenSettings.model_validate_json(manifest.training.recipe.removeprefix("linewatch train screen "))
    return load_screen(weights, settings)


def _inspect(state: Path, manifest: EngineManifest) -> nn.Module:
    network, _ = load_network(state, manifest.training.encoder.partition(",")[0])
    return InspectMaps(network, manifest.input.lines, manifest.input.width)
