"""Fit the inspect network: one network for each fold that it leaves out, and one of all frames.

Networks take turns of `TURN` steps, so that whenever the time is up all have had the same training; a run that is
started again goes on where its last turn ended. The learning rate stays as it is until the last `cool` steps, over
which it falls to nothing (Hägele et al. 2024, arXiv:2405.18392), so a run may be given more steps as time allows and
is then cooled once. The running mean of the weights (Polyak & Juditsky 1992) is kept beside them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from linewatch.contracts.errors import ConfigError
from linewatch.datasets.splits import FOLDS
from linewatch.networks.inspect import FrameLogits, FrameNetwork
from linewatch.networks.mobilenet import WeightsMismatch
from linewatch.networks.stored import read_stored
from linewatch.terminal import plain_console
from linewatch.training.fit import TrainingSettings
from linewatch.training.samples.labelled_crops import CropSampler, Targets
from linewatch.training.samples.labelled_frames import CLASSES, Folds, LabelledFrame

TURN = 40
HEAD_RATE, TRUNK_RATE, DECAY = 1e-3, 2e-4, 0.02
MEAN_OVER_STEPS = 150
LOUDEST = 6
"""So many places of a clean crop are held down beyond the rest."""
ENCODER = "efficientnet_lite1"
STATE = "state.pt"
ALL = FOLDS
"""The network that learns from all frames, to be used on others."""


class InspectSettings(TrainingSettings):
    """Settings of the inspect network's training."""

    seed: int = 20261130
    batch: PositiveInt = 8
    threads: PositiveInt = Field(default=1, description="torch threads of each network on a CPU")
    workers: int = Field(default=0, ge=0, description="processes that draw each network's crops; for a GPU")
    encoder: str = Field(default=ENCODER, description="the trunk, which starts from ImageNet")
    steps: PositiveInt = Field(default=1500, description="of each network")
    cool: NonNegativeInt = Field(default=400, description="the last so many of them with a falling learning rate")
    side_by_side: PositiveInt = Field(default=2, description="networks that are trained at a time")
    device: str = Field(default="cpu", description="of torch, for example cuda")


def state_file(run: Path, network: int) -> Path:
    """Return the file of the network that leaves out this fold, or of the one of all frames (`ALL`)."""
    return run / f"fold-{'all' if network == ALL else network}" / STATE


@dataclass(frozen=True)
class Schedule:
    """The number of steps; over the last `cool` of them the learning rate falls linearly to 0."""

    steps: int
    cool: int

    def share(self, step: int) -> float:
        """Return the share of the full learning rate at this step."""
        return min(1.0, (self.steps - step) / self.cool) if self.cool else 1.0


@dataclass
class FoldTraining:
    """One network's training: the network, its running mean, and where it stands; `file` holds all of it."""

    network: FrameNetwork
    mean: FrameNetwork
    optimiser: torch.optim.Optimizer
    step: int
    file: Path
    settings: InspectSettings

    @classmethod
    def begin(cls, weights: Path | None, file: Path, settings: InspectSettings) -> FoldTraining:
        """Resume from `file` if it exists; else start from the ImageNet weights in `weights`, or at random (None)."""
        torch.manual_seed(settings.seed)
        device = settings.device
        network = new_network(settings, weights).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean = new_network(settings).to(device)
        mean.load_state_dict(network.state_dict())
        of_trunk = [p for p in network.trunk.parameters() if p.requires_grad]
        known = {id(p) for p in network.trunk.parameters()}
        of_heads = [p for p in network.parameters() if id(p) not in known]
        optimiser = torch.optim.AdamW(
            [{"params": of_trunk, "lr": TRUNK_RATE}, {"params": of_heads, "lr": HEAD_RATE}], weight_decay=DECAY
        )
        run = cls(network, mean.eval(), optimiser, 0, file, settings)
        if file.is_file():
            state = read_stored(file, device)
            run.network.load_state_dict(state["network"])
            run.mean.load_state_dict(state["mean"])
            run.optimiser.load_state_dict(state["optimiser"])
            run.step = state["step"]
        return run

    def save(self) -> None:
        """Save the state atomically."""
        state = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def turn(self, crops: CropSampler, steps: int) -> float:
        """Run `steps` steps and return their mean loss."""
        schedule, device = Schedule(self.settings.steps, self.settings.cool), torch.device(self.settings.device)
        self.network.train()
        total = 0.0
        steps_ahead = range(self.step, self.step + steps)
        for image, targets, weight in DataLoader(
            Batches(crops, steps_ahead, self.settings), batch_size=None, num_workers=self.settings.workers
        ):
            for group, rate in zip(self.optimiser.param_groups, (TRUNK_RATE, HEAD_RATE), strict=True):
                group["lr"] = rate * schedule.share(self.step)
            self.optimiser.zero_grad(set_to_none=True)
            # A processor gains nothing from half precision here, a GPU does.
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                said = self.network(image.to(device, memory_format=torch.channels_last))
            value = loss(
                FrameLogits(*(one.float() for one in said)),
                FrameLogits(*(one.to(device) for one in targets)),
                weight.to(device),
            )
            value.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimiser.step()
            self.step += 1
            self._follow()
            total += float(value.detach())
        return total / steps

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(1 - 1 / MEAN_OVER_STEPS, self.step / (self.step + 10))
        for mine, theirs in zip(self.mean.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)


