"""The loop that one would write in an afternoon, as a peer: the same engines in FP32, the same gates, one frame after
the other, each runtime call on all cores, masks labelled with OpenCV. The engines run on ONNX Runtime or in torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import onnxruntime

from linewatch.contracts.manifest import CASCADE, Task, byte_threshold
from linewatch.inference.engines import Engine, load_engines
from linewatch.service_settings import ServiceSettings

STRIDE_PX, TILE_PX = 224, 256

Run = Callable[[np.ndarray], np.ndarray]
"""An engine: uint8 (1, 1, lines, width) to its output, (1, ...)."""


def on_onnxruntime(engine: Engine) -> Run:
    """A session with ONNX Runtime's own defaults."""
    session = onnxruntime.InferenceSession(engine.model, providers=["CPUExecutionProvider"])

    def run(image: np.ndarray) -> np.ndarray:
        output: np.ndarray = session.run(None, {"image": image})[0]
        return output

    return run


def on_torch(engine: Engine) -> Run:
    """Torch eager in inference mode, on as many threads as torch is set to. Nothing else here imports torch."""
    import torch

    from benchmarks.eager import eager_network

    network = eager_network(engine)

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output: np.ndarray = network(torch.from_numpy(image)).numpy()
        return output

    return run


class PlainLoop:
    """`open_engine` says on what the engines run."""

    def __init__(self, settings: ServiceSettings, open_engine: Callable[[Engine], Run]) -> None:
        self._engines = load_engines(settings.inference.model_copy(update={"precision": "fp32"}))
        self._claim_share = settings.inference.claim_share
        self._runs = {task: open_engine(engine) for task, engine in self._engines.by_task().items()}

    def frames_per_s(self, frames: Sequence[np.ndarray], most_s: float = math.inf) -> float:
        """One pass over `frames`, uint8 (lines, width); no new one is begun after `most_s`."""
        started, done = time.perf_counter(), 0
        for frame in frames:
            self.inspect(frame)
            done += 1
            if time.perf_counter() - started > most_s:
                break
        return done / (time.perf_counter() - started)

    def inspect(self, frame: np.ndarray) -> list[tuple[int, int, int, int, str]]:
        """What is found on a frame: x, y, width and height in px, and the class."""
        screen, classify, segment = (self._engines.by_task()[task].manifest for task in CASCADE)
        cells = self._run(Task.SCREEN, frame)
        side = screen.cell_px or 1
        claims, found = classify.claims(), []
        for x in range(0, frame.shape[1] - TILE_PX + 1, STRIDE_PX):
            if cells[:, x // side : (x + TILE_PX) // side].max() < screen.thresholds["pass"]:
                continue
            tile = np.ascontiguousarray(frame[:, x : x + TILE_PX])
            scores = self._run(Task.CLASSIFY, tile)
            if (scores < claims * self._claim_share).all():
                continue
            mask = self._run(Task.SEGMENT, tile) >= byte_threshold(segment.thresholds["defect"])
            name = classify.classes[int(scores.argmax())]
            _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            found += [(x + int(left), int(top), int(w), int(h), name) for left, top, w, h, _ in boxes[1:]]
        return found

    def _run(self, task: Task, pixels: np.ndarray) -> np.ndarray:
        output: np.ndarray = self._runs[task](pixels[np.newaxis, np.newaxis])[0]
        return output
