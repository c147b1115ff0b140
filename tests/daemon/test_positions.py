"""On strip that stops, runs back and is welded, with a counter that rolls over, each defect is found once, in place."""

import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from linewatch.capture.cameras.recording import RecordingSource
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.recorder import record
from linewatch.client import Subscriber, from_tail
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause, PositionFault, PositionSource
from linewatch.contracts.verdict import CoilState, DefectState, Quality, StripBox
from linewatch.daemon.replay import replay
from linewatch.daemon.service import open_service
from linewatch.geometry.matching import match
from linewatch.review.from_verdicts import read_coil
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import CoilLine, PositionStatus, StatusMessage, VerdictLine
from linewatch.wire.verdict_file import read_verdicts

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
WELD_MM = 17_300
LENGTH_MM = 30_000
TURNS = (
    {"at_m": 6.1, "back_m": 2.4, "pause_s": 2.0},
    {"at_m": 12.0, "pause_s": 30.0},
    {"at_m": 17.9, "back_m": 1.5},  # over the weld, back and forward again
    {"at_m": 25.05, "back_m": 0.03},  # to and fro within a frame
)
ENCODER = {"bits": 16, "counts_up": False, "counts_per_mm": 4.08, "counts_per_line": 4.0, "strip_mm_per_roll_mm": 1.02}


def changed(settings: ServiceSettings, source: dict, line: dict) -> ServiceSettings:
    tree = settings.model_dump(mode="json")
    return ServiceSettings.model_validate_json(
        ServiceSettings.model_validate_json(settings.model_dump_json())
        .model_copy(update={"source": tree["source"] | source, "line": tree["line"] | line})
        .model_dump_json(warnings=False)
    )


@dataclass
class Run:
    """Read a verdict file, with every place counted from the head of the strip."""

    found: list[StripBox]
    spans: list[tuple[int, int, Quality, Cause | None]]  # first line, lines
    coils: dict[str, int]  # lines of each
    notices: list[CoilLine]
    encoded: bool


def read(path: Path, heads_mm: dict[str, int]) -> Run:
    run = Run([], [], {}, [], encoded=True)
    for line in read_verdicts(path):
        head = heads_mm[line.coil]
        for event in line.defects:
            if event.state is DefectState.CLOSED and event.merged_into is None:
                begin, end = event.along_mm
                run.found.append(StripBox(event.across_mm, (begin + head, end + head)))
        if isinstance(line, VerdictLine):
            run.coils[line.coil] = run.coils.get(line.coil, 0) + line.lines
            run.spans += [(span.first_line + head, span.lines, span.quality, span.cause) for span in line.spans]
            run.encoded &= line.encoded
        else:
            run.notices.append(line)
    return run


def hits(box: StripBox, found: list[StripBox]) -> list[StripBox]:
    return [other for other in found if match([other], [box], tolerance_mm=0.0).hit]


def overlaps(box: StripBox, begin_mm: float, end_mm: float) -> bool:
    return box.along_mm[0] < end_mm and begin_mm < box.along_mm[1]


