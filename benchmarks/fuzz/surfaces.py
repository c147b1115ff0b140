"""What is fuzzed: each surface has the reader that the product uses, first inputs made by code, and its error types."""

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from pydantic import BaseModel, ValidationError

from linewatch.capture.sidecar import SidecarGrab, SidecarHeader, read_sidecar
from linewatch.config.calibration_file import CameraCalibration, read_calibration
from linewatch.config.line import LineSettings
from linewatch.config.load import load
from linewatch.contracts.errors import LinewatchError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.record import Record
from linewatch.daemon.coils.folder import read_coil_file
from linewatch.datasets.own import coco, csv_table
from linewatch.importer.network_file import read_network
from linewatch.journal.segment import Entry, EntryKind, pack_commit, pack_head, read_records, scan
from linewatch.pictures.reading import read_gray
from linewatch.plant.mqtt.bodies import COMMAND as PLANT_COMMAND
from linewatch.plant.mqtt.payload import DataType, MetricValue, PayloadError, decode_payload, encode_payload
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema.commands import COMMAND
from linewatch.wire.schema.requests import REQUEST
from linewatch.wire.verdict_file import read_verdicts

ROOT: Final = Path(__file__).parents[2]
_NS: Final = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Surface:
    """read: reads the input, which stands in the file `file` of a folder. refusals: the errors that it documents."""

    name: str
    file: str
    read: Callable[[Path], object]
    first: Callable[[], list[bytes]]
    refusals: tuple[type[Exception], ...] = (LinewatchError,)


def _json(*trees: Any) -> list[bytes]:
    return [json.dumps(tree).encode() for tree in trees]


def _sidecar() -> list[bytes]:
    header = SidecarHeader(line=LineSettings(line_rate_hz=2000.0))
    grab = SidecarGrab(
        coil="C-1",
        sequence=0,
        first_line=0,
        lines=256,
        valid_lines=256,
        encoder_count=0,
        along_mm=0.0,
        mm_per_line=0.5,
        captured_ns=_NS,
        encoded=True,
        fault=None,
        video_frame=0,
        crc32=1,
    )
    return [b"".join(one.model_dump_json().encode() + b"\n" for one in (header, grab, grab))]


def _segment() -> list[bytes]:
    header = b'{"id":"a","state":"raised"}'
    entries = [Entry(EntryKind.RECORD, Record(1, topic, 0, header, b"\x00\x01")) for topic in ("frame", "alarm")]
    return [pack_head(1) + pack_commit(entries) + pack_commit(entries[:1])]


def _read_segment(path: Path) -> None:
    index, _ = scan(path, 1)
    for topic in index.topics:
        for _ in read_records(path, index.offsets_from(topic, 0), topic, 0):
            pass
    for _ in read_records(path, array("Q", [0, 8, 1 << 40]), "frame", 0):
        pass


