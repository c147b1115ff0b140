"""Networks that torch exports, by its present and its former exporter, are imported and answer as in torch."""

import hashlib
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_imported_answers import answers
from torch import nn

from linewatch.contracts.manifest import Task
from linewatch.importer.engine_import import ImportRequest, import_engine
from linewatch.importer.graph import Normalisation
from linewatch.importer.outputs import Activation
from linewatch.inference.engines import find_engine
from linewatch.simulation.tiles import drawn_tiles

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = ("scratch", "sliver", "crazing")


class Classifier(nn.Module):
    """As many are written: features, a pooling, `view` with the size of the batch, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(32 * 16, len(CLASSES))
        nn.init.normal_(self.head.weight, std=0.3)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        found = nn.functional.adaptive_avg_pool2d(self.features(picture), 4)
        return self.head(found.view(found.size(0), -1))


class Segmenter(nn.Module):
    """A map of half the picture's size, doubled; a dict of two outputs, as torchvision's segmenters give."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.out, self.aux = nn.Conv2d(16, 4, 3, 1, 1), nn.Conv2d(16, 4, 1)
        nn.init.normal_(self.out.weight, std=0.3)

    def forward(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.down(picture)
        size = picture.shape[-2:]
        return {
            name: nn.functional.interpolate(part(found), size, mode="bilinear", align_corners=False)
            for name, part in (("out", self.out), ("aux", self.aux))
        }


def present(network: nn.Module, example: torch.Tensor, path: Path, names: list[str]) -> None:
    torch.onnx.export(network, (example,), path, dynamo=True, output_names=names, verbose=False)


def free_batch(network: nn.Module, example: torch.Tensor, path: Path, names: list[str]) -> None:
    torch.onnx.export(
        network, (example,), path, dynamo=True, output_names=names, verbose=False, dynamic_shapes=({0: "n"},)
    )


def former(network: nn.Module, example: torch.Tensor, path: Path, names: list[str]) -> None:
    torch.onnx.export(network, (example,), path, dynamo=False, output_names=names)


HEAVY = {  # which tests/docs/test_first_engine.py and the weights in a second file below stand for
    "classifier": (present, former),
    "segmenter": (free_batch,),
}


def exporters(kind: str) -> pytest.MarkDecorator:
    marked = ((one, [pytest.mark.heavy] * (one in HEAVY[kind])) for one in (present, free_batch, former))
    return pytest.mark.parametrize("exporter", [pytest.param(one, marks=marks) for one, marks in marked])


def exported(network: nn.Module, side: int, exporter: Callable, path: Path, names: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exporter(network, torch.rand(2 if exporter is free_batch else 1, 3, side, side), path, names)
    return path


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return drawn_tiles(256, 256)[:6, None].copy()


def pictures(tiles: np.ndarray, side: int) -> torch.Tensor:
    gray = torch.nn.functional.interpolate(torch.from_numpy(tiles) / 255, (side, side), mode="bilinear", antialias=True)
    return (gray - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@exporters("classifier")
def test_a_classifier_of_torch(exporter: Callable, tiles: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Classifier().eval()
    path = exported(network, 224, exporter, tmp_path / "net" / "mine.onnx", ["logits"])
    request = ImportRequest(
        Task.CLASSIFY, CLASSES, normalisation=Normalisation(MEAN, STD), activation=Activation.SIGMOID
    )
    made = import_engine(path, request, tmp_path / "engines")
    assert not any("tile by tile" in note for note in made.notes)
    with torch.inference_mode():
        expected = network(pictures(tiles, 224)).sigmoid().numpy()
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(answers(find_engine(tmp_path / "engines", "mine"), tiles), expected, atol=1e-4)


@exporters("segmenter")
def test_a_segmenter_of_torch(exporter: Callable, tiles: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Segmenter().eval()
    path = exported(network, 256, exporter, tmp_path / "net" / "mine.onnx", ["out", "aux"])
    request = ImportRequest(
        Task.SEGMENT,
        ("background", *CLASSES),
        normalisation=Normalisation(MEAN, STD),
        activation=Activation.SOFTMAX,
        output="out",
    )
    import_engine(path, request, tmp_path / "engines")
    with torch.inference_mode():
        expected = 255 * (1 - network(pictures(tiles, 256))["out"].softmax(1)[:, 0]).numpy()
    assert np.ptp(expected) > 100
    np.testing.assert_allclose(answers(find_engine(tmp_path / "engines", "mine"), tiles), expected, atol=0.51)


def test_the_weights_of_a_second_file_are_taken_in(tmp_path: Path) -> None:
    torch.manual_seed(3)
    path = exported(Classifier().eval(), 224, present, tmp_path / "net" / "mine.onnx", ["logits"])
    weights = path.with_name("mine.onnx.data")
    assert weights.stat().st_size > 10_000
    hashes = [hashlib.sha256(one.read_bytes()).hexdigest() for one in (path, weights)]
    request = ImportRequest(Task.CLASSIFY, CLASSES, activation=Activation.SIGMOID)
    made = import_engine(path, request, tmp_path / "engines")
    assert all(digest in made.manifest.training.recipe for digest in hashes)
    assert all(digest in (made.folder / "CARD.md").read_text() for digest in hashes)
    shutil.rmtree(path.parent)
    engine = find_engine(tmp_path / "engines", "mine")
    assert sorted(one.name for one in made.folder.iterdir()) == [
        "CARD.md",
        "manifest.json",
        "model.onnx",
        "reference.npz",
    ]
    onnx.checker.check_model(onnx.load_from_string(engine.model), full_check=True)
    assert len(answers(engine, drawn_tiles(256, 256)[:2, None])) == 2
