"""Progress of a training: a bar with the time left on a terminal, a line every 30 s in a log."""

from __future__ import annotations

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LOG_EVERY_S = 30.0


class RunProgress(Callback):
    """Shows the steps of one phase, the time left and the newest metrics on stderr."""

    def __init__(self, phase: str, epochs: int):
        self.phase, self.epochs = phase, epochs
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self.console,
        )
        self.printed_s = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        total = int(trainer.estimated_stepping_batches)
        self.task = self.bar.add_task(self.phase, total=total, completed=trainer.global_step, metrics="")
        self.started, self.first, self.total = time.monotonic(), trainer.global_step, total
        if self.console.is_terminal:
            self.bar.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_global_zero:
            return
        self.bar.update(self.task, completed=trainer.global_step)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed_s > _LOG_EVERY_S:
            self.printed_s = now
            self._line(trainer, now)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            metrics = " ".join(f"{name} {float(value):.3g}" for name, value in sorted(trainer.callback_metrics.items()))
            self.bar.update(self.task, metrics=metrics)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            if self.console.is_terminal:
                self.bar.stop()
            else:
                self._line(trainer, time.monotonic())

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.bar.stop()

    def _line(self, trainer: lightning.Trainer, now: float) -> None:
        done = trainer.global_step - self.first
        left = (now - self.started) / max(done, 1) * (self.total - trainer.global_step)
        metrics = " ".join(f"{name} {float(value):.3g}" for name, value in sorted(trainer.callback_metrics.items()))
        self.console.print(
            f"{self.phase}: step {trainer.global_step} of {self.total}, epoch {trainer.current_epoch + 1} of "
            f"{self.epochs}, {left:.0f} s left  {metrics}",
            highlight=False,
        )
