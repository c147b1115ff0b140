"""The training loop of every network: Lightning's trainer over phases, with settings, checkpoints and history.

A run is repeatable: training item `i` of epoch `e` depends only on the seed, `e` and `i`, whatever the number of
loading workers, and every step has a seed of its own. So a run that was killed and resumes from its last checkpoint,
at most `CHECKPOINT_INTERVAL_S` old, ends with exactly the weights of an uninterrupted run.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field, PositiveInt, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler

from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import ConfigError
from linewatch.files import write_file
from linewatch.networks.paper import PaperNetwork
from linewatch.networks.stored import read_stored
from linewatch.training.progress import RunProgress

Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[nn.Module, Any], Tensor]
Score = Callable[[nn.Module, Any], Mapping[str, Tensor]]
HISTORY, SETTINGS_FILE = "history.csv", "recipe.json"
CHECKPOINT_INTERVAL_S = 300.0
"""Within an epoch; there is one after every epoch, too."""
_STEPS_PER_EPOCH = 50
_LAST, _BEST, _WITHIN = "last", "best", "within"  # checkpoints: after the newest epoch, the best epoch, within an epoch


class TrainingSettings(ClosedModel):
    """Settings of any training. Every field can be changed with `--set name=value`."""

    seed: int = 20261121
    batch: PositiveInt = 32
    threads: PositiveInt = Field(default_factory=lambda: os.cpu_count() or 1, description="torch threads on a CPU")
    workers: int = Field(default=1, ge=0, description="processes that load and augment")
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = Field(
        default="auto", description="auto: bf16-mixed on a GPU, 32-true on a CPU"
    )

    def with_settings(self, settings: Sequence[str]) -> Self:
        """Return these settings changed by `name=value` texts; `ConfigError` names one that is invalid."""
        fields = type(self).model_fields
        values: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or name not in fields:
                raise ConfigError(f"--set {setting}: expected name=value with a name of {', '.join(fields)}")
            sequence = "tuple" in str(fields[name].annotation)
            values[name] = [one for one in value.split(",") if one] if sequence else value
        try:
            return type(self).model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"--set {first['loc'][0]}: {first['msg']}, found {first['input']!r}") from error


class HouseSettings(TrainingSettings):
    """Settings of the house's trainings: a number of steps, warm-up and cosine decay, averaged weights."""

    encoder: str = "mobilenet_v2_1.0"
    steps: PositiveInt = 1000
    peak_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    average: float = Field(
        default=0.99, ge=0, lt=1, description="share of the running average of the weights kept at each step"
    )
    threads: PositiveInt = 2


Chosen = TypeVar("Chosen", bound=HouseSettings)


@dataclass(frozen=True)
class Phase:
    """One part of a training, with its own optimizer and schedule; the weights of its best epoch are kept.

    `schedule` is stepped `per` step or epoch. With `patience`, training stops after that many epochs in which `monitor`
    has not fallen (risen, if `rising`) by more than `min_delta`; it also stops when `monitor` reaches `enough`.
    """

    name: str
    epochs: int
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    schedule: Callable[[Optimizer], LRScheduler] | None = None
    per: Literal["step", "epoch"] = "epoch"
    trunk_frozen: bool = False
    patience: int | None = None
    min_delta: float = 0.0
    monitor: str = "val_loss"
    rising: bool = False
    enough: float | None = None
    average: float | None = None
    steps: int = -1


class _PerEpoch(Sampler[Any]):
    """`count` items per epoch, divided among the devices; the loader's sampler."""

    def __init__(self, count: int):
        self.count, self.epoch = count, 0
        self._resumed = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def resume(self, epoch: int, items: int) -> None:
        """Begin in `epoch`, of which this device has taken `items` before."""
        self.epoch, self._resumed = epoch, (epoch, items)

    @property
    def _taken(self) -> int:
        epoch, items = self._resumed
        return items if epoch == self.epoch else 0

    def __len__(self) -> int:
        rank, devices = _rank()
        return len(range(rank, self.count, devices))


class Shuffled(_PerEpoch):
    """Every item once per epoch, as (epoch, index), in an order given by seed and epoch."""

    def __init__(self, count: int, seed: int):
        super().__init__(count)
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed * 10_007 + self.epoch))
        rank, devices = _rank()
        return iter([(self.epoch, int(index)) for index in order[rank::devices][self._taken :]])


class Endless(_PerEpoch):
    """The next `count` items of an endless data set, by number."""

    def __iter__(self) -> Iterator[int]:
        rank, devices = _rank()
        return iter(range(self.epoch * self.count + rank, (self.epoch + 1) * self.count, devices)[self._taken :])


