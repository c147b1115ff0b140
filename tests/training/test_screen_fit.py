"""The screen learns, exports and keeps its promises, on made-up strip."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from linewatch.contracts.errors import ConfigError
from linewatch.export.engine_folder import check_parity, write_onnx
from linewatch.networks.screen import Screen
from linewatch.training.house.screen import (
    ScreenSettings,
    fit_screen,
    load_screen,
    patch_peaks,
    smooth_maximum,
    window_scores,
)
from linewatch.training.samples.frames import DEFECT, FrameMaker, KnownImage, Shares

TINY = ScreenSettings(encoder="mobilenet_v1_0.25", steps=40, batch=2, peak_rate=3e-3, width=16, frozen=0, average=0.8)


def strip(seed: int) -> KnownImage:
    """Noise with one hard dark square."""
    rng = np.random.default_rng(seed)
    gray = rng.normal(110, 5, (256, 1600)).clip(0, 255).astype(np.uint8)
    known = np.zeros_like(gray)
    x = int(rng.integers(0, 1500))
    known[64:160, x : x + 96] = DEFECT
    gray[known == DEFECT] = 30
    return KnownImage(gray, known)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Screen, Path]:
    """A screen fitted for some seconds to dark squares."""
    run = tmp_path_factory.mktemp("run")
    maker = FrameMaker(Shares(zoom=0.0, light=0.1, ended=0, patterned=0), [strip(seed) for seed in range(12)])
    return fit_screen(maker, TINY, None, run), run


@pytest.mark.slow
@pytest.mark.skipif("LINEWATCH_DATA" not in os.environ, reason="needs the ImageNet weights that LINEWATCH_DATA names")
def test_a_small_screen_learns_dark_squares(tmp_path: Path) -> None:
    """After 40 steps from ImageNet weights tiles with a square outrank those without, on strip not seen."""
    maker = FrameMaker(Shares(zoom=0.0, light=0.1, ended=0, patterned=0), [strip(seed) for seed in range(12)])
    weights = Path(os.environ["LINEWATCH_DATA"]) / "imagenet_weights"
    network = fit_screen(maker, TINY.model_copy(update={"peak_rate": 1e-3}), weights, tmp_path)
    area = window_scores([(network, [strip(seed) for seed in range(50, 54)])]).auc()
    assert area is not None
    assert area > 0.9


@pytest.mark.slow
def test_saved_weights_give_the_same_scores(fitted: tuple[Screen, Path]) -> None:
    """What a run leaves in its folder is the network that it gave back."""
    network, run = fitted
    image = torch.from_numpy(strip(60).gray)[None, None]
    with torch.inference_mode():
        torch.testing.assert_close(load_screen(run / "fit" / "weights.pt", TINY)(image), network(image))


def test_patches_are_evaluated_one_by_one(fitted: tuple[Screen, Path]) -> None:
    """A patch's peak lies on it; its clean part is evaluated apart and lower; a patch all defect has none (nan)."""
    dark = strip(3)
    x = int(np.flatnonzero((dark.known == DEFECT).any(0))[0])
    x = min(max(0, x - 16), 1344)
    window = np.s_[:, x : x + 256]
    patches = [
        KnownImage(dark.gray[window], dark.known[window]),
        KnownImage(dark.gray[window], np.ones((256, 256), np.uint8)),
    ]
    peaks, free = patch_peaks(fitted[0], patches)
    assert peaks[0] >= free[0]
    assert np.isnan(free[1])
    assert len(peaks) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("taps", "relative"),
    [(3, True), *(pytest.param(*one, marks=pytest.mark.heavy) for one in ((2, True), (2, False), (3, False)))],
)
def test_export_agrees_with_torch(taps: int, relative: bool, tmp_path: Path) -> None:
    """ONNX Runtime and OpenVINO give torch's scores, for one frame and for several, uint8 in and cells out."""
    torch.manual_seed(0)
    network = Screen("mobilenet_v1_0.25", width=8, taps=taps, relative=relative).eval()
    frames = np.stack([strip(seed).gray for seed in range(3)])[:, None]
    write_onnx(network, frames, "score", tmp_path / "model.onnx")
    check_parity(network, tmp_path / "model.onnx", frames)
    check_parity(network, tmp_path / "model.onnx", frames[:1])
    with torch.inference_mode():
        scores = network(torch.from_numpy(frames))
    assert scores.shape == (3, 8, 50)
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_a_brighter_lamp_hardly_moves_the_relief() -> None:
    """Local contrast does not depend on exposure: half the light gives nearly the same relief."""
    contrast = Screen("mobilenet_v1_0.25").contrast
    image = torch.from_numpy(strip(1).gray)[None, None].float() / 255
    reliefs = []
    for light in (1.0, 0.5):
        mean, gain = contrast(image * light)
        reliefs.append((image * light - mean) * gain)
    spread = reliefs[0].std()
    assert (reliefs[0] / spread - reliefs[1] / reliefs[1].std()).abs().mean() < 0.05


def test_smooth_maximum_lies_between_mean_and_maximum() -> None:
    """And looks only where it is told to."""
    logits = torch.tensor([[[0.0, 3.0], [-1.0, 9.0]]])
    where = torch.tensor([[[True, True], [True, False]]])
    value = float(smooth_maximum(logits, where, 2.0))
    assert 2 / 3 < value < 3


def test_an_unknown_setting_is_refused() -> None:
    """A typo in --set names the known settings."""
    with pytest.raises(ConfigError, match="steps"):
        ScreenSettings().with_settings(["stepz=3"])