@dataclass(frozen=True)
class Batches(Dataset[tuple[Tensor, FrameLogits, Tensor]]):
    """The images, uint8 (batch, 1, 256, CROP_PX), targets, and weights of the outline's cells of each step."""

    crops: CropSampler
    steps: range
    settings: InspectSettings

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, at: int) -> tuple[Tensor, FrameLogits, Tensor]:
        rng = np.random.default_rng([self.settings.seed, self.steps[at]])
        drawn = [self.crops.draw(rng) for _ in range(self.settings.batch)]
        told = [Targets.of(look.mask) for look in drawn]
        screen, outlines, weight = (
            torch.from_numpy(np.stack([getattr(one, part) for one in told]))
            for part in (*FrameLogits._fields, "weight")
        )
        return torch.from_numpy(np.stack([look.gray for look in drawn])[:, None]), FrameLogits(screen, outlines), weight


def loss(said: FrameLogits, told: FrameLogits, weight: Tensor) -> Tensor:
    """Cross-entropy of the screen and of the outlines of any class, where something is known, small pieces weighing
    more; the Dice of the outlines of any class and of each over the batch, in which a rare class of small defects
    counts as much as another; which class it is, where a defect is, each class counting alike; and what stands out most
    in each crop that is clean throughout, since one false instance is as bad as a large one.
    """
    known = told.screen >= 0
    screen = F.binary_cross_entropy_with_logits(said.screen[known], told.screen[known])
    known = told.outlines >= 0
    there, truth = known[:, 0], told.outlines.clamp_min(0)
    outlines = F.binary_cross_entropy_with_logits(said.outlines[:, 0][there], told.outlines[:, 0][there], weight[there])
    probability = said.outline_probability() * known
    inside = (probability * truth).sum((0, 2, 3))
    size = (probability.square() + truth.square()).sum((0, 2, 3))
    dice = 1 - (2 * inside + 20) / (size + 20)
    of_class = truth[:, 1:].sum((0, 2, 3))
    surprise = -(truth[:, 1:] * said.outlines[:, 1:].log_softmax(1)).sum((0, 2, 3)) / of_class.clamp_min(1)
    classes = surprise.sum() / (of_class > 0).sum().clamp_min(1)
    clean = told.outlines[:, 0].abs().amax((1, 2)) == 0
    loudest = F.softplus(F.max_pool2d(said.outlines[:, :1], 8).flatten(1).topk(LOUDEST).values[clean]).sum()
    return screen + 2 * outlines + dice.mean() + 0.5 * classes + 0.1 * loudest / (LOUDEST * len(clean))


def new_network(settings: InspectSettings, weights: Path | None = None) -> FrameNetwork:
    """Return a network that is not fitted; weights: the folder `imagenet_weights`, None: random weights."""
    return FrameNetwork(len(CLASSES), settings.encoder, weights)


def load_network(state: Path, encoder: str = ENCODER) -> tuple[FrameNetwork, int]:
    """Return the network in a state file, in eval mode, and the number of its training's steps.

    A file that is missing or of another network raises `ConfigError`.
    """
    try:
        stored = read_stored(state)
        network = FrameNetwork(len(CLASSES), encoder)
        network.load_state_dict(stored["network"])
        return network.eval(), int(stored["step"])
    except (LookupError, TypeError, RuntimeError, ValueError, WeightsMismatch) as error:
        raise ConfigError(
            f"{state}: holds no state of an inspect network ({error!s:.200}); name the state.pt of a run of "
            "`linewatch train inspect`"
        ) from error


def trained_on(frames: Sequence[LabelledFrame], folds: Folds, network: int) -> list[LabelledFrame]:
    """Return the frames of a network: those of the other folds, or all for the one that is used (`ALL`)."""
    return list(frames) if network == ALL else folds.without(frames, network)


def fit_all(frames: Sequence[LabelledFrame], folds: Folds, runs: Sequence[FoldTraining]) -> None:
    """Train the networks 0 to `ALL` in turns to the end of their schedule, each on its own thread.

    More threads of one network would wait for each other wherever other work has taken a core.
    """
    settings = runs[0].settings
    crops = [CropSampler(trained_on(frames, folds, network)) for network in range(len(runs))]

    def turn(network: int) -> int:
        began, count = time.perf_counter(), min(TURN, settings.steps - runs[network].step)
        value = runs[network].turn(crops[network], count)
        runs[network].save()
        took = (time.perf_counter() - began) / count
        name, step = runs[network].file.parent.name, runs[network].step
        plain_console().print(f"{name}: step {step} of {settings.steps}, loss {value:.4f}, {took:.2f} s a step")
        return network

    idle = set(range(len(runs)))
    with ThreadPoolExecutor(
        settings.side_by_side, initializer=partial(torch.set_num_threads, settings.threads)
    ) as pool:
        turns: set[Future[int]] = set()
        while turns or any(runs[network].step < settings.steps for network in idle):
            behind = sorted(
                (network for network in idle if runs[network].step < settings.steps),
                key=lambda network: runs[network].step,
            )
            for network in behind[: settings.side_by_side - len(turns)]:
                idle.remove(network)
                turns.add(pool.submit(turn, network))
            done, turns = wait(turns, return_when=FIRST_COMPLETED)
            idle |= {each.result() for each in done}
