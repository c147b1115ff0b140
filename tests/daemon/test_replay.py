"""Replay is the same program: the same verdicts at any pace and worker count; faults cost exactly their lines."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from faulty_backends import LateBackend

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import Quality
from linewatch.daemon.replay import FAULT_SEED, replay
from linewatch.inference.backends.registry import open_backend
from linewatch.service_settings import ServiceSettings
from linewatch.simulation.faults import FaultSpec, FaultyCamera

pytestmark = pytest.mark.service


def with_(settings: ServiceSettings, **rooms: dict[str, object]) -> ServiceSettings:
    """The settings with some fields of some rooms changed."""
    return settings.model_copy(
        update={room: getattr(settings, room).model_copy(update=changes) for room, changes in rooms.items()}
    )


def timeless(path: Path) -> list[str]:
    """Every line of a verdict file without `timing`, as a digest with the line's kind and place."""
    found = []
    for number, text in enumerate(path.read_text().splitlines()):
        line = json.loads(text)
        line.pop("timing")
        digest = sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()[:12]
        found.append(f"{number} {line['kind']} {digest}")
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("frames", "defects"), [(40, 16), pytest.param(500, 200, marks=pytest.mark.heavy)])
def test_verdicts_are_the_same_bytes_at_any_pace_worker_count_and_delay(
    settings: ServiceSettings, tmp_path: Path, frames: int, defects: int
) -> None:
    """Many frames with many defects: runs, paces, 1, 2 and 4 workers, batch ladders and random delays."""
    settings = with_(settings, source={"length_m": frames * 0.256, "defects_per_m": 2.5})
    usual = open_backend(settings.inference.backend)
    runs: dict[str, Callable[[], object]] = {
        "one worker": lambda: replay(with_(settings, inference={"workers": 1}), out=tmp_path / "one worker"),
        "two workers, late": lambda: replay(
            settings, out=tmp_path / "two workers, late", backend=LateBackend(usual, 0.02, 1)
        ),
        "four workers, late, ladder": lambda: replay(
            with_(settings, inference={"workers": 4, "ladder": (1, 2, 4, 8)}),
            out=tmp_path / "four workers, late, ladder",
            backend=LateBackend(usual, 0.03, 2),
        ),
        "line rate": lambda: replay(
            with_(settings, inference={"workers": 4}), pace="line-rate", out=tmp_path / "line rate"
        ),
    }
    for run in runs.values():
        run()
    reference = timeless(tmp_path / "one worker")
    assert sum(" verdict " in line for line in reference) == frames
    closed = [
        event
        for text in (tmp_path / "one worker").read_text().splitlines()
        for event in json.loads(text)["defects"]
        if event["state"] == "closed"
    ]
    assert len(closed) >= defects
    for name in runs:
        assert timeless(tmp_path / name) == reference, name


FAULTS = "drop=3,truncate=2,black=1,frozen=1,colour=1,depth=1,wrong_size=1,corrupt=1"


def test_faults_cost_exactly_their_lines(settings: ServiceSettings, tmp_path: Path) -> None:
    """Missed spans are the faulty lines with their causes, everything else is inspected, nothing is counted twice."""
    assert settings.source is not None
    faulty = FaultyCamera(
        open_camera(settings.source, settings.line, MonotonicClock(), live=False), FaultSpec.parse(FAULTS), FAULT_SEED
    )
    while faulty.read() is not None:
        pass
    expected = {(m.first_line + i): m.cause.value for m in faulty.missed for i in range(m.lines)}

    out = tmp_path / "v.jsonl"
    summary = replay(settings, fault=FAULTS, out=out)
    found: dict[int, str | None] = {}
    for text in out.read_text().splitlines():
        for span in json.loads(text).get("spans", ()):
            for line in range(span["first_line"], span["first_line"] + span["lines"]):
                assert line not in found
                found[line] = span["cause"] if span["quality"] == Quality.MISSED else None
    assert sorted(found) == list(range(10_000))
    assert {line: cause for line, cause in found.items() if cause} == expected
    assert summary.coverage == pytest.approx(
        1 - len(expected) / 10_000, abs=1e-3
    )  # of area: the width varies by a pixel
    ended = json.loads(out.read_text().splitlines()[-1])
    assert ended["state"] == "ended"
    assert ended["inspected_mm"] + ended["degraded_mm"] + ended["missed_mm"] == pytest.approx(10_000)


def test_a_fault_that_nobody_knows_is_refused(settings: ServiceSettings) -> None:
    with pytest.raises(ConfigError, match="expected names: drop"):
        replay(settings, fault="explode=1")
