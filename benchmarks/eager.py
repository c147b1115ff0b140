"""The shipped networks in torch: the house's architectures with the weights of the engines' ONNX files.

The exporter keeps the weights' names and folds batch norm into the convolution before it, so it is folded here, too.
"""

import json
from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from linewatch.contracts.manifest import Task
from linewatch.inference.engines import Engine
from linewatch.networks.classifier import TileClassifier
from linewatch.networks.shipped import ByteProbability, Sigmoid
from linewatch.networks.unet import MobileUNet
from linewatch.training.house.screen import ScreenSettings, new_screen

DEFAULT_THREADS = torch.get_num_threads()
FOLDED_BIAS = ".weight_bias"  # the exporter's name for the bias that a folded batch norm leaves


def eager_network(engine: Engine) -> nn.Module:
    """A shipped FP32 engine as a module in eval mode: uint8 (n, 1, lines, width) to the engine's own output.

    RuntimeError where a weight is missing, left over or of another shape.
    """
    graph = onnx.load_from_string(engine.model).graph
    network = _architecture(engine, graph).eval()
    _fold_batch_norm(network)
    stored = {_torch_name(one.name): numpy_helper.to_array(one) for one in graph.initializer if _is_weight(one.name)}
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in stored.items()})
    return network


def choose_threads(frames_per_s: Callable[[], float]) -> int:
    """Torch's own number of threads or one alone, whichever is faster by `frames_per_s`; it stays set.

    Torch's threads wait for one another by spinning: while other work holds a core, all together take a hundred times
    as long as one.
    """
    rates = {}
    for threads in (DEFAULT_THREADS, 1):
        torch.set_num_threads(threads)
        frames_per_s()  # the first compiles kernels
        rates[threads] = frames_per_s()
    chosen = max(rates, key=lambda threads: rates[threads])
    torch.set_num_threads(chosen)
    return chosen


def _architecture(engine: Engine, graph: onnx.GraphProto) -> nn.Module:
    """Return the network of the manifest's training settings, in its shipped form, with fresh weights."""
    command = engine.manifest.training.recipe  # "linewatch train TASK {...}"
    settings: dict[str, Any] = json.loads(command[command.index("{") :])
    match engine.manifest.task:
        case Task.SCREEN:
            return new_screen(ScreenSettings.model_validate(settings), None)
        case Task.CLASSIFY:
            return Sigmoid(TileClassifier(_kinds(graph), settings["encoder"], side=settings["side"]))
        case Task.SEGMENT:
            return ByteProbability(MobileUNet(settings["encoder"]))


def _kinds(graph: onnx.GraphProto) -> list[int]:
    """Return the number of kinds of each class: the sizes by which the classifier's graph splits its last layer."""
    (split,) = (node for node in graph.node if node.op_type == "Split")
    (sizes,) = (one for one in graph.initializer if one.name == split.input[1])
    kinds: list[int] = numpy_helper.to_array(sizes).tolist()
    return kinds


def _fold_batch_norm(network: nn.Module) -> None:
    """Fold the batch norms of a network in eval mode, in place."""
    for block in list(network.modules()):
        if isinstance(block, nn.Sequential) and len(block) > 1 and isinstance(block[1], nn.BatchNorm2d):
            assert isinstance(block[0], nn.Conv2d)
            block[0], block[1] = fuse_conv_bn_eval(block[0], block[1]), nn.Identity()


def _is_weight(name: str) -> bool:
    """Return whether an initialiser is a weight; the graph's own constants have other names."""
    return name.endswith((".weight", ".bias", FOLDED_BIAS))


def _torch_name(name: str) -> str:
    return name.removesuffix(FOLDED_BIAS) + ".bias" if name.endswith(FOLDED_BIAS) else name
