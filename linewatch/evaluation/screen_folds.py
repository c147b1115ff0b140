"""The networks of a screen's cross-validation in its run folder, each trained without one fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.export.engine_folder import onnx_bytes
from linewatch.inference.engines import Engine
from linewatch.training.house.screen import ScreenSettings, load_screen

_COMMAND = "linewatch train screen "


@dataclass(frozen=True)
class FoldNetwork:
    """The graph of a network, and the fold that it has not seen."""

    fold: int
    model: bytes


def fold_networks(run: Path, source: Engine) -> Iterator[FoldNetwork]:
    """Yield every network of the run that trained `source`; `ConfigError` if there is none, or of other settings."""
    manifest = source.manifest
    if manifest.task is not Task.SCREEN:
        raise ConfigError(f"--folds: {manifest.name} is a {manifest.task} engine; only screens are cross-validated")
    settings = ScreenSettings.model_validate_json(manifest.training.recipe.removeprefix(_COMMAND))
    folders = sorted(folder for folder in run.glob("without-*") if (folder / "fit" / "weights.pt").is_file())
    if not folders:
        raise ConfigError(f"--folds {run}: holds no networks without a fold; name the run of `{_COMMAND.strip()}`")
    for folder in folders:
        fold = int(folder.name.split("-")[1])
        try:
            network = load_screen(folder / "fit" / "weights.pt", settings)
        except RuntimeError as error:
            raise ConfigError(
                f"--folds {run}: its networks were trained with other settings than {manifest.name}"
            ) from error
        yield FoldNetwork(fold, onnx_bytes(network, manifest.input.lines, manifest.input.width, manifest.output))
