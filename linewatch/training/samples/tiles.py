"""Tiles of 256 x 256 px for training and evaluation, cut from strip frames or made from patches, with their labels.

The sets differ in scale, brightness and size, so a network could learn the set instead of the defect. Training tiles
therefore vary in scale, brightness, orientation and surroundings: a patch fills the tile, is mirrored at its borders,
lies on clean strip of another set, or shares the tile with other patches. Evaluation tiles are plain: a patch enlarged
to the tile, or the frame's own grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.config.taxonomy import Taxonomy
from linewatch.datasets import DatasetError, Knowledge, Specimen
from linewatch.metrics.tiles import STEEL_SHARE, TILE_PX, tile_starts
from linewatch.simulation.strip import CLASSES
from linewatch.training.samples.rendered import rendered_strip

RENDERED_TRAINING_SEEDS = range(1000, 1012)
RENDERED_TEST_SEEDS = range(1900, 1904)

SURE_PX = 150
"""A class with some, but fewer than this many, pixels in a training tile is masked: neither there nor not there."""

_ON_STRIP_GRAY = 20
_PATCH_SETS = ("neu", "xsdd")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KnownTile:
    """A tile with its labels.

    image: uint8 (256, 256). target, weight: float32 (classes,), weight 0 masks a class. defect: uint8 (256, 256), 1
    where a defect is, or None where no outline is known. source: the specimen's set; file: the specimen's name.
    """

    image: NDArray[np.uint8]
    target: NDArray[np.float32]
    weight: NDArray[np.float32]
    defect: NDArray[np.uint8] | None
    source: str
    file: str


@dataclass(frozen=True, eq=False)
class StripFrame:
    """An outlined strip frame held in memory, from which tiles are cut.

    mask: uint8, the shape of `gray`: 0 free of defect, k a defect of the set's class `labels[k - 1]`.
    """

    data_set: str
    file: str
    gray: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    labels: tuple[str, ...]
    taxonomy: Taxonomy

    def __post_init__(self) -> None:
        if min(self.gray.shape) < TILE_PX or self.mask.shape != self.gray.shape:
            raise DatasetError(
                f"{self.file}: {self.gray.shape} with a mask of {self.mask.shape}, expected a frame of at least "
                f"{TILE_PX} x {TILE_PX}"
            )

    @property
    def clean(self) -> bool:
        return not self.mask.any()

    def columns_of(self, value: int) -> NDArray[np.int64]:
        """Return the columns that hold mask value `value`; for 0, on-strip columns without any defect."""
        if value:
            return np.flatnonzero((self.mask == value).any(axis=0))
        return np.flatnonzero((self.gray.mean(axis=0) > _ON_STRIP_GRAY) & ~self.mask.any(axis=0))

    def values(self) -> list[int]:
        return [int(value) for value in np.unique(self.mask) if value]

    def window(self, matrix: NDArray[np.float64]) -> KnownTile:
        """Return the tile that the affine `matrix` (2 x 3, frame to tile) shows."""
        image = _warp(self.gray, matrix, cv2.INTER_LINEAR)
        return self._known(image, _warp(self.mask, matrix, cv2.INTER_NEAREST), sure_px=SURE_PX)

    def grid(self, sure_px: int = 64) -> list[KnownTile]:
        """Return the tiles of the frame's grid that are at least a quarter on the strip."""
        tiles = []
        for x0 in tile_starts(self.gray.shape[1]):
            image, mask = self.gray[:TILE_PX, x0 : x0 + TILE_PX], self.mask[:TILE_PX, x0 : x0 + TILE_PX]
            if (image.mean(axis=0) > _ON_STRIP_GRAY).mean() >= STEEL_SHARE:
                tiles.append(self._known(image, mask, sure_px))
        return tiles

    def _known(self, image: NDArray[np.uint8], mask: NDArray[np.uint8], sure_px: int) -> KnownTile:
        taxonomy = self.taxonomy
        if not mask.any():  # in an outlined frame every defect is outlined
            target, weight = taxonomy.targets(self.data_set, [taxonomy.sets[self.data_set].clean_label or ""])
            return KnownTile(image, target, weight, mask, self.data_set, self.file)
        area = np.bincount(mask.ravel(), minlength=len(self.labels) + 1)[1:]
        there = [label for label, px in zip(self.labels, area, strict=True) if px >= sure_px]
        target, weight = taxonomy.targets(self.data_set, there)
        for label, px in zip(self.labels, area, strict=True):
            if 0 < px < sure_px:
                weight[taxonomy.trained_classes.index(taxonomy.house_class(self.data_set, label))] = 0
        return KnownTile(image, target, weight, (mask > 0).astype(np.uint8), self.data_set, self.file)


