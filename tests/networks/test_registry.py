"""The suite that every registered network must pass. The large ones are marked heavy: `make test-networks`."""

from collections.abc import Set
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from linewatch.export.engine_folder import write_onnx
from linewatch.networks.count import keras_parameters, parameters, size_of
from linewatch.networks.mobilenet import WeightsMismatch
from linewatch.networks.paper import PaperNetwork
from linewatch.networks.registry import NETWORKS
from linewatch.networks.spec import NetworkSpec
from linewatch.training.house.protocols import HOUSE_PROTOCOLS
from linewatch.training.protocols import PAPER_PROTOCOLS

COUNTS = {  # trained parameters, and Keras' count: computed by hand from the layers or known from the literature
    "custom_cnn": (55_341_894, 55_342_086),  # 32*226 + 2*32 + 64*(32*121 + 1) + 2*64 + (64*41**2 + 1)*512 + 513*6
    "vgg11": (132_863_336 - 4_097_000 + 4_097 * 6, None),
    "vgg16": (138_357_544 - 4_097_000 + 4_097 * 6, None),
    "vgg19": (143_667_240 - 4_097_000 + 4_097 * 2, None),
    "mvgg19": (20_024_384 + 2 * 896 + 1409 * 2500 + 2 * 2500 + 2501 * 2, None),
    "resnet34": (21_797_672 - 513_000 + 513 * 3, None),
    "resnet50": (25_557_032 - 2_049_000 + 2_049 * 3, None),
    "resnet152": (60_192_808 - 2_049_000 + 2_049 * 3, None),
    "nasnet_mobile": (4_339_284, 4_376_022),
}
HEAVY = {
    *("nasnet_mobile", "vgg11", "vgg16", "vgg19", "mvgg19", "resnet50", "resnet152"),
    *("tlu_net densenet121", "tlu_net mobilenet_v2", "tlu_net resnet18", "inspect efficientnet_lite2"),
}
"""The large ones, and those of which another one shows the same."""
HEAVY_EXPORT = HEAVY | {
    *("custom_cnn", "resnet34", "tlu_net mobilenet_v2_1.0"),
    *("screen", "tile_classifier", "mobile_unet"),  # which tests/training exports as well
}
"""An export takes as long as all other tests of a network."""


def variants(heavy: Set[str]) -> list:
    """Return every network with each of its encoders."""
    found = []
    for name, spec in NETWORKS.items():
        for option in spec.encoders or ("",):
            full = f"{name} {option}".strip()
            found.append(pytest.param(name, option, id=full, marks=[pytest.mark.heavy] if full in heavy else []))
    return found


each_network = pytest.mark.parametrize(("name", "option"), variants(HEAVY))


