"""Run the shipped cascade on every labelled frame: ``python -m experiments.eye.shipped --data DIR --out
runs/eye`` writes `shipped.json`. It may only be judged on frames that it has not learned from (`unseen`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.eye.instances import Instance
from experiments.eye.judge import MM_PER_LINE, MM_PER_PX, Found
from linewatch.contracts.verdict import Defect, Extent
from linewatch.datasets.splits import HELD_OUT_FOLD, Split
from linewatch.evaluation.judging.inspector import Inspector
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.engines import load_engines
from linewatch.inference.settings import InferenceSettings
from linewatch.service_settings import ServiceSettings
from linewatch.training.samples.labelled_frames import CLASSES, LabelledFrame, read_frames

FEATURES = (
    "confidence",
    "peak",
    "area",
    "length",
    "width",
    "edge",
    "contrast",
    "darkness",
    "tiled",
    "runner_up",
    *CLASSES,
    "others",
    "best_other",
)
_SPLIT = Path("configs/splits/severstal.csv")


@dataclass(frozen=True)
class Told:
    """A defect that the shipped cascade publishes, called or tentative."""

    instance: Instance
    called: bool


def unseen(frames: Sequence[LabelledFrame]) -> list[LabelledFrame]:
    """Return the frames on which no shipped engine was trained and no limit was chosen."""
    fold = {Path(row.file).stem: row.fold for row in Split.read(_SPLIT).assignments}
    return [frame for frame in frames if fold.get(frame.name, HELD_OUT_FOLD) == HELD_OUT_FOLD]


def inspect(frames: Sequence[LabelledFrame]) -> dict[str, list[Told]]:
    """Return the defects of each frame at the shipped operating point, each frame as its own coil."""
    settings = ServiceSettings(inference=InferenceSettings(chain="cascade"))
    backend = OnnxRuntimeBackend()
    inspector = Inspector(load_engines(settings.inference, backend.siblings), settings, backend)
    return {frame.name: _told(inspector.coil([frame.gray()])) for frame in frames}


def _told(defects: Sequence[Defect]) -> list[Told]:
    found = []
    for i, defect in enumerate(defects):
        (left, right), (top, bottom) = defect.box.across_mm, defect.box.along_mm
        box = (round(left / MM_PER_PX), round(top / MM_PER_LINE), round(right / MM_PER_PX), round(bottom / MM_PER_LINE))
        others = [one.confidence for j, one in enumerate(defects) if j != i]
        features = [
            _logit(defect.confidence),
            _logit(defect.peak),
            np.log(defect.area_mm2),
            np.log1p(defect.length_mm),
            np.log1p(defect.width_mm),
            np.log1p(defect.edge_mm or 0.0),
            abs(defect.contrast or 0.0),
            -(defect.contrast or 0.0),
            float(defect.extent is Extent.TILE),
            defect.class_scores[1][1] if len(defect.class_scores) > 1 else 0.0,
            *(float(defect.defect_class == name) for name in CLASSES),
            np.log1p(len(others)),
            max(others, default=0.0),
        ]
        index = CLASSES.index(defect.defect_class) if defect.defect_class in CLASSES else -1
        found.append(Told(Instance(Found(box, index), np.array(features, np.float64)), not defect.tentative))
    return found


def _logit(probability: float) -> float:
    bounded = np.clip(probability, 0.002, 0.998)
    return float(np.log(bounded / (1 - bounded)))


def read(path: Path) -> dict[str, list[Told]]:
    """Read what `main` wrote."""
    return {
        name: [
            Told(Instance(Found(tuple(box), index), np.array(features)), called)
            for box, index, features, called in rows
        ]
        for name, rows in json.loads(path.read_text()).items()
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    options = parser.parse_args()
    found = inspect(read_frames(options.data))
    rows = {
        name: [
            (one.instance.found.box, one.instance.found.class_index, one.instance.features.tolist(), one.called)
            for one in each
        ]
        for name, each in found.items()
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "shipped.json").write_text(json.dumps(rows))
    print(f"{len(rows)} frames, {sum(map(len, rows.values()))} defects in {options.out / 'shipped.json'}")


if __name__ == "__main__":
    main()