class Patch:
    """A labelled patch of steel held in memory."""

    def __init__(self, specimen: Specimen, taxonomy: Taxonomy):
        self.specimen = specimen
        self.gray = specimen.gray()
        self.mask = (specimen.mask() > 0).astype(np.uint8) if specimen.mask_path else None
        self.target, self.weight = taxonomy.targets(specimen.data_set, specimen.labels)

    def whole(self) -> KnownTile:
        """Return the patch enlarged to the tile."""
        return self.window(_fill_matrix(self.gray.shape))

    def window(self, matrix: NDArray[np.float64]) -> KnownTile:
        """Return the tile that the affine `matrix` (patch to tile) shows, mirrored beyond the patch's borders."""
        image = _warp(self.gray, matrix, cv2.INTER_LINEAR)
        defect = None if self.mask is None else _warp(self.mask, matrix, cv2.INTER_NEAREST)
        return KnownTile(image, self.target, self.weight, defect, self.specimen.data_set, self.specimen.file)


@dataclass(frozen=True)
class TileMaker:
    """Makes endless training tiles from frames and patches; the same `rng` state makes the same tile.

    patch_share: the share of tiles made of patches; the rest are cut from frames. clean_share: the share of frame tiles
    aimed at clean strip. rendered_share: the share of tiles cut from `rendered`. plain_share: the share of patches that
    fill the tile as in the evaluation, and the share of patch tiles whose illumination is not changed. Classes are
    drawn evenly, then a specimen of that class.
    """

    frames: Sequence[StripFrame]
    patches: Sequence[Patch]
    patch_share: float
    clean_share: float = 0.4
    rendered: Sequence[StripFrame] = ()
    rendered_share: float = 0.0
    plain_share: float = 0.0

    def make(self, rng: np.random.Generator) -> KnownTile:
        draw = rng.random()
        if self.patches and draw < self.patch_share:
            tile = self._of_patches(rng)
        elif self.rendered and draw > 1 - self.rendered_share:
            tile = self._of_frame(rng, self.rendered, self._rendered_by_value)
        else:
            tile = self._of_frame(rng, self.frames, self._frames_by_value)
        if tile.source in _PATCH_SETS and rng.random() < self.plain_share:
            return tile
        return replace(tile, image=_relight(tile.image, rng))

    @cached_property
    def _frames_by_value(self) -> dict[int, list[StripFrame]]:
        return _by_value(self.frames)

    @cached_property
    def _rendered_by_value(self) -> dict[int, list[StripFrame]]:
        return _by_value(self.rendered)

    @cached_property
    def _patches_by_label(self) -> list[list[Patch]]:
        by_label: dict[tuple[str, str], list[Patch]] = {}
        for patch in self.patches:
            by_label.setdefault((patch.specimen.data_set, patch.specimen.labels[0]), []).append(patch)
        return list(by_label.values())

    def _of_frame(
        self, rng: np.random.Generator, frames: Sequence[StripFrame], by_value: dict[int, list[StripFrame]]
    ) -> KnownTile:
        if rng.random() < self.clean_share or not by_value:
            return _clean_strip(rng, frames)
        value = int(rng.choice(list(by_value)))
        frame = _pick(rng, by_value[value])
        column = int(rng.choice(frame.columns_of(value)))
        line = int(rng.choice(np.flatnonzero(frame.mask[:, column] == value)))
        return frame.window(_aim(rng, frame.gray.shape, column + rng.uniform(-80, 80), line + rng.uniform(-80, 80)))

    def _of_patches(self, rng: np.random.Generator) -> KnownTile:
        if rng.random() < self.plain_share:
            patch = self._any_patch(rng)
            zoom = 1.0 if rng.random() < 0.5 else rng.uniform(1.0, 1.1)
            return patch.window(_flip(rng) @ _square(_fill_matrix(patch.gray.shape, zoom)))
        way = rng.random()
        if way < 0.35 or not self.frames:
            return self._fill(rng, self._any_patch(rng))
        ground = _clean_strip(rng, self.frames) if way < 0.75 else self._fill(rng, self._any_patch(rng))
        for _ in range(1 if way < 0.6 else 2):
            ground = _lay(rng, ground, self._any_patch(rng))
        return ground

    def _any_patch(self, rng: np.random.Generator) -> Patch:
        return _pick(rng, self._patches_by_label[int(rng.integers(len(self._patches_by_label)))])

    @staticmethod
    def _fill(rng: np.random.Generator, patch: Patch) -> KnownTile:
        height, width = patch.gray.shape
        if rng.random() < 0.5:
            return patch.window(_flip(rng) @ _square(_fill_matrix(patch.gray.shape, rng.uniform(1.0, 1.15))))
        scale = float(np.exp(rng.uniform(np.log(0.7), np.log(TILE_PX / min(height, width)))))
        return patch.window(_flip(rng) @ _square(_centre_matrix(scale, width / 2, height / 2)))


