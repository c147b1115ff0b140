"""Image sheets: images with their true and called labels, and feature maps over an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from linewatch.metrics.plots.drawing import BLUE, VERMILION, NothingToDraw, drawing, panels

WIDE = 2.5
"""Images at least this much wider than high (frames) are shown two to a row, others five."""


@dataclass(frozen=True)
class CalledImage:
    """An image, uint8 (h, w), its true label, and the label a network called, with its probability if known."""

    gray: NDArray[np.uint8]
    true: str
    called: str
    probability: float | None = None


def gallery(images: Sequence[CalledImage], out: Path) -> None:
    """Draw all `images` with their true and called labels; wrong calls are framed and named in vermilion."""
    if not images:
        raise NothingToDraw("no image to show")
    high, wide = (max(image.gray.shape[axis] for image in images) for axis in (0, 1))
    columns, width, height = _cells(len(images), wide / high)
    with drawing(out, width, round(height + 52 * -(-len(images) // columns))) as sheet:
        for axes, image in zip(panels(sheet, len(images), columns), images, strict=True):
            axes.imshow(image.gray, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            colour = BLUE if image.true == image.called else VERMILION
            for spine in axes.spines.values():
                spine.set(visible=True, color=colour, linewidth=3)
            sure = "" if image.probability is None else f" {image.probability:.0%}"
            axes.set_title(f"{image.true}\n→ {image.called}{sure}", fontsize=10, color=colour)


@dataclass(frozen=True)
class FeatureMaps:
    """The output of one stage of a network for an image: float (channels, h, w) of any size."""

    name: str
    maps: NDArray[np.floating]


def feature_maps(gray: NDArray[np.uint8], stages: Sequence[FeatureMaps], out: Path) -> None:
    """Draw the image, uint8 (h, w), and for each stage a row of its strongest channels (Konovalenko et al., sec. 5).

    The strongest channels vary most over the image: a channel that is high everywhere shows nothing.
    """
    if not stages:
        raise NothingToDraw("no stage of the network to show")
    columns, width, _ = _cells(100, gray.shape[1] / gray.shape[0])
    cell_height = width / columns * gray.shape[0] / gray.shape[1]
    with drawing(out, width, round((cell_height + 26) * (len(stages) + 1))) as sheet:
        grid = sheet.subplots(len(stages) + 1, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        grid[0, 0].imshow(gray, cmap="gray", vmin=0, vmax=255)
        grid[0, 0].set_title("image", fontsize=10)
        for row, stage in zip(grid[1:], stages, strict=True):
            channels, high, wide = stage.maps.shape
            strongest = np.argsort(-stage.maps.std((1, 2)), kind="stable")[:columns]
            for at, (axes, channel) in enumerate(zip(row, strongest, strict=False)):
                axes.imshow(heat(gray, stage.maps[channel]))
                name = f"{stage.name} ({channels}×{high}×{wide}): " if at == 0 else ""
                axes.set_title(f"{name}channel {channel}", fontsize=9)


def heat(gray: NDArray[np.uint8], activation: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return RGB uint8 (h, w, 3): the image under an activation map of any size, enlarged to the image.

    The map's 1st percentile is transparent, its 99th glows. A flat map leaves the image as it is.
    """
    low, high = np.percentile(activation, (1, 99))
    scaled = ((activation - low) / max(float(high - low), 1e-12)).clip(0, 1).astype(np.float32)
    if high - low <= 1e-12:
        scaled[:] = 0
    large = cv2.resize(scaled, gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
    glow = mpl.colormaps["inferno"](large)[..., :3] * 255
    opaque = 0.75 * np.sqrt(large)[..., None]
    return np.rint(gray[..., None] * (1 - opaque) + glow * opaque).astype(np.uint8)


def _cells(count: int, aspect: float) -> tuple[int, int, int]:
    """Return the number of columns, and the width and height of the sheet in px."""
    columns = min(count, 2 if aspect > WIDE else 5)
    width = 1200 if aspect > WIDE else max(800, 220 * columns)
    return columns, width, round(width / columns / aspect * -(-count // columns))
