"""Train the frame network on four folds at a time: ``python -m experiments.eye.train --data DIR --out runs/eye``.

Folds take turns of `TURN` steps, so that whenever the time is up all have had the same training; a run that is
started again goes on where its last turn ended. The learning rate stays as it is until the last `--cool` steps, over
which it falls to nothing (Hägele et al. 2024, arXiv:2405.18392), so a run may be given more steps as time allows and
is then cooled once. The running mean of the weights (Polyak & Juditsky 1992) is kept beside them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from experiments.eye.crops import CropSampler, Targets
from experiments.eye.frame_network import FrameLogits, FrameNetwork
from experiments.eye.frames import CLASSES, Folds, LabelledFrame, read_frames
from linewatch.datasets.splits import FOLDS

BATCH, TURN = 8, 40
HEAD_RATE, TRUNK_RATE, DECAY = 1e-3, 2e-4, 0.02
MEAN_OVER_STEPS = 150
LOUDEST = 6
"""So many places of a clean crop are held down beyond the rest."""
ALL = FOLDS
"""The run that trains on all frames, for use on others."""
SEED = 20261130


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
    """One fold's training: the network, its running mean, and where it stands; `file` holds all of it. `readers`
    processes draw its crops (0: this one).
    """

    network: FrameNetwork
    mean: FrameNetwork
    optimiser: torch.optim.Optimizer
    step: int
    file: Path
    device: torch.device
    readers: int

    @classmethod
    def begin(cls, weights: Path | None, file: Path, device: str = "cpu", readers: int = 0) -> FoldTraining:
        """Resume from `file` if it exists; else start from the ImageNet weights in `weights`, or at random (None)."""
        torch.manual_seed(SEED)
        network = FrameNetwork(len(CLASSES), weights=weights).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean = FrameNetwork(len(CLASSES)).to(device)
        mean.load_state_dict(network.state_dict())
        of_trunk = [p for p in network.trunk.parameters() if p.requires_grad]
        known = {id(p) for p in network.trunk.parameters()}
        of_heads = [p for p in network.parameters() if id(p) not in known]
        optimiser = torch.optim.AdamW(
            [{"params": of_trunk, "lr": TRUNK_RATE}, {"params": of_heads, "lr": HEAD_RATE}], weight_decay=DECAY
        )
        run = cls(network, mean.eval(), optimiser, 0, file, torch.device(device), readers)
        if file.is_file():
            state = torch.load(file, weights_only=True, map_location=device)
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

    def turn(self, crops: CropSampler, steps: int, schedule: Schedule) -> float:
        """Run `steps` steps and return their mean loss."""
        self.network.train()
        total = 0.0
        steps_ahead = range(self.step, self.step + steps)
        for image, targets, weight in DataLoader(
            Batches(crops, steps_ahead), batch_size=None, num_workers=self.readers
        ):
            for group, rate in zip(self.optimiser.param_groups, (TRUNK_RATE, HEAD_RATE), strict=True):
                group["lr"] = rate * schedule.share(self.step)
            self.optimiser.zero_grad(set_to_none=True)
            # A processor gains nothing from half precision here, a GPU does.
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                said = self.network(image.to(self.device, memory_format=torch.channels_last))
            value = loss(
                FrameLogits(*(one.float() for one in said)),
                FrameLogits(*(one.to(self.device) for one in targets)),
                weight.to(self.device),
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
    """The images, uint8 (BATCH, 1, 256, CROP_PX), targets, and weights of the outline's cells of each step."""

    crops: CropSampler
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, at: int) -> tuple[Tensor, FrameLogits, Tensor]:
        rng = np.random.default_rng([SEED, self.steps[at]])
        drawn = [self.crops.draw(rng) for _ in range(BATCH)]
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


def trained_on(frames: Sequence[LabelledFrame], folds: Folds, run: int) -> list[LabelledFrame]:
    """Return the frames of a run: those of the other folds, or all for the network that is used (`ALL`)."""
    return list(frames) if run == ALL else folds.without(frames, run)


def train(
    frames: Sequence[LabelledFrame], folds: Folds, runs: Sequence[FoldTraining], schedule: Schedule, workers: int
) -> None:
    """Train all folds in turns to the end of the schedule, `workers` folds at a time, each on one thread.

    Threads of one fold would wait for each other wherever other work has taken a core.
    """
    crops = [CropSampler(trained_on(frames, folds, run)) for run in range(len(runs))]

    def turn(fold: int) -> int:
        began, count = time.perf_counter(), min(TURN, schedule.steps - runs[fold].step)
        value = runs[fold].turn(crops[fold], count, schedule)
        runs[fold].save()
        took = (time.perf_counter() - began) / count
        print(f"fold {fold} step {runs[fold].step} loss {value:.4f}, {took:.2f} s a step", flush=True)
        return fold

    idle = set(range(len(runs)))
    with ThreadPoolExecutor(workers, initializer=partial(torch.set_num_threads, 1)) as pool:
        turns: set[Future[int]] = set()
        while turns or any(runs[fold].step < schedule.steps for fold in idle):
            behind = sorted(
                (fold for fold in idle if runs[fold].step < schedule.steps), key=lambda fold: runs[fold].step
            )
            for fold in behind[: workers - len(turns)]:
                idle.remove(fold)
                turns.add(pool.submit(turn, fold))
            done, turns = wait(turns, return_when=FIRST_COMPLETED)
            idle |= {each.result() for each in done}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    parser.add_argument("--steps", type=int, default=600, help="of each fold")
    parser.add_argument("--cool", type=int, default=150, help="the last so many of them with a falling learning rate")
    parser.add_argument("--workers", type=int, default=2, help="folds at a time")
    parser.add_argument("--device", default="cpu", help="of torch, for example cuda")
    parser.add_argument("--readers", type=int, default=0, help="processes that draw a fold's crops; for a GPU")
    options = parser.parse_args()
    weights, files = (
        options.data / "imagenet_weights",
        [options.out / f"fold-{k}" / "state.pt" for k in (*range(FOLDS), "all")],
    )
    runs = [FoldTraining.begin(weights, file, options.device, options.readers) for file in files]
    train(read_frames(options.data), Folds.read(), runs, Schedule(options.steps, options.cool), options.workers)


if __name__ == "__main__":
    main()
