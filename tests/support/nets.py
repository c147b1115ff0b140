"""Small random networks of the shapes that linewatch ships, as ONNX, with their manifests. No torch."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from linewatch.contracts.manifest import OUTPUT_OF, EngineManifest, InputSpec, ModelFile, Task, TrainingRecord

CLASSES = ("scratch", "inclusion", "patches", "crazing", "pitted_surface")
CLAIM = 0.9
"""Every class's threshold, which some tiles of the tests' frames reach."""


@dataclass
class Graph:
    """Grows an ONNX graph node by node; random weights by seed."""

    seed: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, from_: int, to: int, kernel: int = 3, stride: int = 1, *, groups: int = 1) -> str:
        fan = from_ // groups * kernel * kernel
        w = self.rng.normal(0, (2 / fan) ** 0.5, (to, from_ // groups, kernel, kernel))
        pads = [kernel // 2] * 4
        return self.op(
            "Conv", x, self.constant(w), self.constant(np.zeros(to)), strides=[stride] * 2, pads=pads, group=groups
        )

    def relu6(self, x: str) -> str:
        return self.op("Clip", x, self.constant(0.0), self.constant(6.0))

    def block(self, x: str, from_: int, to: int, stride: int) -> str:
        """Inverted residual (MobileNetV2)."""
        h = self.relu6(self.conv(x, from_, from_ * 4, 1))
        h = self.relu6(self.conv(h, from_ * 4, from_ * 4, 3, stride, groups=from_ * 4))
        h = self.conv(h, from_ * 4, to, 1)
        return self.op("Add", x, h) if stride == 1 and from_ == to else h

    def stem(self) -> str:
        x = self.op("Cast", "image", to=TensorProto.FLOAT)
        return self.op("Add", self.op("Mul", x, self.constant(1 / 127.5)), self.constant(-1.0))


def screen(lines: int, width: int, cell_px: int = 16, seed: int = 1) -> bytes:
    """Return a fully convolutional screen that gives a probability per cell of 16 px."""
    g = Graph(seed)
    x = g.relu6(g.conv(g.stem(), 1, 8, 3, 2))
    for from_, to in ((8, 12), (12, 16), (16, 24)):
        x = g.block(x, from_, to, 2)
    g.op("Squeeze", g.op("Sigmoid", g.conv(x, 24, 1, 1)), g.constant([1], np.int64))
    return _model(g, "score", TensorProto.FLOAT, (lines, width), (lines // cell_px, width // cell_px))


def classify(lines: int, width: int, seed: int = 2) -> bytes:
    """Return a classifier: MobileNetV2-like encoder, global pooling, a linear layer."""
    g = Graph(seed)
    x = g.relu6(g.conv(g.stem(), 1, 8, 3, 2))
    for from_, to, stride in ((8, 16, 2), (16, 16, 1), (16, 24, 2), (24, 32, 2)):
        x = g.block(x, from_, to, stride)
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    w = g.constant(g.rng.normal(0, 1, (32, len(CLASSES))))
    g.op("Sigmoid", g.op("Gemm", x, w, g.constant(np.zeros(len(CLASSES)))))
    return _model(g, "scores", TensorProto.FLOAT, (lines, width), (len(CLASSES),))


def segment(lines: int, width: int, seed: int = 3) -> bytes:
    """Return a segmenter: U-Net with a MobileNetV2-like encoder and a light decoder."""
    g = Graph(seed)
    a = g.relu6(g.conv(g.stem(), 1, 8, 3, 2))
    b = g.block(a, 8, 16, 2)
    x = g.block(b, 16, 24, 2)
    for skip, from_, to in ((b, 24 + 16, 16), (a, 16 + 8, 8)):
        up = g.op("Resize", x, "", g.constant([1, 1, 2, 2]), mode="nearest", nearest_mode="floor")
        x = g.relu6(g.conv(g.op("Concat", up, skip, axis=1), from_, to))
    x = g.op("Resize", g.conv(x, 8, 1, 1), "", g.constant([1, 1, 2, 2]), mode="linear")
    x = g.op("Round", g.op("Mul", g.op("Sigmoid", x), g.constant(255.0)))
    g.op("Cast", g.op("Squeeze", x, g.constant([1], np.int64)), to=TensorProto.UINT8)
    return _model(g, "probability", TensorProto.UINT8, (lines, width), (lines, width))


def inspect(lines: int, width: int, cell_px: int = 4, seed: int = 4) -> bytes:
    """Return an inspect network: one trunk, three heads, all maps at cells of 4 px."""
    g = Graph(seed)
    a = g.relu6(g.conv(g.stem(), 1, 8, 3, 2))
    b = g.block(a, 8, 16, 2)
    x = g.block(g.block(b, 16, 24, 2), 24, 24, 1)
    up = g.op("Resize", x, "", g.constant([1, 1, 2, 2]), mode="nearest", nearest_mode="floor")
    x = g.relu6(g.conv(g.op("Concat", up, b, axis=1), 24 + 16, 16))
    wide = g.op("MaxPool", g.conv(x, 16, 1), kernel_shape=[5, 5], pads=[2, 2, 2, 2])
    steep = g.op("Add", g.op("Mul", g.conv(x, 16, 1), g.constant(3.25)), g.constant(-5.6))  # most cells are clean
    screen, defect = g.op("Sigmoid", wide), g.op("Sigmoid", steep)
    g.op("Concat", screen, defect, g.op("Softmax", g.conv(x, 16, len(CLASSES)), axis=1), axis=1)
    return _model(g, "maps", TensorProto.FLOAT, (lines, width), (2 + len(CLASSES), lines // cell_px, width // cell_px))


def fragile_screen(lines: int, width: int) -> bytes:
    """Return a screen that fails at a cell brighter than 250 and gives not-a-number at one brighter than 200.

    It fails in ONNX Runtime only: OpenVINO's Gather forgives an index out of range.
    """
    g = Graph(0)
    x = g.op("Neg", g.op("Cast", "image", to=TensorProto.FLOAT))
    x = g.op("Neg", g.op("MaxPool", x, kernel_shape=[16, 16], strides=[16, 16]))  # a cell's darkest pixel
    cells = g.op("Squeeze", x, g.constant([1], np.int64))
    scores = g.constant([*np.linspace(0, 0.25, 201), *[np.nan] * 50])
    g.op("Gather", scores, g.op("Cast", cells, to=TensorProto.INT64))
    return _model(g, "score", TensorProto.FLOAT, (lines, width), (lines // 16, width // 16))


def manifest(task: Task, model: bytes, lines: int, width: int, **changes: object) -> EngineManifest:
    """Return a manifest that fits the networks above."""
    classes = CLASSES if task in {Task.CLASSIFY, Task.INSPECT} else ()
    thresholds = {
        Task.SCREEN: {"pass": 0.5},
        Task.CLASSIFY: dict.fromkeys(classes, CLAIM),
        Task.SEGMENT: {"defect": 0.5},
        Task.INSPECT: {"defect": 0.5},
    }[task]
    promises: dict[str, object] = {
        "name": str(task),
        "version": "1",
        "task": task,
        "model": ModelFile(sha256=hashlib.sha256(model).hexdigest()),
        "input": InputSpec(lines=lines, width=width, nominal_mm_per_px=0.5),
        "output": OUTPUT_OF[task],
        "cell_px": {Task.SCREEN: 16, Task.INSPECT: 4}.get(task),
        "classes": classes,
        "thresholds": thresholds,
        "precision": "fp32",
        "normalisation": "gray / 127.5 - 1",
        "training": TrainingRecord(recipe="random", encoder="none", seed=0, data=(), split="none"),
        "metrics": {},
        "terms": "none",
    }
    return EngineManifest(**{**promises, **changes})  # type: ignore[arg-type]


def write(engines_dir: Path, task: Task, model: bytes, lines: int, width: int, **changes: object) -> EngineManifest:
    """Write an engine to disk as training does."""
    made = manifest(task, model, lines, width, **changes)
    directory = engines_dir / made.name
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text(made.model_dump_json())
    (directory / "model.onnx").write_bytes(model)
    return made


def _model(g: Graph, output: str, dtype: int, size: tuple[int, int], row_shape: tuple[int, ...]) -> bytes:
    g.nodes[-1].output[0] = output
    graph = helper.make_graph(
        g.nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, *size])],
        [helper.make_tensor_value_info(output, dtype, ["n", *row_shape])],
        g.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
