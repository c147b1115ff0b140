"""A network as its owner exported it: one ONNX file, and the files beside it that hold its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from linewatch.contracts.errors import EngineError

MOST_BYTES = 2**31 - 1
"""A protobuf message, and so a self-contained ONNX file, is smaller than this."""

_HOW_TO_EXPORT = (
    "export it as ONNX: torch.onnx.export(network, ...), Keras model.export(FILE, format='onnx'), or "
    "`yolo export format=onnx`; see docs/first-engine.md"
)
_FOREIGN = (
    (0, b"PK\x03\x04", f"a zip archive (a PyTorch checkpoint or a Keras model); {_HOW_TO_EXPORT}"),
    (0, b"\x80\x02", f"a pickle (an old PyTorch checkpoint); {_HOW_TO_EXPORT}"),
    (0, b"\x89HDF", f"an HDF5 file (Keras weights); {_HOW_TO_EXPORT}"),
    (4, b"TFL3", f"a TensorFlow Lite model; {_HOW_TO_EXPORT}"),
    (4, b"ORTM", "a model in ONNX Runtime's own format; import the .onnx file that it was made of"),
    (0, b"<?xml", "an XML file (OpenVINO IR); import the .onnx file that it was made of"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run `git lfs pull`"),
)


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A network that was read completely.

    model: self-contained, weights included. hashes: SHA-256 by the name of each file that was read, the ONNX file
    first. Whoever changes `model` changes the network.
    """

    path: Path
    model: ModelProto
    hashes: dict[str, str]

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return max((one.version for one in self.model.opset_import if one.domain in ("", "ai.onnx")), default=0)

    @property
    def producer(self) -> str:
        """The program that exported it, as the file says."""
        return f"{self.model.producer_name} {self.model.producer_version}".strip() or "not recorded"

    @property
    def metadata(self) -> dict[str, str]:
        """What the exporter recorded, by key."""
        return {one.key: one.value for one in self.model.metadata_props}


def read_network(path: Path) -> NetworkFile:
    """Read an ONNX file, and the weights that it keeps in other files. Raises EngineError."""
    data = _read(path, f"expected an ONNX file{_onnx_files_in(path.parent)}")
    model = _parsed(path, data)
    hashes = {path.name: hashlib.sha256(data).hexdigest()}
    hashes |= _take_in_weights(path, model)
    if model.ByteSize() > MOST_BYTES:
        raise EngineError(
            f"{path}: the network is {model.ByteSize() / 1e9:.1f} GB with its weights, expected less than 2.1 GB, "
            "which is the most that one ONNX file can hold; export it with float16 weights, or take a smaller network"
        )
    return NetworkFile(path, model, hashes)


def walk(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and all graphs inside its nodes (the branches and bodies of If, Loop and Scan)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from walk(inner)


def operators(model: ModelProto) -> Iterator[NodeProto]:
    """Yield every node of a model, those of inner graphs and of its functions included."""
    for graph in walk(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _read(path: Path, expected: str) -> bytes:
    if path.is_dir():
        raise EngineError(f"{path}: is a folder, expected an ONNX file{_onnx_files_in(path)}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror}), {expected}") from error


def _onnx_files_in(folder: Path) -> str:
    names = sorted(one.name for one in folder.glob("*.onnx")) if folder.is_dir() else []
    return f"; {folder} has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else ""


def _parsed(path: Path, data: bytes) -> ModelProto:
    for offset, magic, what in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            raise EngineError(f"{path}: expected an ONNX file, found {what}")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        owner = path.with_suffix("")
        if path.suffix == ".data" and owner.is_file():
            raise EngineError(f"{path}: holds the weights of {owner.name}; import {owner}") from error
        raise EngineError(
            f"{path}: is no ONNX file, or is cut off ({len(data)} bytes cannot be parsed); {_HOW_TO_EXPORT}"
        ) from error
    if not model.graph.node or not model.opset_import:
        raise EngineError(
            f"{path}: holds no network (found {len(data)} bytes without an operator), expected an ONNX model; "
            f"{_HOW_TO_EXPORT}"
        )
    return model


def _take_in_weights(path: Path, model: ModelProto) -> dict[str, str]:
    """Read the weights that lie in other files into the model. Returns the SHA-256 of each file by its name."""
    outside = [(tensor, _place(path, tensor)) for tensor in _tensors(model) if uses_external_data(tensor)]
    locations = dict.fromkeys(place.location for _, place in outside)
    absent = [name for name in locations if not (path.parent / name).is_file()]
    if absent:
        beside = sorted(one.name for one in path.parent.glob("*.data"))
        found = f"; {', '.join(beside)} is there: give it the name back with which it was exported" if beside else ""
        raise EngineError(
            f"{path}: its weights lie in {', '.join(absent)}, which is missing in {path.parent}; copy the files of "
            f"an export together (torch.onnx.export writes two), or export again with external_data=False{found}"
        )
    total = sum(place.length or 0 for _, place in outside)
    if total > MOST_BYTES:
        raise EngineError(
            f"{path}: its weights are {total / 1e9:.1f} GB, expected less than 2.1 GB, which is the most that one ONNX "
            "file can hold; export it with float16 weights, or take a smaller network"
        )
    contents = {name: _read(path.parent / name, f"expected the weights of {path.name}") for name in locations}
    for tensor, place in outside:
        start, data = place.offset or 0, contents[place.location]
        end = len(data) if place.length is None else start + place.length
        if end > len(data):
            raise EngineError(
                f"{path.parent / place.location}: has {len(data)} bytes, {path.name} expects at least {end}; the file "
                "is cut off or belongs to another export: copy both files again"
            )
        tensor.raw_data = data[start:end]
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def _place(path: Path, tensor: TensorProto) -> ExternalDataInfo:
    """Return where the values of a tensor lie: in a file of the same folder, or one below it."""
    place = ExternalDataInfo(tensor)
    location = PurePosixPath(place.location)
    if location.is_absolute() or ".." in location.parts or not location.parts:
        raise EngineError(
            f"{path}: keeps the weights {tensor.name!r} in {place.location!r}, expected a file in the folder of the "
            "ONNX file; export it again"
        )
    return place


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in walk(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in operators(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
