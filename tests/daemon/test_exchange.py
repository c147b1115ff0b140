"""Engines of a running service are loaded, compared, promoted and dropped by command, without losing a line."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import bad_engines
import numpy as np
import pytest
from live_service import PATIENCE_S, live_service
from waiting import wait_until

from linewatch import cli
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Commander, Subscriber
from linewatch.client.requests import NoAnswerError
from linewatch.config.capture import CaptureSettings
from linewatch.contracts.errors import WireError
from linewatch.contracts.manifest import Task
from linewatch.contracts.tile import Batch
from linewatch.contracts.verdict import Quality
from linewatch.daemon.service import open_service
from linewatch.inference import trial
from linewatch.inference.reference_tiles import write_reference_tiles
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import BackendState, BesideState, EngineAction, EngineBeside, StatusMessage

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
TURN_FRAMES = 50


def copy_engine(folder: Path, name: str, other: str) -> None:
    """Copy an engine: only its name, and so its identity, differs."""
    shutil.copytree(ROOT / "engines" / name, folder / other)
    manifest = json.loads((folder / other / "manifest.json").read_text())
    (folder / other / "manifest.json").write_text(json.dumps({**manifest, "name": other}))


@pytest.fixture
def service(settings: ServiceSettings, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A live strip at a slow line rate, stopped at the end of the test; its verdicts, sockets and thread."""
    folder = tmp_path / "engines"
    for name in ("screen", "classify", "segment"):
        shutil.copytree(ROOT / "engines" / name, folder / name)
    copy_engine(folder, "segment", "segment-b")
    copy_engine(folder, "screen", "screen-b")
    shutil.copytree(folder / "segment", folder / "damaged")
    bad_engines.write(ROOT / "engines", folder)
    inference = settings.inference.model_copy(update={"engines_dir": folder, "deadline_ms": 60_000.0})
    with live_service(settings.model_copy(update={"inference": inference}), tmp_path / "v.jsonl", 1000.0) as found:
        yield found


def beside(service: SimpleNamespace, enough: Callable[[EngineBeside | None], bool]) -> StatusMessage:
    """Return the first status whose engine beside the running ones fulfils the condition."""
    deadline = time.monotonic() + PATIENCE_S
    status = None
    with Subscriber(service.publish, service.serve, topics=["status"]) as subscriber:
        while time.monotonic() < deadline:
            status = subscriber.poll(0.5)
            if isinstance(status, StatusMessage) and enough(status.beside):
                return status
    raise AssertionError(f"never; last {status}")


def failed(found: EngineBeside | None) -> bool:
    return found is not None and found.state is BesideState.FAILED


def verdicts(service: SimpleNamespace) -> list[dict]:
    return [
        line for text in service.verdicts.read_text().splitlines() if (line := json.loads(text))["kind"] == "verdict"
    ]


def test_a_promotion_is_rolled_back_by_one_command(service: SimpleNamespace) -> None:
    """The engine before it inspects again, and no alarm says that the promoted one failed."""
    with Commander(service.commands) as commander:
        with pytest.raises(WireError, match="no engine to go back to"):
            commander.engine(EngineAction.ROLLBACK)
        before = commander.engine(EngineAction.SHOW).engines
        commander.engine(EngineAction.LOAD, "screen-b")
        beside(service, lambda found: found is not None and found.state is BesideState.READY)
        commander.engine(EngineAction.PROMOTE)
        status = beside(service, lambda found: found is None)
        assert status.engines[0].identity.startswith("screen-b@")
        wait_until(lambda: any(ran_by("screen-b@", one) for one in verdicts(service)), PATIENCE_S)
        assert cli.main(["engine", "rollback", "--commands", service.commands]) == 0
        wait_until(lambda: commander.engine(EngineAction.SHOW).engines == before, PATIENCE_S)
        with pytest.raises(WireError, match="no engine to go back to"):
            commander.engine(EngineAction.ROLLBACK)
        decided = service.service.totals.frames
        wait_until(lambda: service.service.totals.frames >= decided + 5, PATIENCE_S)
        service.stop()
    assert ran_by(before[0].identity, verdicts(service)[-1])
    assert "engine-withdrawn" not in service.verdicts.read_text()


def ran_by(identity: str, verdict: dict) -> bool:
    return any(one.startswith(identity) for one in verdict["engines"])


