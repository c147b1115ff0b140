"""What a network takes and gives: its ports as ONNX Runtime sees them, and the form of the picture that it expects."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.importer.network_file import NetworkFile, operators

OLDEST_OPSET = 8
_PORT_TYPES: dict[str, np.dtype] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
}
_DETECTOR_OPERATORS = {"NonMaxSuppression", "RoiAlign", "MaxRoiAlign", "EfficientNMS_TRT", "BatchedNMS_TRT"}
_DETECTOR_TASKS = {"detect", "pose", "obb", "segment"}  # of Ultralytics; its segmenters give boxes with masks
_ACTIVATIONS = {"Sigmoid", "HardSigmoid", "Softmax"}
_PASSING = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Resize", "Clip"}
DETECTOR_REMEDY = (
    "linewatch takes a classifier (a score for each class of a tile), a segmenter (a probability for each pixel) or "
    "a screen (a probability for each cell of a frame); train one of these, for example `yolo classify`"
)


class Layout(StrEnum):
    """Where the channels of a picture stand."""

    NCHW = "nchw"
    NHWC = "nhwc"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the network. dims: None where the extent is free."""

    name: str
    type: str
    dims: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type.removeprefix('tensor(').removesuffix(')')} ({dims_text(self.dims)})"


@dataclass(frozen=True, slots=True)
class PictureForm:
    """The picture that a network takes. rows, lines, width: None where the network takes any."""

    name: str
    dtype: np.dtype
    layout: Layout
    channels: int
    rows: int | None
    lines: int | None
    width: int | None


def dims_text(dims: tuple[int | None, ...]) -> str:
    """Return the extents of a port, as text."""
    return ", ".join("n" if dim is None else str(dim) for dim in dims)


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Open a model on ONNX Runtime with one thread, as the service does. Raises what ONNX Runtime raises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: what it refuses is raised as well
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ports(network: NetworkFile) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return inputs and outputs. Raises EngineError where ONNX Runtime does not take the network, and says why."""
    if network.opset < OLDEST_OPSET:
        raise EngineError(
            f"{network.path}: its operators are of opset {network.opset}, expected {OLDEST_OPSET} or newer; export it "
            "again with opset_version=17"
        )
    constants = {one.name for one in network.model.graph.initializer}
    for one in [one for one in network.model.graph.input if one.name in constants]:  # files of IR version 3
        network.model.graph.input.remove(one)
    try:
        session = open_session(network.model.SerializeToString())
    except Exception as error:  # its exceptions have no public base
        raise EngineError(f"{network.path}: {_refusal(network, str(error))}") from error
    return _ports(session.get_inputs()), _ports(session.get_outputs())


def picture_form(network: NetworkFile, inputs: tuple[Port, ...], layout: Layout | None) -> PictureForm:
    """Return the form of the only input. Raises EngineError where it is no picture, or could be two."""
    if len(inputs) != 1:
        raise EngineError(
            f"{network.path}: takes {len(inputs)} inputs ({'; '.join(map(str, inputs))}), expected the picture alone; "
            "export it with the other inputs fixed"
        )
    port = inputs[0]
    if port.type not in _PORT_TYPES:
        raise EngineError(f"{network.path}: its input is {port}, expected float, float16 or uint8; export it so")
    if len(port.dims) != 4:
        raise EngineError(
            f"{network.path}: its input is {port}, expected four dimensions: (n, channels, lines, width) or (n, lines, "
            "width, channels)"
        )
    fitting = [one for one in Layout if port.dims[_channel_axis(one)] in (1, 3)]
    if layout is not None and layout not in fitting:
        raise EngineError(
            f"{network.path}: its input is {port}, which is not {layout} with 1 or 3 channels"
            + (f"; give --layout {fitting[0]}" if fitting else "; export it with a fixed number of channels, 1 or 3")
        )
    if not fitting:
        raise EngineError(
            f"{network.path}: its input is {port}, expected 1 or 3 channels, gray or colour, as a fixed number; "
            "export it so"
        )
    if layout is None and len(fitting) > 1:
        raise EngineError(f"{network.path}: its input is {port}, which could be either; give --layout nchw or nhwc")
    chosen = layout or fitting[0]
    rows, *picture = port.dims
    channels = picture.pop(_channel_axis(chosen) - 1)
    assert channels is not None
    return PictureForm(port.name, _PORT_TYPES[port.type], chosen, channels, rows, picture[0], picture[1])


def chosen_output(network: NetworkFile, outputs: tuple[Port, ...], name: str | None) -> Port:
    """Return the output of this name, or the only one. Raises EngineError with the list of all."""
    listed = "; ".join(map(str, outputs))
    if name is None and len(outputs) > 1:
        raise EngineError(f"{network.path}: has {len(outputs)} outputs: {listed}; name the one to use by --output NAME")
    found = next((one for one in outputs if name in (None, one.name)), None)
    if found is None:
        raise EngineError(f"{network.path}: has no output {name!r}, it has {listed}; name one of them by --output")
    if found.type not in _PORT_TYPES or found.type == "tensor(uint8)":
        raise EngineError(
            f"{network.path}: its output is {found}, expected float or float16: probabilities or logits, neither "
            "rounded nor the numbers of classes; export it without argmax and rounding"
        )
    return found


def refuse_detector(network: NetworkFile, outputs: tuple[Port, ...]) -> None:
    """Raise EngineError for a network that gives boxes."""
    found = sorted({node.op_type for node in operators(network.model)} & _DETECTOR_OPERATORS)
    task = network.metadata.get("task", "") if network.metadata.get("author") == "Ultralytics" else ""
    boxes = sorted({one.name for one in outputs} & {"boxes", "bboxes", "detection_boxes", "pred_boxes"})
    signs = [f"the task {task!r} in its metadata"] if task in _DETECTOR_TASKS else []
    signs += [f"the operator {one}" for one in found] + [f"an output {one}" for one in boxes]
    if signs:
        raise EngineError(f"{network.path}: is an object detector (it has {signs[0]}); {DETECTOR_REMEDY}")


def refuse_other_order(network: NetworkFile, classes: Sequence[str]) -> None:
    """Raise ConfigError where the network's own record has the same classes in another order (as of Ultralytics)."""
    try:
        recorded = [str(name) for _, name in sorted(ast.literal_eval(network.metadata.get("names", "{}")).items())]
    except (ValueError, SyntaxError, AttributeError, TypeError):
        return
    ours, theirs = [name.strip().casefold() for name in classes], [name.casefold() for name in recorded]
    if ours != theirs and sorted(ours) == sorted(theirs):
        raise ConfigError(
            f"--classes {','.join(classes)}: the metadata of {network.path} have another order, give "
            f"--classes {','.join(recorded)}"
        )


