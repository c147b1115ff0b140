"""What a camera with a known lens sees: targets, strip with marks, and strip that two cameras share."""

from collections.abc import Callable

import cv2
import numpy as np

from linewatch.contracts.across import AcrossMap

SUB = 32  # samples of a pixel

LENS_2_PERCENT = AcrossMap(-400.0, 0.5, 1600, (0.0, -41.5))
"""It moves columns by up to 16 px, 2 % of the half view."""


def seen(columns: AcrossMap, bright: Callable[[np.ndarray], np.ndarray], blur_px: float = 0.7) -> np.ndarray:
    """The profile of what lies across, float64 (width,): `bright(mm)`, blurred by the lens, summed over pixels."""
    edge = 8
    at = np.arange(-edge * SUB, (columns.width_px + edge) * SUB) / SUB + 0.5 / SUB
    fine = cv2.GaussianBlur(bright(columns.mm(at))[None].astype(np.float64), (0, 0), max(blur_px, 0.01) * SUB)[0]
    return fine.reshape(-1, SUB).mean(axis=1)[edge:-edge]


def target(pitch_mm: float, index_mm: float = 0.0, dark: float = 40.0, light: float = 200.0, gain_mm: float = 0.0):
    """The brightness of a target: bars of half a pitch, dark ones wider by `gain_mm`, and the index."""

    def bright(mm: np.ndarray) -> np.ndarray:
        half = pitch_mm / 2.0
        place = (mm - index_mm) / half  # the index lies between -1.5 and 1.5
        near = np.abs(place % 2.0 - 1.0)  # 0 in the middle of a dark bar, 1 in that of a light one
        is_dark = (near < 0.5 + gain_mm / pitch_mm) | (np.abs(place) < 1.5 + gain_mm / pitch_mm)
        return np.where(is_dark, dark, light)

    return bright


def frames(profile: np.ndarray, count: int, lines: int = 64, noise: float = 3.0, seed: int = 1) -> np.ndarray:
    """Pictures of a profile: uint8 (count, lines, width), with noise."""
    rng = np.random.default_rng(seed)
    return np.rint(profile + rng.normal(0, noise, (count, lines, len(profile)))).clip(0, 255).astype(np.uint8)