def _by_value(frames: Sequence[StripFrame]) -> dict[int, list[StripFrame]]:
    by_value: dict[int, list[StripFrame]] = {}
    for frame in frames:
        for value in frame.values():
            by_value.setdefault(value, []).append(frame)
    return by_value


def _clean_strip(rng: np.random.Generator, frames: Sequence[StripFrame]) -> KnownTile:
    """Return a window on clean strip, more often of a frame without any defect."""
    without = [frame for frame in frames if frame.clean]
    frame = _pick(rng, without if without and rng.random() < 0.6 else frames)
    columns = frame.columns_of(0)
    column = int(rng.choice(columns)) if len(columns) else frame.gray.shape[1] // 2
    return frame.window(_aim(rng, frame.gray.shape, column, rng.uniform(0, frame.gray.shape[0])))


def _lay(rng: np.random.Generator, ground: KnownTile, patch: Patch) -> KnownTile:
    """Lay a patch on a tile at a random place and scale, border hard or soft, brightness its own or the tile's."""
    _height, width = patch.gray.shape
    side = int(rng.uniform(0.55, 0.95) * TILE_PX)
    gray = cv2.resize(patch.gray, (side, side), interpolation=cv2.INTER_AREA if side < width else cv2.INTER_LINEAR)
    mask = None if patch.mask is None else cv2.resize(patch.mask, (side, side), interpolation=cv2.INTER_NEAREST)
    across, along = rng.random() < 0.5, rng.random() < 0.5
    gray = gray[:: -1 if along else 1, :: -1 if across else 1]
    mask = None if mask is None else mask[:: -1 if along else 1, :: -1 if across else 1]
    x, y = (int(v) for v in rng.integers(0, TILE_PX - side + 1, 2))
    window = np.s_[y : y + side, x : x + side]
    under = ground.image[window].astype(np.float32)
    if under.mean() < _ON_STRIP_GRAY:
        return ground
    over = gray.astype(np.float32)
    if rng.random() < 0.5:
        over = over * (under.mean() / max(float(over.mean()), 1.0))
    alpha = np.ones((side, side), np.float32)
    if mask is not None and mask.any() and rng.random() < 0.5:
        alpha = cv2.dilate(mask, np.ones((9, 9), np.uint8)).astype(np.float32)
    soft = float(rng.choice([0.0, 2.0, 6.0]))
    if soft:
        alpha = np.pad(alpha[int(2 * soft) : -int(2 * soft), int(2 * soft) : -int(2 * soft)], int(2 * soft))
        alpha = cv2.GaussianBlur(alpha, (0, 0), soft).astype(np.float32, copy=False)
    image = ground.image.copy()
    image[window] = np.clip(alpha * over + (1 - alpha) * under, 0, 255).astype(np.uint8)
    covered = side * side > 0.3 * TILE_PX * TILE_PX and alpha.mean() > 0.5
    target, weight = _joined(ground, patch, covered)
    defect = None
    if ground.defect is not None and mask is not None:
        defect = ground.defect.copy()
        defect[window] = np.where(alpha > 0.5, mask, defect[window])
    return KnownTile(image, target, weight, defect, patch.specimen.data_set, patch.specimen.file)


