"""One way to fit a network, shared by the trainings: Lightning's trainer, a warm-up and a cosine, averaged weights, a
run folder.

Training items are made, not stored: item `i` of a run is a function of the run's seed and `i`, so a run repeats
whatever the number of loading workers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from linewatch.contracts.errors import ConfigError

Network = TypeVar("Network", bound=nn.Module)


class Recipe(BaseModel):
    """How a network is fitted; each training extends it. Every field can be set with `--set name=value`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 20261121
    encoder: str = "mobilenet_v2_1.0"
    steps: PositiveInt = 1000
    batch: PositiveInt = 32
    peak_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    average: float = Field(
        0.99, ge=0, lt=1, description="share of the running average of the weights kept at each step"
    )
    threads: PositiveInt = 2
    workers: int = Field(1, ge=0)

    @classmethod
    def with_settings(cls, settings: Sequence[str]) -> Self:
        """The recipe with `name=value` settings; `ConfigError` names one that does not fit."""
        values: dict[str, Any] = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or name not in cls.model_fields:
                raise ConfigError(f"--set {setting}: expected name=value with a name of {', '.join(cls.model_fields)}")
            values[name] = (
                value.split(",")
                if value and cls.model_fields[name].annotation not in (int, float, str, bool)
                else value
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"--set {first['loc'][0]}: {first['msg']}, found {first['input']!r}") from error


class _Fit(lightning.LightningModule):
    def __init__(self, network: nn.Module, loss: Callable[[nn.Module, Any], Tensor], recipe: Recipe):
        super().__init__()
        self.network, self.loss, self.recipe = network, loss, recipe

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = self.loss(self.network, batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        recipe = self.recipe
        optimizer = torch.optim.AdamW(self.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.peak_rate, total_steps=recipe.steps, pct_start=min(0.1, 100 / recipe.steps + 0.02)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(
    network: Network, loss: Callable[[nn.Module, Any], Tensor], items: Dataset, recipe: Recipe, run: Path
) -> Network:
    """Fits `network` to `steps` x `batch` items and gives it with the averaged weights, in eval mode.

    `loss(network, batch)` is a scalar. Logs go to the folder `run`. Depthwise networks train 1.7 times as fast
    on a CPU in channels-last memory, so that is how they run. A run folder that holds the weights of this very recipe
    is not run again: delete it after a change of code or data.
    """
    done, weights = run / "recipe.json", run / "weights.pt"
    if weights.is_file() and done.is_file() and done.read_text() == recipe.model_dump_json():
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network.eval()
    run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(recipe.threads)
    lightning.seed_everything(recipe.seed, verbose=False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module = _Fit(network, loss, recipe)
    averaging = EMAWeightAveraging(decay=recipe.average)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=recipe.steps,
        max_epochs=1,
        callbacks=[averaging, LearningRateMonitor(), RichProgressBar(refresh_rate=20)],
        logger=CSVLogger(run, name="", version=""),
        log_every_n_steps=20,
        gradient_clip_val=1.0,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    loader = DataLoader(items, batch_size=recipe.batch, num_workers=recipe.workers, persistent_workers=False)
    trainer.fit(module, loader)
    torch.save(network.eval().state_dict(), weights)
    done.write_text(recipe.model_dump_json())
    return network


def seeded(build: Callable[[], Network], recipe: Recipe) -> Network:
    """What `build` builds, with the random weights of the recipe's seed."""
    lightning.seed_everything(recipe.seed, verbose=False)
    return build()


def arguments(description: str, recipe: type[Recipe]) -> argparse.Namespace:
    """The command line that every training has: --data, --out, --set, --run."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that holds neu, xsdd, severstal, imagenet_weights"
    )
    parser.add_argument("--out", type=Path, required=True, help="engine folder to write, such as engines/classify")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"one of {', '.join(recipe.model_fields)}"
    )
    parser.add_argument("--run", type=Path, help="folder for logs and weights (default: runs/ and the engine's name)")
    found = parser.parse_args()
    found.run = found.run or Path("runs") / found.out.name
    return found
