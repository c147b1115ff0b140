"""The trial's training: what the loss asks for, and a run that goes on where it stopped."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.eye.keep import read_network, write_network
from experiments.eye.maps import FAINT, Maps, read, write
from linewatch.networks.inspect import FrameLogits, FrameNetwork
from linewatch.training.house.inspect_fit import FoldTraining, InspectSettings, Schedule, loss
from linewatch.training.samples.labelled_crops import CROP_PX, CropSampler, Targets, TrainingCrop
from linewatch.training.samples.labelled_frames import UNKNOWN, LabelledFrame, TruePiece

WEIGHT = torch.ones(1, 64, CROP_PX // 4)


def told() -> FrameLogits:
    mask = np.zeros((256, CROP_PX), np.uint8)
    mask[40:80, 40:120], mask[160:200, 200:300], mask[0:64, 320:384] = 1, 3, UNKNOWN
    targets = Targets.of(mask)
    return FrameLogits(torch.from_numpy(targets.screen)[None], torch.from_numpy(targets.outlines)[None])


def perfect(of: FrameLogits) -> FrameLogits:
    return FrameLogits(20 * of.screen - 10, 20 * of.outlines - 10)


def test_the_loss_is_lowest_at_the_truth_and_asks_for_each_part_of_it() -> None:
    """Right everywhere costs next to nothing; a wrong class, a missed defect, a false one, a blind screen each do."""
    truth = told()
    right = perfect(truth)
    best = float(loss(right, truth, WEIGHT))
    assert best < 0.02

    def spoilt(change: Tensor, head: str = "outlines") -> float:
        return float(loss(right._replace(**{head: change}), truth, WEIGHT))

    swapped = right.outlines[:, [0, 3, 2, 1, 4]]
    missed, false = right.outlines.clone(), right.outlines.clone()
    missed[:, 0, 10:20, 10:30] = -10
    false[:, 0, 50:60, 90:110] = 10
    assert all(spoilt(worse) > best + 0.2 for worse in (swapped, missed, false))
    assert spoilt(-right.screen, "screen") > best + 1


def test_an_unknown_outline_teaches_nothing() -> None:
    truth = told()
    said = FrameLogits(torch.zeros_like(truth.screen), torch.zeros_like(truth.outlines).requires_grad_())
    loss(said, truth, WEIGHT).backward()
    assert said.outlines.grad is not None
    assert (said.outlines.grad[:, :, 0:16, 80:96] == 0).all()
    assert (said.outlines.grad[:, 0, 10:20, 10:30] < 0).all()
    assert (said.outlines.grad[:, 1, 12:18, 12:28] < 0).all()


@pytest.fixture
def frames(tmp_path: Path) -> list[LabelledFrame]:
    """A clean frame, and one with a defect of each class."""
    rng = np.random.default_rng(0)
    found = []
    for name, clean in (("clean", True), ("defective", False)):
        gray = rng.integers(80, 120, (256, 1600)).astype(np.uint8)
        mask = np.zeros_like(gray)
        pieces = [] if clean else [TruePiece(k, 200 + 300 * k, 60, 260 + 300 * k, 140) for k in range(4)]
        for one in pieces:
            gray[one.y0 : one.y1, one.x0 : one.x1] //= 3
            mask[one.y0 : one.y1, one.x0 : one.x1] = 1 + one.class_index
        path = tmp_path / f"{name}.png"
        assert cv2.imwrite(str(path), gray)
        classes = () if clean else (0, 1, 2, 3)
        found.append(LabelledFrame(name, path, mask, classes, tuple(pieces), outlined=True))
    return found


def test_a_look_keeps_truth_and_picture_together(frames: list[LabelledFrame]) -> None:
    """Wherever a look says defect the steel is darker, flips, shifts and laid defects included; seeds repeat it."""
    crops = CropSampler(frames)
    drawn = [crops.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert all(one.gray.shape == one.mask.shape == (256, CROP_PX) for one in drawn)
    defective = [one for one in drawn if (one.mask > 0).sum() > 400]
    assert len(defective) > 15
    assert {int(value) for one in defective for value in np.unique(one.mask)} == {0, 1, 2, 3, 4}

    def darker(one: TrainingCrop) -> bool:
        return bool(one.gray[one.mask > 0].mean() < 0.8 * one.gray[one.mask == 0].mean())

    assert all(darker(one) for one in defective)
    assert np.array_equal(drawn[7].gray, crops.draw(np.random.default_rng(7)).gray)


def test_the_learning_rate_falls_over_the_last_steps() -> None:
    shares = [Schedule(10, 4).share(step) for step in range(10)]
    assert shares == [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert Schedule(10, 0).share(9) == 1


def test_a_run_goes_on_where_it_was_saved(frames: list[LabelledFrame], tmp_path: Path) -> None:
    """Step, weights, their mean and the optimiser's state come back, and the next step takes all of them on."""
    settings = InspectSettings(batch=2, steps=10, cool=5)
    run, crops = FoldTraining.begin(None, tmp_path / "state.pt", settings), CropSampler(frames)
    run.turn(crops, 1)
    run.save()
    again = FoldTraining.begin(None, tmp_path / "state.pt", settings)
    assert again.step == 1
    for mine, theirs in ((again.network, run.network), (again.mean, run.mean)):
        pairs = zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    moments = again.optimiser.state_dict()["state"]
    assert len(moments) == len(run.optimiser.state_dict()["state"]) > 0
    again.turn(crops, 1)
    assert again.step == 2
    assert not list(tmp_path.glob("*.part"))


def test_a_kept_network_answers_as_it_did(tmp_path: Path) -> None:
    """Half precision moves no probability by more than a hundredth."""
    torch.manual_seed(0)
    network = FrameNetwork(4).eval()
    write_network(network, tmp_path / "kept.safetensors")
    image = torch.randint(0, 256, (1, 1, 64, 128), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    with torch.no_grad():
        before, after = (
            one(image).outline_probability() for one in (network, read_network(tmp_path / "kept.safetensors"))
        )
    assert float((before - after).abs().max()) < 0.01


def test_written_maps_come_back_to_a_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = Maps(*(rng.random(shape, np.float32) for shape in ((8, 50), (5, 64, 400), (64, 400))))
    write({"a": one, "b": one}, tmp_path / "maps.npz")
    again = read(tmp_path / "maps.npz")
    assert list(again) == ["a", "b"]
    for part in ("screen", "outlines", "apart"):
        before, after = getattr(one, part), getattr(again["b"], part)
        assert np.abs(before - after)[before >= FAINT].max() <= 0.5 / 255 + 1e-6
        assert (after[before < FAINT] == 0).all()
