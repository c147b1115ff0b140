"""Moves the cast of an engine's pixels to the front of its graph, where TensorRT needs it."""

from typing import Any

MOVES = frozenset({"Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Identity"})
"""Operators that give the values that they take."""


def cast_first(model: bytes) -> bytes:
    """Return the model with the cast of its uint8 input before what only reshapes the input.

    TensorRT takes bytes into a Cast and nothing else. The answers stay the same. The model is returned as it is where
    nothing is to be moved, where it cannot be read, or without the Python package onnx: the parser names the fault.
    """
    try:
        import onnx

        whole = onnx.load_from_string(model)
    except Exception:  # of the import, or protobuf's, which have no common base
        return model
    graph, types = whole.graph, onnx.TensorProto
    pixels = [port.name for port in graph.input if port.type.tensor_type.elem_type == types.UINT8]
    moved: list[Any] = []
    for name in pixels:
        following = name
        while len(readers := [node for node in graph.node if following in node.input]) == 1:
            (node,) = readers
            if node.op_type == "Cast" and moved:
                to = next(attribute.i for attribute in node.attribute if attribute.name == "to")
                moved[0].input[0] = f"{name}/cast"
                graph.node.insert(
                    0, onnx.helper.make_node("Cast", [name], [f"{name}/cast"], name=f"{name}/cast", to=to)
                )
                del graph.value_info[:]  # it has the old types
                return bytes(whole.SerializeToString())
            if node.op_type not in MOVES or node.input[0] != following:
                break
            moved.append(node)
            following = node.output[0]
        moved.clear()
    return model
