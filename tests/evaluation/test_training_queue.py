"""A queue of trainings: checked before it begins, goes on after a kill, outlives a run that fails, writes its table."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_own import OUTLINED, own_pictures
from waiting import wait_until

from linewatch.contracts.errors import ConfigError
from linewatch.evaluation.queue.queue_file import QueuedRun, read_queue
from linewatch.evaluation.queue.work import RunState, RunWork, seconds_left
from linewatch.training.fit import HISTORY, read_history
from linewatch.training.runs import RESULT

SMALL = 'lines = 64, width = 64, batch = 8, threads = 1, workers = 0, encoder = "mobilenet_v1_0.25"'


def queue_file(folder: Path, *runs: str) -> Path:
    file = folder / "queue.toml"
    file.write_text("".join(f"[[run]]\n{run}\n" for run in runs))
    return file


def test_the_papers_queue_is_good() -> None:
    sets = {name: Path(name) for name in ("neu", "xsdd", "gc10", "magnetic_tile", "severstal")}
    queue = read_queue(Path("configs/training/papers.toml"), sets)
    assert {run.recipe for run in queue.run} >= {"custom_cnn", "vgg11_counts", "mvgg19", "nasnet_mobile", "tlu_net"}


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ('recipe = "cnn"', "no training protocol 'cnn', expected one of custom_cnn, "),
        ('recipe = "vgg16"\nset = { epoch = 3 }', "--set epoch=3: expected name=value with a name of seed, "),
        ('recipe = "vgg16"\nset = { epochs = 0 }', "--set epochs: Input should be greater than 0, found '0'"),
        ('recipe = "vgg16"\ntrunk_of = "last"', "trunk_of is 'last', expected a run before it without kfold: first"),
        ('recipe = "vgg16"\ntrunk_of = "first"\nweights = "imagenet"', "weights and trunk_of are both given"),
    ],
)
def test_a_slip_in_any_run_is_told_before_the_first_begins(tmp_path: Path, run: str, why: str) -> None:
    file = queue_file(tmp_path, 'name = "first"\nrecipe = "vgg11"\ndata = "neu"', f'name = "last"\ndata = "neu"\n{run}')
    with pytest.raises(ConfigError) as told:
        read_queue(file, {"neu": tmp_path})
    assert str(told.value).startswith(f"{file}: run 'last': {why}")


def test_names_are_unique_and_sets_are_at_hand(tmp_path: Path) -> None:
    run = 'name = "a"\nrecipe = "vgg11"\ndata = "neu"'
    with pytest.raises(ConfigError, match="two runs have the name 'a'"):
        read_queue(queue_file(tmp_path, run, run), {"neu": tmp_path})
    with pytest.raises(ConfigError, match="the set 'neu' is not among those of --data: xsdd"):
        read_queue(queue_file(tmp_path, run), {"xsdd": tmp_path})


def state(epochs: int, seconds: float, gflop: float, ended: bool = False) -> RunState:
    return RunState(RunWork(QueuedRun(name="a", recipe="vgg11", data="neu"), 10, gflop), ended, epochs, seconds)


def test_the_time_left_goes_by_the_rate_of_each_run_and_by_the_mean_for_those_to_come() -> None:
    assert seconds_left([state(0, 0, 5)], 1) is None
    assert seconds_left([state(4, 40, 5)], 1) == 60
    assert seconds_left([state(4, 40, 5), state(0, 0, 50)], 1) == 60 + 10 * 50 * 2
    assert seconds_left([state(4, 40, 5), state(0, 0, 50)], 2) == (60 + 1000) / 2
    assert seconds_left([state(4, 40, 5, ended=True)], 1) == 0, "stopped early"


@pytest.mark.heavy
def test_a_queue_that_is_killed_goes_on_and_one_bad_run_does_not_end_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    OUTLINED["coco"](tmp_path / "set", own_pictures())
    file = queue_file(
        tmp_path,
        f'name = "long"\nrecipe = "tlu_net"\ndata = "mine"\nset = {{ epochs = 20, patience = 99, {SMALL} }}',
        f'name = "bad"\nrecipe = "tlu_net"\ndata = "mine"\nweights = "none.safetensors"\nset = {{ {SMALL} }}',
        f'name = "after"\nrecipe = "tlu_net"\ndata = "mine"\ntrunk_of = "bad"\nset = {{ epochs = 1, {SMALL} }}',
        f'name = "last"\nrecipe = "tlu_net"\ndata = "mine"\nset = {{ epochs = 1, {SMALL} }}',
    )
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "linewatch.cli", "train", "--queue", file, "--data", f"mine={tmp_path / 'set'}"]
    first = subprocess.Popen([*command, "--run", runs], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_until(lambda: len(read_history(runs / "long" / HISTORY)) >= 3, 120)
    second = subprocess.run([*command, "--run", runs], capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 2
    assert "another queue trains here" in second.stderr
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 1
    before = read_history(runs / "long" / HISTORY)
    assert 3 <= len(before) < 20
    assert not (runs / "long" / RESULT).exists()
    again = subprocess.run([*command, "--run", runs], capture_output=True, text=True, timeout=280, check=False)
    assert again.returncode == 1
    assert read_history(runs / "long" / HISTORY)[: len(before)] == before
    rows = (runs / "results.md").read_text().splitlines()[2:]
    assert again.stdout.splitlines()[-4:] == rows
    assert [row.split("|")[1].strip() for row in rows] == [
        "`long` (`tlu_net`)", "`bad` (`tlu_net`)", "`after` (`tlu_net`)", "`last` (`tlu_net`)"
    ]  # fmt: skip
    assert "dice 0." in rows[0]
    assert "failed: linewatch: " in rows[1]
    assert "none.safetensors" in rows[1]
    assert "not trained: bad failed" in rows[2]
    assert "dice 0." in rows[3]
