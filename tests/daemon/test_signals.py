"""However a service ends, what was decided is kept, and no alarm is lost or doubled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from waiting import wait_until

from linewatch.client import Subscriber
from linewatch.config.journal import JournalSettings
from linewatch.contracts.alarm import AlarmState
from linewatch.journal.journal import Journal
from linewatch.wire.schema import AlarmMessage

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 60.0

CONFIG = """
[source]
type = "simulator"
length_m = {length_m}
defects_per_m = 2.0
coil = "SIG-7"

[inference]
chain = "cascade"
engines_dir = "{root}/engines"
workers = 2

[journal]
dir = "{journal}"

[wire]
publish = "ipc://{folder}/pub"
serve = "ipc://{folder}/rep"

[[alarm]]
name = "anything"
"""


def write_config(folder: Path, length_m: float = 500.0) -> Path:
    path = folder / "service.toml"
    path.write_text(CONFIG.format(root=ROOT, folder=folder, journal=folder / "journal", length_m=length_m))
    return path


@contextmanager
def linewatch(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A command as a user starts it; killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "linewatch.cli", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def subscriber(folder: Path) -> Subscriber:
    return Subscriber(f"ipc://{folder}/pub", f"ipc://{folder}/rep", since="epoch", answer_timeout_s=2.0)


def first_alarm(listening: Subscriber) -> AlarmMessage:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        message = listening.poll(1.0)
        if isinstance(message, AlarmMessage):
            return message
    raise AssertionError("no alarm came")


def journaled(folder: Path, topic: str) -> list[list[dict[str, object]]]:
    """Return the headers of a topic as the journal holds them, by epoch."""
    with Journal(JournalSettings(dir=folder / "journal")) as journal:
        epochs = [epoch for epoch in journal.epochs() if epoch != journal.epoch]
        return [[json.loads(record.header) for record in journal.read(e, topic, 0, 1 << 30)] for e in epochs]


@pytest.mark.parametrize(("number", "told"), [(signal.SIGTERM, ["started"]), (signal.SIGINT, ["started", "ended"])])
def test_a_stopped_service_drains_and_ends_well(tmp_path: Path, number: signal.Signals, told: list[str]) -> None:
    """Exit code 0; the verdicts of every line that passed are in the journal. By SIGTERM the coil does not end."""
    with subscriber(tmp_path) as listening, linewatch("run", write_config(tmp_path)) as process:
        first_alarm(listening)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [json.loads(line)["event"] for line in err.splitlines()][-1] == "stopped"
    (coil,), (frames,) = journaled(tmp_path, "coil"), journaled(tmp_path, "frame")
    assert [notice["state"] for notice in coil] == told
    assert [frame["sequence"] for frame in frames] == list(range(len(frames)))
    lines = [(frame["first_line"], frame["lines"]) for frame in frames]
    assert all(a[0] + a[1] == b[0] for a, b in pairwise(lines))


def test_signals_in_a_burst_end_it_as_well_as_one(tmp_path: Path) -> None:
    """Ctrl-C again and again, and a supervisor's SIGTERM on top: each comes while the one before is being handled."""
    with subscriber(tmp_path) as listening, linewatch("run", write_config(tmp_path)) as process:
        first_alarm(listening)
        for number in (signal.SIGTERM, signal.SIGINT) * 10:
            process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [json.loads(line)["event"] for line in err.splitlines()][-1] == "stopped"


def test_after_kill_9_a_standing_alarm_is_neither_lost_nor_doubled(tmp_path: Path) -> None:
    """The next start on the same coil shows the alarm as standing, and does not raise it again."""
    config = write_config(tmp_path)
    with subscriber(tmp_path) as listening, linewatch("run", config) as process:
        alarm = first_alarm(listening)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    with subscriber(tmp_path) as listening, linewatch("run", config) as process:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and not (frames := _frames_of_epoch(listening, 2, at_least=60)):
            pass
        assert frames
        snapshot = listening.snapshot()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert alarm.id in [standing.id for standing in snapshot.standing_alarms]
    alarms = [header for epoch in journaled(tmp_path, "alarm") for header in epoch]
    # On a slow machine frames are late, and `coverage-low` is raised as well.
    raised = [a["id"] for a in alarms if a["state"] == AlarmState.RAISED and a["rule"] == alarm.rule]
    assert raised == [alarm.id]


def _frames_of_epoch(listening: Subscriber, epoch: int, at_least: int) -> int:
    seen = 0
    for _ in range(2000):
        message = listening.poll(1.0)
        if message is not None and getattr(message, "epoch", None) == epoch and str(message.topic) == "frame":  # type: ignore[union-attr]
            seen += 1
            if seen >= at_least:
                return seen
    return 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in (1, 2))])
def test_a_replay_killed_at_any_time_leaves_whole_lines(tmp_path: Path, seed: int) -> None:
    """After SIGKILL the verdict file holds whole lines but for the last, and nothing that was not decided in order."""
    out = tmp_path / "v.jsonl"
    config = write_config(tmp_path, length_m=2000.0)
    with linewatch("replay", "simulator", "--config", config, "--out", out) as process:
        size = random.Random(seed).randrange(2_000, 200_000)
        wait_until(lambda: out.exists() and out.stat().st_size >= size, START_LIMIT_S)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    lines = out.read_bytes().splitlines(keepends=True)
    whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
    assert len(whole) >= len(lines) - 1
    assert [line["ordinal"] for line in whole if line["kind"] == "verdict"] == list(range(len(whole) - 1))


def test_an_interrupted_replay_keeps_what_was_decided_and_says_how_far_it_came(tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    config = write_config(tmp_path, length_m=2000.0)
    with linewatch("replay", "simulator", "--config", config, "--out", out, "--json") as process:
        wait_until(lambda: out.exists() and out.stat().st_size >= 2_000, START_LIMIT_S)
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert verdicts[-1]["state"] == "ended"
    assert json.loads(printed)["frames"] == sum(line["kind"] == "verdict" for line in verdicts)
