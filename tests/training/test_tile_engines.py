"""Classify and segment from made data to a checked engine, in seconds."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.datasets import HOUSE_SETS, read_set
from linewatch.export.engine_folder import check_parity, write_onnx
from linewatch.metrics.curves import threshold_by_f1
from linewatch.networks.classifier import TileClassifier
from linewatch.networks.shipped import ByteProbability, Sigmoid
from linewatch.networks.unet import MobileUNet
from linewatch.training.house.classify import CLASSIFY, ClassifySettings, masked_loss
from linewatch.training.house.segment import SEGMENT, AreasByThreshold, SegmentSettings
from linewatch.training.house.tile_engine import TileEngine, TileSettings

TINY = {"encoder": "mobilenet_v1_0.25", "steps": 2, "batch": 4, "workers": 0, "threads": 1, "rendered_share": 0.0}


@pytest.fixture
def tiles() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 1, 256, 256), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shipped", "output"),
    [
        (Sigmoid(TileClassifier([1, 2, 1, 2], "mobilenet_v1_0.25")), "scores"),
        (ByteProbability(MobileUNet("mobilenet_v1_0.25")), "probability"),
    ],
)
def test_runtimes_answer_as_torch_does_at_any_batch(
    shipped: nn.Module, output: str, tiles: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(shipped, tiles, output, path)
    check_parity(shipped, path, tiles)
    check_parity(shipped, path, tiles[:1])
    assert b"site-packages" not in path.read_bytes()


@pytest.mark.slow
def test_a_model_that_answers_otherwise_is_no_engine(tiles: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = (Sigmoid(TileClassifier([1, 2, 1, 2], "mobilenet_v1_0.25")).eval() for _ in range(2))
    write_onnx(one, tiles, "scores", tmp_path / "model.onnx")
    with pytest.raises(EngineError, match="differs from torch"):
        check_parity(other, tmp_path / "model.onnx", tiles)


def test_a_class_is_as_likely_as_its_likeliest_kind() -> None:
    network = TileClassifier([1, 2], "mobilenet_v1_0.25").eval()
    tile = torch.randint(0, 256, (3, 1, 256, 256), dtype=torch.uint8)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.tensor([0.5, -2.0, 3.0]))
        assert network(tile).tolist() == [[0.5, 3.0]] * 3


def test_the_ranking_looks_only_at_what_a_tile_says_something_about() -> None:
    logits = torch.tensor([[2.0, 9.0, -1.0]])
    tile = {"image": logits, "target": torch.tensor([[1.0, 0.0, 0.0]]), "weight": torch.tensor([[1.0, 0.0, 1.0]])}
    plain, ranked = (float(masked_loss(weight)(nn.Identity(), tile)) for weight in (0.0, 1.0))
    entropy = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert plain == pytest.approx(entropy, rel=1e-5)
    assert 0 < ranked - plain < 1.5  # the masked class, though the highest, is no rival


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "settings"), [(CLASSIFY, ClassifySettings(**TINY)), (SEGMENT, SegmentSettings(**TINY))]
)
def test_a_training_ends_in_an_engine_that_its_manifest_describes(
    engine: TileEngine,
    settings: TileSettings,
    made_data: Path,
    made_splits: Path,
    tmp_path: Path,
    taxonomy: Taxonomy,
) -> None:
    specimens = [one for name in HOUSE_SETS for one in read_set(name, made_data, made_splits)]
    out = tmp_path / "engine"
    engine.make_engine(
        specimens=specimens, taxonomy=taxonomy, weights=None, out=out, settings=settings, run=tmp_path / "run"
    )
    manifest = EngineManifest.model_validate_json((out / "manifest.json").read_text())
    model = (out / "model.onnx").read_bytes()
    assert manifest.model.sha256 == hashlib.sha256(model).hexdigest()
    assert str(tmp_path) not in (out / "manifest.json").read_text() + (out / "CARD.md").read_text()
    session = onnxruntime.InferenceSession(model)
    answer = session.run([manifest.output], {manifest.input.name: np.zeros((3, 1, 256, 256), np.uint8)})[0]
    if manifest.task is Task.CLASSIFY:
        assert answer.shape == (3, len(manifest.classes))
        assert set(manifest.thresholds) == set(taxonomy.trained_classes)
    else:
        assert answer.shape == (3, 256, 256)
        assert answer.dtype == np.uint8
    weights = torch.load(tmp_path / "run/shipped/fit/weights.pt")
    assert all(torch.isfinite(each).all() for each in weights.values())


def test_fitting_repeats_and_learns_something(
    made_data: Path, made_splits: Path, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    specimens = [one for name in HOUSE_SETS for one in read_set(name, made_data, made_splits)]
    settings = ClassifySettings(**TINY)
    first, again = (CLASSIFY.fit(specimens, taxonomy, settings, None, tmp_path / name).state_dict() for name in "ab")
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_a_setting_that_a_training_does_not_have_is_refused() -> None:
    assert ClassifySettings().with_settings(["steps=7", "calibration_folds=1,2"]).calibration_folds == (1, 2)
    for setting, complaint in (
        ("step=7", "expected name=value"),
        ("steps", "expected name=value"),
        ("steps=many", "steps"),
        ("batch=0", "batch"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            ClassifySettings().with_settings([setting])


def test_a_threshold_parts_what_is_there_from_what_is_not() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.3, 0.2], np.float32)
    assert 0.3 < threshold_by_f1(scores, np.array([True, True, True, False, False])) < 0.4


def test_of_thresholds_that_are_as_good_the_quietest_is_taken() -> None:
    scores = np.linspace(1, 0, 401, dtype=np.float32)[:-1]
    there = np.arange(400) < 200
    assert threshold_by_f1(scores, there, slack=0.01) > threshold_by_f1(scores, there, slack=0.0)


def test_overlap_counts_give_dice_and_clean_calls(taxonomy: Taxonomy) -> None:
    called, hit = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64)
    called[0, :129], hit[0, :129] = 200, 100
    called[:, 0] = 65536
    overlap = AreasByThreshold(
        called, hit, np.array([100, 0]), np.array(["severstal"] * 2), np.array(["a", "b"]), np.array([[True], [False]])
    )
    metrics = SEGMENT.evaluate(overlap, {"defect": 128 / 255}, taxonomy)
    assert (
        metrics["severstal_dice"]
        == pytest.approx(200 / 300)
        == metrics[f"severstal_dice_{taxonomy.trained_classes[0]}"]
    )
    assert metrics["severstal_clean_called"] == 0
    assert metrics["severstal_found"] == 1
