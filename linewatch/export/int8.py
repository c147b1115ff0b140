"""Quantisation of an FP32 graph to one INT8 graph for every backend: explicit Q/DQ by onnxruntime.quantization.

Weights are symmetric int8 per output channel, activations symmetric int8, biases FP32 (TensorRT's parsers refuse int32
biases with Q/DQ). Only the inputs of convolutions, matrix products and additions are quantised, so that an activation
function stays between a convolution and the next Q/DQ, where OpenVINO and TensorRT fuse it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

_WEIGHTED = ("Conv", "Gemm")
_QUANTISED = (*_WEIGHTED, "Add")
_CARRIED = ("Concat", "MaxPool", "Resize")
"""These pass bytes through, which ONNX Runtime exploits for unsigned activations."""
_Q_DQ = ("QuantizeLinear", "DequantizeLinear")


class Activations(StrEnum):
    """The type of quantised activations. uint8 is for CPUs only: TensorRT takes signed, symmetric Q/DQ."""

    INT8 = "int8"
    UINT8 = "uint8"


class Quantiser:
    """Quantises one graph. The calibration tiles are run once, however many variants are made.

    model: an engine's ONNX bytes with the input `image`. tiles: uint8 (n, lines, width).
    """

    def __init__(self, model: bytes, tiles: Sequence[NDArray[np.uint8]]) -> None:
        self._model = onnx.load_from_string(model)
        self._tiles = tiles
        self._folder = tempfile.TemporaryDirectory(prefix="linewatch-quantize-")

    def __enter__(self) -> Quantiser:
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    @property
    def weighted(self) -> list[str]:
        """Return the names of the convolutions and matrix products, from input to output."""
        return [node.name for node in self._model.graph.node if node.op_type in _WEIGHTED]

    def quantised(self, left_fp32: Sequence[str], activations: Activations = Activations.INT8) -> bytes:
        """Return the INT8 graph.

        The nodes `left_fp32` stay FP32, like those before the first convolution (normalisation) and after the last
        weights (scores).
        """
        signed = activations is Activations.INT8
        folder = Path(self._folder.name)
        out, source = folder / "int8.onnx", folder / f"fp32-for-{activations}.onnx"
        if not source.is_file():
            onnx.save(_with_walls(self._model) if signed else self._model, source)
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it advises pre-processing, which the export does
        try:
            quantize_static(
                source,
                out,
                _Tiles(self._tiles),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*_QUANTISED, *(() if signed else _CARRIED)],
                nodes_to_exclude=sorted({*left_fp32, *_around(self._model)}),
                per_channel=True,
                activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                calibration_cache_path=folder / f"ranges-{activations}.json",
                extra_options={
                    "ActivationSymmetric": signed,
                    "ActivationRestrictedAsymmetric": not signed,  # zero is 0 or 128: exact, and padding stays free
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "OpTypesToExcludeOutputQuantization": list(_QUANTISED),
                    "ForceQuantizeNoInputCheck": not signed,  # also before a carried operation
                },
            )
        finally:
            logging.disable(before)
        found = onnx.load(out)
        del found.metadata_props[:]
        found.producer_name = "linewatch"
        onnx.checker.check_model(found)
        return found.SerializeToString()


def activation_scales(model: bytes) -> dict[str, float]:
    """Return the scale of each quantised activation, by the tensor's name."""
    pairs = q_dq(onnx.load_from_string(model))
    return {node.input[0]: float(scale) for node, scale, _ in pairs if node.op_type == "QuantizeLinear"}


def _with_walls(model: ModelProto) -> ModelProto:
    """Return a copy with a max-pooling of 1 x 1 (the identity) between each Concat and the convolutions that read it.

    OpenVINO 2026.4 moves a signed Q/DQ from behind a Concat to before it and then convolves with a wrong zero point; it
    does not move a Q/DQ over a pooling.
    """
    walled = ModelProto()
    walled.CopyFrom(model)
    model = walled
    producers = {name: node for node in model.graph.node for name in node.output}
    walls: dict[str, str] = {}
    for node in list(model.graph.node):
        source = producers.get(node.input[0]) if node.op_type == "Conv" else None
        if source is None or source.op_type != "Concat":
            continue
        name = source.output[0]
        if name not in walls:
            walls[name] = f"{name}_wall"
            at = next(i for i, one in enumerate(model.graph.node) if one.name == source.name)
            wall = helper.make_node("MaxPool", [name], [walls[name]], f"{source.name}_wall", kernel_shape=[1, 1])
            model.graph.node.insert(at + 1, wall)
        node.input[0] = walls[name]
    return model


def _around(model: ModelProto) -> Iterator[str]:
    """Yield the names of the nodes before the first weighted node or after the last one."""
    nodes = model.graph.node
    behind: set[str] = set()
    for node in nodes:
        if node.op_type in _WEIGHTED or behind.intersection(node.input):
            behind.update(node.output)
        else:
            yield node.name
    ahead: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in _WEIGHTED or ahead.intersection(node.output):
            ahead.update(node.input)
        else:
            yield node.name


class _Tiles(CalibrationDataReader):
    def __init__(self, tiles: Sequence[NDArray[np.uint8]]) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        tile = next(self._left, None)
        return None if tile is None else {"image": tile[None, None]}


def q_dq(model: ModelProto) -> Iterator[tuple[NodeProto, NDArray, NDArray]]:
    """Yield every QuantizeLinear and DequantizeLinear with its scale and zero point."""
    constants = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _Q_DQ:
            yield node, *(numpy_helper.to_array(constants[name]) for name in node.input[1:3])
