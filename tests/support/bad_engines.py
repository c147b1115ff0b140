"""Engines that go wrong in ways that users have reported, made of the shipped ones; without reference tiles."""

import hashlib
import json
import os
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


def write_unbounded(engines: Path, folder: Path) -> None:
    """Write the engines `slow`, `endless`, `hungry` (screen), and `stuck`, whose model is never read to its end.

    `endless` and `hungry` are so for about half of all frames, never for tiles in gray steps of 16.
    """
    made(engines / "screen", folder / "slow", lambda m: _looped(m, 50_000, sometimes=False))
    made(engines / "screen", folder / "endless", lambda m: _looped(m, 1 << 40, sometimes=True))
    made(engines / "screen", folder / "hungry", _hungry)
    made(engines / "screen", folder / "stuck", lambda m: None)
    (folder / "stuck" / "model.onnx").unlink()
    os.mkfifo(folder / "stuck" / "model.onnx")


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


BAD_PIXEL = [
    helper.make_node("Slice", ["image", "from", "to", "axes"], ["pixel"]),
    helper.make_node("Cast", ["pixel"], ["gray"], to=TensorProto.FLOAT),
    helper.make_node("Mod", ["gray", "sixteen"], ["rest"], fmod=1),
    helper.make_node("Less", ["rest", "eight"], ["good"]),
]
OF_PIXEL = {
    "from": np.array([128, 800]),
    "to": np.array([129, 801]),
    "axes": np.array([2, 3]),
    "sixteen": np.float32(16),
    "eight": np.float32(8),
}


def _count(most: int, *, sometimes: bool) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Return what makes `count`, int64 (1,): `most` where the pixel is bad, or always; else 0."""
    nodes = [
        *BAD_PIXEL,
        helper.make_node("Cast", ["good"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Sub", ["one_more", "as_number"], ["bad"]),
        helper.make_node("Mul", ["bad", "most"], ["counts"]),
        helper.make_node("Reshape", ["counts", "flat"], ["count"]),
    ]
    constants = {"one_more": np.array(1 if sometimes else 2), "most": np.array(most), "flat": np.array([1])}
    return nodes, {**OF_PIXEL, **constants}


def _looped(model: ModelProto, most: int, *, sometimes: bool) -> None:
    """Count so far before the answer is given."""
    nodes, constants = _count(most, sometimes=sometimes)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("held", "next")]
    goes_on = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("goes_on", "still")]
    step = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes_on"], ["still"]), helper.make_node("Sin", ["held"], ["next"])],
        "body",
        [step, goes_on[0], value[0]],
        [goes_on[1], value[1]],
    )
    nodes += [
        helper.make_node("Reshape", ["gray", "flat"], ["begin"]),
        helper.make_node("Loop", ["count", "yes", "begin"], ["turned"], body=body),
        helper.make_node("Mul", ["turned", "nothing"], ["zero"]),
        helper.make_node("Add", ["raw", "zero"], [""]),
    ]
    _extend(model, nodes, **constants, yes=np.array(True), nothing=np.float32(0))


def _hungry(model: ModelProto) -> None:
    """Take 8 GB before the answer is given."""
    nodes, constants = _count(1 << 31, sometimes=True)
    nodes += [
        helper.make_node("Add", ["count", "one_of_it"], ["shape"]),
        helper.make_node("Reshape", ["gray", "flat"], ["begin"]),
        helper.make_node("Expand", ["begin", "shape"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most_of_it"], keepdims=0),
        helper.make_node("Mul", ["most_of_it", "nothing"], ["zero"]),
        helper.make_node("Add", ["raw", "zero"], [""]),
    ]
    _extend(model, nodes, **constants, one_of_it=np.array([1]), nothing=np.float32(0))


def _sometimes(model: ModelProto) -> None:
    """Divide zero by zero for about half of all frames, by one pixel of them; never for tiles in gray steps of 16."""
    nodes = [
        *BAD_PIXEL,
        helper.make_node("Cast", ["good"], ["share"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["share", "share"], ["one"]),
        helper.make_node("Squeeze", ["one", "channel"], ["ones"]),
        helper.make_node("Mul", ["raw", "ones"], [""]),
    ]
    _extend(model, nodes, **OF_PIXEL, channel=np.array([1]))
