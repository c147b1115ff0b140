"""Frames in memory, inspected without the service's threads, give the service's own defects."""

from pathlib import Path

import pytest

from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.config.decision import DecisionSettings
from linewatch.config.wire import WireSettings
from linewatch.contracts.verdict import DefectState
from linewatch.daemon.replay import replay
from linewatch.evaluation.judging.inspector import Inspector, OutlinedDefect
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.engines import load_engines
from linewatch.inference.settings import InferenceSettings
from linewatch.service_settings import ServiceSettings
from linewatch.simulation.strip import SimulatedStrip
from linewatch.wire.verdict_file import read_verdicts

SEED, FRAMES, DEFECTS_PER_M = 7, 24, 2.0


@pytest.mark.slow
def test_the_inspector_decides_as_a_replay_does(tmp_path: Path) -> None:
    source = SimulatorSource(
        type="simulator", seed=SEED, length_m=FRAMES * 0.256, defects_per_m=DEFECTS_PER_M, coil="SIM"
    )
    any_port = WireSettings(publish="tcp://127.0.0.1:*", serve="tcp://127.0.0.1:*")
    settings = ServiceSettings(source=source, wire=any_port, inference=InferenceSettings(workers=2))
    replay(settings, out=tmp_path / "v.jsonl")
    theirs = [
        (event.id, event.defect_class, event.area_mm2)
        for line in read_verdicts(tmp_path / "v.jsonl")
        for event in line.defects
        if event.state is DefectState.CLOSED and event.merged_into is None
    ]
    backend = OnnxRuntimeBackend()
    inspector = Inspector(load_engines(settings.inference, backend.siblings), settings, backend)
    strip = SimulatedStrip(SEED, source.length_m, DEFECTS_PER_M, settings.line)
    ours = inspector.coil((strip.lines(256 * frame, 256) for frame in range(FRAMES)), "SIM")
    assert theirs
    assert [(one.id, one.defect_class, round(one.area_mm2, 3)) for one in ours] == [
        (name, called, round(area, 3)) for name, called, area in theirs
    ]


@pytest.mark.slow
def test_what_is_too_improbable_to_be_told_is_found_beside_it() -> None:
    """The second stage is fitted on all instances; what is told is what the service tells."""
    backend, strip = OnnxRuntimeBackend(), SimulatedStrip(SEED, FRAMES * 0.256, DEFECTS_PER_M, ServiceSettings().line)
    frames = [strip.lines(256 * number, 256) for number in range(FRAMES)]

    def inspected(tell_probability: float) -> list[list[OutlinedDefect]]:
        settings = ServiceSettings(decision=DecisionSettings(tell_probability=tell_probability))
        with Inspector(load_engines(settings.inference, backend.siblings), settings, backend) as inspector:
            return [list(inspector.frame(frame).found) for frame in frames]

    everything = [one for frame in inspected(0.0) for one in frame]
    limit = sorted(one.defect.probability for one in everything)[len(everything) // 2]
    assert all(one.told for one in everything)
    limited = [one for frame in inspected(limit) for one in frame]
    assert {one.defect.id for one in limited} == {one.defect.id for one in everything}
    assert len(limited) == len(everything)
    assert all(one.told == (one.defect.probability >= limit) for one in limited)
    assert 0 < sum(one.told for one in limited) < len(limited)
    assert all(one.defect.evidence for one in limited)