def _payload() -> list[bytes]:
    metrics = (
        MetricValue("bdSeq", None, DataType.INT64, 3),
        MetricValue("coil", 1, DataType.STRING, "C-1", _NS // 1_000_000),
        MetricValue("Node Control/Rebirth", None, DataType.BOOLEAN, True),
        MetricValue("speed", 2, DataType.DOUBLE, 1.5),
    )
    return [encode_payload(_NS // 1_000_000, 1, metrics), encode_payload(0, None, ())]


def _pictures() -> list[bytes]:
    gray = (np.arange(24 * 32, dtype=np.uint32).reshape(24, 32) * 7 % 256).astype(np.uint8)
    return [cv2.imencode(kind, gray)[1].tobytes() for kind in (".png", ".jpg", ".bmp", ".tiff")]


def _network() -> list[bytes]:
    from onnx import TensorProto, helper

    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", sides[:1], sides[1:])
    return [helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()]


def _manifests() -> list[bytes]:
    return [path.read_bytes() for path in sorted(ROOT.glob("engines/*/manifest.json"))]


_COIL_DATA: Final = {"coil": "SIM-7", "steel_grade": "DC04", "width_mm": 800.0, "length_mm": 1000.0}
_TIMING: Final = {"captured_ns": _NS, "decided_ns": _NS}
_COCO: Final = {
    "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
    "categories": [{"id": 1, "name": "scratch"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "segmentation": []}],
}


def _toml(model: type[BaseModel]) -> Callable[[Path], object]:
    return lambda path: load(path, model)


SURFACES: Final = {
    each.name: each
    for each in (
        Surface(
            "configuration", "c.toml", _toml(ServiceSettings), lambda: [(ROOT / "configs/simulator.toml").read_bytes()]
        ),
        Surface(
            "calibration",
            "c.json",
            read_calibration,
            lambda: [CameraCalibration.sealed("S1").model_dump_json().encode()],
        ),
        Surface("level2-json", "c.json", read_coil_file, lambda: _json(_COIL_DATA)),
        Surface("level2-toml", "c.toml", read_coil_file, lambda: [(ROOT / "configs/coils/SIM-7.toml").read_bytes()]),
        Surface("sidecar", "c.sidecar.jsonl", read_sidecar, _sidecar),
        Surface(
            "verdicts",
            "v.jsonl",
            lambda path: list(read_verdicts(path)),
            lambda: [line + b"\n" for line in _json({"kind": "alarms", "alarms": [], "timing": _TIMING})],
        ),
        Surface("journal", "00000001.seg", _read_segment, _segment),
        Surface(
            "manifest",
            "manifest.json",
            lambda path: EngineManifest.parse(path.read_bytes()),
            _manifests,
            (ValidationError,),  # which the reader of engines turns into an EngineError
        ),
        Surface("onnx", "n.onnx", read_network, _network),
        Surface("image", "p.png", read_gray, _pictures),
        Surface(
            "labels-csv", "labels.csv", lambda path: csv_table.read(path.parent), lambda: [b"file,class\na.png,x\n"]
        ),
        Surface("labels-coco", "a.json", lambda path: coco.read(path.parent), lambda: _json(_COCO)),
        Surface(
            "wire-request",
            "request",
            lambda path: REQUEST.validate_json(path.read_bytes()),
            lambda: _json(
                {
                    "schema_version": 1,
                    "request": "replay",
                    "topic": "frame",
                    "epoch": 1,
                    "from_sequence": 0,
                },
                {"schema_version": 1, "request": "snapshot"},
                {"schema_version": 1, "request": "picture"},
                {"schema_version": 1, "request": "bridge", "name": "b", "protocol": "mqtt"},
            ),
            (ValidationError,),  # which the router answers as bad-request
        ),
        Surface(
            "wire-command",
            "request",
            lambda path: COMMAND.validate_json(path.read_bytes()),
            lambda: _json(
                {"schema_version": 1, "request": "alarm", "action": "acknowledge", "alarm": "a", "token": "token-0001"},
                {"schema_version": 1, "request": "coil", "action": "data", "token": "token-0001", "data": _COIL_DATA},
                {"schema_version": 1, "request": "engine", "action": "load", "name": "classify"},
            ),
            (ValidationError,),
        ),
        Surface(
            "mqtt-command",
            "message",
            lambda path: PLANT_COMMAND.validate_json(path.read_bytes()),
            lambda: _json(
                {"command": "acknowledge", "token": "token-0001", "at_unix_ms": 1, "alarm": "a"},
                {"command": "coil_start", "token": "token-0001", "at_unix_ms": 1, "coil": "C-1"},
                {"command": "coil_data", "token": "token-0001", "at_unix_ms": 1, "data": _COIL_DATA},
            ),
            (ValidationError,),
        ),
        Surface("sparkplug", "message", lambda path: decode_payload(path.read_bytes()), _payload, (PayloadError,)),
    )
}
