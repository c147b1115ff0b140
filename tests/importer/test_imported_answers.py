"""An imported engine answers as the network itself does, on the pictures that its owner would have given it.

The reference is the network alone on ONNX Runtime, with pictures prepared by torch.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import foreign_networks as foreign
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from linewatch.config.line import LineSettings
from linewatch.contracts.manifest import CASCADE, Task
from linewatch.contracts.tile import Batch, Tile, TileRef
from linewatch.importer.engine_import import ImportRequest, import_engine
from linewatch.importer.graph import Normalisation
from linewatch.importer.network import Layout
from linewatch.importer.outputs import Activation
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, EngineSet, find_engine, load_engine
from linewatch.inference.pool import EnginePool
from linewatch.simulation.strip import SimulatedStrip

ROOT = Path(__file__).parents[2]
TILE = 256


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """Tiles of a rendered strip with defects, uint8 (n, 1, 256, 256)."""
    strip = SimulatedStrip(5, 2.0, 8.0, LineSettings())
    frame = strip.lines(300, TILE)
    return np.stack([frame[:, x : x + TILE] for x in (100, 420, 800, 1200)])[:, None]


def imported(model: onnx.ModelProto, folder: Path, **request: object) -> Engine:
    path = foreign.save(model, folder / "mine.onnx")
    import_engine(path, ImportRequest(**{"task": Task.CLASSIFY, "classes": ("a", "b", "c"), **request}), folder / "e")
    return find_engine(folder / "e", "mine")


@cache
def running(backend: str, rows: int) -> EnginePool:
    """The pool of a service with the shipped cascade, opened once."""
    shipped = {task.value: load_engine(ROOT / "engines", task, task) for task in CASCADE}
    return EnginePool(EngineSet(**shipped), open_backend(backend), (1, rows), workers=1)


def answers(engine: Engine, tiles: np.ndarray, backend: str = "onnxruntime") -> np.ndarray:
    """Run tiles through the pool that the service runs, into which the engine is loaded beside that of its task."""
    pool, task = running(backend, len(tiles)), engine.manifest.task
    pool.load(engine, 1, open_backend(backend))
    try:
        refs = tuple(TileRef(0, i, Tile(0, 0, tiles.shape[3], tiles.shape[2])) for i in range(len(tiles)))
        result = pool.run(0, Batch(task, refs, np.ascontiguousarray(tiles), generation=1))
    finally:
        pool.drop(task, 1)
    assert result.error is None
    assert result.output is not None
    return result.output


def network_alone(
    model: onnx.ModelProto,
    tiles: np.ndarray,
    *,
    side: int | None = None,
    channels: int = 3,
    mean: Sequence[float] = (0,),
    std: Sequence[float] = (1,),
    white: float = 1,
    layout: str = "nchw",
    dtype: type = np.float32,
) -> np.ndarray:
    """Return what the network gives its owner for these tiles, one by one."""
    pictures = torch.from_numpy(tiles).double()
    if side is not None:
        pictures = torch.nn.functional.interpolate(
            pictures, (side, side), mode="bilinear", antialias=True, align_corners=False
        )
    if dtype is np.uint8:
        pictures = (pictures + 0.5).floor().expand(-1, channels, -1, -1)
    else:
        pictures = pictures.expand(-1, channels, -1, -1) / 255 * white
        pictures = (pictures - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
    if layout == "nhwc":
        pictures = pictures.permute(0, 2, 3, 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = pictures.contiguous().numpy().astype(dtype)
    return np.concatenate([session.run(["answer"], {"picture": one[None]})[0] for one in given]).astype(np.float32)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def softmax(values: np.ndarray, axis: int = 1) -> np.ndarray:
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


KERAS = {"mean": (104.0, 117.0, 124.0), "std": (60.0, 60.0, 60.0), "white": 255.0}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLASSIFIERS: dict[str, tuple[dict, dict, dict]] = {
    "torch: smaller, ImageNet's mean": ({}, {"normalisation": Normalisation(**IMAGENET)}, {"side": 32, **IMAGENET}),
    "larger than the tile": ({"side": 300}, {}, {"side": 300}),
    "any size": ({"side": "s"}, {}, {}),
    "gray": ({"channels": 1}, {}, {"side": 32, "channels": 1}),
    "Keras: channels last, 0 to 255": (
        {"layout": "nhwc"},
        {"normalisation": Normalisation(**KERAS)},
        {"side": 32, "layout": "nhwc", **KERAS},
    ),
    "channels last, gray, any size": (
        {"layout": "nhwc", "channels": 1, "side": "s"},
        {"layout": Layout.NHWC},
        {"layout": "nhwc", "channels": 1},
    ),
    "uint8": ({"dtype": "uint8", "side": "s"}, {}, {"dtype": np.uint8}),
    "uint8, smaller": ({"dtype": "uint8"}, {}, {"dtype": np.uint8, "side": 32}),
    "fixed batch of one": ({"rows": 1}, {}, {"side": 32}),
    "fixed batch of one, in a shape": ({"rows": 1, "bound": "shape"}, {}, {"side": 32}),
    "fixed batch of one, bound to it": ({"rows": 1, "bound": "values"}, {}, {"side": 32}),
    "opset 8, IR version 3": ({"opset": 8, "ir_version": 3}, {}, {"side": 32}),
    "opset 13": ({"opset": 13}, {}, {"side": 32}),
    "opset 21": ({"opset": 21, "ir_version": 10}, {}, {"side": 32}),
    "several outputs": ({"spare_outputs": 2}, {"output": "answer"}, {"side": 32}),
}


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_an_imported_classifier_answers_as_the_network(case: str, tiles: np.ndarray, tmp_path: Path) -> None:
    network, request, picture = CLASSIFIERS[case]
    model = foreign.classifier(**network)
    engine = imported(model, tmp_path, activation=Activation.SIGMOID, **request)
    expected = sigmoid(network_alone(model, tiles, **picture))
    assert np.ptp(expected, axis=0).max() > 1e-3, "the tiles must make a difference"
    slack = 2e-3 if case == "uint8, smaller" else 1e-5  # a level that is just between two is rounded either way
    np.testing.assert_allclose(answers(engine, tiles), expected, atol=slack)


@pytest.mark.parametrize("case", ["fixed batch of one, bound to it", "Keras: channels last, 0 to 255"])
def test_an_imported_engine_runs_on_openvino_too(case: str, tiles: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    network, request, _ = CLASSIFIERS[case]
    engine = imported(foreign.classifier(**network), tmp_path, activation=Activation.SIGMOID, **request)
    np.testing.assert_allclose(answers(engine, tiles, "openvino"), answers(engine, tiles), atol=1e-5)


def test_a_network_in_float16(tiles: np.ndarray, tmp_path: Path) -> None:
    model = foreign.classifier(dtype="float16")
    engine = imported(model, tmp_path, activation=Activation.SOFTMAX)
    assert engine.manifest.precision == "fp16"
    expected = softmax(network_alone(model, tiles, side=32, dtype=np.float16))
    np.testing.assert_allclose(answers(engine, tiles), expected, atol=2e-3)


def test_softmax_is_told_to_the_service(tiles: np.ndarray, tmp_path: Path) -> None:
    engine = imported(foreign.classifier(), tmp_path, activation=Activation.SOFTMAX)
    assert engine.manifest.scores_sum_to_one
    np.testing.assert_allclose(answers(engine, tiles).sum(1), 1, atol=1e-5)


def test_softmax_inside_the_network_is_noticed(tiles: np.ndarray, tmp_path: Path) -> None:
    model = foreign.classifier(end="Softmax")
    engine = imported(model, tmp_path)
    assert engine.manifest.scores_sum_to_one
    np.testing.assert_allclose(answers(engine, tiles), network_alone(model, tiles, side=32), atol=1e-5)


@pytest.mark.parametrize(
    "request_",
    [{"classes": ("a", "background", "c")}, {"classes": ("a", "OK", "c")}, {"classes": ("a", "c"), "background": 1}],
)
def test_a_class_that_is_clean_steel_is_left_out(request_: dict, tiles: np.ndarray, tmp_path: Path) -> None:
    model = foreign.classifier()
    engine = imported(model, tmp_path, activation=Activation.SOFTMAX, **request_)
    assert engine.manifest.classes == ("a", "c")
    assert not engine.manifest.scores_sum_to_one
    expected = softmax(network_alone(model, tiles, side=32))[:, [0, 2]]
    np.testing.assert_allclose(answers(engine, tiles), expected, atol=1e-5)


SEGMENTERS: dict[str, tuple[dict, dict]] = {
    "torchvision or smp: softmax with a background": ({"channels_out": 3}, {"background": 0}),
    "one class": ({"channels_out": 1}, {}),
    "a sigmoid for each class": ({"channels_out": 2}, {}),
    "a map of a quarter": ({"channels_out": 3, "extents": (64, 64), "shrink": 4}, {"background": 2}),
    "Keras: channels last": ({"channels_out": 3, "layout": "nhwc", "channels": 3}, {"background": 0}),
    "any size": ({"channels_out": 3, "extents": ("h", "w")}, {"background": 0}),
    "probabilities": ({"channels_out": 3, "end": "Softmax"}, {"background": 0}),
}


@pytest.mark.parametrize("case", SEGMENTERS)
def test_an_imported_segmenter_answers_as_the_network(case: str, tiles: np.ndarray, tmp_path: Path) -> None:
    network, request = SEGMENTERS[case]
    model = foreign.segmenter(**network)
    background = request.get("background")
    activation = None if "end" in network else Activation.SIGMOID if background is None else Activation.SOFTMAX
    engine = imported(model, tmp_path, task=Task.SEGMENT, classes=("a", "b"), activation=activation, **request)
    side = network.get("extents", (32, 32))[0]
    layout = network.get("layout", "nchw")
    raw = network_alone(
        model,
        tiles,
        side=side if isinstance(side, int) else None,
        layout=layout,
        channels=network.get("channels", 1),
    )
    if layout == "nhwc":
        raw = np.moveaxis(raw, 3, 1)
    if background is None:
        expected = sigmoid(raw).max(1)
    else:
        expected = 1 - (raw if activation is None else softmax(raw))[:, background]
    sized = torch.nn.functional.interpolate(
        torch.from_numpy(expected)[:, None], (TILE, TILE), mode="bilinear", align_corners=False
    )[:, 0]
    found = answers(engine, tiles)
    assert found.dtype == np.uint8
    assert np.ptp(found) > 20
    np.testing.assert_allclose(found, sized.numpy() * 255, atol=0.51)


@pytest.mark.parametrize(("cell_px", "expected_px"), [(None, 16), (32, 32)])
def test_an_imported_screen_answers_as_the_network(cell_px: int | None, expected_px: int, tmp_path: Path) -> None:
    model = foreign.segmenter(1, extents=(256, 1600), shrink=16, rows=1)
    engine = imported(model, tmp_path, task=Task.SCREEN, classes=(), activation=Activation.SIGMOID, cell_px=cell_px)
    assert engine.manifest.cell_px == expected_px
    frames = np.stack([SimulatedStrip(5, 2.0, 8.0, LineSettings()).lines(at, 256) for at in (300, 900)])[:, None]
    expected = sigmoid(network_alone(model, frames, channels=1))[:, 0]
    if cell_px:
        expected = expected.reshape(2, 8, 2, 50, 2).max((2, 4))
    np.testing.assert_allclose(answers(engine, frames), expected, atol=1e-5)


def without_head(shipped: Path) -> onnx.ModelProto:
    """Return the shipped classifier as its trainer had it: it takes gray / 127.5 - 1 and gives logits."""
    model = onnx.load(shipped)
    graph = model.graph
    head, tail = list(graph.node[:3]), graph.node[-1]
    assert [node.op_type for node in head] == ["Cast", "Div", "Sub"]
    assert tail.op_type == "Sigmoid"
    taken = head[-1].output[0]
    for node in (*head, tail):
        graph.node.remove(node)
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info(taken, TensorProto.FLOAT, ["n", 1, TILE, TILE]))
    graph.output.append(helper.make_tensor_value_info(tail.input[0], TensorProto.FLOAT, ["n", 13]))
    return model


def test_the_shipped_classifier_without_its_head_is_imported_as_itself(tiles: np.ndarray, tmp_path: Path) -> None:
    shipped = load_engine(ROOT / "engines", "classify", Task.CLASSIFY)
    engine = imported(
        without_head(shipped.directory / "model.onnx"),
        tmp_path,
        classes=shipped.manifest.classes,
        normalisation=Normalisation((0.5,), (0.5,)),
        activation=Activation.SIGMOID,
    )
    found, expected = answers(engine, tiles), answers(shipped, tiles)
    assert expected.max() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-5)
