"""TLU-Net (Damacharla et al. 2021, doi:10.1109/ICAPAI49758.2021.9462060): U-Net with a classifier at its bottleneck."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.manifest import Task
from linewatch.networks.mobilenet import ENCODERS, WeightsMismatch, make_encoder
from linewatch.networks.paper import GrayPlanes, PaperNetwork, SignedPlanes
from linewatch.networks.pretrained import Source, hub_unreachable, load_trunk
from linewatch.networks.spec import DAMACHARLA, NetworkSpec

LIBRARY_ENCODERS = ("resnet18", "densenet121", "mobilenet_v2")
_DECODER = (256, 128, 64, 32, 16)
_STRIDE = 32


class JointLogits(NamedTuple):
    """pixels: float32 (n, classes, h, w); labels: float32 (n, classes); one sigmoid each."""

    pixels: Tensor
    labels: Tensor


class TluNet(PaperNetwork):
    """uint8 (n, 1, h, w) of any size to `JointLogits`.

    Five encoder and decoder stages with skip connections (the library's, Iakubovskii 2019), and a linear classifier of
    the bottleneck's average.

    encoder: resnet18 (11 million parameters, as the paper's), densenet121, mobilenet_v2, with weights from the
    library's hub or a file of the usual names; or mobilenet_v2_1.0, mobilenet_v1_0.5, mobilenet_v1_0.25, linewatch's
    MobileNets in TensorFlow's form, whose weights are a file or the folder `imagenet_weights`.
    """

    def __init__(self, classes: int = 4, weights: Source = None, encoder: str = "resnet18"):
        super().__init__()
        self.planes: nn.Module
        if encoder in ENCODERS:
            self.planes, self.trunk = SignedPlanes(3), make_encoder(encoder)
            channels = [3, *(tap.channels for tap in self.trunk.taps)]
            if weights == "imagenet":
                raise WeightsMismatch(
                    f"{encoder} has no hub; name the folder imagenet_weights, or its file, with --weights"
                )
            if isinstance(weights, Path):
                load_mobilenet(self.trunk, encoder, weights)
        elif encoder in LIBRARY_ENCODERS:
            try:
                self.trunk = smp.encoders.get_encoder(
                    encoder, weights="imagenet" if weights == "imagenet" else None, depth=5
                )
            except Exception as error:  # the hub's client has errors of its own
                if weights != "imagenet":
                    raise
                raise hub_unreachable(encoder, error) from error
            self.planes, channels = GrayPlanes(), [int(width) for width in self.trunk.out_channels]  # type: ignore[union-attr]
            if isinstance(weights, Path):
                load_trunk(self.trunk, weights)
        else:
            raise WeightsMismatch(
                f"unknown encoder {encoder!r}; expected one of {', '.join([*LIBRARY_ENCODERS, *ENCODERS])}"
            )
        self.with_input = encoder in ENCODERS  # the library's encoders give their input as the first feature
        self.decoder = UnetDecoder(channels, _DECODER, n_blocks=5, use_norm="batchnorm", add_center_block=False)
        self.head = nn.Conv2d(_DECODER[-1], classes, 3, padding=1)
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, image: Tensor) -> JointLogits:
        lines, width = image.shape[-2:]
        x = F.pad(self.planes(image), (0, -width % _STRIDE, 0, -lines % _STRIDE), mode="replicate")
        features = list(self.trunk(x))
        if self.with_input:
            features = [x, *features]
        pixels = self.head(self.decoder(features))[..., :lines, :width]
        return JointLogits(pixels, self.classifier(features[-1].mean((2, 3))))

    def stages(self) -> Mapping[str, nn.Module]:
        return {f"decoder {number}": block for number, block in enumerate(self.decoder.blocks, 1)}


def load_mobilenet(trunk: nn.Module, encoder: str, weights: Path) -> None:
    """Load ImageNet weights from the folder `imagenet_weights` or the encoder's file in it, or a trunk of linewatch."""
    if weights.is_dir():
        weights = weights / ENCODERS[encoder]
    if weights.name == ENCODERS[encoder]:
        trunk.load_imagenet(weights)  # type: ignore[operator]
    else:
        load_trunk(trunk, weights)


SPECS = (
    NetworkSpec(
        "tlu_net",
        DAMACHARLA,
        Task.SEGMENT,
        256,
        1600,
        4,
        TluNet,
        "tlu_net",
        encoders=(*LIBRARY_ENCODERS, "mobilenet_v2_1.0"),
    ),
)
