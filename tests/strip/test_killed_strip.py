"""The joined record of real processes that are killed is the one that a joiner makes of the same decisions."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import wide_strip
from strip_line import expected, strip_line
from waiting import wait_until

from linewatch.strip.settings import load_strip_settings

pytestmark = pytest.mark.service

KILLS = int(os.environ.get("LINEWATCH_KILLS", "3"))


def test_whoever_is_killed_the_joined_record_holds_everything_once(tmp_path: Path) -> None:
    """Kill the strip process and the services of cameras at random; compare byte for byte, but for times."""
    dice = random.Random(59)
    began_s = time.time()
    mask = wide_strip.blobs(np.random.default_rng(3), 32 * 40, 60)
    with strip_line(tmp_path) as line:
        line.write(strip="wait_s = 60.0")
        seen = wide_strip.by_cameras(mask, line.settings)
        for one in seen:
            line.play(one.key, 25.0, one.decided, go=False)
        line.start()
        wait_until(lambda: len(line.events("camera_heard")) == len(seen))
        line.go(*(one.key for one in seen))
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.1, 0.6))
            victim = dice.choice(["strip", "strip", *(one.key for one in seen)])
            line.kill(victim)
            line.start() if victim == "strip" else line.play(victim, 25.0)
        line.wait_ended()
        line.kill("strip")
        found, taken_s = line.record(), line.taken_unix_s()
    wanted = expected(wide_strip.joined(load_strip_settings(line.config), seen))
    assert len(taken_s) > 40
    assert all(began_s <= one_s <= time.time() for one_s in taken_s), "also that of the coil's end"
    assert [one for one in found if one["topic"] != "alarm"] == [one for one in wanted if one["topic"] != "alarm"]


@pytest.mark.heavy
def test_a_killed_reader_is_started_again_and_the_joined_record_holds_everything_once(tmp_path: Path) -> None:
    """Two processes read the cameras; one of them is killed, then the strip process with all of them."""
    mask = wide_strip.blobs(np.random.default_rng(5), 32 * 40, 30)
    with strip_line(tmp_path) as line:
        line.write(strip="wait_s = 60.0\nreaders = 2")
        seen = wide_strip.by_cameras(mask, line.settings)
        for one in seen:
            line.play(one.key, 15.0, one.decided, go=False)
        line.start()
        wait_until(lambda: len(line.events("camera_heard")) == len(seen))
        keys = [one.key for one in seen]
        line.go(*keys)
        wait_until(lambda: (now := line.snapshot()) is not None and now.sequences["frame"] > 1)
        line.go(*keys, on=False)
        readers = _children(line.processes["strip"].pid)
        assert len(readers) == 2
        os.kill(readers[0], signal.SIGKILL)
        wait_until(lambda: line.events("reader_ended"))
        assert "SIGKILL" in line.events("reader_ended")[0]["why"]
        wait_until(lambda: len(_children(line.processes["strip"].pid)) == 2)
        readers = _children(line.processes["strip"].pid)
        line.kill("strip")
        wait_until(lambda: not any(map(_runs, readers)))
        line.go(*keys)
        line.start()
        line.wait_ended()
        line.kill("strip")
        found = line.record()
    wanted = expected(wide_strip.joined(load_strip_settings(line.config), seen))
    assert [one for one in found if one["topic"] != "alarm"] == [one for one in wanted if one["topic"] != "alarm"]


def _children(process: int) -> list[int]:
    return [int(one) for path in Path(f"/proc/{process}/task").glob("*/children") for one in path.read_text().split()]


def _runs(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
