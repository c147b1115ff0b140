"""The soak's own parts: its schedule is seeded and whole, and its checks find what is wrong."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("scipy")
pytest.importorskip("paho.mqtt.client")
pytest.importorskip("psycopg")

from decisions import LINES, alarm, verdict

from benchmarks.soak import faults
from benchmarks.soak.checks import Ledger, holes_and_doubles, slope
from benchmarks.soak.processes import Sample, lacking
from benchmarks.soak.report import Report
from benchmarks.soak.schedule import KINDS, schedule
from linewatch.contracts.verdict import Decided
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import AlarmMessage, FrameMessage, Topic, parse

ROOT = Path(__file__).parents[2]


def told(*decided: Decided) -> list[FrameMessage | AlarmMessage]:
    """Return the frames and alarms of decisions as they arrive."""
    kinds = {Topic.FRAME: FrameMessage, Topic.ALARM: AlarmMessage}
    sequencer = Sequencer(1)
    for one in decided:
        one.timing.captured_ns = one.timing.published_ns = one.timing.published_unix_ns = 1
    records = [record for one in decided for record in sequencer.records(drafts(one))]
    return [parse(kinds[Topic(one.topic)], one.header) for one in records if Topic(one.topic) in kinds]


def wrong_with(*messages: FrameMessage | AlarmMessage) -> list[str]:
    ledger = Ledger("cam1")
    return [wrong for message in messages for wrong in ledger.take(message)]


def test_schedule_is_seeded_and_covers_every_kind_and_target() -> None:
    count = 25 * len(KINDS)
    first, again, other = (list(islice(schedule(seed, 10.0), count)) for seed in (1, 1, 2))
    assert first == again != other
    for at in range(0, count, len(KINDS)):
        assert {one.kind for one in first[at : at + len(KINDS)]} == set(KINDS)
    assert {(one.kind, one.target) for one in first} == {(kind, one) for kind, of in KINDS.items() for one in of}
    assert faults._KINDS.keys() == KINDS.keys()


def test_area_is_accounted_once() -> None:
    frames = told(*(verdict(number) for number in range(4)))
    assert wrong_with(*frames) == []
    renumbered = frames[2].model_copy(update={"sequence": 1})
    assert f"{LINES} lines are not accounted for" in wrong_with(frames[0], renumbered)[0]
    twice = frames[0].model_copy(update={"sequence": 1})
    assert f"{LINES} lines are counted twice" in wrong_with(frames[0], twice)[0]
    short = frames[0].model_copy(update={"spans": ()})
    assert "the spans of frame 0 end at line 0" in wrong_with(short)[0]


def test_sequences_have_neither_gap_nor_double() -> None:
    frames = told(*(verdict(number) for number in range(4)))
    assert any("frame 1/2 came where 1/1 was due" in one for one in wrong_with(frames[0], frames[2]))
    assert any("frame 1/0 came where 1/1 was due" in one for one in wrong_with(frames[0], frames[0]))
    restarted = frames[1].model_copy(update={"epoch": 2, "sequence": 0, "coil_epoch": frames[0].passage[0]})
    assert wrong_with(frames[0], restarted) == []


def test_an_alarm_is_raised_once() -> None:
    alarms = [one for one in told(verdict(0, (), (alarm(0), alarm(0)))) if isinstance(one, AlarmMessage)]
    assert wrong_with(alarms[0]) == []
    assert any("is raised twice" in one for one in wrong_with(*alarms))


def test_history_is_whole() -> None:
    assert holes_and_doubles([(256, 256), (0, 256), (512, 10)]) == []
    assert holes_and_doubles([(0, 256), (300, 10)]) == ["lines 256 to 300 are missing"]
    assert holes_and_doubles([(0, 256), (200, 100)]) == ["lines 200 to 256 are double"]


def test_slope_has_an_interval_over_lives_of_their_own_levels() -> None:
    noise = [0.3, -0.2, 0.1, -0.3, 0.2]
    flat = [[(20.0 * n, level + noise[n % 5]) for n in range(30)] for level in (100.0, 140.0)]
    stands = slope(flat)
    assert stands is not None
    assert stands.holds_zero
    growing = slope([[(at, mb + at / 360.0) for at, mb in life] for life in flat])
    assert growing is not None
    assert growing.low < 10.0 < growing.high
    assert not growing.holds_zero
    assert slope([[(0.0, 1.0)]]) is None


def test_a_process_that_grows_once_it_is_warm_fails_the_soak() -> None:
    def life(mb_per_h: float, began_s: float) -> list[tuple[float, Sample]]:
        at_s = [began_s + 10.0 * n for n in range(150)]
        return [(at, Sample(200.0 + mb_per_h * (at - began_s) / 3600 + n % 3, 9, 40)) for n, at in enumerate(at_s)]

    report = Report(seed=1, minutes=25, line_rate_hz=300.0)
    warming_up = [(at, Sample(one.rss_mb + min(at, 590.0), 9, 40)) for at, one in life(0.0, 0.0)]
    report.lives = {"stands": [life(0.0, 0.0), life(0.0, 2000.0)], "warms up": [warming_up]}
    assert report.leaks() == []
    stepped = [(at, Sample(one.rss_mb + 30.0 * (at > 1000.0), 9, 40)) for at, one in life(0.0, 0.0)]
    report.lives["keeps what a fault took"] = [stepped]
    assert report.leaks() == []
    report.lives["leaks"] = [life(60.0, 0.0), life(60.0, 2000.0)]
    (leak,) = report.leaks()
    assert leak.startswith("leaks: memory grew by 60")
    assert "too short" not in report.tables()


@pytest.mark.heavy
@pytest.mark.service
def test_a_minute_of_the_real_thing(tmp_path: Path) -> None:
    if packages := lacking():
        pytest.skip(f"apt install {' '.join(packages)}")
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    if done.returncode == 3 or "Operation not permitted" in done.stderr:
        pytest.skip("no mount namespace can be made here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.json").exists()
    assert (tmp_path / "memory.png").exists()
