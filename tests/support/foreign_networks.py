"""Small networks as other people export them: their layouts, types, batches, outputs and mistakes."""

from collections.abc import Sequence
from pathlib import Path

import nets
import numpy as np
import onnx
from onnx import TensorProto, helper

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


def classifier(
    classes: int = 3,
    *,
    end: str | None = None,
    layout: str = "nchw",
    channels: int = 3,
    dtype: str = "float32",
    rows: int | str = "n",
    side: int | str = 32,
    bound: str | None = None,
    opset: int = 17,
    ir_version: int = 9,
    spare_outputs: int = 0,
) -> onnx.ModelProto:
    """Return a classifier. end: Sigmoid or Softmax. bound: what ties it to one row, "shape" or "values"."""
    g = nets.Graph(7)
    kind = np.float16 if dtype == "float16" else np.float32
    x = "picture"
    if layout == "nhwc":
        x = g.op("Transpose", x, perm=[0, 3, 1, 2])
    if dtype == "uint8":
        x = g.op("Mul", g.op("Cast", x, to=TensorProto.FLOAT), g.constant(1 / 255))
    for from_, to in ((channels, 8), (8, 16)):
        x = g.op("Relu", _conv(g, x, from_, to, kind))
    x = g.op("GlobalAveragePool", x)
    if bound == "shape":
        x = g.op("Reshape", x, g.constant([1, 16], np.int64))
    elif bound == "values":  # the batch and the features change places and back: two rows cannot pass
        x = g.op("Reshape", g.op("Reshape", x, g.constant([16, 1], np.int64)), g.constant([1, 16], np.int64))
        x = g.op("Reshape", g.op("Transpose", x, perm=[1, 0]), g.constant([-1, 16], np.int64))
    else:
        x = g.op("Flatten", x)
    x = g.op("MatMul", x, _weight(g, g.rng.normal(0, 2.0, (16, classes)), kind))
    if end is not None:
        x = g.op(end, x, **({"axis": 1} if end == "Softmax" else {}))
    extents: list[int | str] = [side, side]
    extents.insert(0 if layout == "nchw" else 2, channels)
    outputs = [("answer", [rows, classes])] + [(f"spare{i}", [rows, classes]) for i in range(spare_outputs)]
    g.nodes[-1].output[0] = "answer"
    for name, _ in outputs[1:]:
        g.nodes.append(helper.make_node("Neg", ["answer"], [name]))
    return _model(g, [rows, *extents], outputs, dtype, opset, ir_version)


def segmenter(
    channels_out: int,
    *,
    end: str | None = None,
    layout: str = "nchw",
    channels: int = 1,
    rows: int | str = "n",
    extents: Sequence[int | str] = (32, 32),
    shrink: int = 1,
    dtype: str = "float32",
) -> onnx.ModelProto:
    """Return a network that gives a map: a segmenter, or a screen with cells of `shrink` pixels."""
    g = nets.Graph(11)
    x = "picture"
    if layout == "nhwc":
        x = g.op("Transpose", x, perm=[0, 3, 1, 2])
    x = g.op("Relu", _conv(g, x, channels, 8, np.float32, stride=1))
    if shrink > 1:
        x = g.op("AveragePool", x, kernel_shape=[shrink] * 2, strides=[shrink] * 2)
    x = g.op("Mul", _conv(g, x, 8, channels_out, np.float32, stride=1), g.constant(3.0))
    if end == "Softmax":
        x = g.op("Softmax", x, axis=1)
    elif end is not None:
        x = g.op(end, x)
    if layout == "nhwc":
        x = g.op("Transpose", x, perm=[0, 2, 3, 1])
    g.nodes[-1].output[0] = "answer"
    extents_in: list[int | str] = [*extents]
    extents_out: list[int | str] = [one // shrink if isinstance(one, int) else "s" + one for one in extents]
    extents_in.insert(0 if layout == "nchw" else 2, channels)
    extents_out.insert(0 if layout == "nchw" else 2, channels_out)
    return _model(g, [rows, *extents_in], [("answer", [rows, *extents_out])], dtype, 17, 9)


def detector(rows: int = 1, *, nms: bool = False) -> onnx.ModelProto:
    """Return what a YOLO gives: boxes and class scores of its anchors, (n, 4 + classes, anchors)."""
    g = nets.Graph(3)
    x = _conv(g, "picture", 3, 7, np.float32, stride=8)
    x = g.op("Reshape", x, g.constant([0, 7, -1], np.int64))
    outputs: list[tuple[str, list[int | str]]] = [("answer", [rows, 7, 1024])]
    g.nodes[-1].output[0] = "answer"
    if nms:
        boxes = g.op(
            "Transpose", g.op("Slice", "answer", *(g.constant([v], np.int64) for v in (0, 4, 1))), perm=[0, 2, 1]
        )
        scores = g.op("Slice", "answer", *(g.constant([v], np.int64) for v in (4, 7, 1)))
        g.nodes.append(helper.make_node("NonMaxSuppression", [boxes, scores], ["chosen"]))
        g.nodes.append(helper.make_node("Cast", ["chosen"], ["kept"], to=TensorProto.FLOAT))
        outputs = [("kept", ["k", 3])]
    return _model(g, [rows, 3, 256, 256], outputs, "float32", 17, 9)


def save(model: onnx.ModelProto, path: Path, *, weights: str | None = None) -> Path:
    """Write a network; with its weights in the file `weights` beside it, as torch's exporter does."""
    if weights is None:
        path.write_bytes(model.SerializeToString())
    else:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        onnx.save_model(copy, path, save_as_external_data=True, location=weights, size_threshold=0)
    return path


def _conv(g: nets.Graph, x: str, from_: int, to: int, kind: type, stride: int = 2) -> str:
    weight = g.rng.normal(0, (2 / from_ / 9) ** 0.5, (to, from_, 3, 3))
    bias = g.rng.normal(0, 0.3, to)
    return g.op("Conv", x, _weight(g, weight, kind), _weight(g, bias, kind), strides=[stride] * 2, pads=[1] * 4)


def _weight(g: nets.Graph, values: np.ndarray, kind: type) -> str:
    return g.constant(values, kind)


def _model(
    g: nets.Graph,
    taken: list[int | str],
    outputs: list[tuple[str, list[int | str]]],
    dtype: str,
    opset: int,
    ir_version: int,
) -> onnx.ModelProto:
    given = TYPES["float16" if dtype == "float16" else "float32"]
    inputs = [helper.make_tensor_value_info("picture", TYPES[dtype], taken)]
    if ir_version < 4:  # constants were inputs as well
        inputs += [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in g.weights]
    graph = helper.make_graph(
        g.nodes,
        "foreign",
        inputs,
        [helper.make_tensor_value_info(name, given, dims) for name, dims in outputs],
        g.weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, producer_name="elsewhere"
    )
