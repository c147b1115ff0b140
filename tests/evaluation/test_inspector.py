"""Frames in memory, inspected without the service's threads, give the service's own defects."""

from pathlib import Path

import pytest

from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.config.wire import WireSettings
from linewatch.contracts.verdict import DefectState
from linewatch.daemon.replay import replay
from linewatch.evaluation.judging.inspector import Inspector
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