def _joined(ground: KnownTile, patch: Patch, covered: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return target and weight of a patch on a tile; classes unknown in either, or maybe covered, are masked."""
    target = np.maximum(ground.target, patch.target)
    weight = np.minimum(ground.weight, patch.weight)
    weight[patch.target > 0] = 1
    still = (ground.target > 0) & (patch.target == 0)
    weight[still] = 0 if covered else 1
    return target, weight


def _pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def _warp(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], how: int) -> NDArray[np.uint8]:
    warped = cv2.warpAffine(pixels, matrix[:2], (TILE_PX, TILE_PX), flags=how, borderMode=cv2.BORDER_REFLECT_101)
    return warped.astype(np.uint8, copy=False)


def _square(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0, 0, 1]])


def _centre_matrix(scale: float, x: float, y: float) -> NDArray[np.float64]:
    """Return the matrix that brings (x, y) to the tile's centre at `scale`."""
    half = (TILE_PX - 1) / 2
    return np.array([[scale, 0, half - scale * x], [0, scale, half - scale * y]])


def _fill_matrix(shape: tuple[int, ...], zoom: float = 1.0) -> NDArray[np.float64]:
    """Return the matrix that stretches an image to the tile, as cv2.resize does, and then zooms about the middle."""
    height, width = shape[:2]
    sx, sy, half = zoom * TILE_PX / width, zoom * TILE_PX / height, (TILE_PX - 1) / 2
    return np.array([[sx, 0, half - sx * (width - 1) / 2], [0, sy, half - sy * (height - 1) / 2]])


def _flip(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random mirroring: defects look alike in all directions."""
    fx, fy = rng.choice([-1, 1], 2)
    last = TILE_PX - 1
    return np.array([[fx, 0, last if fx < 0 else 0], [0, fy, last if fy < 0 else 0], [0, 0, 1.0]])


def _aim(rng: np.random.Generator, shape: tuple[int, ...], x: float, y: float) -> NDArray[np.float64]:
    """Return the matrix of a randomly scaled, mirrored window about (x, y), inside the frame if it fits."""
    height, width = shape[:2]
    scale = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35)))) if rng.random() < 0.7 else 1.0
    half = TILE_PX / 2 / scale
    x = float(np.clip(x, half, width - half))
    y = float(np.clip(y, half, height - half)) if 2 * half < height else height / 2
    return _flip(rng) @ _square(_centre_matrix(scale, x - 0.5, y - 0.5))


def _relight(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change illumination and camera: gain, offset, gamma, a gradient across, blur and noise."""
    levels = np.arange(256, dtype=np.float32) / 255
    levels = levels ** np.exp(rng.uniform(-0.35, 0.35)) * np.exp(rng.uniform(-0.5, 0.45)) * 255 + rng.uniform(-12, 12)
    out = levels[image]
    if rng.random() < 0.5:
        out *= np.linspace(1 - (slope := rng.uniform(-0.3, 0.3)), 1 + slope, image.shape[1], dtype=np.float32)
    if rng.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.3:
        out += cv2.resize(rng.standard_normal((TILE_PX, TILE_PX), np.float32), image.shape[::-1]) * rng.uniform(1, 5)
    return np.clip(out, 0, 255).astype(np.uint8)


def load_frames(specimens: Sequence[Specimen], taxonomy: Taxonomy) -> list[StripFrame]:
    """Return the outlined strip frames of `specimens`."""
    return [
        StripFrame(one.data_set, one.file, one.gray(), one.mask(), one.mask_labels, taxonomy)
        for one in specimens
        if one.data_set == "severstal" and one.knowledge is Knowledge.OUTLINED
    ]


def rendered_frames(seeds: Sequence[int], taxonomy: Taxonomy) -> list[StripFrame]:
    """Return frames of rendered strip."""
    return [
        StripFrame("rendered", f"seed {seed}", gray, mask, CLASSES, taxonomy)
        for seed, gray, mask in rendered_strip(seeds)
    ]


def load_patches(specimens: Sequence[Specimen], taxonomy: Taxonomy, outlined: bool = False) -> list[Patch]:
    """Return the patches of `specimens`; only those with a mask if `outlined`."""
    return [
        Patch(one, taxonomy)
        for one in specimens
        if one.data_set != "severstal" and (one.knowledge is Knowledge.OUTLINED or not outlined) and one.labels
    ]
