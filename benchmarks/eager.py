"""The shipped networks in torch: the house's architectures with the weights out of the engines' own ONNX files.

The exporter keeps the weights' names, and folds batch norm into the convolution before it; so it is folded here too.
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
from linewatch.networks.classifier import Scores, TileClassifier
from linewatch.networks.unet import ByteProbability, MobileUNet
from linewatch.training.house.screen import ScreenRecipe, new_screen

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
    """The network that the manifest's recipe trains, in its shipped form, with fresh weights."""
    told = engine.manifest.training.recipe  # "linewatch train TASK {...}"
    recipe: dict[str, Any] = json.loads(told[told.index("{") :])
    match engine.manifest.task:
        case Task.SCREEN:
            return new_screen(ScreenRecipe.model_validate(recipe), None)
        case Task.CLASSIFY:
            return Scores(TileClassifier(_kinds(graph), recipe["encoder"], side=recipe["side"]))
        case Task.SEGMENT:
            return ByteProbability(MobileUNet(recipe["encoder"]))


def _kinds(graph: onnx.GraphProto) -> list[int]:
    """How many kinds each class has: the sizes by which the classifier's graph splits its last layer."""
    (split,) = (node for node in graph.node if node.op_type == "Split")
    (sizes,) = (one for one in graph.initializer if one.name == split.input[1])
    kinds: list[int] = numpy_helper.to_array(sizes).tolist()
    return kinds


def _fold_batch_norm(network: nn.Module) -> None:
    """In place; the network is in eval mode."""
    for block in list(network.modules()):
        if isinstance(block, nn.Sequential) and len(block) > 1 and isinstance(block[1], nn.BatchNorm2d):
            assert isinstance(block[0], nn.Conv2d)
            block[0], block[1] = fuse_conv_bn_eval(block[0], block[1]), nn.Identity()


def _is_weight(name: str) -> bool:
    """Whether an initialiser is a network's; the graph's own constants have other names."""
    return name.endswith((".weight", ".bias", FOLDED_BIAS))


def _torch_name(name: str) -> str:
    return name.removesuffix(FOLDED_BIAS) + ".bias" if name.endswith(FOLDED_BIAS) else name
