"""Training frames of the screen: knowledge maps, augmentation, and the targets made from them.

Strip frames, class-only frames, patches of other sets and rendered strip are labelled in different detail. A knowledge
map says for each pixel what is known, and is augmented with the image, so that one network can learn from all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.datasets import Knowledge, Specimen
from linewatch.metrics.tiles import TILE_PX
from linewatch.training.samples.blending import Blender
from linewatch.training.samples.rendered import rendered_strip

CLEAN, DEFECT, UNSURE, AREA = 0, 1, 2, 3
"""Values of a knowledge map, per pixel. AREA + k: in the k-th area, which holds a defect somewhere."""

FRAME = (256, 1600)


@dataclass(frozen=True)
class KnownImage:
    """An image, uint8 (lines, width), and its knowledge map, uint8 of that shape: CLEAN, DEFECT, UNSURE or AREA + k."""

    gray: NDArray[np.uint8]
    known: NDArray[np.uint8]


def known_image(specimen: Specimen) -> KnownImage:
    """Return a specimen with its knowledge map; pixels inside a box but outside an outline are UNSURE."""
    gray = specimen.gray()
    known = np.zeros_like(gray)
    if specimen.knowledge is Knowledge.CLASS_ONLY or (specimen.knowledge is Knowledge.LABELLED and not specimen.boxes):
        known[:] = AREA
    for box in specimen.boxes:
        known[box.y0 : box.y1, box.x0 : box.x1] = UNSURE if specimen.mask_path else DEFECT
    if specimen.mask_path:
        known[specimen.mask() > 0] = DEFECT
    return KnownImage(gray, known)


def jitter(frame: KnownImage, zoom: float, light: float, rng: np.random.Generator) -> KnownImage:
    """Augment a frame: flips, a little scale and shift, another exposure, gradient and noise."""
    image: NDArray[Any] = frame.gray
    mask: NDArray[Any] = frame.known
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if rng.random() < 0.5:
        image, mask = image[::-1], mask[::-1]
    height, width = image.shape
    if zoom:
        sx, sy = np.exp(rng.uniform(-zoom, zoom, 2))
        tx, ty = rng.uniform(-0.06, 0.06) * width, rng.uniform(-0.3, 0.3) * height
        warp = np.array([[sx, 0, (1 - sx) * width / 2 + tx], [0, sy, (1 - sy) * height / 2 + ty]], np.float32)
        image = cv2.warpAffine(np.ascontiguousarray(image), warp, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        mask = cv2.warpAffine(
            np.ascontiguousarray(mask),
            warp,
            (width, height),
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    gamma, gain, slope = np.exp(rng.uniform((-0.6 * light, -light, -0.6 * light), (0.6 * light, light, 0.6 * light)))
    exposed = ((np.arange(256, dtype=np.float32) / 255) ** gamma * gain * 255).astype(np.float32)[image]
    exposed *= slope ** np.linspace(-1, 1, width, dtype=np.float32)
    if rng.random() < 0.3:
        exposed = cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.4, 1.2))
    exposed += rng.uniform(0, 5) * rng.standard_normal(image.shape, np.float32)
    return KnownImage(cv2.convertScaleAbs(exposed.clip(0, None)), np.ascontiguousarray(mask))


def rendered(seeds: Sequence[int]) -> list[KnownImage]:
    """Return frames of rendered strip, in which every pixel is known."""
    return [KnownImage(gray, (mask > 0).astype(np.uint8)) for _, gray, mask in rendered_strip(seeds)]


def strip_end(frame: KnownImage, rng: np.random.Generator) -> KnownImage:
    """Make the strip end in the frame: beyond a slanting line there is only darkness, which is no defect."""
    gray, known = frame.gray.copy(), frame.known.copy()
    lines, width = gray.shape
    end = rng.uniform(0.5, 0.95) * lines + rng.uniform(-0.15, 0.15) * lines * np.linspace(-1, 1, width)
    beyond = np.arange(lines)[:, None] >= end
    gray[beyond] = rng.integers(0, 8, int(beyond.sum()))
    known[beyond] = CLEAN
    return KnownImage(gray, known)


def tread_plate(frame: KnownImage, rng: np.random.Generator) -> KnownImage:
    """Give the strip a raised pattern all over, like tread plate, which is no defect."""
    lines, width = frame.gray.shape
    pitch_x, pitch_y = rng.uniform(60, 220, 2)
    long, wide = rng.uniform(0.3, 1.1) * min(pitch_x, pitch_y), rng.uniform(4, 14)
    lean = rng.uniform(0.2, 1.3)
    canvas = np.zeros((lines + 400, width + 400), np.float32)
    for row, y in enumerate(np.arange(0, lines + 400, pitch_y / 2)):
        angle = lean if row % 2 else -lean
        along = np.array([np.cos(angle), np.sin(angle)]) * long / 2
        for x in np.arange((row % 2) * pitch_x / 2, width + 400, pitch_x):
            ends = [tuple(int(v) for v in np.array([x, y]) + side * along) for side in (-1, 1)]
            cv2.line(canvas, ends[0], ends[1], 1.0, int(wide))
    top, left = rng.integers(0, 200, 2)
    bar = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(1.5, 4))[top : top + lines, left : left + width]
    lit = cv2.Sobel(bar, cv2.CV_32F, 1, 0) + cv2.Sobel(bar, cv2.CV_32F, 0, 1)
    relief = rng.uniform(0.3, 1.0) * lit / max(float(np.abs(lit).max()), 1e-3) + rng.uniform(-0.3, 0.3) * bar
    gray = (frame.gray * (1 + relief)).clip(0, 255).astype(np.uint8)
    return KnownImage(gray, np.where(frame.known == CLEAN, CLEAN, UNSURE).astype(np.uint8))


@dataclass(frozen=True)
class Shares:
    """The share of each kind of training frame, and the limits of the augmentation.

    The rest are outlined strip frames, `blended` of them with additional defects. Scale varies by exp(+-zoom), exposure
    by exp(+-light).
    """

    areas: float = 0.1
    patches: float = 0.1
    rendered: float = 0.1
    blended: float = 0.3
    ended: float = 0.05
    patterned: float = 0.04
    zoom: float = 0.15
    light: float = 0.5


@dataclass(frozen=True)
class FrameMaker:
    """Makes random training frames (256 x 1600) from outlined, class-only and rendered frames, patches and blends."""

    shares: Shares
    strip: Sequence[KnownImage]
    areas: Sequence[KnownImage] = ()
    patches: Sequence[KnownImage] = ()
    rendered: Sequence[KnownImage] = ()
    blender: Blender | None = None

    def make(self, rng: np.random.Generator) -> KnownImage:
        """Return one frame; the same generator state gives the same frame."""
        shares, draw = self.shares, rng.random()
        if self.areas and draw < shares.areas:
            return jitter(self.areas[int(rng.integers(len(self.areas)))], shares.zoom, shares.light, rng)
        if self.rendered and draw < shares.areas + shares.rendered:
            return jitter(self.rendered[int(rng.integers(len(self.rendered)))], shares.zoom, shares.light, rng)
        frame = self.strip[int(rng.integers(len(self.strip)))]
        if self.patches and draw > 1 - shares.patches:
            frame = self._patched(frame, rng)
        elif self.blender and rng.random() < shares.blended:
            frame = KnownImage(*self.blender(frame.gray, frame.known, rng))
        odd = rng.random()
        if odd < shares.ended:
            frame = strip_end(frame, rng)
        elif odd < shares.ended + shares.patterned:
            frame = tread_plate(frame, rng)
        return jitter(frame, shares.zoom, shares.light, rng)

    def _patched(self, host: KnownImage, rng: np.random.Generator) -> KnownImage:
        """Return a strip frame with patches of the defect sets side by side, so that size and border hide the set."""
        gray, known = host.gray.copy(), host.known.copy()
        areas = 0
        for slot in range(int(rng.integers(0, 128)), FRAME[1] - TILE_PX + 1, TILE_PX):
            if rng.random() < 0.25:
                continue
            patch = self.patches[int(rng.integers(len(self.patches)))]
            side = int(rng.integers(180, TILE_PX + 1))
            image = cv2.resize(patch.gray, (side, side), interpolation=cv2.INTER_LINEAR)
            map_of_patch = cv2.resize(patch.known, (side, side), interpolation=cv2.INTER_NEAREST)
            if (map_of_patch == AREA).any():
                map_of_patch = map_of_patch + np.uint8(areas)
                areas += 1
            y, x = (int(at) for at in rng.integers(0, TILE_PX - side + 1, 2) + np.array([0, slot]))
            window = np.s_[y : y + side, x : x + side]
            level = max(gray[window].mean(), 20) * np.exp(rng.uniform(-0.3, 0.6))
            gray[window], known[window] = cv2.convertScaleAbs(image, alpha=level / max(image.mean(), 1)), map_of_patch
        return KnownImage(gray, known)


def cell_targets(
    known: NDArray[np.uint8], cell_px: int, touched: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the targets and areas of a knowledge map's cells, both float32 (rows, columns).

    A target is 1 where at least the share `touched` of the cell is defect, 0 where all of it is clean, and -1 (unsure)
    between, since outlines are rough. An area is k > 0 where the cell lies in the k-th area, else 0.
    """
    rows, columns = known.shape[0] // cell_px, known.shape[1] // cell_px
    cells = known.reshape(rows, cell_px, columns, cell_px)
    share = (cells == DEFECT).mean((1, 3))
    target = np.where(share >= touched, 1.0, np.where((cells != CLEAN).any((1, 3)), -1.0, 0.0))
    centre = cells[:, cell_px // 2, :, cell_px // 2].astype(np.float32)
    return target.astype(np.float32), (centre - (AREA - 1)).clip(0)


def tile_targets(known: NDArray[np.uint8], step_px: int) -> NDArray[np.float32]:
    """Return for each window of a tile's width, `step_px` apart: 1 with a defect pixel, -1 if unsure, else 0."""
    column = np.where((known == DEFECT).any(0), 2, np.where((known >= UNSURE).any(0), 1, 0))
    highest = [column[x : x + TILE_PX].max() for x in range(0, known.shape[1] - TILE_PX + 1, step_px)]
    return np.array([0.0, -1.0, 1.0], np.float32)[highest]


def patch_sheets(patches: Sequence[KnownImage]) -> list[KnownImage]:
    """Return frames of six patches each, enlarged to 256 px; the rest of a frame is mirrored and UNSURE."""
    sheets = []
    for start in range(0, len(patches), 6):
        row = [patches[min(i, len(patches) - 1)] for i in range(start, start + 6)]
        gray = [cv2.resize(one.gray, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR) for one in row]
        maps = [cv2.resize(one.known, (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST) for one in row]
        rest = FRAME[1] - 6 * TILE_PX
        unsure = np.full((FRAME[0], rest), UNSURE, np.uint8)
        sheets.append(KnownImage(np.hstack([*gray, gray[-1][:, : -rest - 1 : -1]]), np.hstack([*maps, unsure])))
    return sheets