def _rank() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class _Fit(lightning.LightningModule):
    def __init__(self, network: nn.Module, loss: Loss, score: Score | None, phase: Phase, seed: int):
        super().__init__()
        self.network, self.loss, self.score, self.phase, self.seed = network, loss, score, phase, seed

    def training_step(self, batch: Any, index: int) -> Tensor:
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)  # dropout repeats wherever a run was resumed
        loss = self.loss(self.network, batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=_size(batch))
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        seen = {"loss": self.loss(self.network, batch), **(self.score(self.network, batch) if self.score else {})}
        for name, value in seen.items():
            self.log(f"val_{name}", value, batch_size=_size(batch), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.phase.optimizer([each for each in self.network.parameters() if each.requires_grad])
        if self.phase.schedule is None:
            return optimizer
        schedule: dict[str, Any] = {"scheduler": self.phase.schedule(optimizer), "interval": self.phase.per}
        if isinstance(schedule["scheduler"], torch.optim.lr_scheduler.ReduceLROnPlateau):
            schedule["monitor"] = self.phase.monitor
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[return-value]


def _size(batch: Any) -> int:
    return len(next(iter(batch.values())) if isinstance(batch, dict) else batch[0])


class History(Callback):
    """Writes a line per epoch to `history.csv`: phase, epoch (over all phases), seconds, rate, every logged metric.

    A resumed run keeps the lines of the epochs that it does not repeat.
    """

    def __init__(self, file: Path, phase: str):
        self.file, self.phase, self.started = file, phase, 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        before = read_history(self.file)
        earlier = [row for row in before if row["phase"] != self.phase]
        epoch = len(earlier) + trainer.current_epoch
        step = (int(earlier[-1]["step"]) if earlier else 0) + trainer.global_step
        rows = [row for row in before if int(row["epoch"]) < epoch]
        rows.append(
            {
                "phase": self.phase,
                "epoch": str(epoch),
                "step": str(step),
                "seconds": f"{time.monotonic() - self.started:.3f}",
                "rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3g}",
                **{name: f"{float(value):.6g}" for name, value in sorted(trainer.callback_metrics.items())},
            }
        )
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_file(self.file, text.getvalue().encode())


class _WithinEpoch(Checkpoint):
    """Writes a checkpoint in the midst of an epoch every `CHECKPOINT_INTERVAL_S`, atomically.

    Lightning calls checkpoints after all other callbacks, so that the averaged weights hold the newest step.
    """

    def __init__(self, file: Path):
        self.file, self.written_s = file, time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_last_batch and time.monotonic() - self.written_s >= CHECKPOINT_INTERVAL_S:
            trainer.save_checkpoint(self.file)
            self.written_s = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.written_s = time.monotonic()  # the epoch's own checkpoint is written now


def read_history(file: Path) -> list[dict[str, str]]:
    """Return the lines of a `history.csv`; none if there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def fit_phases(
    network: Network,
    loss: Loss,
    phases: Sequence[Phase],
    training: DataLoader,
    run: Path,
    settings: TrainingSettings,
    validation: DataLoader | None = None,
    score: Score | None = None,
) -> Network:
    """Fit `network` phase by phase and return it in eval mode.

    Each phase ends with its best weights if there is `validation`, else with its last ones (averaged, if it averages).
    `loss(network, batch)` returns a scalar, `score` more metrics of a validation batch. The folder `run` receives
    `history.csv` and, per phase, the checkpoints `last.ckpt` and `best.ckpt`, written atomically after every epoch, and
    `within.ckpt` in between. A run resumes where its folder left off; a finished one returns at once. The mean training
    loss of an epoch that was resumed is that of its steps since.
    """
    run.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(settings.threads)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # depthwise networks: 1.7 times as fast
    for number, phase in enumerate(phases):
        folder = run / phase.name
        finished = folder / "weights.pt"
        if not finished.is_file():
            _fit_phase(network, loss, score, phase, settings.seed + number, training, validation, run, settings)
            kept = folder / f"{_LAST if validation is None else _BEST}.ckpt"
            state = read_stored(kept)["state_dict"]
            part = finished.with_suffix(".part")
            torch.save({name.removeprefix("network."): value for name, value in state.items()}, part)
            part.replace(finished)
        network.load_state_dict(read_stored(finished))
    return network.cpu().eval()


def _fit_phase(
    network: nn.Module,
    loss: Loss,
    score: Score | None,
    phase: Phase,
    seed: int,
    training: DataLoader,
    validation: DataLoader | None,
    run: Path,
    settings: TrainingSettings,
) -> None:
    if isinstance(network, PaperNetwork):
        network.freeze_trunk(phase.trunk_frozen)
    lightning.seed_everything(seed, verbose=False)
    folder = run / phase.name
    mode: Literal["min", "max"] = "max" if phase.rising else "min"
    callbacks: list[Callback] = [
        RunProgress(phase.name, phase.epochs),
        History(run / HISTORY, phase.name),
        ModelCheckpoint(folder, filename=_LAST, save_top_k=1, enable_version_counter=False),
        _WithinEpoch(folder / f"{_WITHIN}.ckpt"),
    ]
    if validation is not None:
        callbacks.append(
            ModelCheckpoint(folder, filename=_BEST, monitor=phase.monitor, mode=mode, enable_version_counter=False)
        )
    if validation is not None and (phase.patience is not None or phase.enough is not None):
        patience = phase.epochs if phase.patience is None else phase.patience
        callbacks.append(
            EarlyStopping(phase.monitor, phase.min_delta, patience, mode=mode, stopping_threshold=phase.enough)
        )
    if phase.average is not None:
        callbacks.append(EMAWeightAveraging(decay=phase.average))
    on_gpu = torch.cuda.is_available()
    trainer = lightning.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices="auto" if on_gpu else 1,
        precision=("bf16-mixed" if on_gpu else "32-true") if settings.precision == "auto" else settings.precision,
        max_epochs=phase.epochs,
        max_steps=phase.steps,
        callbacks=callbacks,
        logger=False,
        gradient_clip_val=1.0,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    newest, epoch, steps = _newest_checkpoint(folder)
    if isinstance(training.sampler, _PerEpoch):
        # the trainer sets the epoch, too, but after it may have fetched the first items
        training.sampler.resume(epoch, steps * (training.batch_size or 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about loaders that does not apply here
        trainer.fit(
            _Fit(network, loss, score, phase, seed),
            training,
            validation,
            ckpt_path=newest,
            weights_only=True,
        )


def _newest_checkpoint(folder: Path) -> tuple[Path | None, int, int]:
    """Return a phase's checkpoint with the most steps, the epoch in which it goes on, and that epoch's steps so far."""
    found = []
    for name in (_LAST, _WITHIN):
        if (file := folder / f"{name}.ckpt").is_file():
            stored = read_stored(file)
            done = stored["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"]
            going_on = (stored["epoch"], done) if name == _WITHIN else (stored["epoch"] + 1, 0)
            found.append((stored["global_step"], file, *going_on))
    return max(found)[1:] if found else (None, 0, 0)


def loader(items: Dataset, settings: TrainingSettings, order: Sampler | None = None) -> DataLoader:
    """Return batches of `items` in `order`, or in sequence; worker processes start once."""
    return DataLoader(
        items,
        batch_size=settings.batch,
        sampler=order,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        multiprocessing_context="fork" if settings.workers else None,
    )


def fit(network: Network, loss: Loss, items: Dataset, settings: HouseSettings, run: Path) -> Network:
    """Fit `network` to `steps` x `batch` items and return it with the averaged weights, in eval mode.

    A run folder with these settings resumes where it left off; one with other settings is a `ConfigError`.
    """
    written = run / SETTINGS_FILE
    if written.is_file() and read_settings(written, type(settings)) != settings:
        raise ConfigError(f"{run}: holds a run with other settings; name another --run folder, or delete it")
    run.mkdir(parents=True, exist_ok=True)
    written.write_text(settings.model_dump_json())
    per_epoch = min(_STEPS_PER_EPOCH, settings.steps)
    phase = Phase(
        name="fit",
        epochs=-(-settings.steps // per_epoch),
        steps=settings.steps,
        optimizer=lambda weights: torch.optim.AdamW(weights, settings.peak_rate, weight_decay=settings.weight_decay),
        schedule=lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.peak_rate, total_steps=settings.steps, pct_start=min(0.1, 100 / settings.steps + 0.02)
        ),
        per="step",
        average=settings.average,
    )
    return fit_phases(
        network, loss, [phase], loader(items, settings, Endless(per_epoch * settings.batch)), run, settings
    )


def read_settings(file: Path, kind: type[Chosen]) -> Chosen | None:
    """Return the settings in a run folder's `recipe.json`, or None if they are not of this kind."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except ValidationError:
        return None


def seeded(build: Callable[[], Network], settings: TrainingSettings) -> Network:
    """Return the network that `build` builds, with the random weights of the seed."""
    lightning.seed_everything(settings.seed, verbose=False)
    return build()
