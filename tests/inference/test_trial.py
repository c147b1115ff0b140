"""An engine on trial cannot hold up, fill or end the process that inspects, whatever it does."""

import os
import signal
import sys
import threading
from pathlib import Path

import bad_engines
import numpy as np
import pytest
from waiting import wait_until

from linewatch.inference.settings import InferenceSettings
from linewatch.inference.trial import PROGRAM, THREAD, EngineTrial

ENGINES = Path(__file__).parents[2] / "engines"
RUNNING = {"screen": "screen", "classify": "classify", "segment": "segment"}
GOOD, BAD = (np.full((1, 1, 256, 1600), gray, np.uint8) for gray in (96, 111))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in RUNNING:
        (tmp_path / name).symlink_to(ENGINES / name)
    bad_engines.write_unbounded(ENGINES, tmp_path)
    return tmp_path


def start(folder: Path, name: str, **limits: float) -> tuple[EngineTrial, list[str | None]]:
    told: list[str | None] = []
    settings = InferenceSettings(engines_dir=folder, chain="cascade")
    trial = EngineTrial(name, RUNNING, "onnxruntime", settings, lambda trial: told.append(trial.fault), **limits)
    trial.start()
    return trial, told


def answered(trial: EngineTrial, pixels: np.ndarray) -> list[tuple[np.ndarray | None, str | None]]:
    """Return what the engine will have answered."""
    assert trial.free
    answers: list[tuple[np.ndarray | None, str | None]] = []
    trial.ask(pixels, lambda answer, error: answers.append((answer, error)))
    assert not trial.free
    return answers


def gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


@pytest.mark.service
@pytest.mark.heavy
def test_whatever_an_engine_does_on_trial_its_process_ends_and_nothing_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linewatch.inference.trial.PROGRAM", PROGRAM)
    trials = {
        "screen": start(folder, "screen"),
        "endless": start(folder, "endless", answer_s=1.0),
        "hungry": start(folder, "hungry", most_mb=1_500.0),
        "stuck": start(folder, "stuck", load_s=4.0),
    }
    loaded = [trial for name, (trial, _) in trials.items() if name != "stuck"]
    wait_until(lambda: all(trial.free for trial in loaded), 60.0)
    processes = [trial._process.pid for trial, _ in trials.values()]
    assert [os.getpriority(os.PRIO_PROCESS, one) for one in processes[:3]] == [19] * 3
    good = {trial: answered(trial, GOOD) for trial in loaded}
    wait_until(lambda: all(good.values()) and all(trial.free for trial in loaded), 60.0)
    first, *others = [answers[0][0] for answers in good.values()]
    for other in others:
        np.testing.assert_allclose(other, first)
    bad = {name: answered(trials[name][0], BAD) for name in ("endless", "hungry")}
    wait_until(lambda: all(bad.values()) and all(len(trials[name][1]) == n for name, n in TOLD.items()), 60.0)
    assert bad["endless"] == [(None, "it gave no answer within 1 s, so its process was ended")]
    ((nothing, why),) = bad["hungry"]
    assert nothing is None
    assert "expected at most 1500 MB, so its process was ended" in why or "bad_alloc" in why or "allocate" in why
    assert trials["stuck"][1] == ["engine stuck: it was not loaded within 4 s, so its process was ended"]
    assert trials["screen"][0].free
    os.kill(processes[0], signal.SIGSEGV)
    wait_until(lambda: len(trials["screen"][1]) == 2, 60.0)
    assert trials["screen"][1] == [None, "engine screen: its process ended by SIGSEGV"]
    for trial, _ in trials.values():
        trial.stop()
        assert not trial.free
    wait_until(lambda: all(map(gone, processes)) and THREAD not in {one.name for one in threading.enumerate()}, 60.0)


@pytest.mark.service
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("struct.pack('<II', 4_000_000_000, 0)", "answers with 4000000000 bytes, expected at most 268435456"),
        ("struct.pack('<II', 2, 0) + b'[]'", "unusable answer (TypeError"),
        ("struct.pack('<II', 2, 0) + b'{}'", "unusable answer (KeyError"),
        ("struct.pack('<II', 15, 0) + b'{\"manifest\": \"\"}'", "unusable answer"),
        ("b'no lengths at all'", "answers with"),
    ],
)
def test_a_process_that_answers_nonsense_ends_its_trial_only(
    answer: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial's thread ends without an exception that nobody takes, which pytest would report."""
    program = f"import struct, sys, time; sys.stdout.buffer.write({answer}); sys.stdout.flush(); time.sleep(60)"
    monkeypatch.setattr("linewatch.inference.trial.PROGRAM", (sys.executable, "-c", program))
    trial, told = start(tmp_path, "screen")
    wait_until(lambda: told)
    (fault,) = told
    assert fault is not None
    assert fault.startswith("engine screen: ")
    assert why in fault
    assert not trial.free
    wait_until(lambda: trial._process is not None and trial._process.poll() is not None)


TOLD = {"endless": 2, "stuck": 1}
"""How often each of these told something: that it is loaded, and that it has ended."""
