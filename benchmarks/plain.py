"""The loop that one would write in an afternoon, as a peer: the same engines in FP32, the same gates, one frame after
the other, each runtime call on all cores, masks labelled with OpenCV.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
import onnxruntime

from linewatch.config.service import ServiceSettings
from linewatch.contracts.manifest import Task, byte_threshold
from linewatch.inference.engines import load_engines

STRIDE_PX, TILE_PX = 224, 256


class PlainLoop:
    """Sessions with ONNX Runtime's own defaults."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._engines = load_engines(settings.inference.model_copy(update={"precision": "fp32"}))
        self._claim_share = settings.inference.claim_share
        self._sessions = {
            task: onnxruntime.InferenceSession(engine.model, providers=["CPUExecutionProvider"])
            for task, engine in self._engines.by_task().items()
        }

    def frames_per_s(self, frames: Sequence[np.ndarray]) -> float:
        """One pass over `frames`, uint8 (lines, width)."""
        started = time.perf_counter()
        for frame in frames:
            self._inspect(frame)
        return len(frames) / (time.perf_counter() - started)

    def _inspect(self, frame: np.ndarray) -> list[tuple[int, int, int, int, str]]:
        screen, classify, segment = (self._engines.by_task()[task].manifest for task in Task)
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
        output: np.ndarray = self._sessions[task].run(None, {"image": pixels[np.newaxis, np.newaxis]})[0][0]
        return output
