"""Converts an FP32 ONNX model to FP16: a strongly typed TensorRT network computes in the precisions of its graph."""

from typing import Any

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.model_ports import unreadable

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PRODUCTS = CONVOLUTIONS | {"Gemm", "MatMul"}
KEPT_INPUTS = {"Resize": (1, 2)}  # ONNX defines roi and scales as FP32
HALF_MAX = float(np.finfo(np.float16).max)


def to_half(manifest: EngineManifest, model: bytes) -> bytes:
    """Return the model with FP16 arithmetic from its first convolution to its last convolution or matrix product.

    Nodes before it stay FP32, since normalisation by a local variance cancels digits that FP16 does not have; so do
    matrix products there, which average the picture. A model without convolutions is FP16 from its first product. Nodes
    behind it stay FP32, since thresholds are compared with their scores. Inputs and outputs keep their types. Raises
    EngineError when the model cannot be read or a weight is too large for FP16.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineError(
            f"engine {manifest.name}: FP16 needs the Python package onnx, which cannot be imported ({error}); "
            "install linewatch[gpu], or build fp32"
        ) from error
    try:
        typed = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    except Exception as error:  # protobuf's and onnx' exceptions have no common base
        raise unreadable(manifest, error) from error
    _HalfBody(typed.graph, manifest.name).convert()
    return bytes(typed.SerializeToString())


class _HalfBody:
    """Rewrites a graph: nodes of the body take and give FP16, with casts at its borders."""

    def __init__(self, graph: Any, engine: str) -> None:
        import onnx

        self._onnx, self._graph, self._engine = onnx, graph, engine
        self._weights = {weight.name: weight for weight in graph.initializer}
        values = (*graph.input, *graph.value_info, *graph.output)
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        types |= {name: weight.data_type for name, weight in self._weights.items()}
        self._singles = {name for name, type_ in types.items() if type_ == onnx.TensorProto.FLOAT}  # FP32 at first
        self._halves: set[str] = set()  # of these, outputs of the body: FP16 under the old name
        self._twins: dict[str, str] = {}  # tensor -> the same tensor in the other precision
        self._nodes: list[Any] = []

    def convert(self) -> None:
        graph, body = self._graph, _between_products(self._graph)
        for index, node in enumerate(graph.node):
            if index in body:
                self._add_to_body(node)
            else:
                node.input[:] = [self._as_single(name) for name in node.input]
                self._nodes.append(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        del graph.value_info[:]  # it has the old types
        used = {name for node in graph.node for name in node.input}
        weights = [weight for weight in graph.initializer if weight.name in used]
        del graph.initializer[:]
        graph.initializer.extend(weights)

    def _add_to_body(self, node: Any) -> None:
        types = self._onnx.TensorProto
        kept = KEPT_INPUTS.get(node.op_type, ())
        node.input[:] = [name if place in kept else self._as_half(name) for place, name in enumerate(node.input)]
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == types.FLOAT:
                    attribute.i = types.FLOAT16
        self._nodes.append(node)
        outputs = {output.name for output in self._graph.output}
        for place, name in enumerate(node.output):
            if name in self._singles and name in outputs:  # an output keeps its name and type
                node.output[place] = f"{name}/fp16"
                self._cast(f"{name}/fp16", name, types.FLOAT)
            elif name in self._singles:
                self._halves.add(name)

    def _as_half(self, name: str) -> str:
        if name not in self._singles or name in self._halves:
            return name
        if name not in self._twins:
            twin = self._twins[name] = f"{name}/fp16"
            if name in self._weights:
                self._graph.initializer.append(self._half_weight(name, twin))
            else:
                self._cast(name, twin, self._onnx.TensorProto.FLOAT16)
        return self._twins[name]

    def _as_single(self, name: str) -> str:
        if name not in self._halves:
            return name
        if name not in self._twins:
            self._twins[name] = f"{name}/fp32"
            self._cast(name, f"{name}/fp32", self._onnx.TensorProto.FLOAT)
        return self._twins[name]

    def _half_weight(self, name: str, twin: str) -> Any:
        values = self._onnx.numpy_helper.to_array(self._weights[name])
        largest = np.abs(values).max(initial=0)
        if largest > HALF_MAX:
            raise EngineError(
                f"engine {self._engine}: weight {name} reaches {largest:.3g}, FP16 holds {HALF_MAX:.0f} at most; "
                "build fp32"
            )
        return self._onnx.numpy_helper.from_array(values.astype(np.float16), twin)

    def _cast(self, name: str, twin: str, to: int) -> None:
        self._nodes.append(self._onnx.helper.make_node("Cast", [name], [twin], name=f"{twin}/cast", to=to))


def _between_products(graph: Any) -> set[int]:
    """Return the nodes with a convolution at or before them (without any: a product), and a product at or behind them.

    Nodes stand in ONNX' topological order.
    """
    nodes = list(graph.node)
    first = CONVOLUTIONS if any(node.op_type in CONVOLUTIONS for node in nodes) else PRODUCTS
    maker = {name: index for index, node in enumerate(nodes) for name in node.output}
    behind, ahead = set(), {index for index, node in enumerate(nodes) if node.op_type in PRODUCTS}
    for index, node in enumerate(nodes):
        if node.op_type in first or any(maker.get(name) in behind for name in node.input):
            behind.add(index)
    for index in reversed(range(len(nodes))):
        if index in ahead:
            ahead |= {maker[name] for name in nodes[index].input if name in maker}
    return behind & ahead
