"""Frames for the screen: what is known of every pixel, random looks at it, and the targets that follow.

Strip frames, class-only frames, patches of other sets and rendered strip tell different amounts; a map of what is
known, made with the picture and moved with it, lets all of them teach the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.config.line import LineSettings
from linewatch.datasets import Knowledge, Specimen
from linewatch.metrics.pass_rate import TILE_PX
from linewatch.simulation.strip import SimulatedStrip
from linewatch.training.samples.blending import Blender

CLEAN, DEFECT, UNSURE, AREA = 0, 1, 2, 3
"""Values of a map of what is known, per pixel. AREA + k: in the k-th area, which holds a defect somewhere."""

FRAME = (256, 1600)


@dataclass(frozen=True)
class Known:
    """A picture, uint8 (lines, width), and what is known of each of its pixels, uint8 of the same shape: CLEAN, DEFECT,
    UNSURE or AREA.
    """

    gray: NDArray[np.uint8]
    known: NDArray[np.uint8]


def known_picture(specimen: Specimen) -> Known:
    """What a specimen tells of its pixels. A box tells less than an outline: beside the outline, inside a box, nothing
    is sure.
    """
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
    image: NDArray[Any] = picture.gray
    mask: NDArray[Any] = picture.known
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
    return Known(cv2.convertScaleAbs(exposed.clip(0, None)), np.ascontiguousarray(mask))


def rendered(seeds: Sequence[int], frames_each: int = 4) -> list[Known]:
    """Frames of rendered strip: every other strip crowded with defects, the rest nearly without."""
    line = LineSettings()
    found = []
    for seed in seeds:
        lines = frames_each * FRAME[0]
        strip = SimulatedStrip(seed, lines * line.mm_per_line / 1000, 8.0 if seed % 2 else 0.5, line)
        for first in range(0, lines, FRAME[0]):
            found.append(Known(strip.lines(first, FRAME[0]), (strip.mask(first, FRAME[0]) > 0).astype(np.uint8)))
    return found


def strip_end(picture: Known, rng: np.random.Generator) -> Known:
    """The same strip where it ends: beyond a slanting line across the frame there is only the dark; no defect."""
    gray, known = picture.gray.copy(), picture.known.copy()
    lines, width = gray.shape
    end = rng.uniform(0.5, 0.95) * lines + rng.uniform(-0.15, 0.15) * lines * np.linspace(-1, 1, width)
    beyond = np.arange(lines)[:, None] >= end
    gray[beyond] = rng.integers(0, 8, int(beyond.sum()))
    known[beyond] = CLEAN
    return Known(gray, known)


def tread_plate(picture: Known, rng: np.random.Generator) -> Known:
    """The same strip with a raised pattern all over it, as tread plate has: what is everywhere is no defect."""
    lines, width = picture.gray.shape
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
    gray = (picture.gray * (1 + relief)).clip(0, 255).astype(np.uint8)
    return Known(gray, np.where(picture.known == CLEAN, CLEAN, UNSURE).astype(np.uint8))


@dataclass(frozen=True)
class Shares:
    """How often each kind of training frame comes (what is left are outlined strip frames, `blended` of them with more
    defects), and how far the random looks go: scale by exp(+-zoom), exposure by exp(+-light).
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
    """Makes training frames (256 x 1600) at random from what there is: outlined strip, frames and patches of known
    area, blends.
    """

    shares: Shares
    strip: Sequence[Known]
    areas: Sequence[Known] = ()
    patches: Sequence[Known] = ()
    rendered: Sequence[Known] = ()
    blender: Blender | None = None

    def make(self, rng: np.random.Generator) -> Known:
        """One frame; the same generator state gives the same frame."""
        shares, draw = self.shares, rng.random()
        if self.areas and draw < shares.areas:
            return jitter(self.areas[int(rng.integers(len(self.areas)))], shares.zoom, shares.light, rng)
        if self.rendered and draw < shares.areas + shares.rendered:
            return jitter(self.rendered[int(rng.integers(len(self.rendered)))], shares.zoom, shares.light, rng)
        picture = self.strip[int(rng.integers(len(self.strip)))]
        if self.patches and draw > 1 - shares.patches:
            picture = self._patched(picture, rng)
        elif self.blender and rng.random() < shares.blended:
            picture = Known(*self.blender(picture.gray, picture.known, rng))
        odd = rng.random()
        if odd < shares.ended:
            picture = strip_end(picture, rng)
        elif odd < shares.ended + shares.patterned:
            picture = tread_plate(picture, rng)
        return jitter(picture, shares.zoom, shares.light, rng)

    def _patched(self, host: Known, rng: np.random.Generator) -> Known:
        """Patches of the defect sets side by side over a strip frame, so that no set betrays itself by its size or
        border.
        """
        gray, known = host.gray.copy(), host.known.copy()
        areas = 0
        for slot in range(int(rng.integers(0, 128)), FRAME[1] - TILE_PX + 1, TILE_PX):
            if rng.random() < 0.25:
                continue
            patch = self.patches[int(rng.integers(len(self.patches)))]
            side = int(rng.integers(180, TILE_PX + 1))
            picture = cv2.resize(patch.gray, (side, side), interpolation=cv2.INTER_LINEAR)
            told = cv2.resize(patch.known, (side, side), interpolation=cv2.INTER_NEAREST)
            if (told == AREA).any():
                told = told + np.uint8(areas)
                areas += 1
            y, x = (int(at) for at in rng.integers(0, TILE_PX - side + 1, 2) + np.array([0, slot]))
            window = np.s_[y : y + side, x : x + side]
            level = max(gray[window].mean(), 20) * np.exp(rng.uniform(-0.3, 0.6))
            gray[window], known[window] = cv2.convertScaleAbs(picture, alpha=level / max(picture.mean(), 1)), told
        return Known(gray, known)


