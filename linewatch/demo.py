"""`linewatch demo`: a rendered coil through the real service with the shipped engines, and what came of it."""

import json
from dataclasses import asdict
from pathlib import Path

from linewatch.capture.cameras.recording import RecordingCamera, RecordingSource
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.config.wire import WireSettings
from linewatch.daemon.replay import ReplaySummary, replay
from linewatch.daemon.simulate import render
from linewatch.review.against_truth import TruthScores, score_against_truth
from linewatch.review.coil_picture import draw_coil
from linewatch.review.from_verdicts import read_coil
from linewatch.service_settings import ServiceSettings

ANY_PORT = "tcp://127.0.0.1:*"


def demo(out: Path, length_m: float, seed: int, settings: ServiceSettings) -> tuple[ReplaySummary, TruthScores]:
    """Render, inspect at line rate, judge, draw; everything lies in `out` afterwards. Raises LinewatchErrors."""
    source = SimulatorSource(type="simulator", seed=seed, length_m=length_m, coil=f"DEMO-{seed}")
    video, verdicts = out / "coil.avi", out / "verdicts.jsonl"
    truth = render(source, settings.line, video, out / "truth.json")
    settings = settings.model_copy(
        update={
            "source": RecordingSource(type="recording", path=video),
            "wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT),
        }
    )
    summary = replay(settings, pace="line-rate", out=verdicts)
    record = read_coil(verdicts)
    judgement = score_against_truth([defect.box for defect in record.defects], truth)
    true_boxes = [defect.box for defect in truth.defects]
    draw_coil(RecordingCamera(video, settings.line), settings.line, record, true_boxes, out / "coil.png")
    (out / "summary.json").write_text(json.dumps({**asdict(summary), **asdict(judgement)}, indent=1) + "\n")
    return summary, judgement
