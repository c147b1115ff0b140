"""Train the screen: where in a strip frame must the heavy networks look?

``python -m linewatch.training.screen --data "$LINEWATCH_DATA" --out engines/screen [--set steps=500]``

Cells learn from masks, windows of a tile's size from the smooth maximum of their cells, and areas of which only is known that a defect is
somewhere in them (class-only frames, X-SDD patches) from the smooth maximum of the area. The figure of merit is that of `merit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from linewatch.networks.screen import Screen
from linewatch.training.blending import Blender
from linewatch.training.datasets import Knowledge, Specimen
from linewatch.training.fit import Recipe, fit
from linewatch.training.merit import TILE_PX

CLEAN, DEFECT, UNSURE, AREA = 0, 1, 2, 3
"""Values of a map of what is known, per pixel. AREA + k: in the k-th area, which holds a defect somewhere."""

FRAME = (256, 1600)
PATCH_SLOT_PX = 256


class ScreenRecipe(Recipe):
    """The screen's recipe. Shares are of the training frames; what is left are outlined strip frames."""

    steps: int = 350
    batch: int = 4
    peak_rate: float = 5e-4
    weight_decay: float = 0.05
    shrink: int = 2
    width: int = 64
    dropout: float = 0.2
    relative: bool = False
    taps: int = 2
    frozen: int = 0
    tile_weight: float = 1.0
    area_weight: float = 0.1
    sharpness: float = 2.0
    touched: float = 0.06
    zoom: float = 0.15
    light: float = 0.5
    blend: float = 0.3
    clean_boost: float = 1.0
    patch_share: float = 0.1
    area_share: float = 0.1


@dataclass(frozen=True)
class Known:
    """A picture, uint8 (lines, width), and what is known of each of its pixels, uint8 of the same shape: CLEAN, DEFECT, UNSURE or AREA."""

    gray: NDArray[np.uint8]
    known: NDArray[np.uint8]


def known_picture(specimen: Specimen) -> Known:
    """What a specimen tells of its pixels. A box tells less than an outline: beside the outline, inside a box, nothing is sure."""
    gray = specimen.gray()
    known = np.zeros_like(gray)
    if specimen.knowledge is Knowledge.CLASS_ONLY or (specimen.knowledge is Knowledge.LABELLED and not specimen.boxes):
        known[:] = AREA
    for box in specimen.boxes:
        known[box.y0 : box.y1, box.x0 : box.x1] = UNSURE if specimen.mask_path else DEFECT
    if specimen.mask_path:
        known[specimen.mask() > 0] = DEFECT
    return Known(gray, known)


def jitter(picture: Known, zoom: float, light: float, rng: np.random.Generator) -> Known:
    """One random look at the same strip: flips, a little scale and shift, another exposure, gradient and noise."""
    image, mask = picture.gray, picture.known
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
    gamma, gain, slope = np.exp(rng.uniform((-0.6 * light, -light, -0.6 * light), (0.6 * light, light, 0.6 * light)))
    exposed = ((np.arange(256, dtype=np.float32) / 255) ** gamma * gain * 255).astype(np.float32)[image]
    exposed *= slope ** np.linspace(-1, 1, width, dtype=np.float32)
    if rng.random() < 0.3:
        exposed = cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.4, 1.2))
    exposed += rng.uniform(0, 5) * rng.standard_normal(image.shape, np.float32)
    return Known(cv2.convertScaleAbs(exposed.clip(0, None)), np.ascontiguousarray(mask))


@dataclass(frozen=True)
class FrameMaker:
    """Makes training frames (256 x 1600) at random from what there is: outlined strip, frames and patches of known area, blends."""

    recipe: ScreenRecipe
    strip: Sequence[Known]
    areas: Sequence[Known] = ()
    patches: Sequence[Known] = ()
    blender: Blender | None = None

    def make(self, rng: np.random.Generator) -> Known:
        """One frame; the same generator state gives the same frame."""
        recipe, draw = self.recipe, rng.random()
        if self.areas and draw < recipe.area_share:
            return jitter(self.areas[rng.integers(len(self.areas))], recipe.zoom, recipe.light, rng)
        picture = self.strip[rng.integers(len(self.strip))]
        if self.patches and draw > 1 - recipe.patch_share:
            picture = self._patched(picture, rng)
        elif self.blender and rng.random() < recipe.blend:
            picture = Known(*self.blender(picture.gray, picture.known, rng))
        return jitter(picture, recipe.zoom, recipe.light, rng)

    def _patched(self, host: Known, rng: np.random.Generator) -> Known:
        """Patches of the defect sets side by side over a strip frame, so that no set betrays itself by its size or border."""
        gray, known = host.gray.copy(), host.known.copy()
        areas = 0
        for x in range(int(rng.integers(0, 128)), FRAME[1] - PATCH_SLOT_PX + 1, PATCH_SLOT_PX):
            if rng.random() < 0.25:
                continue
            patch = self.patches[rng.integers(len(self.patches))]
            side = int(rng.integers(180, PATCH_SLOT_PX + 1))
            picture = cv2.resize(patch.gray, (side, side), interpolation=cv2.INTER_LINEAR)
            told = cv2.resize(patch.known, (side, side), interpolation=cv2.INTER_NEAREST)
            if (told == AREA).any():
                told = told + np.uint8(areas)
                areas += 1
            y, x = int(rng.integers(0, PATCH_SLOT_PX - side + 1)), x + int(rng.integers(0, PATCH_SLOT_PX - side + 1))
            window = np.s_[y : y + side, x : x + side]
            gray[window], known[window] = picture, told
        return Known(gray, known)


