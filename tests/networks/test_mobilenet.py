"""The ImageNet encoders are the ones they claim to be."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from linewatch.networks.mobilenet import ENCODERS, WeightsMismatch, fold_gray, make_encoder

DATA = os.environ.get("LINEWATCH_DATA")
WEIGHTS = Path(DATA or "absent") / "imagenet_weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="LINEWATCH_DATA/imagenet_weights is not here")


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize("name", ENCODERS)
def test_features_equal_the_reference(name: str) -> None:
    """Pooled features of the reference image match the source network's to rounding."""
    reference = np.load(WEIGHTS / "reference.npz")
    key = ENCODERS[name].removesuffix("_fp32.safetensors") + "__features"
    image = torch.from_numpy(reference["image_uint8_chw"]).float()[None] / 127.5 - 1
    encoder = make_encoder(name, weights=WEIGHTS, last_conv=True).eval()
    with torch.no_grad():
        features = encoder(image)[-1].mean((2, 3))[0].numpy()
    np.testing.assert_allclose(features, reference[key], atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("last_stride", [8, 16, 32])
def test_taps_say_what_comes_out(name: str, last_stride: int) -> None:
    """Every tap's stride and channel count is that of the map given, from fine to coarse, ending at last_stride."""
    encoder = make_encoder(name, last_stride)
    maps = encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(t.channels, 64 // t.stride, 96 // t.stride) for t in encoder.taps]
    assert [t.stride for t in encoder.taps] == [s for s in (2, 4, 8, 16, 32) if s <= last_stride]


@pytest.mark.parametrize("planes", [1, 2])
def test_gray_folding_keeps_the_answer(planes: int) -> None:
    """A gray image gives the same features through the folded stem as through three equal channels."""
    torch.manual_seed(0)
    encoder = make_encoder("mobilenet_v1_0.25", 16)
    gray = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        before = encoder(gray.expand(1, 3, -1, -1))[-1]
        fold_gray(encoder, planes)
        after = encoder(gray.expand(1, planes, -1, -1))[-1]
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)


@needs_weights
def test_weights_of_another_network_are_refused() -> None:
    """The wrong file is an error that names the layer and both shapes, never a silent misload."""
    encoder = make_encoder("mobilenet_v1_0.5")
    with pytest.raises(WeightsMismatch, match=r"conv00\.weight is \(8, 3, 3, 3\), expected \(16, 3, 3, 3\)"):
        encoder.load_imagenet(WEIGHTS / ENCODERS["mobilenet_v1_0.25"])


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    """A missing file says where it was looked for."""
    with pytest.raises(WeightsMismatch, match="no such weights file"):
        make_encoder("mobilenet_v1_0.25", weights=tmp_path)


def test_unknown_encoder_names_the_known() -> None:
    """A typo in the encoder's name is answered with the valid names."""
    with pytest.raises(WeightsMismatch, match=r"mobilenet_v2_1\.0"):
        make_encoder("mobilenet_v9")
