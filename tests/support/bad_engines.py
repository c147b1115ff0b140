"""Engines that go wrong in ways that users have reported, made of the shipped ones; without reference tiles."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def write(engines: Path, folder: Path) -> None:
    """Write the engines `logits`, `percent`, `constant`, `permuted`, `rows` (classify) and `sometimes` (screen)."""
    made(engines / "classify", folder / "logits", _without_sigmoid)
    made(engines / "classify", folder / "percent", lambda m: _scaled(m, 100.0, 0.0))
    made(engines / "classify", folder / "constant", lambda m: _scaled(m, 0.0, 0.25))
    made(engines / "classify", folder / "permuted", _permuted)
    made(engines / "classify", folder / "rows", _doubled)
    made(engines / "screen", folder / "sometimes", _sometimes)


def made(source: Path, target: Path, change: Callable[[ModelProto], None]) -> None:
    """Write a changed copy of an engine, with its hash, under the folder's name."""
    model = onnx.load(source / "model.onnx")
    change(model)
    data = model.SerializeToString()
    manifest = json.loads((source / "manifest.json").read_text())
    manifest.pop("reference")
    manifest["name"], manifest["model"]["sha256"] = target.name, hashlib.sha256(data).hexdigest()
    target.mkdir()
    (target / "model.onnx").write_bytes(data)
    (target / "manifest.json").write_text(json.dumps(manifest))


def _without_sigmoid(model: ModelProto) -> None:
    (last,) = [node for node in model.graph.node if model.graph.output[0].name in node.output]
    assert last.op_type == "Sigmoid"
    last.op_type = "Identity"


def _extend(model: ModelProto, nodes: Sequence[NodeProto], **constants: np.ndarray) -> None:
    """Let the graph's output become `raw`, and `nodes` make the output of it."""
    output = model.graph.output[0].name
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["raw" if name == output else name for name in names]
    nodes[-1].output[0] = output
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())


def _scaled(model: ModelProto, factor: float, offset: float) -> None:
    nodes = [
        helper.make_node("Mul", ["raw", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], [""]),
    ]
    _extend(model, nodes, factor=np.float32(factor), offset=np.float32(offset))


def _permuted(model: ModelProto) -> None:
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    order = np.roll(np.arange(classes), 1)
    _extend(model, [helper.make_node("Gather", ["raw", "order"], [""], axis=1)], order=order)


def _doubled(model: ModelProto) -> None:
    _extend(model, [helper.make_node("Concat", ["raw", "raw"], [""], axis=0)])


def _sometimes(model: ModelProto) -> None:
    """Divide zero by zero for about half of all frames, by one pixel of them; never for tiles in gray steps of 16."""
    nodes = [
        helper.make_node("Slice", ["image", "from", "to", "axes"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["gray"], to=TensorProto.FLOAT),
        helper.make_node("Mod", ["gray", "sixteen"], ["rest"], fmod=1),
        helper.make_node("Less", ["rest", "eight"], ["good"]),
        helper.make_node("Cast", ["good"], ["share"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["share", "share"], ["one"]),
        helper.make_node("Squeeze", ["one", "channel"], ["ones"]),
        helper.make_node("Mul", ["raw", "ones"], [""]),
    ]
    _extend(
        model,
        nodes,
        **{"from": np.array([128, 800]), "to": np.array([129, 801]), "axes": np.array([2, 3])},
        sixteen=np.float32(16),
        eight=np.float32(8),
        channel=np.array([1]),
    )
