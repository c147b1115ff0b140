"""The training loop: a run repeats, goes on after a kill as if it had not been killed, keeps the best, stops early."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.errors import ConfigError
from linewatch.training.fit import (
    HISTORY,
    Endless,
    HouseSettings,
    Phase,
    Shuffled,
    TrainingSettings,
    fit,
    fit_phases,
    loader,
    read_history,
)
from linewatch.training.house.protocols import train_house

SETTINGS = TrainingSettings(batch=4, workers=0, threads=1)


class Numbers(Dataset[dict[str, Tensor]]):
    """Noisy points of a line; the noise is a function of epoch and index."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, which: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = which if isinstance(which, tuple) else (0, which)
        x = torch.tensor([index / 16.0])
        noise = np.random.default_rng((epoch, index)).normal(0, 0.05)
        return {"x": x, "y": 3 * x + 1 + float(noise)}


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return (network(batch["x"]) - batch["y"]).square().mean()


def phase(epochs: int, **changes: object) -> Phase:
    return Phase("fit", epochs, lambda weights: torch.optim.Adam(weights, 0.02), **changes)  # type: ignore[arg-type]


def run(folder: Path, *phases: Phase, validation: bool = False) -> nn.Module:
    items = Numbers()
    held = loader(items, SETTINGS) if validation else None
    return fit_phases(Line(), loss, phases, loader(items, SETTINGS, Shuffled(16, 7)), folder, SETTINGS, held)


def equal(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.slow
def test_a_run_repeats_and_learns(tmp_path: Path) -> None:
    first, again = run(tmp_path / "a", phase(30)), run(tmp_path / "b", phase(30))
    assert equal(first, again)
    losses = [float(row["train_loss"]) for row in read_history(tmp_path / "a" / HISTORY)]
    assert len(losses) == 30
    assert losses[-1] < 0.3 * losses[0]


KILLED = """
    import os, signal, sys
    sys.path[:0] = sys.argv[3:]
    from pathlib import Path
    import test_fit
    from linewatch.training import fit

    fit.CHECKPOINT_INTERVAL_S = 0.0
    def at_step(self, trainer, module, batch, number):
        if trainer.global_step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    fit.History.on_train_batch_start = at_step
    test_fit.run(Path(sys.argv[1]), test_fit.phase(6, average=0.9))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [pytest.param(12, id="between epochs", marks=pytest.mark.heavy), pytest.param(15, id="in mid-epoch")]
)
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path, step: int) -> None:
    here = Path(__file__).parent
    code, folders = textwrap.dedent(KILLED), (str(here), str(here.parents[1]))
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "killed"), str(step), *folders],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert [row["epoch"] for row in read_history(tmp_path / "killed" / HISTORY)] == ["0", "1", "2"]
    whole = run(tmp_path / "whole", phase(6, average=0.9))
    resumed = run(tmp_path / "killed", phase(6, average=0.9))
    assert equal(whole, resumed)
    assert [row["epoch"] for row in read_history(tmp_path / "killed" / HISTORY)] == list("012345")


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path, phase(2))
    started = time.time_ns()
    again = run(tmp_path, phase(2))
    assert equal(first, again)
    assert all(path.stat().st_mtime_ns < started for path in tmp_path.rglob("*.ckpt"))


def test_training_stops_early_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    def worse(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:  # weights run away from where they start
        return -loss(network, batch) if network.training else loss(network, batch)

    items = Numbers()
    best = fit_phases(
        Line(),
        worse,
        [phase(50, patience=3)],
        loader(items, SETTINGS, Shuffled(16, 7)),
        tmp_path,
        SETTINGS,
        loader(items, SETTINGS),
    )
    rows = read_history(tmp_path / HISTORY)
    assert len(rows) == 4
    figures = [float(row["val_loss"]) for row in rows]
    assert min(figures) == figures[0]
    with torch.no_grad():
        seen = np.mean([float(loss(best, batch)) for batch in loader(items, SETTINGS)])
    assert seen == pytest.approx(figures[0], rel=1e-4)


def test_phases_follow_each_other_with_their_own_rates(tmp_path: Path) -> None:
    second = Phase("second", 2, lambda weights: torch.optim.SGD(weights, 0.5))
    run(tmp_path, phase(2), second)
    rows = read_history(tmp_path / HISTORY)
    assert [(row["phase"], row["epoch"], float(row["rate"])) for row in rows] == [
        ("fit", "0", 0.02),
        ("fit", "1", 0.02),
        ("second", "2", 0.5),
        ("second", "3", 0.5),
    ]


def test_the_house_steps_repeat_and_other_settings_want_another_folder(tmp_path: Path) -> None:
    settings = HouseSettings(steps=6, batch=4, workers=0, threads=1)
    first, again = (fit(Line(), loss, Numbers(), settings, tmp_path / name) for name in "ab")
    assert equal(first, again)
    with pytest.raises(ConfigError, match="other settings"):
        fit(Line(), loss, Numbers(), HouseSettings(steps=7, batch=4, workers=0, threads=1), tmp_path / "a")


def test_orders_take_every_item_and_differ_by_epoch() -> None:
    order = Shuffled(10, 3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert sorted(index for _, index in first) == sorted(index for _, index in second) == list(range(10))
    assert [index for _, index in first] != [index for _, index in second]
    assert {epoch for epoch, _ in second} == {1}
    endless = Endless(4)
    endless.set_epoch(2)
    assert list(endless) == [8, 9, 10, 11]


def test_a_setting_that_does_not_fit_is_named() -> None:
    settings = TrainingSettings(batch=7).with_settings(["seed=3"])
    assert (settings.batch, settings.seed) == (7, 3)
    for text, told in (
        ("batch", "name=value"),
        ("batches=3", "with a name of seed, batch"),
        ("batch=0", "greater than"),
    ):
        with pytest.raises(ConfigError, match=told):
            TrainingSettings().with_settings([text])


def test_two_devices_share_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    items, endless = [], []
    for rank in range(2):
        monkeypatch.setattr("linewatch.training.fit._rank", lambda rank=rank: (rank, 2))
        items += [index for _, index in Shuffled(10, 3)]
        endless.append(list(Endless(6)))
    assert sorted(items) == list(range(10))
    assert endless == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.heavy
def test_two_processes_share_an_epoch(tmp_path: Path) -> None:
    """What multi-GPU does, with two CPU processes of the same library."""
    code = """
        import sys
        import torch.distributed as dist
        from linewatch.training.fit import Shuffled, Endless
        dist.init_process_group("gloo", init_method=sys.argv[1], rank=1, world_size=2)
        print([i for _, i in Shuffled(10, 3)], list(Endless(6)), sep="; ", flush=True)
        dist.destroy_process_group()
    """
    meet = f"file://{tmp_path / 'meet'}"
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), meet],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    torch.distributed.init_process_group("gloo", init_method=meet, rank=0, world_size=2, timeout=timedelta(seconds=120))
    try:
        mine, endless = [i for _, i in Shuffled(10, 3)], list(Endless(6))
        theirs, rest = map(json.loads, other.communicate(timeout=120)[0].split("; "))
    finally:
        torch.distributed.destroy_process_group()
    assert (endless, rest) == ([0, 2, 4], [1, 3, 5])
    assert sorted(mine + theirs) == list(range(10))


def test_a_name_that_no_engine_may_have_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="becomes the engine's name"):
        train_house("screen", {}, [], None, tmp_path / "run", tmp_path / "screen-v1.0")
    assert not (tmp_path / "run").exists()
