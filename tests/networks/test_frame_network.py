"""The network that looks at a whole frame once keeps its promises."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from linewatch.export.engine_folder import write_onnx
from linewatch.networks.inspect import FrameNetwork
from linewatch.networks.inspect_shipped import InspectMaps


def pictures(rows: int, lines: int = 64, width: int = 128) -> Tensor:
    return torch.randint(0, 256, (rows, 1, lines, width), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def made(encoder: str = "efficientnet_lite1") -> FrameNetwork:
    torch.manual_seed(0)
    return FrameNetwork(4, encoder)


@pytest.mark.parametrize("encoder", ["efficientnet_lite1", "efficientnet_lite2"])
def test_each_head_answers_on_its_grid(encoder: str) -> None:
    with torch.no_grad():
        said = made(encoder).eval()(pictures(2, 256, 1600))
    assert said.screen.shape == (2, 8, 50)
    assert said.outlines.shape == (2, 5, 64, 400)
    assert all(logits.isfinite().all() for logits in said)


def test_both_heads_teach_the_whole_network() -> None:
    network = made().train()
    said = network(pictures(2))
    (said.screen.square().mean() + said.outlines.square().mean()).backward()
    for name, value in network.named_parameters():
        assert value.grad is not None, name


def test_exposure_does_not_move_the_relief() -> None:
    """A frame half as bright differs in the gray planes alone: the last one has the illumination divided out."""
    seen: list[Tensor] = []
    network = made().eval()
    network.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    bright = (pictures(1) // 2 + 100).to(torch.uint8)
    with torch.no_grad():
        network(bright)
        network((bright // 2).to(torch.uint8))
    (gray, relief), (dark_gray, dark_relief) = ((planes[0, :-1], planes[0, -1]) for planes in seen)
    assert (gray - dark_gray).abs().mean() > 0.3
    assert (relief - dark_relief).abs().mean() < 0.1 * relief.abs().mean() + 0.02


class Outlines(nn.Module):
    def __init__(self, network: FrameNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).outlines


@pytest.mark.heavy
def test_onnx_runtime_answers_as_torch_at_any_batch(tmp_path: Path) -> None:
    network, image = Outlines(made()).eval(), pictures(3)
    write_onnx(network, image.numpy(), "answer", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession((tmp_path / "model.onnx").read_bytes())
    for rows in (1, 3):
        with torch.no_grad():
            expected = network(image[:rows]).numpy()
        (found,) = session.run(None, {"image": image[:rows].numpy()})
        assert np.abs(found - expected).max() <= 1e-3 * max(1.0, float(np.abs(expected).max()))


def trained(classes: int = 4) -> FrameNetwork:
    """A network whose batch norms have statistics of their own, as after a training."""
    network = FrameNetwork(classes).eval()
    rng = torch.Generator().manual_seed(3)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=rng) / 4)
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=rng) + 0.5)
            with torch.no_grad():
                part.weight.copy_(torch.rand(part.weight.shape, generator=rng) + 0.5)
                part.bias.copy_(torch.randn(part.bias.shape, generator=rng) / 4)
    return network


def test_the_engine_form_answers_as_the_network() -> None:
    """Folded, rearranged and with products for pooling, every plane is the network's own answer, edges included."""
    torch.manual_seed(0)
    network, image = trained(), pictures(2, 128, 256)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        maps = InspectMaps(network, 128, 256).eval()(image)
        said = network(image)
    assert maps.shape == (2, 6, 32, 64)
    screen = said.screen.sigmoid().repeat_interleave(8, 1).repeat_interleave(8, 2)
    expected = torch.cat([screen[:, None], said.outlines[:, :1].sigmoid(), said.outlines[:, 1:].softmax(1)], 1)
    assert expected.std() > 0.05
    torch.testing.assert_close(maps, expected, atol=1e-4, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_stem_sees_every_pixel_at_its_place() -> None:
    """A single bright pixel moves the engine's form and the network alike, wherever in its 4 x 4 block it lies."""
    torch.manual_seed(0)
    network = trained()
    maps = InspectMaps(network, 64, 128).eval()
    for line, column in ((20, 40), (21, 42), (22, 41), (23, 43), (63, 127)):
        image = torch.full((1, 1, 64, 128), 90, dtype=torch.uint8)
        image[..., line, column] = 250
        with torch.no_grad():
            torch.testing.assert_close(maps(image)[:, 1], network(image).outlines[:, 0].sigmoid(), atol=1e-4, rtol=0)
