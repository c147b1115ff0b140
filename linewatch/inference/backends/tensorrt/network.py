"""Parses an engine's ONNX model into a strongly typed TensorRT network of one batch shape."""

from collections import Counter
from typing import Any

from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.backends.tensorrt.library import Library
from linewatch.inference.model_ports import ModelPort, check_fit

PRODUCTS = {"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY"}
DTYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT8": "int8", "INT32": "int32", "INT64": "int64"}
PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16"}


class LayerPrecisions(ClosedModel):
    """The layers of a strongly typed network, counted by the precision in which they compute."""

    products: dict[str, int]  # convolutions and matrix products; "int8" where all their inputs are dequantised
    others: dict[str, int]  # further layers with floating-point output


def parse(library: Library, builder: Any, manifest: EngineManifest, model: bytes) -> tuple[Any, Any]:
    """Return the network, and its parser, which must live as long. Raises EngineError that names fault and node."""
    quantisation = manifest.quantisation
    if quantisation is not None and quantisation.activations == "uint8":
        raise EngineError(
            f"engine {manifest.name} has unsigned activations, which only CPUs run; expected signed ones; "
            f"use the INT8 sibling of {quantisation.source} that `linewatch quantize` makes for every backend"
        )
    api = library.api
    typed = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = api.OnnxParser(network, library.log)
    if not parser.parse(model):
        faults = "; ".join(_fault(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(
            f"engine {manifest.name}: {library.flavour} {library.version} cannot parse {manifest.model.file} "
            f"({faults or library.last_complaint}); expected an ONNX model of operators that it knows; "
            "export it again or choose another inference.backend"
        )
    inputs = [_port(network.get_input(index)) for index in range(network.num_inputs)]
    outputs = [_port(network.get_output(index)) for index in range(network.num_outputs)]
    check_fit(manifest, inputs, outputs)  # the parser reads some bytes that are not a model as an empty network
    return network, parser


def fix_rows(network: Any, manifest: EngineManifest, rows: int) -> None:
    """Fix the network's batch shape: one shape has one set of kernels, and so one rounding."""
    network.get_input(0).shape = (rows, 1, manifest.input.lines, manifest.input.width)


def layer_precisions(network: Any) -> LayerPrecisions:
    """Count the network's layers by precision."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    maker = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}

    def dequantised(tensor: Any) -> bool:
        source = maker.get(tensor.name) if tensor is not None else None
        return source is not None and source.type.name == "DEQUANTIZE"

    products: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for layer in layers:
        dtype = PRECISIONS.get(layer.get_output(0).dtype.name)
        if layer.type.name in PRODUCTS:
            factors = [layer.get_input(index) for index in range(min(2, layer.num_inputs))]
            int8 = len(factors) == 2 and all(dequantised(factor) for factor in factors)
            products["int8" if int8 else dtype or layer.get_output(0).dtype.name.lower()] += 1
        elif dtype is not None and layer.type.name != "CONSTANT":
            others[dtype] += 1
    return LayerPrecisions(products=dict(products), others=dict(others))


def _port(tensor: Any) -> ModelPort:
    dims = tuple(None if dim < 0 else dim for dim in tensor.shape)
    return ModelPort(tensor.name, DTYPES.get(tensor.dtype.name, tensor.dtype.name), dims)


def _fault(error: Any) -> str:
    first_line = error.desc().strip().partition("\n")[0]
    if error.node() < 0:
        return first_line
    return f"node {error.node()} {error.node_name() or '?'} ({error.node_operator()}): {first_line}"