def made(name: str, option: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return NETWORKS[name].build(**({"encoder": option} if option else {}))


def images(name: str, rows: int = 2) -> Tensor:
    spec = NETWORKS[name]
    lines, width = (spec.lines, spec.width) if spec.fixed_size else (64, 64)
    return torch.randint(0, 256, (rows, 1, lines, width), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def outputs(answer: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return list(answer) if isinstance(answer, tuple) else [answer]


@pytest.mark.slow
@each_network
def test_it_gives_its_classes_from_gray_bytes(name: str, option: str) -> None:
    spec, network, image = NETWORKS[name], made(name, option).eval(), images(name)
    with torch.no_grad():
        first, *rest = outputs(network(image))
    assert first.isfinite().all()
    if spec.task == "classify":
        assert first.shape == (2, spec.classes)
    elif spec.task == "segment":
        assert first.shape == (2, spec.classes, *image.shape[2:])
        assert all(labels.shape == (2, spec.classes) for labels in rest)
    else:
        assert first.ndim == 3  # a map of cells


@pytest.mark.slow
@each_network
def test_only_what_is_trained_gets_a_gradient(name: str, option: str) -> None:
    network = made(name, option)
    if isinstance(network, PaperNetwork):
        network.freeze_trunk()
        before = {key: value.clone() for key, value in network.trunk.state_dict().items()}
        assert not network.train().trunk.training
    sum(each.float().square().mean() for each in outputs(network(images(name)))).backward()
    for key, value in network.named_parameters():
        assert (value.grad is not None) == value.requires_grad, key
    if isinstance(network, PaperNetwork):
        assert any(value.grad.abs().sum() > 0 for value in network.parameters() if value.grad is not None)
        assert all(torch.equal(value, before[key]) for key, value in network.trunk.state_dict().items())
        network.freeze_trunk(False)
        assert all(value.requires_grad for value in network.parameters())


@pytest.mark.slow
@each_network
def test_the_seed_makes_the_weights(name: str, option: str) -> None:
    first, again, other = (made(name, option, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.slow
@each_network
def test_a_saved_state_is_the_network_again(name: str, option: str, tmp_path: Path) -> None:
    one, other = made(name, option, 3).eval(), made(name, option, 4).eval()
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    with torch.no_grad():
        pairs = zip(outputs(one(images(name))), outputs(other(images(name))), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


class First(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return outputs(self.network(image))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), variants(HEAVY_EXPORT))
def test_onnx_runtime_answers_as_torch_at_any_batch(name: str, option: str, tmp_path: Path) -> None:
    network = First(made(name, option)).eval()
    image = images(name, 3)
    write_onnx(network, image.numpy(), "answer", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession((tmp_path / "model.onnx").read_bytes())
    for rows in (1, 3):
        with torch.no_grad():
            expected = network(image[:rows]).numpy()
        (found,) = session.run(None, {"image": image[:rows].numpy()})
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-3 * max(1.0, float(np.abs(expected).max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_papers(name: str) -> None:
    size = size_of(NETWORKS[name])
    trained, keras = COUNTS[name]
    assert size.parameters == trained
    assert keras is None or size.keras_parameters == keras


def test_nasnets_new_head_has_the_papers_parameters() -> None:
    network = NETWORKS["nasnet_mobile"].build(classes=6)
    assert keras_parameters(network) == 4_376_022
    assert parameters(network.head) == 106_306
    assert keras_parameters(network.trunk) == 4_269_716  # Keras' NASNetMobile without its top


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS)
def test_every_network_has_a_training_protocol(spec: NetworkSpec) -> None:
    assert spec.protocol in {**PAPER_PROTOCOLS, **HOUSE_PROTOCOLS}


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "width"), [(100, 72), (33, 200)])
def test_tlu_net_takes_any_size(lines: int, width: int) -> None:
    answer = (
        NETWORKS["tlu_net"]
        .build(encoder="mobilenet_v2_1.0")
        .eval()(torch.zeros((1, 1, lines, width), dtype=torch.uint8))
    )
    assert answer.pixels.shape == (1, 4, lines, width)


@pytest.mark.slow
def test_a_trunk_is_found_again_in_a_file_and_a_strange_file_is_named(tmp_path: Path) -> None:
    one = made("resnet34", "", 3)
    torch.save(one.trunk.state_dict(), tmp_path / "trunk.pt")
    other = NETWORKS["resnet34"].build(weights=tmp_path / "trunk.pt")
    assert all(torch.equal(value, other.trunk.state_dict()[key]) for key, value in one.trunk.state_dict().items())
    torch.save({"stem.weight": torch.zeros(3)}, tmp_path / "stem.pt")
    with pytest.raises(WeightsMismatch, match=r"stem.pt: conv1.weight is missing"):
        NETWORKS["resnet34"].build(weights=tmp_path / "stem.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(WeightsMismatch, match=r"text.pt"):
        NETWORKS["resnet34"].build(weights=tmp_path / "text.pt")
    with pytest.raises(WeightsMismatch, match=r"no such weights file"):
        NETWORKS["resnet34"].build(weights=tmp_path / "none.pt")


def test_a_network_without_a_hub_says_so() -> None:
    with pytest.raises(WeightsMismatch, match="--weights"):
        NETWORKS["nasnet_mobile"].build(weights="imagenet")
