"""Writes a service that starts quickly: a strip of white squares on grey, and engines that find what is white."""

from pathlib import Path

import cv2
import nets
import numpy as np
from onnx import TensorProto

from linewatch.contracts.manifest import Task

CONFIGS = Path(__file__).parents[2] / "configs"
LINES, WIDTH = 64, 192
BRIGHT = 0.8

CONFIG = """
[line]
width_px = {width}
frame_lines = {lines}
line_rate_hz = {line_rate_hz}

[source]
type = "folder"
path = "{folder}/strip"

[inference]
chain = "cascade"
engines_dir = "{folder}/engines"
workers = 1

[journal]
dir = "{folder}/journal"

[wire]
publish = "ipc://{folder}/pub"
serve = "ipc://{folder}/rep"
commands = "ipc://{folder}/cmd"

[[alarm]]
name = "square"
latch = false

[[alarm]]
name = "latched"
min_area_mm2 = 20.0

[[alarm]]
name = "many"
min_count = 3
within_m = 0.4
latch = false
deadband_count = 1
off_delay_m = 0.1
"""


def write_service(
    folder: Path, frames: int, frames_per_s: float, *, squares: float = 0.35, dull: Task | None = None
) -> Path:
    """Write engines, strip and configuration to `folder`; return the configuration's path.

    squares: share of the frames that show one. dull: the task whose engine finds nothing.
    """
    _write_engines(folder / "engines", dull)
    (folder / "strip").mkdir()
    dice = np.random.default_rng(7)
    for number in range(frames):
        picture = np.full((LINES, WIDTH), 90, np.uint8)
        picture[:, number % WIDTH] = 100  # no two frames are alike
        if dice.random() < squares:
            top, left, size = dice.integers(4, 40), dice.integers(8, 160), dice.integers(6, 18)
            picture[top : top + size, left : left + size] = 250
        cv2.imwrite(str(folder / "strip" / f"{number}.png"), picture)
    path = folder / "service.toml"
    path.write_text(CONFIG.format(folder=folder, width=WIDTH, lines=LINES, line_rate_hz=frames_per_s * LINES))
    return path


RUNNING = """
type = "simulator"
length_m = {length_m}
coil = "SIM"
defects_per_m = 6.0
runs_on = "{folder}/began"
"""
ENCODER = """
[line.encoder]
counts_per_mm = 4.0
counts_per_line = 4.0
"""


def write_running_strip(
    folder: Path, source: str = "simulator", *, encoder: bool = False, length_m: float = 1_000.0, frames: int = 0
) -> Path:
    """Write a service whose coils are graded, at 2 m/s. A simulated strip runs on while the service is down.

    Return the configuration's path.
    """
    if source == "folder":
        path = write_service(folder, frames, 2000.0 / LINES)
        text = path.read_text()
    else:
        _write_engines(folder / "engines")
        path = folder / "service.toml"
        text = CONFIG.format(folder=folder, width=WIDTH, lines=LINES, line_rate_hz=2000.0)
        text = text.replace(
            f'type = "folder"\npath = "{folder}/strip"', RUNNING.format(folder=folder, length_m=length_m)
        )
    text = text.replace("[source]", f"{ENCODER if encoder else ''}[source]")
    head = f'taxonomy = "{CONFIGS}/taxonomy.toml"\n[decision]\ngrading = "{CONFIGS}/grading/example.toml"\n'
    path.write_text(head + text)
    return path


def _write_engines(folder: Path, dull: Task | None = None) -> None:
    """dull: the task whose engine finds nothing, as nothing is so bright."""
    screen, classify, segment = nets.Graph(0), nets.Graph(0), nets.Graph(0)
    x = screen.op("MaxPool", screen.op("Cast", "image", to=TensorProto.FLOAT), kernel_shape=[16, 16], strides=[16, 16])
    screen.op("Squeeze", screen.op("Mul", x, screen.constant(1 / 255)), screen.constant([1], np.int64))
    x = classify.op("Flatten", classify.op("GlobalMaxPool", classify.op("Cast", "image", to=TensorProto.FLOAT)))
    classify.op("Mul", x, classify.constant([[(0.2 if dull is Task.CLASSIFY else 1.0) / 255, 0, 0, 0, 0]]))
    x = segment.op("Squeeze", "image", segment.constant([1], np.int64))
    segment.op("Identity", x)
    models = {
        Task.SCREEN: nets._model(screen, "score", TensorProto.FLOAT, (LINES, WIDTH), (LINES // 16, WIDTH // 16)),
        Task.CLASSIFY: nets._model(classify, "scores", TensorProto.FLOAT, (LINES, LINES), (len(nets.CLASSES),)),
        Task.SEGMENT: nets._model(segment, "probability", TensorProto.UINT8, (LINES, LINES), (LINES, LINES)),
    }
    thresholds = {
        Task.SCREEN: {"pass": BRIGHT},
        Task.CLASSIFY: dict.fromkeys(nets.CLASSES, BRIGHT),
        Task.SEGMENT: {"defect": BRIGHT},
    }
    if dull is not None:
        thresholds[dull] = dict.fromkeys(thresholds[dull], 0.999)
    for task, model in models.items():
        width = WIDTH if task is Task.SCREEN else LINES
        nets.write(folder, task, model, LINES, width, thresholds=thresholds[task])
