"""A recorded coil of real strip that nothing shipped was trained on: fold 4, with its truth.

Pixels are read from the data folder and written to the recording only; they are never committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.capture.recorder import Recorder
from linewatch.capture.sidecar import sidecar_path
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Grab
from linewatch.contracts.verdict import StripBox
from linewatch.simulation.truth import CoilTruth, TrueDefect
from linewatch.training.datasets import Knowledge, Specimen, read_set

HELD_OUT_FOLD = 4
COIL = "REAL-4"
PATCH_PX = 256
"""NEU's 200 px patches are enlarged to a tile, as they were for the figures in the engine cards."""
PATCH_STARTS = (0, 448, 896, 1344)
"""Every other tile of a 1600 px frame: clean strip lies between the patches."""
LEAST_PX = 64
"""Smaller pieces of a Severstal outline are no instances of their own, as in the engine cards."""
LINE = LineSettings(width_px=1600, frame_lines=256, mm_per_px=1.0, mm_per_line=1.0)
"""No set tells its scale: one millimetre a pixel is nominal, as in the manifests."""


class Stretch(StrEnum):
    """What a frame of the coil is made of."""

    CLEAN = "severstal clean"
    DEFECTIVE = "severstal defective"
    PATCHES = "neu patches"
    SPACER = "clean spacer"  # between frames of patches, so that they stay instances of their own


@dataclass(frozen=True)
class RealFrame:
    """A frame of the coil: uint8 (256, 1600), and its defects with their boxes in frame pixels (x0, y0, x1, y1)."""

    stretch: Stretch
    gray: NDArray[np.uint8]
    defects: tuple[tuple[str, tuple[float, float, float, float], float], ...] = ()


@dataclass(frozen=True)
class RealCoil:
    """What was recorded: the truth in strip millimetres, and what each frame of `LINE.frame_lines` lines is made of."""

    truth: CoilTruth
    stretches: tuple[Stretch, ...]


def record_real_coil(data: Path, video: Path, truth: Path, taxonomy: Taxonomy) -> RealCoil:
    """Write the held-out coil as a lossless recording with sidecar, and its truth. The same data, the same bytes.

    Files of these names are replaced. Raises DatasetError, SourceError.
    """
    video.parent.mkdir(parents=True, exist_ok=True)
    for old in (video, sidecar_path(video)):
        old.unlink(missing_ok=True)
    stretches: list[Stretch] = []
    defects: list[TrueDefect] = []
    with Recorder(video, LINE, max_mb=4096.0) as recorder:
        for ordinal, frame in enumerate(_frames(data, taxonomy)):
            first_line = ordinal * LINE.frame_lines
            recorder.write(_grab(frame.gray, ordinal))
            stretches.append(frame.stretch)
            for name, (x0, y0, x1, y1), area_px in frame.defects:
                box = StripBox((x0, x1), (first_line + y0, first_line + y1))
                defects.append(TrueDefect(id=len(defects), defect_class=name, box=box, area_mm2=area_px))
    lines = len(stretches) * LINE.frame_lines
    coil_truth = CoilTruth(
        coil=COIL,
        seed=0,
        lines=lines,
        length_mm=lines * LINE.mm_per_line,
        mm_per_px=LINE.mm_per_px,
        mm_per_line=LINE.mm_per_line,
        defects=tuple(defects),
        pseudo_defects=(),
    )
    coil_truth.write(truth)
    return RealCoil(coil_truth, tuple(stretches))


def _frames(data: Path, taxonomy: Taxonomy) -> Iterator[RealFrame]:
    held_out = [
        one for one in read_set("severstal", data) if one.fold == HELD_OUT_FOLD and one.knowledge is Knowledge.OUTLINED
    ]
    clean = [one.gray() for one in held_out if not one.mask().any()]
    for gray in clean:
        yield RealFrame(Stretch.CLEAN, gray)
    for one in held_out:
        if one.mask().any():
            yield RealFrame(Stretch.DEFECTIVE, one.gray(), tuple(_outlined(one, taxonomy)))
    # Spacers and backgrounds must be full width: strip that ends within the frame would put patches beside it.
    full = [gray for gray in clean if np.median(gray, axis=0).min() > 20] or clean
    background = cycle(full)
    patches = [one for one in read_set("neu", data) if one.fold == HELD_OUT_FOLD]
    for first in range(0, len(patches), len(PATCH_STARTS)):
        yield RealFrame(Stretch.SPACER, next(background))
        yield _sheet(patches[first : first + len(PATCH_STARTS)], next(background), taxonomy)


def _outlined(one: Specimen, taxonomy: Taxonomy) -> Iterator[tuple[str, tuple[float, float, float, float], float]]:
    mask = one.mask()
    for value, label in enumerate(one.mask_labels, start=1):
        _, _, parts, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        for x, y, width, height, area in parts[1:].tolist():
            if area >= LEAST_PX:
                yield taxonomy.house_class(one.data_set, label), (x, y, x + width, y + height), area


def _sheet(patches: list[Specimen], background: NDArray[np.uint8], taxonomy: Taxonomy) -> RealFrame:
    gray, defects = background.copy(), []
    for one, start in zip(patches, PATCH_STARTS, strict=False):
        patch = one.gray()
        scale = PATCH_PX / patch.shape[0]
        gray[:, start : start + PATCH_PX] = cv2.resize(patch, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_LINEAR)
        boxes = [(box.label, (box.x0, box.y0, box.x1, box.y1)) for box in one.boxes]
        for label, box in boxes or [(one.labels[0], (0, 0, patch.shape[1], patch.shape[0]))]:
            x0, y0, x1, y1 = (scale * edge for edge in box)
            name = taxonomy.house_class(one.data_set, label)
            defects.append((name, (start + x0, y0, start + x1, y1), (x1 - x0) * (y1 - y0)))
    return RealFrame(Stretch.PATCHES, gray, tuple(defects))


def _grab(gray: NDArray[np.uint8], ordinal: int) -> Grab:
    first_line = ordinal * LINE.frame_lines
    return Grab(
        image=gray,
        coil=COIL,
        sequence=ordinal,
        first_line=first_line,
        lines=LINE.frame_lines,
        encoder_count=first_line,
        along_mm=first_line * LINE.mm_per_line,
        mm_per_line=LINE.mm_per_line,
        captured_ns=round((first_line + LINE.frame_lines) / LINE.line_rate_hz * 1e9),
    )
