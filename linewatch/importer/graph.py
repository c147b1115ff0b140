"""The engine's graph: the user's network between a head that takes the line's tiles and a tail that gives its answers.

Head and tail use operators that are the same in every opset from 8 on, so the network's own opset stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from linewatch.importer.network import Layout, PictureForm
from linewatch.importer.network_file import walk

IMAGE = "image"
RAW = "raw"
"""The name of the network's own output in the graph, before the tail."""
_NETWORK = "network."
_LEAST_IR = 4  # from here on constants need not be inputs
_INT64 = TensorProto.INT64


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What the network expects of a gray level: (gray / 255 * white - mean) / std, each with one value or three.

    white: the value of a white pixel before mean and std, 1 for most networks, 255 for some of Keras.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    white: float = 1.0

    def __str__(self) -> str:
        scale = "gray / 255" if self.white == 1 else "gray" if self.white == 255 else f"gray / 255 * {self.white:g}"
        if self.mean == (0.0,) and self.std == (1.0,):
            return scale
        return f"({scale} - {_listed(self.mean)}) / {_listed(self.std)}"


class Builder:
    """Nodes and constants under names of their own. Operators return the name of their output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: ArrayLike, dtype: type = np.float32) -> str:
        name = f"linewatch.constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        node = f"linewatch.{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [name or node], name=node, **attributes))  # type: ignore[arg-type]
        return name or node

    def cast(self, value: str, dtype: np.dtype | type) -> str:
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, value: str, *dims: int) -> str:
        """Give the rows another shape; the number of rows stays."""
        return self.op("Reshape", value, self.constant([0, *dims], np.int64))

    def resized(self, value: str, old: tuple[int, int], new: tuple[int, int]) -> str:
        """Resize the last two axes, bilinear; where they shrink, every old pixel counts (as in PIL and torchvision).

        Two matrix products, which every opset and runtime has, and which do not alias.
        """
        if old[0] != new[0]:
            value = self.op("MatMul", self.constant(resize_matrix(old[0], new[0])), value)
        if old[1] != new[1]:
            value = self.op("MatMul", value, self.constant(resize_matrix(old[1], new[1]).T))
        return value

    def rounded_bytes(self, value: str) -> str:
        """Round numbers from 0 to 255 to uint8."""
        return self.cast(self.op("Add", value, self.constant(0.5)), np.uint8)

    def unit(self, value: str) -> str:
        """Limit numbers to 0 ... 1."""
        return self.op("Max", self.op("Min", value, self.constant(1.0)), self.constant(0.0))


def resize_matrix(old: int, new: int) -> NDArray[np.float32]:
    """Return float32 (new, old): the bilinear weights of each old pixel in each new one; every line adds to 1.

    The triangle is as wide as a new pixel where the picture shrinks, as in PIL's `Image.resize(..., BILINEAR)`.
    """
    scale = old / new
    support = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old)[None] + 0.5 - centres[:, None]) / support
    weights = np.maximum(1.0 - distance, 0.0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def bare_engine(
    network: ModelProto,
    form: PictureForm,
    output: str,
    size: tuple[int, int],
    normalisation: Normalisation,
    row_shape: Sequence[int] | None = None,
) -> ModelProto:
    """Return the network behind its head: `image` uint8 (n, 1, lines, width) to `raw` float32 (n, ...).

    size: lines and width of a tile. row_shape: of the network's output for one row; the network then runs row by row
    inside a Scan, however many rows come. None: the network is given all rows at once.
    """
    inner = ModelProto()
    inner.CopyFrom(network)
    for graph in walk(inner.graph):
        _prefix(graph)
    head = Builder()
    picture = _head(head, form, size, normalisation)
    taken, given = _NETWORK + form.name, _NETWORK + output
    if row_shape is None:
        head.nodes.append(helper.make_node("Identity", [picture], [taken]))
        nodes = [*head.nodes, *inner.graph.node]
    else:
        nodes = [*head.nodes, _row_by_row(inner.graph, form, size, picture, taken, given, row_shape)]
        given = "linewatch.rows"
    nodes.append(helper.make_node("Cast", [given], [RAW], to=TensorProto.FLOAT))
    image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["n", 1, *size])
    raw = helper.make_tensor_value_info(RAW, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "linewatch", [image], [raw], [*inner.graph.initializer, *head.constants])
    graph.sparse_initializer.extend(inner.graph.sparse_initializer)
    del inner.graph.quantization_annotation[:], inner.metadata_props[:]
    inner.graph.CopyFrom(graph)
    inner.ir_version = max(inner.ir_version, _LEAST_IR)
    inner.producer_name, inner.producer_version, inner.doc_string = "linewatch", "", ""
    return inner


def with_free_rows(network: ModelProto) -> ModelProto:
    """Return a copy whose first dimension is declared free, with the shapes changed that an export for one row fixes.

    Whether that was enough shows only when it is run: other operators may be bound to one row as well.
    """
    free = ModelProto()
    free.CopyFrom(network)
    for info in (*free.graph.input, *free.graph.output):
        if info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].dim_param = "n"
    shapes = {one.name: numpy_helper.to_array(one) for one in free.graph.initializer if one.data_type == _INT64}
    for node in free.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            shapes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for node in free.graph.node:
        shape = shapes.get(node.input[-1]) if node.op_type in ("Reshape", "Resize") else None
        if shape is None or shape.ndim != 1 or len(shape) < 2 or shape[0] != 1 or 0 in shape:
            continue
        if node.op_type == "Reshape":
            del node.attribute[:]  # its only attribute says that 0 is an extent; here it means "as it comes"
            shape = np.array([0, *shape[1:]], np.int64)
        elif len(node.input) == 4 and _opset(free) >= 18 and all(one.name != "axes" for one in node.attribute):
            node.attribute.append(helper.make_attribute("axes", range(1, len(shape))))
            shape = shape[1:]
        else:
            continue
        name = f"linewatch.shape_{len(free.graph.initializer)}"
        free.graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[-1] = name
    return free


def finished_engine(bare: ModelProto, tail: Builder, answer: str, output: ValueInfoProto) -> ModelProto:
    """Return the engine: the bare one with a tail behind `raw`, whose last value `answer` becomes the output."""
    made = ModelProto()
    made.CopyFrom(bare)
    tail.op("Identity", answer, name=output.name)
    for node in tail.nodes:
        node.name = f"tail.{node.name}"
        node.input[:] = [one if one == RAW else f"tail.{one}" for one in node.input]
        node.output[:] = [one if one == output.name else f"tail.{one}" for one in node.output]
    for constant in tail.constants:
        constant.name = f"tail.{constant.name}"
    made.graph.node.extend(tail.nodes)
    made.graph.initializer.extend(tail.constants)
    del made.graph.output[:]
    made.graph.output.append(output)
    return made


def _head(head: Builder, form: PictureForm, size: tuple[int, int], normalisation: Normalisation) -> str:
    wanted = form.lines or size[0], form.width or size[1]
    value = head.resized(head.cast(IMAGE, np.float32), size, wanted)
    if form.channels > 1:  # OpenVINO 2026.4 fuses a product that makes the channels into a convolution, and fails
        value = head.op("Concat", *[value] * form.channels, axis=1)
    if form.dtype == np.uint8:
        value = head.rounded_bytes(value)
    else:
        std = np.array(normalisation.std, np.float64)
        scale = normalisation.white / 255 / std
        shift = np.array(normalisation.mean, np.float64) / std
        value = head.op("Mul", value, head.constant(scale.reshape(1, -1, 1, 1)))
        value = head.op("Sub", value, head.constant(shift.reshape(1, -1, 1, 1)))
    if form.layout is Layout.NHWC:
        value = head.op("Transpose", value, perm=[0, 2, 3, 1])
    return value if form.dtype in (np.uint8, np.float32) else head.cast(value, form.dtype)


def _row_by_row(
    graph: GraphProto,
    form: PictureForm,
    size: tuple[int, int],
    picture: str,
    taken: str,
    given: str,
    row_shape: Sequence[int],
) -> NodeProto:
    """Return a Scan over the rows of `picture`, whose body is the network for one row."""
    extents = [form.lines or size[0], form.width or size[1]]
    extents.insert(0 if form.layout is Layout.NCHW else 2, form.channels)
    kind = helper.np_dtype_to_tensor_dtype(form.dtype)
    body = Builder()
    body.op("Reshape", "linewatch.row", "linewatch.one_row", name=taken)
    first = [*body.nodes]
    last = [
        helper.make_node("Reshape", [given, "linewatch.row_shape"], ["linewatch.answer_in_type"]),
        helper.make_node("Cast", ["linewatch.answer_in_type"], ["linewatch.answer"], to=TensorProto.FLOAT),
    ]
    inner = helper.make_graph(
        [*first, *graph.node, *last],
        "row",
        [helper.make_tensor_value_info("linewatch.row", kind, extents)],
        [helper.make_tensor_value_info("linewatch.answer", TensorProto.FLOAT, [*row_shape])],
        [
            numpy_helper.from_array(np.array([1, *extents], np.int64), "linewatch.one_row"),
            numpy_helper.from_array(np.array([*row_shape], np.int64), "linewatch.row_shape"),
        ],
    )
    return helper.make_node("Scan", [picture], ["linewatch.rows"], name="row_by_row", body=inner, num_scan_inputs=1)


def _prefix(graph: GraphProto) -> None:
    """Give every name of a graph a prefix, so that none meets a name of head or tail."""
    for node in graph.node:
        node.name = _NETWORK + node.name if node.name else ""
        for names in (node.input, node.output):
            names[:] = [_NETWORK + one if one else one for one in names]
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.name = _NETWORK + named.name
    for sparse in graph.sparse_initializer:
        sparse.values.name = _NETWORK + sparse.values.name
    del graph.value_info[:]  # they hold the batch size of the export


def _opset(model: ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)


def _listed(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{one:g}' for one in values)})"