def cell_targets(
    known: NDArray[np.uint8], cell_px: int, touched: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a map of the known says of its cells: targets and areas, both float32 (rows, columns).

    A target is 1 where at least the share `touched` of the cell is defect, 0 where all of it is clean, -1 (unsure)
    between: drawn outlines are rough. An area is k > 0 where the cell lies in the k-th area, else 0.
    """
    rows, columns = known.shape[0] // cell_px, known.shape[1] // cell_px
    cells = known.reshape(rows, cell_px, columns, cell_px)
    share = (cells == DEFECT).mean((1, 3))
    target = np.where(share >= touched, 1.0, np.where((cells != CLEAN).any((1, 3)), -1.0, 0.0))
    centre = cells[:, cell_px // 2, :, cell_px // 2].astype(np.float32)
    return target.astype(np.float32), (centre - (AREA - 1)).clip(0)


def tile_targets(known: NDArray[np.uint8], step_px: int) -> NDArray[np.float32]:
    """For each window as wide as a tile, `step_px` apart: 1 if it holds a defect pixel, -1 if that is unsure, or 0."""
    column = np.where((known == DEFECT).any(0), 2, np.where((known >= UNSURE).any(0), 1, 0))
    highest = [column[x : x + TILE_PX].max() for x in range(0, known.shape[1] - TILE_PX + 1, step_px)]
    return np.array([0.0, -1.0, 1.0], np.float32)[highest]


def patch_sheets(patches: Sequence[Known]) -> list[Known]:
    """Patches enlarged to 256 px, six beside each other in a frame, the rest of it mirrored and unsure."""
    sheets = []
    for start in range(0, len(patches), 6):
        row = [patches[min(i, len(patches) - 1)] for i in range(start, start + 6)]
        gray = [cv2.resize(one.gray, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR) for one in row]
        told = [cv2.resize(one.known, (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST) for one in row]
        rest = FRAME[1] - 6 * TILE_PX
        unsure = np.full((FRAME[0], rest), UNSURE, np.uint8)
        sheets.append(Known(np.hstack([*gray, gray[-1][:, : -rest - 1 : -1]]), np.hstack([*told, unsure])))
    return sheets