@pytest.mark.timeout(600)
def test_each_defect_is_found_once_at_its_place_whatever_way_the_strip_came(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    """30 m with two turns back, one of them over a weld within a frame, a stop, a quiver and a 16-bit counter; lines
    triggered by the encoder, then a free-running camera.

    Against the same strip run straight through: what was found once there is found once here, but for a few (frames
    are cut elsewhere, so tiles see it differently); middles agree within 2 mm in the median, 60 mm in nine of ten.
    """
    source = {"length_m": LENGTH_MM / 1000, "defects_per_m": 2.0, "coil": "T"}
    straight = changed(settings, source, {})
    assert isinstance(straight.source, SimulatorSource)
    replay(straight, out=tmp_path / "straight.jsonl")
    plain = read(tmp_path / "straight.jsonl", {"T": 0})
    defects = straight.source.strip(straight.line).truth("T").defects
    for triggers in (True, False):
        encoder = ENCODER | {"triggers": triggers}
        toured = changed(settings, source | {"welds_m": [WELD_MM / 1000], "turns": TURNS}, {"encoder": encoder})
        check_tour(toured, [one.box for one in defects], plain.found, tmp_path)


def check_tour(toured: ServiceSettings, truth: list[StripBox], found_before: list[StripBox], tmp_path: Path) -> None:
    assert toured.line.encoder is not None
    triggers = toured.line.encoder.triggers
    summary = replay(toured, out=tmp_path / "toured.jsonl")
    run = read(tmp_path / "toured.jsonl", {"T": 0, "T.2": WELD_MM})

    # The account: to the line, per coil and in sum, no overlap.
    assert run.coils == {"T": WELD_MM, "T.2": LENGTH_MM - WELD_MM}
    at = 0
    for first, lines, _, _ in run.spans:
        assert first == at
        at += lines
    assert at == LENGTH_MM
    assert {cause for _, _, _, cause in run.spans} == ({None, Cause.TURNED} if triggers else {None})
    missed = [(first, first + lines) for first, lines, quality, _ in run.spans if quality is Quality.MISSED]
    assert sum(end - begin for begin, end in missed) <= 2 * toured.line.frame_lines
    assert run.encoded
    assert summary.metres == pytest.approx(LENGTH_MM / 1000)
    ended = [notice for notice in run.notices if notice.state is CoilState.ENDED]
    assert [(notice.coil, notice.along_mm) for notice in ended] == [("T", WELD_MM), ("T.2", LENGTH_MM - WELD_MM)]
    for notice in ended:
        assert notice.inspected_mm + notice.degraded_mm + notice.missed_mm == pytest.approx(notice.along_mm)

    # Defects do not cross the weld.
    assert not any(box.along_mm[0] < WELD_MM < box.along_mm[1] for box in run.found)

    # Each found once, where it is.
    borders = [*missed, (WELD_MM, WELD_MM)]
    once, errors = [], []
    for box in truth:
        before = hits(box, found_before)
        if len(before) != 1 or any(overlaps(before[0], begin - 300, end + 300) for begin, end in borders):
            continue
        now = hits(box, run.found)
        once.append(len(now) == 1)
        if once[-1]:
            errors.append(abs(sum(now[0].along_mm) - sum(before[0].along_mm)) / 2)
    assert len(once) >= 20
    assert sum(once) >= 0.85 * len(once)
    assert statistics.median(errors) <= 2.0
    assert statistics.quantiles(errors, n=10)[-1] <= 60.0


def test_a_coil_that_is_ordered_begins_at_its_line_and_counts_from_there(
    settings: ServiceSettings, tmp_path: Path
) -> None:
    """`Service.coils` begins a coil in the middle of a frame; places also count from its tail."""
    out = tmp_path / "v.jsonl"
    clock = MonotonicClock()
    assert settings.source is not None
    with (
        open_camera(settings.source, settings.line, clock, live=False) as camera,
        open_service(settings, camera, clock, verdicts=out) as service,
    ):
        assert service.coils.order_start("C-1002", at_line=3333) is None
        assert "ordered already" in (service.coils.order_start("C-1002") or "")
        service.run()
        assert service.coils.coil == "C-1002"
    run = read(out, {"TEST-7": 0, "C-1002": 3333})
    assert run.coils == {"TEST-7": 3333, "C-1002": 6667}
    findings = read_coil(out, "C-1002")
    assert findings.length_mm == pytest.approx(6667)
    assert len(findings.defects)
    for found in findings.defects:
        begin_mm, end_mm = from_tail(found.box.along_mm, findings.length_mm)
        assert end_mm - begin_mm == pytest.approx(found.box.along_mm[1] - found.box.along_mm[0])
        assert from_tail((begin_mm, end_mm), findings.length_mm) == pytest.approx(found.box.along_mm)


def test_a_welded_recording_replays_as_it_was(settings: ServiceSettings, tmp_path: Path) -> None:
    """A recording keeps places: turns, weld and coils are the same when it is replayed."""
    toured = changed(
        settings,
        {"length_m": 6.0, "coil": "T", "welds_m": [2.345], "turns": [{"at_m": 3.0, "back_m": 0.9}]},
        {"encoder": ENCODER},
    )
    assert toured.source is not None
    with open_camera(toured.source, toured.line, MonotonicClock(), live=False) as camera:
        record(camera, tmp_path / "t.avi", toured.line, 512.0)
    replay(toured, out=tmp_path / "live.jsonl")
    recorded = toured.model_copy(update={"source": RecordingSource(type="recording", path=tmp_path / "t.avi")})
    replay(recorded, out=tmp_path / "again.jsonl")
    lines = [
        [line.model_dump(exclude={"timing"}) for line in read_verdicts(tmp_path / name)]
        for name in ("live.jsonl", "again.jsonl")
    ]
    assert lines[0] == lines[1]
    assert {line["coil"] for line in lines[0]} == {"T", "T.2"}


def test_turns_without_an_encoder_are_refused(settings: ServiceSettings) -> None:
    with pytest.raises(ConfigError, match=r"there is no \[line.encoder\]; give the configuration one"):
        replay(changed(settings, {"turns": [{"at_m": 1.0}]}, {}))


def test_a_stuck_encoder_is_in_the_frames_the_status_and_the_log(settings: ServiceSettings, tmp_path: Path) -> None:
    """20 m, from 10 m on without counts: the strip is still inspected and accounted for, and the fault is published."""
    stuck = {"counter_faults": [{"kind": "stuck", "from_grab": 40}]}
    settings = changed(settings, {"length_m": 20.0} | stuck, {"encoder": ENCODER})
    assert settings.source is not None
    clock = MonotonicClock()
    camera = open_camera(settings.source, settings.line, clock, live=False)
    with (
        capture_logs() as logs,
        open_service(settings, camera, clock, verdicts=tmp_path / "v.jsonl") as service,
        ExitStack() as stack,
    ):
        statuses: list[PositionStatus] = []

        def listen() -> None:
            if service.publisher.endpoint and not heard:
                heard.append(
                    stack.enter_context(
                        Subscriber(service.publisher.endpoint, service.server.endpoint, topics=["status"])
                    )
                )

        def watch() -> None:
            while isinstance(message := heard[0].poll(0.0), StatusMessage):
                assert message.position is not None
                statuses.append(message.position)
            if statuses and statuses[-1].fault is PositionFault.STUCK:
                service.stop()

        heard: list[Subscriber] = []
        service.run(ready=listen, watch=watch, hold_s=0.5)
        watch()
    lines = [line for line in read_verdicts(tmp_path / "v.jsonl") if isinstance(line, VerdictLine)]
    faults = {line.position_fault for line in lines}
    assert faults == {None, PositionFault.STUCK}
    assert all(line.encoded == (line.position_fault is None) for line in lines)
    assert statuses[-1].source is PositionSource.ENCODER
    assert statuses[-1].fault is PositionFault.STUCK
    assert not statuses[-1].encoded
    assert [(log["fault"], log["log_level"]) for log in logs if log["event"] == "encoder_implausible"] == [
        ("stuck", "error")
    ]
    at = 0
    for line in lines:
        assert line.first_line == at
        at += line.lines


@pytest.mark.parametrize(
    ("faults", "triggers", "told"),
    [
        ([{"kind": "jump", "from_grab": 10, "jump_m": -30.0}], True, {"jumped"}),
        pytest.param([{"kind": "tenfold", "from_grab": 10}], True, {"jumped", "too_fast"}, marks=pytest.mark.heavy),
        pytest.param([{"kind": "jump", "from_grab": 10, "jump_m": 300.0}], False, {"jumped"}, marks=pytest.mark.heavy),
        ([{"kind": "tenfold", "from_grab": 10}], False, {"jumped", "too_fast"}),
    ],
)
def test_a_counter_that_jumps_or_runs_away_is_told_by_the_command_line(
    tmp_path: Path, faults: list[dict], triggers: bool, told: set[str]
) -> None:
    """`linewatch replay simulator` of 15 m: what verdicts say, and that no millimetre is left out or comes twice."""
    config = tmp_path / "c.toml"
    rows = ", ".join(
        "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in one.items()) + "}" for one in faults
    )
    config.write_text(
        f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n[line]\nmax_speed_m_per_s = 25.0\n[line.encoder]\n'
        f"triggers = {str(triggers).lower()}\n"
        "counts_per_mm = 4.0\ncounts_per_line = 4.0\n"
        f'[source]\ntype = "simulator"\nlength_m = 15.0\ncounter_faults = [{rows}]\n'
        f'[inference]\nchain = "cascade"\nengines_dir = "{ROOT}/engines"\nworkers = 1\n'
        f'[journal]\ndir = "{tmp_path}/journal"\n'
        f'[wire]\npublish = "ipc://{tmp_path}/pub"\nserve = "ipc://{tmp_path}/rep"\n'
    )
    out = tmp_path / "v.jsonl"
    subprocess.run(
        [sys.executable, "-m", "linewatch.cli", "replay", "simulator", "--config", config, "--out", out],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        timeout=300,
    )
    lines = [line for line in read_verdicts(out) if isinstance(line, VerdictLine)]
    assert {str(line.position_fault) for line in lines if line.position_fault} <= told
    assert {line.position_fault for line in lines} >= {None, PositionFault.JUMPED}
    assert all(line.encoded == (line.position_fault is None) for line in lines)
    at = 0
    for line in lines:
        assert line.first_line == at
        at += line.lines
    if triggers or faults[0]["kind"] == "jump":
        assert at == pytest.approx(15_000, abs=2 * 256)
    else:  # presumed to go on as it threaded when the counter ran away
        assert 2_000 < at < 15_000
