"""Frames of real strip with their truth: held-out Severstal frames, and NEU patches laid on clean frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.verdict import StripBox
from linewatch.datasets import Knowledge, Specimen, read_set
from linewatch.datasets.splits import HELD_OUT_FOLD
from linewatch.metrics.tiles import steel_columns
from linewatch.simulation.truth import TrueDefect

PATCH_PX, PATCH_LINE, PATCH_COLUMNS = 192, 32, (16, 480, 928, 1392)
"""The places of patches in a frame: in every second tile of the grid, with clean strip between them."""
TOLERANCE_MM = 5.0
"""A found box this far beside the truth still matches it."""


@dataclass(frozen=True)
class RealFrame:
    """A frame of 256 lines. truth: uint8, 0 clean, else 1 + the index into the taxonomy's trained classes."""

    source: str
    gray: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def held_out_frames(data: Path, taxonomy: Taxonomy) -> list[RealFrame]:
    """Return fold 4 of Severstal by name, then fold 4 of NEU, four patches on each clean frame of fold 4."""
    strip = [one for one in read_set("severstal", data) if one.fold == HELD_OUT_FOLD]
    strip = sorted((one for one in strip if one.knowledge is Knowledge.OUTLINED), key=lambda one: one.file)
    patches = [one for one in read_set("neu", data) if one.fold == HELD_OUT_FOLD]
    frames = [RealFrame("severstal", one.gray(), true_classes(one, taxonomy)) for one in strip]
    hosts = [frame.gray for frame in frames if not frame.truth.any() and all_steel(frame.gray)]
    # Neighbours in the list have one class.
    order = np.random.default_rng(4).permutation(len(patches))
    per_frame = len(PATCH_COLUMNS)
    for number, first in enumerate(range(0, len(order) - per_frame + 1, per_frame)):
        chosen = [patches[int(i)] for i in order[first : first + per_frame]]
        frames.append(patched(hosts[number % len(hosts)], chosen, taxonomy, number))
    return frames


def all_steel(gray: NDArray[np.uint8]) -> bool:
    """Return whether the frame shows neither an end nor an edge of the strip."""
    return bool(steel_columns(gray).mean() > 0.95 and gray.mean(axis=1).min() > 20)


def patched(host: NDArray[np.uint8], patches: Sequence[Specimen], taxonomy: Taxonomy, number: int) -> RealFrame:
    """Return the clean frame `host`, mirrored by `number`, with four patches that do not touch each other."""
    gray = host[:: -1 if number % 2 else 1, :: -1 if number % 4 > 1 else 1].copy()
    truth = np.zeros_like(gray)
    for x, patch in zip(PATCH_COLUMNS, patches, strict=True):
        window = np.s_[PATCH_LINE : PATCH_LINE + PATCH_PX, x : x + PATCH_PX]
        size = (PATCH_PX, PATCH_PX)
        gray[window] = cv2.resize(patch.gray(), size, interpolation=cv2.INTER_AREA)
        truth[window] = cv2.resize(true_classes(patch, taxonomy), size, interpolation=cv2.INTER_NEAREST)
    return RealFrame("neu", gray, truth)


def true_classes(one: Specimen, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return the class of each pixel, as `RealFrame.truth`; a patch without outline or box is all its class."""

    def value(label: str) -> int:
        return 1 + taxonomy.trained_classes.index(taxonomy.house_class(one.data_set, label))

    if one.knowledge is Knowledge.LABELLED and not one.boxes:
        return np.full_like(one.gray(), value(one.labels[0]))
    truth = np.zeros_like(one.gray())
    if one.mask_path is not None:
        values = np.array([0, *(value(label) for label in one.mask_labels)], np.uint8)
        return values[one.mask()]
    for box in one.boxes:
        truth[box.y0 : box.y1, box.x0 : box.x1] = value(box.label)
    return truth


def instances(frames: Sequence[RealFrame], line: LineSettings, taxonomy: Taxonomy) -> Iterator[TrueDefect]:
    """Yield the connected pieces of each class in each frame, in strip millimetres."""
    number = 0
    for index, frame in enumerate(frames):
        for value in np.unique(frame.truth[frame.truth > 0]).tolist():
            count, _, boxes, _ = cv2.connectedComponentsWithStats((frame.truth == value).astype(np.uint8))
            for x, y, width, lines, area in boxes[1:count].tolist():
                along = (index * line.frame_lines + y) * line.mm_per_line
                yield TrueDefect(
                    id=number,
                    defect_class=taxonomy.trained_classes[value - 1],
                    box=StripBox(
                        (x * line.mm_per_px, (x + width) * line.mm_per_px), (along, along + lines * line.mm_per_line)
                    ),
                    area_mm2=area * line.mm_per_px * line.mm_per_line,
                )
                number += 1
