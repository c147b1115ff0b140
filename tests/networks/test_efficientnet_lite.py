"""The EfficientNet-Lite trunks are the ones they claim to be."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from linewatch.networks.efficientnet_lite import ENCODERS, make_efficientnet_lite
from linewatch.networks.mobilenet import WeightsMismatch
from linewatch.networks.torchvision_operators import declare

WEIGHTS = Path(os.environ.get("LINEWATCH_DATA", "absent")) / "imagenet_weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="LINEWATCH_DATA/imagenet_weights is not here")
each_trunk = pytest.mark.parametrize("name", ENCODERS)


@needs_weights
@each_trunk
def test_features_equal_timms(name: str) -> None:
    """On the reference image the coarsest map is the one that timm computes with the whole file's weights."""
    declare()
    import timm

    whole = timm.create_model(f"tf_{name}").eval()
    whole.load_state_dict({key: value.float() for key, value in load_file(WEIGHTS / ENCODERS[name]).items()})
    image = (torch.from_numpy(np.load(WEIGHTS / "reference.npz")["image_uint8_chw"]).float()[None] - 127) / 128
    trunk = make_efficientnet_lite(name, weights=WEIGHTS).eval()
    with torch.no_grad():
        expected = whole.blocks(whole.bn1(whole.conv_stem(image)))
        torch.testing.assert_close(trunk(image)[-1], expected, atol=1e-4, rtol=1e-4)
        assert int(whole(image).argmax()) == 904  # so the reference itself is loaded rightly: "window screen"


@each_trunk
def test_taps_say_what_comes_out(name: str) -> None:
    """Every tap's stride and channel count is that of the map given, from fine to coarse."""
    trunk = make_efficientnet_lite(name).eval()
    maps = trunk(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(t.channels, 64 // t.stride, 96 // t.stride) for t in trunk.taps]
    assert [t.stride for t in trunk.taps] == [2, 4, 8, 16, 32]


@needs_weights
@pytest.mark.parametrize("planes", [1, 2])
def test_gray_folding_keeps_the_answer(planes: int) -> None:
    """A gray image gives the same features through the folded stem as through three equal channels."""
    gray = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    of_color, of_gray = (make_efficientnet_lite("efficientnet_lite1", n, WEIGHTS).eval() for n in (3, planes))
    with torch.no_grad():
        before, after = of_color(gray.expand(1, 3, -1, -1))[-1], of_gray(gray.expand(1, planes, -1, -1))[-1]
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_frozen_stages_stay_as_they_are() -> None:
    """A training step changes neither weights nor running statistics of the frozen stages, and both of the others."""
    torch.manual_seed(0)
    trunk = make_efficientnet_lite("efficientnet_lite1", planes=1, frozen=2).train()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    optimiser = torch.optim.SGD([value for value in trunk.parameters() if value.requires_grad], 0.1)
    trunk(torch.rand(2, 1, 64, 64))[-1].square().mean().backward()
    optimiser.step()
    changed = {key for key, value in trunk.state_dict().items() if not torch.equal(value, before[key])}
    frozen = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
    assert not [key for key in changed if key.startswith(frozen)]
    assert {"blocks.2.0.conv_pw.weight", "blocks.2.0.bn1.running_mean", "blocks.6.0.bn3.weight"} <= changed


@needs_weights
def test_weights_of_another_trunk_are_refused() -> None:
    """The wrong file is an error that names the tensor and both shapes, never a silent misload."""
    trunk = make_efficientnet_lite("efficientnet_lite2")
    with pytest.raises(WeightsMismatch, match=r"lite1_fp16.safetensors: blocks\.2\.\d\.\S+ is "):
        trunk.load_imagenet(WEIGHTS / ENCODERS["efficientnet_lite1"])


def test_unknown_encoder_names_the_known() -> None:
    """A typo in the encoder's name is answered with the valid names."""
    with pytest.raises(WeightsMismatch, match="efficientnet_lite1, efficientnet_lite2"):
        make_efficientnet_lite("efficientnet_lite9")