def test_an_engine_is_loaded_compared_and_promoted_without_losing_a_line(service: SimpleNamespace) -> None:
    with Commander(service.commands) as commander:
        reply = commander.engine(EngineAction.LOAD, "screen-b", shadow=True)
        assert [engine.role for engine in reply.engines] == ["screen", "classify", "segment"]
        assert reply.beside == EngineBeside(name="screen-b", state=BesideState.LOADING)
        status = beside(service, lambda found: found is not None and found.tiles > 50)
        assert status.beside is not None
        assert (status.beside.state, status.beside.role) == (BesideState.COMPARED, "screen")
        assert status.beside.agreed == status.beside.tiles, "an engine agrees with its copy"
        before = [engine.identity for engine in status.engines]
        commander.engine(EngineAction.PROMOTE)
        status = beside(service, lambda found: found is None)
        after = [engine.identity for engine in status.engines]
        assert after[0].startswith("screen-b@")
        assert after[1:] == before[1:]
        decided = service.service.totals.frames
        wait_until(lambda: service.service.totals.frames >= decided + 10, PATIENCE_S)
        service.stop()
    found = verdicts(service)
    seen = [line["engines"][0] for line in found if line["engines"]]
    turn = seen.index(after[0])
    assert set(seen[:turn]) == {before[0]}
    assert set(seen[turn:]) == {after[0]}
    spans = [span for line in found for span in line["spans"]]
    assert {span["quality"] for span in spans} == {Quality.INSPECTED}
    ends = [span["first_line"] + span["lines"] for span in spans]
    assert [span["first_line"] for span in spans] == [0, *ends[:-1]]


