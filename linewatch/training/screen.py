"""Train the screen: `python -m linewatch.training.screen --data "$LINEWATCH_DATA" --out engines/screen`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from linewatch.networks.screen import Screen
from linewatch.training.merit import tile_scores, steel_columns

IGNORED = -1.0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, beside the data."""

    encoder: str = "mobilenet_v2_1.0"
    shrink: int = 2
    width: int = 64
    dropout: float = 0.2
    epochs: int = 20
    batch: int = 4
    rate: float = 1e-3
    encoder_rate: float = 0.3
    decay: float = 0.05
    ema: float = 0.99
    tile_weight: float = 1.0
    sharpness: float = 2.0
    touched: float = 0.06
    blend: float = 0.0
    zoom: float = 0.15
    relative: int = 0
    taps: int = 2
    pattern: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Strip:
    """A frame to learn from: image and mask (256, 1600) uint8. Without a mask the frame only is known to hold a defect somewhere."""

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None


def cell_targets(mask: NDArray[np.generic], cell_px: int, touched: float) -> NDArray[np.float32]:
    """1 where at least the share `touched` of a cell is defect, 0 where none, IGNORED between: drawn outlines are rough."""
    rows, columns = mask.shape[0] // cell_px, mask.shape[1] // cell_px
    share = (mask > 0).reshape(rows, cell_px, columns, cell_px).mean((1, 3))
    return np.where(share >= touched, 1.0, np.where(share > 0, IGNORED, 0.0)).astype(np.float32)


def jitter(image: NDArray[np.uint8], mask: NDArray[np.uint8], zoom: float, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """One random look at the same strip: flips, a little scale and shift, another exposure, gradient and noise."""
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if rng.random() < 0.5:
        image, mask = image[::-1], mask[::-1]
    height, width = image.shape
    if zoom:
        sx, sy = np.exp(rng.uniform(-zoom, zoom, 2))
        tx, ty = rng.uniform(-0.06, 0.06) * width, rng.uniform(-0.3, 0.3) * height
        warp = np.float32([[sx, 0, (1 - sx) * width / 2 + tx], [0, sy, (1 - sy) * height / 2 + ty]])
        image = cv2.warpAffine(np.ascontiguousarray(image), warp, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        mask = cv2.warpAffine(np.ascontiguousarray(mask), warp, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    gamma, gain, slope = np.exp(rng.uniform((-0.3, -0.5, -0.3), (0.3, 0.5, 0.3)))
    exposed = ((np.arange(256, dtype=np.float32) / 255) ** gamma * gain * 255).astype(np.float32)[image]
    exposed *= slope ** np.linspace(-1, 1, width, dtype=np.float32)
    if rng.random() < 0.3:
        exposed = cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.4, 1.2))
    exposed += rng.uniform(0, 5) * rng.standard_normal(image.shape, np.float32)
    return cv2.convertScaleAbs(exposed.clip(0, None)), np.ascontiguousarray(mask)


class StripDataset(Dataset):
    """Augmented frames with their cell targets; the same seed and epoch give the same pictures."""

    def __init__(self, strips: list[Strip], recipe: Recipe, blender=None):
        self.strips, self.recipe, self.blender = strips, recipe, blender
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.strips)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self.recipe.seed, self.epoch, index))
        strip = self.strips[index]
        known = strip.mask is not None
        image, mask = strip.image, strip.mask if known else np.zeros_like(strip.image)
        if known and self.blender is not None and rng.random() < self.recipe.blend:
            image, mask = self.blender(image, mask, rng)
        image, mask = jitter(image, mask, self.recipe.zoom, rng)
        target = cell_targets(mask, self.recipe.shrink * 16, self.recipe.touched) if known else np.full((8, 50), IGNORED, np.float32)
        touch = cell_targets(mask, self.recipe.shrink * 16, 1e-9)
        return torch.from_numpy(image)[None], torch.from_numpy(target), torch.from_numpy(touch)


class ScreenFit(L.LightningModule):
    """Cells learn from masks; tiles from the smooth maximum of their cells; frames without masks from the whole frame's."""

    def __init__(self, network: Screen, recipe: Recipe, steps: int):
        super().__init__()
        self.network, self.recipe, self.steps = network, recipe, steps

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        image, target, touch = batch
        logits = self.network.logits(image).float()
        known = target >= 0
        cell = F.binary_cross_entropy_with_logits(logits, target.clamp_min(0), reduction="none")
        loss = cell[known].mean() if known.any() else logits.sum() * 0
        sharp = self.recipe.sharpness
        cells = 256 // self.network.cell_px
        tiles = (F.avg_pool2d((logits.clamp(-20, 20) * sharp).exp()[:, None], (logits.shape[1], cells), cells // 2).log() / sharp)[:, 0, 0]
        truth = F.max_pool2d(touch[:, None], (logits.shape[1], cells), cells // 2)[:, 0, 0]
        masked = known.flatten(1).any(1)
        if masked.any():
            loss = loss + self.recipe.tile_weight * F.binary_cross_entropy_with_logits(tiles[masked], truth[masked])
        if (~masked).any():
            loss = loss + 0.1 * F.softplus(-tiles[~masked].amax(1)).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_epoch_start(self) -> None:
        self.trainer.train_dataloader.dataset.epoch = self.current_epoch

    def configure_optimizers(self):
        slow = list(self.network.encoder.parameters())
        fast = [p for n, p in self.network.named_parameters() if not n.startswith("encoder.")]
        rate = self.recipe.rate
        optimizer = torch.optim.AdamW(
            [{"params": slow, "lr": rate * self.recipe.encoder_rate}, {"params": fast, "lr": rate}], weight_decay=self.recipe.decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [rate * self.recipe.encoder_rate, rate], total_steps=self.steps, pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(strips: list[Strip], recipe: Recipe, weights: Path | None, blender=None) -> Screen:
    """Train one screen on `strips`."""
    L.seed_everything(recipe.seed, verbose=False)
    network = Screen(recipe.encoder, recipe.shrink, recipe.width, recipe.dropout, weights, bool(recipe.relative), recipe.taps).to(memory_format=torch.channels_last)
    loader = DataLoader(StripDataset(strips, recipe, blender), recipe.batch, shuffle=True, drop_last=True, num_workers=1)
    module = ScreenFit(network, recipe, recipe.epochs * len(loader))
    callbacks = [EMAWeightAveraging(decay=recipe.ema)] if recipe.ema else []
    trainer = L.Trainer(
        max_epochs=recipe.epochs, accelerator="cpu", precision="bf16-mixed", logger=False, enable_checkpointing=False,
        enable_model_summary=False, gradient_clip_val=1.0, callbacks=callbacks, enable_progress_bar=False,
    )
    trainer.fit(module, loader)
    return network.eval()


@torch.no_grad()
def score(network: Screen, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Cell scores of each image."""
    return [network(torch.from_numpy(i)[None, None])[0].numpy() for i in images]
