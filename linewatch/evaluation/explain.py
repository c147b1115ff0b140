"""Activation maps over an image: where does a network look? (Konovalenko et al., section 5)

The outputs of a screen and a segmenter are maps. For a classifier the deepest feature map is read from its ONNX graph:
weighted by the last layer's weights if only an average lies between them (class activation map, Zhou et al. 2016,
arXiv:1512.04150), else the mean of the channels' magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.datasets import read_gray
from linewatch.evaluation.evaluate import EvaluationTarget, open_target, probability, windows_of
from linewatch.metrics.plots.drawing import drawing, panels
from linewatch.metrics.plots.images import heat
from linewatch.training.papers.study import resized

_NAMED = 3


@dataclass(frozen=True)
class Explanation:
    """An image, uint8 (lines, width), its activation map, float32 of that shape, and the scores by class, falling."""

    gray: NDArray[np.uint8]
    activation: NDArray[np.float32]
    scores: dict[str, float]


def explain(name: str, image: Path, out: Path, engines_dir: Path = Path("engines")) -> Explanation:
    """Draw the image beside its activation map to `out` and return both; a strip frame is explained tile by tile."""
    target, gray = open_target(name, engines_dir), read_gray(image)
    if target.task is Task.CLASSIFY:
        found = _of_classifier(target, gray)
    else:
        found = Explanation(gray, _own_map(target, gray), {})
    _draw(found, f"{target.name} on {image.name}", out)
    return found


def _own_map(target: EvaluationTarget, gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    if target.task is Task.SEGMENT:
        return (probability(target, gray) / 255).astype(np.float32)
    fitted = resized(gray, (target.width, target.lines))
    cells = target.predict(fitted[None, None])[0].astype(np.float32)
    return _enlarged(cells, gray.shape)


def _of_classifier(target: EvaluationTarget, gray: NDArray[np.uint8]) -> Explanation:
    opened = _Opened(target)
    activation, scores = np.zeros(gray.shape, np.float32), np.zeros(len(target.classes), np.float32)
    for window in windows_of(gray.shape, target.lines, target.width):
        tile = np.ascontiguousarray(gray[window])
        answer, seen = opened(resized(tile, (target.width, target.lines)))
        np.maximum(activation[window], _enlarged(seen, tile.shape), out=activation[window])
        scores = np.maximum(scores, answer)
    order = np.argsort(-scores)
    return Explanation(gray, activation, {target.classes[k]: float(scores[k]) for k in order})


class _Opened:
    """A classifier's graph, extended to output its deepest feature maps and its last linear layer."""

    def __init__(self, target: EvaluationTarget):
        graph = onnx.load_from_string(target.onnx())
        nodes, self.name = list(graph.graph.node), target.name
        averaged = [node.input[0] for node in nodes if node.op_type in _AVERAGES]
        self.maps = averaged[-1:] or [node.output[0] for node in nodes if node.op_type in _MAPS][-_DEEPEST:]
        values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.graph.initializer}
        linear = [node for node in nodes if node.op_type == "Gemm" and node.input[1] in values]
        self.answers: list[str] = [linear[-1].output[0]] if averaged and linear else []
        if self.answers:
            matrix = values[linear[-1].input[1]]
            turned = any(one.name == "transB" and one.i for one in linear[-1].attribute)
            self.weights = matrix if turned else matrix.T
        self.scores = graph.graph.output[0].name
        for name in (*self.maps, *self.answers):
            graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        self.session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])

    def __call__(self, tile: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scores (classes,) and activation (h, w), lowest 0; `EngineError` if no layer has a map."""
        scores, *seen = self.session.run([self.scores, *self.maps, *self.answers], {"image": tile[None, None]})
        spatial = [one[0] for one in seen[: len(self.maps)] if one.ndim == 4 and min(one.shape[2:]) > 1]
        if not spatial:
            raise EngineError(f"{self.name}: its graph has no feature map to show; explain another engine")
        features = spatial[-1]
        channels = len(features)
        # The last layer reads the features' mean, or the mean and then the maximum; else other layers lie between.
        if self.answers and self.weights.shape[1] in (channels, 2 * channels):
            weighted = np.tensordot(self.weights[int(seen[-1][0].argmax()), :channels], features, 1)
        else:
            weighted = np.abs(features).mean(0)
        return scores[0], (weighted - weighted.min()).astype(np.float32)


_AVERAGES = {"ReduceMean", "GlobalAveragePool"}
_MAPS = {"Conv", "Relu", "Clip", "BatchNormalization", "MaxPool"}
_DEEPEST = 6


def _enlarged(small: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)


def _draw(found: Explanation, title: str, out: Path) -> None:
    lines, width = found.gray.shape
    beside = width < 2 * lines
    named = ", ".join(f"{name} {score:.2f}" for name, score in list(found.scores.items())[:_NAMED])
    size = (1000, 560) if beside else (1100, 520)
    with drawing(out, *size) as sheet:
        first, second = panels(sheet, 2, 2 if beside else 1)
        first.imshow(found.gray, cmap="gray", vmin=0, vmax=255)
        first.set_title(title)
        second.imshow(heat(found.gray, found.activation))
        second.set_title(named or "activation")
        for axes in (first, second):
            axes.set(xticks=[], yticks=[])