def test_what_cannot_be_is_refused_and_changes_nothing(
    service: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = service.service.exchange
    batch = Batch(Task.SCREEN, (), np.zeros((1, 1, 256, 1600), np.uint8), generation=7)
    with Commander(service.commands) as commander:
        with pytest.raises(NoAnswerError, match="no engine on trial is ready"):
            commander.engine(EngineAction.PROMOTE)
        exchange.lose(batch, "the shadow gave nothing")
        commander.engine(EngineAction.LOAD, "nobody")  # done behind whatever the failure might have caused
        status = beside(service, failed)
        assert status.beside is not None
        assert "no such engine" in (status.beside.text or "")
        assert exchange.backend.state is BackendState.SERVING, "a shadow that fails moves nobody"
        commander.engine(EngineAction.LOAD, "damaged")
        status = beside(service, lambda found: found is not None and found.name == "damaged" and bool(found.text))
        commander.engine(EngineAction.LOAD, "segment-b")
        beside(service, lambda found: found is not None and found.state is BesideState.READY)
        with pytest.raises(NoAnswerError, match="is on trial already"):
            commander.engine(EngineAction.LOAD, "screen-b")
        commander.engine(EngineAction.DROP)
        beside(service, lambda found: found is None)
        commander.engine(EngineAction.LOAD, "screen-b")
        beside(service, lambda found: found is not None and found.state is BesideState.READY)
        monkeypatch.setattr(exchange, "_settings", exchange._settings.model_copy(update={"deadline_ms": 0.01}))
        with pytest.raises(NoAnswerError, match=r"takes \d+ ms a frame, expected less than .* deadline_ms = 0.01"):
            commander.engine(EngineAction.PROMOTE)
        commander.engine(EngineAction.DROP)
        status = beside(service, lambda found: found is None)
        assert [engine.identity.partition("@")[0] for engine in status.engines] == ["screen", "classify", "segment"]
        assert commander.engine(EngineAction.DROP).beside is None, "there is nothing to drop: that is what was asked"
        assert status.healthy


def test_an_engine_whose_answers_are_no_probabilities_is_refused_and_the_running_one_goes_on(
    service: SimpleNamespace,
) -> None:
    with Commander(service.commands) as commander:
        for name, words in (
            ("logits", "looks like logits: add a sigmoid"),
            ("percent", "looks like 0 to 100"),
            ("constant", "same answer"),
        ):
            commander.engine(EngineAction.LOAD, name, shadow=True)
            status = beside(
                service, lambda found, name=name: found is not None and found.name == name and failed(found)
            )
            assert status.beside is not None
            assert words in (status.beside.text or "")
            with pytest.raises(NoAnswerError, match=words):
                commander.engine(EngineAction.PROMOTE)
    assert [one.identity.partition("@")[0] for one in status.engines] == ["screen", "classify", "segment"]
    decided = service.service.totals.frames
    wait_until(lambda: service.service.totals.frames >= decided + 5, PATIENCE_S)
    assert {span["quality"] for line in verdicts(service) for span in line["spans"]} == {Quality.INSPECTED}


def test_an_engine_that_answers_badly_in_shadow_is_not_promoted(service: SimpleNamespace) -> None:
    with Commander(service.commands) as commander:
        commander.engine(EngineAction.LOAD, "sometimes", shadow=True)
        status = beside(service, lambda found: found is not None and found.failed > 2)
        with pytest.raises(NoAnswerError, match=r"engine sometimes failed on \d+ of \d+ tiles .* not finite"):
            commander.engine(EngineAction.PROMOTE)
    assert status.engines[0].identity.startswith("screen@")
    assert set(service.service.totals.lines_by_cause) == set(), "a shadow decides nothing"


def test_a_promoted_engine_that_answers_badly_is_withdrawn_by_itself(
    service: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, exchange = service.verdicts.parent / "engines" / "sometimes", service.service.exchange
    go_back, gone_back_ns = exchange._go_back, []

    def timed(*arguments: object) -> None:
        go_back(*arguments)
        gone_back_ns.append(time.monotonic_ns())

    monkeypatch.setattr(exchange, "_go_back", timed)
    monkeypatch.setattr(
        exchange._probation, "_lost_lines", lambda: (0, 0)
    )  # nor does a busy machine undo the promotion
    with Commander(service.commands) as commander:
        commander.engine(EngineAction.LOAD, "sometimes")
        beside(service, lambda found: found is not None and found.state is BesideState.READY)
        with pytest.raises(NoAnswerError, match="has no reference tiles and was not compared with the running one"):
            commander.engine(EngineAction.PROMOTE)
        commander.engine(EngineAction.DROP)
        beside(service, lambda found: found is None)
        write_reference_tiles(engine)
        commander.engine(EngineAction.LOAD, "sometimes")
        beside(service, lambda found: found is not None and found.state is BesideState.READY)
        commander.engine(EngineAction.PROMOTE)
        status = beside(service, failed)
        assert status.beside is not None
        assert "engine sometimes failed 3 times since it was promoted, screen runs again" in (status.beside.text or "")
        assert status.engines[0].identity.startswith("screen@")
        decided = service.service.totals.frames
        wait_until(lambda: service.service.totals.frames >= decided + 15, PATIENCE_S)
        assert service.service.exchange.backend.state is BackendState.SERVING, "the backend was not at fault"
        assert "sometimes" in (service.service.exchange.withdrawn or "")
        commander.engine(EngineAction.DROP)
        wait_until(lambda: service.service.exchange.withdrawn is None, PATIENCE_S)
    found = verdicts(service)
    missed = [line for line in found if any(span["cause"] == "engine" for span in line["spans"])]
    # The third failure withdraws the engine: whatever was captured later, the one before it inspects.
    assert 3 <= len(missed) <= 3 + CaptureSettings().ring_slots
    assert len(gone_back_ns) == 1
    assert max(line["timing"]["captured_ns"] for line in missed) < gone_back_ns[0]
    for line in missed:  # its numbers reached no decision; defects of the frame before are closed
        assert line["screen_peak"] == 0.0
        assert all(defect["along_mm"][1] <= line["along_mm"][0] for defect in line["defects"])
    since = [span for line in found[found.index(missed[-1]) + 1 :] for span in line["spans"]]
    assert any(span["quality"] == Quality.INSPECTED for span in since)
    others = {span["cause"] for span in since if span["quality"] == Quality.MISSED}
    assert others <= {"overrun", "lost"}, "but for what a busy machine has no time for"
    ends = [span["first_line"] + span["lines"] for line in found for span in line["spans"]]
    assert [span["first_line"] for line in found for span in line["spans"]] == [0, *ends[:-1]]


def lost_in_turn(service: SimpleNamespace, seen: Callable[[], bool] = lambda: True) -> tuple[float, float]:
    """Return how many lines were lost, and how many frames overran, a frame, in the next `TURN_FRAMES` or more frames.

    seen: whether what was to happen meanwhile has happened.
    """
    totals = service.service.totals
    lost, overrun, begun = totals.lines_by_cause.total(), totals.frames_overrun, totals.frames

    def passed() -> bool:
        return seen() and totals.frames >= begun + TURN_FRAMES

    wait_until(passed, 4 * PATIENCE_S)
    frames = totals.frames - begun
    return (totals.lines_by_cause.total() - lost) / frames, (totals.frames_overrun - overrun) / frames


@pytest.mark.heavy
@pytest.mark.timeout(1200)
def test_no_engine_on_trial_costs_a_line_and_a_bad_second_undoes_a_promotion(
    service: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns with an engine on trial and without one take place under the same load, and lose the same: nothing."""
    engines, exchange = service.verdicts.parent / "engines", service.service.exchange
    bad_engines.write_unbounded(ROOT / "engines", engines)
    monkeypatch.setattr(trial, "ANSWER_S", 2.0)
    with_one: dict[str, tuple[float, float]] = {}
    without: list[tuple[float, float]] = []

    def was_tried() -> bool:
        return exchange.beside is not None and (exchange.beside.tiles > 10 or name in str(exchange.beside.text))

    def crashed() -> bool:
        process = exchange._trial and exchange._trial._process
        if process is not None and exchange.beside.state is BesideState.COMPARED:
            process.send_signal(signal.SIGSEGV)
        return "ended by SIGSEGV" in str(exchange.beside.text)

    with Commander(service.commands) as commander:
        for name in ("slow", "endless", "hungry", "screen-b"):
            without.append(lost_in_turn(service))
            commander.engine(EngineAction.LOAD, name, shadow=True)
            with_one[name] = lost_in_turn(service, crashed if name == "screen-b" else was_tried)
            status = beside(service, lambda found: found is not None)
            assert status.healthy
            commander.engine(EngineAction.DROP)
            beside(service, lambda found: found is None)
        print(f"lines lost and frames that overran, a frame: with {with_one}, without {without}")
        for of_turn in zip(zip(*with_one.values(), strict=True), zip(*without, strict=True), strict=True):
            beside_one, alone = of_turn
            spread = max(alone) - min(alone)  # nothing, but where other programs take the cores
            assert sum(beside_one) / len(beside_one) <= sum(alone) / len(alone) + spread
        commander.engine(EngineAction.LOAD, "stuck", shadow=True)
        assert exchange.beside.state is BesideState.LOADING
        commander.engine(EngineAction.DROP)
        beside(service, lambda found: found is None)
        commander.engine(EngineAction.LOAD, "screen-b")
        beside(service, lambda found: found is not None and found.state is BesideState.READY)
        commander.engine(EngineAction.PROMOTE)
        beside(service, lambda found: found is None)
        passed = count(1000, 10)
        monkeypatch.setattr(exchange._probation, "_lost_lines", lambda: (9 * (at := next(passed)) // 10, at))
        status = beside(service, failed)
        assert "lines were lost in one second" in (status.beside.text or "")
        assert status.engines[0].identity.startswith("screen@")


def test_the_command_line_says_what_came_of_it(service: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--commands", service.commands]
    assert cli.main(["engine", "load", "segment-b", "--shadow", *where]) == 0
    assert "segment-b" in capsys.readouterr().out
    beside(service, lambda found: found is not None and found.state is BesideState.COMPARED)
    assert cli.main(["engine", "show", "--json", *where]) == 0
    answer = capsys.readouterr().out.splitlines()[-1]  # behind the service's own log
    assert json.loads(answer)["beside"]["name"] == "segment-b"
    assert cli.main(["engine", "load", "screen-b", *where]) == WireError.exit_code
    assert "on trial already" in capsys.readouterr().err
    assert cli.main(["engine", "load", *where]) == 2
    assert cli.main(["engine", "load", "../screen", *where]) == WireError.exit_code
    assert "../screen" in capsys.readouterr().err
    assert cli.main(["engine", "drop", *where]) == 0


def test_commands_are_taken_from_this_host_only(settings: ServiceSettings) -> None:
    wire = settings.wire.model_copy(update={"commands": "tcp://0.0.0.0:5572"})
    clock = MonotonicClock()
    assert settings.source is not None
    with (
        open_camera(settings.source, settings.line, clock, live=False) as camera,
        pytest.raises(WireError, match=r"commands = .* can be reached from other hosts"),
        open_service(settings.model_copy(update={"wire": wire}), camera, clock),
    ):
        pass