def cell_targets(known: NDArray[np.uint8], cell_px: int, touched: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a map of the known says of its cells: targets and areas, both float32 (rows, columns).

    A target is 1 where at least the share `touched` of the cell is defect, 0 where all of it is clean, -1 (unsure) between: drawn
    outlines are rough. An area is k > 0 where the cell lies in the k-th area, else 0.
    """
    rows, columns = known.shape[0] // cell_px, known.shape[1] // cell_px
    cells = known.reshape(rows, cell_px, columns, cell_px)
    share = (cells == DEFECT).mean((1, 3))
    target = np.where(share >= touched, 1.0, np.where((cells != CLEAN).any((1, 3)), -1.0, 0.0))
    centre = cells[:, cell_px // 2, :, cell_px // 2].astype(np.float32)
    return target.astype(np.float32), (centre - (AREA - 1)).clip(0)


def tile_targets(known: NDArray[np.uint8], step_px: int) -> NDArray[np.float32]:
    """For each window as wide as a tile, `step_px` apart: 1 if it holds a defect pixel, -1 if that is unsure, else 0."""
    column = np.where((known == DEFECT).any(0), 2, np.where((known >= UNSURE).any(0), 1, 0))
    highest = [column[x : x + TILE_PX].max() for x in range(0, known.shape[1] - TILE_PX + 1, step_px)]
    return np.array([0.0, -1.0, 1.0], np.float32)[highest]


class TrainingFrames(Dataset):
    """Endless training frames as tensors: image uint8 (1, 256, 1600), cells and areas (rows, columns), tiles (windows,)."""

    def __init__(self, maker: FrameMaker, recipe: ScreenRecipe):
        self.maker, self.recipe, self.cell_px = maker, recipe, recipe.shrink * 16

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        frame = self.maker.make(np.random.default_rng((self.recipe.seed, index)))
        cells, areas = cell_targets(frame.known, self.cell_px, self.recipe.touched)
        tiles = tile_targets(frame.known, TILE_PX // 2)
        return {
            "image": torch.from_numpy(frame.gray)[None],
            "cells": torch.from_numpy(cells),
            "areas": torch.from_numpy(areas),
            "tiles": torch.from_numpy(tiles),
        }


def smooth_maximum(logits: Tensor, where: Tensor, sharpness: float) -> Tensor:
    """(n,) log-mean-exp of the logits (n, rows, columns) over `where`: between mean and maximum, by `sharpness`."""
    total = torch.where(where, logits.clamp(-20, 20) * sharpness, -torch.inf).flatten(1).logsumexp(1)
    return (total - where.flatten(1).sum(1).log()) / sharpness


def screen_loss(recipe: ScreenRecipe) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    """The loss of a batch of TrainingFrames; see the module's head."""

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        assert isinstance(network, Screen)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.logits(batch["image"].contiguous(memory_format=torch.channels_last))
        logits, cells, areas = logits.float(), batch["cells"], batch["areas"]
        sure = cells >= 0
        total = F.binary_cross_entropy_with_logits(logits[sure], cells[sure]) if sure.any() else logits.sum() * 0
        side = TILE_PX // network.cell_px
        raised = (logits.clamp(-20, 20) * recipe.sharpness).exp()[:, None]
        windows = (F.avg_pool2d(raised, (logits.shape[1], side), side // 2).log() / recipe.sharpness).flatten(1)
        sure = batch["tiles"] >= 0
        if sure.any():
            total = total + recipe.tile_weight * F.binary_cross_entropy_with_logits(windows[sure], batch["tiles"][sure])
        for area in range(1, int(areas.max()) + 1):
            inside = areas == area
            some = inside.flatten(1).any(1)
            if some.any():
                total = total + recipe.area_weight * F.softplus(-smooth_maximum(logits[some], inside[some], recipe.sharpness)).mean()
        return total

    return loss


def fit_screen(maker: FrameMaker, weights: Path | None, run: Path) -> Screen:
    """A screen fitted to what `maker` makes."""
    recipe = maker.recipe
    network = Screen(recipe.encoder, recipe.shrink, recipe.width, recipe.dropout, weights, recipe.relative, recipe.taps, recipe.frozen)
    return fit(network, screen_loss(recipe), TrainingFrames(maker, recipe), recipe, run)


@torch.inference_mode()
def score(network: Screen, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Cell scores (rows, columns) of each frame."""
    return [network(torch.from_numpy(image)[None, None])[0].numpy() for image in images]
