"""Export of a checkpoint as an engine: `linewatch export`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import ENGINE_NAME, EngineManifest, Task, TrainingRecord, TrainingSource
from linewatch.datasets import severstal_frames
from linewatch.datasets.arguments import named_folders
from linewatch.datasets.class_names import is_clean
from linewatch.datasets.seen import SEEN, write_seen
from linewatch.export.card_text import UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine
from linewatch.metrics.result import EvaluationResult
from linewatch.networks.shipped import Chosen
from linewatch.simulation.strip import SimulatedStrip
from linewatch.training.house.inspect import write_engine as write_inspect_engine
from linewatch.training.house.inspect_fit import STATE
from linewatch.training.papers.study import resized
from linewatch.training.protocols import PAPER_PROTOCOLS
from linewatch.training.runs import CARD, RESULT, card, load

_EXAMPLES = 4


def export_checkpoint(path: Path, name: str, engines_dir: Path, data: Sequence[str] = ()) -> EngineManifest:
    """Write the engine folder `engines_dir/name/` and return its manifest. data: for an inspect network's state alone.

    The folder holds model.onnx (free batch, checked against torch on ONNX Runtime and OpenVINO), manifest, card, and
    `seen.csv`, the fingerprints of the images that the network was trained on. `ConfigError` for a name that is not
    allowed, `EngineError` if a runtime disagrees with torch. A class of clean steel, such as `ok`, is left out.
    """
    if not re.fullmatch(ENGINE_NAME, name):
        raise ConfigError(f"--name {name}: expected lower-case letters, digits, - and _")
    if path.name == STATE or (path / STATE).is_file():
        return write_inspect_engine(path if path.name == STATE else path / STATE, engines_dir / name, _frames(data))
    trained = load(path)
    record, study = trained.record, trained.study
    folder = path if path.is_dir() else path.parent
    result = EvaluationResult(count=0, task=study.task, classes=study.classes)
    if (folder / RESULT).is_file():
        result = EvaluationResult.model_validate_json((folder / RESULT).read_text())
    defects = [at for at, one in enumerate(study.classes) if not is_clean(one)]
    shipped = study.shipped(trained.network)
    if study.task is Task.CLASSIFY and len(defects) < len(study.classes):  # clean steel is no defect to report
        shipped = Chosen(shipped, defects)
    facts = EngineFacts(
        name=name,
        version="1",
        task=study.task,
        nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
        normalisation="inside the graph",
        thresholds={name: value for name, value in record.thresholds.items() if not is_clean(name)},
        classes=tuple(study.classes[at] for at in defects) if study.task is Task.CLASSIFY else (),
        training=TrainingRecord(
            recipe=f"linewatch train {record.protocol} {record.settings}",
            encoder=record.pretrained,
            seed=study.settings.seed,
            data=(TrainingSource(name=record.data_set, part="training", count=record.counts["training"]),),
            split=f"{SEEN}: what it was trained on",
        ),
        metrics=result.metrics(),
        terms=f"Trained on {record.data_set}: docs/datasets.md has its terms. Started from: {record.pretrained}.",
    )
    text = (
        (folder / CARD).read_text()
        if (folder / CARD).is_file()
        else card(record, result, PAPER_PROTOCOLS[record.protocol])
    )
    manifest = export_engine(
        shipped,
        facts,
        text.replace("\n![learning curves](curves.png)\n", ""),
        _examples(study.settings.lines, study.settings.width),
        engines_dir / name,
        most_bytes=None,
    )
    write_seen(engines_dir / name, record.seen)
    return manifest


def _frames(data: Sequence[str]) -> Path:
    folders = named_folders(data)
    if severstal_frames.NAME not in folders:
        raise ConfigError(
            f"--data names no {severstal_frames.NAME}, by which an inspect network is judged: add "
            f"--data {severstal_frames.NAME}=DIR, the folder of {' and '.join(severstal_frames.SETS)}"
        )
    return folders[severstal_frames.NAME]


def _examples(lines: int, width: int) -> np.ndarray:
    """Return rendered strip with defects, uint8 (n, 1, lines, width)."""
    line = LineSettings()
    strip = SimulatedStrip(31, 4 * 256 * line.mm_per_line / 1000, 8.0, line)
    frames = [strip.lines(first, 256) for first in range(0, _EXAMPLES * 256, 256)]
    side = min(256, frames[0].shape[1])
    cut = [frame if width > 2 * lines else frame[:side, k * side : (k + 1) * side] for k, frame in enumerate(frames)]
    return np.stack([resized(np.ascontiguousarray(one), (width, lines)) for one in cut])[:, None]