def refuse_training_mode(network: NetworkFile) -> None:
    """Raise EngineError for a network whose batch normalisation or dropout still learns."""
    for node in operators(network.model):
        if node.op_type == "BatchNormalization" and any(
            one.name == "training_mode" and one.i == 1 for one in node.attribute
        ):
            raise EngineError(
                f"{network.path}: was exported in training mode ({node.op_type} {node.name} takes its statistics from "
                "the batch); call model.eval() before the export"
            )


def last_activation(network: NetworkFile, output: str) -> str | None:
    """Return the operator that makes probabilities at this output (Sigmoid, Softmax), or None."""
    makers = {name: node for node in network.model.graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.input[0])
    return node.op_type if node is not None and node.op_type in _ACTIVATIONS else None


def run_rows(session: onnxruntime.InferenceSession, tiles: NDArray[np.uint8], rows: int) -> NDArray:
    """Return the first output for uint8 tiles (n, 1, lines, width), run in batches of so many rows."""
    name = session.get_inputs()[0].name
    batches = [tiles[first : first + rows] for first in range(0, len(tiles), rows)]
    return np.concatenate([session.run(None, {name: batch})[0] for batch in batches])


def _channel_axis(layout: Layout) -> int:
    return 1 if layout is Layout.NCHW else 3


def _ports(found: Any) -> tuple[Port, ...]:
    return tuple(
        Port(one.name, one.type, tuple(dim if isinstance(dim, int) and dim > 0 else None for dim in one.shape))
        for one in found
    )


def _refusal(network: NetworkFile, why: str) -> str:
    """Return in words why ONNX Runtime does not take a network."""
    runtime = f"ONNX Runtime {onnxruntime.__version__}"
    if (most := re.search(r"till opset (\d+)", why)) and "domain ai.onnx " in f"{why} ":
        return (
            f"its operators are of opset {network.opset}, {runtime} takes up to {most[1]}; export it again with "
            "opset_version=20"
        )
    if most := re.search(r"max supported IR version: (\d+)", why):
        return (
            f"its IR version is {network.model.ir_version}, {runtime} takes up to {most[1]}; export it again with an "
            "older onnx package, or a lower opset_version"
        )
    if lacking := re.search(
        r"(?:Fatal error: (\S+?)\(-?\d*\) is not a registered|No Op registered for (\S+)|implementation for (\S+?)\()",
        why,
    ):
        name = next(one for one in lacking.groups() if one)
        return (
            f"uses the operator {name}, which {runtime} does not have; export it with standard operators (replace the "
            "layer, or export with another opset_version)"
        )
    first_line = why.strip().partition("\n")[0]
    return f"{runtime} does not take it ({first_line}); check the file with onnx.checker, or export it again"
