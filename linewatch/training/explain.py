"""Where does a network look? Activation over the picture, after Konovalenko et al., section 5.

A screen and a segmenter answer with maps of their own. Of a classifier the deepest feature map is taken out of its ONNX
graph: weighted by what its last layer makes of each channel where the features are only averaged before it (class
activation map, Zhou et al. 2016, arXiv:1512.04150), else the mean of the channels' magnitudes.
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
from linewatch.training.datasets import read_gray
from linewatch.training.evaluation import Judgeable, open_judgeable, probability, windows_of
from linewatch.training.judging.plots.drawing import drawing, panels
from linewatch.training.judging.plots.pictures import heat
from linewatch.training.recipes.study import resized

_NAMED = 3


@dataclass(frozen=True)
class Explanation:
    """gray: uint8 (lines, width). activation: float32 of the same shape. scores: by class, highest first."""

    gray: NDArray[np.uint8]
    activation: NDArray[np.float32]
    scores: dict[str, float]


def explain(target: str, picture: Path, out: Path, engines_dir: Path = Path("engines")) -> Explanation:
    """Draws the picture beside its activation map to `out` and gives both. A strip frame is explained tile by tile."""
    judgeable, gray = open_judgeable(target, engines_dir), read_gray(picture)
    if judgeable.task is Task.CLASSIFY:
        found = _of_classifier(judgeable, gray)
    else:
        found = Explanation(gray, _own_map(judgeable, gray), {})
    _draw(found, f"{judgeable.name} on {picture.name}", out)
    return found


def _own_map(judgeable: Judgeable, gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    if judgeable.task is Task.SEGMENT:
        return (probability(judgeable, gray) / 255).astype(np.float32)
    fitted = resized(gray, (judgeable.width, judgeable.lines))
    cells = judgeable.predict(fitted[None, None])[0].astype(np.float32)
    return _enlarged(cells, gray.shape)


def _of_classifier(judgeable: Judgeable, gray: NDArray[np.uint8]) -> Explanation:
    session, weights = _opened(judgeable.onnx(), judgeable)
    activation, scores = np.zeros(gray.shape, np.float32), np.zeros(len(judgeable.classes), np.float32)
    for window in windows_of(gray.shape, judgeable.lines, judgeable.width):
        tile = np.ascontiguousarray(gray[window])
        answer = session.run(None, {"image": resized(tile, (judgeable.width, judgeable.lines))[None, None]})
        seen = _activation(answer[1][0], answer[2][0] if len(answer) > 2 else None, weights)
        np.maximum(activation[window], _enlarged(seen, tile.shape), out=activation[window])
        scores = np.maximum(scores, answer[0][0])
    order = np.argsort(-scores)
    return Explanation(gray, activation, {judgeable.classes[k]: float(scores[k]) for k in order})


def _activation(features: NDArray, kinds: NDArray | None, weights: NDArray | None) -> NDArray[np.float32]:
    """(h, w) from features (c, h, w), the last layer's answers (k,) and its weights (k, c)."""
    if kinds is None or weights is None:
        return np.abs(features).mean(0).astype(np.float32)
    weighted: NDArray[np.float32] = np.tensordot(weights[int(kinds.argmax())], features, 1).astype(np.float32)
    return np.maximum(weighted, 0)


def _opened(model: bytes, judgeable: Judgeable) -> tuple[onnxruntime.InferenceSession, NDArray | None]:
    """The graph with its deepest spatial features as second output; and, where the last layer is linear in their mean,
    that layer's answers as third, with its weights (k, c).
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    spatial = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in graph.graph.value_info}
    deep = [
        out
        for node in graph.graph.node
        for out in node.output
        if len(spatial.get(out, ())) == 4 and min(spatial[out][2:]) > 1 and node.op_type in _FEATURES
    ]
    if not deep:
        raise EngineError(f"{judgeable.name}: its graph has no feature map to show; explain another engine")
    channels = spatial[deep[-1]][1]
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(deep[-1]))
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.graph.initializer}
    linear = [node for node in graph.graph.node if node.op_type == "Gemm" and node.input[1] in values]
    weights = None
    if linear:
        matrix = values[linear[-1].input[1]]
        turned = any(one.name == "transB" and one.i for one in linear[-1].attribute)
        matrix = matrix if turned else matrix.T
        if matrix.shape[1] in (channels, 2 * channels):  # the mean, or the mean beside the maximum
            weights = matrix[:, :channels]
            graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(linear[-1].output[0]))
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]), weights


_FEATURES = {"Conv", "Relu", "Clip", "Add", "BatchNormalization", "Concat", "MaxPool"}


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
