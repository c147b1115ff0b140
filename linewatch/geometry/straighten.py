"""Pictures of strip as a camera without distortion would have taken them. For drawings: inspection maps positions."""

import cv2
import numpy as np

from linewatch.contracts.across import AcrossMap


def straightened(pixels: np.ndarray, columns: AcrossMap, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Return pixels (lines, width) with all columns equally wide; the same array where there is no distortion."""
    if not columns.distortion_px:
        return pixels
    straight = AcrossMap(columns.offset_mm, columns.mm_per_px, columns.width_px)
    middles = straight.mm(np.arange(columns.width_px) + 0.5)
    grid = np.broadcast_to((columns.column(middles) - 0.5).astype(np.float32), pixels.shape)
    lines = np.broadcast_to(np.arange(len(pixels), dtype=np.float32)[:, None], pixels.shape)
    return cv2.remap(pixels, grid, lines, interpolation, borderMode=cv2.BORDER_REPLICATE)
