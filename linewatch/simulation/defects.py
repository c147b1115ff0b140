"""Draws the defects of rolled strip, one function per class, after the NEU, X-SDD and Severstal sets.

Names are the house classes of `configs/taxonomy.toml`. Sizes are in camera pixels, since the sets do not give their
scale and a network sees only pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np


@dataclass(frozen=True, slots=True)
class Stamp:
    """A drawn defect, which changes the light of the steel under it to steel * gain + light.

    gain, light: float32 (lines, width). mask: uint8 0/1, the defect's own pixels.
    """

    gain: np.ndarray
    light: np.ndarray
    mask: np.ndarray


Draw = Callable[[np.random.Generator], Stamp]


def _smooth(rng: np.random.Generator, lines: int, width: int, sigma_along: float, sigma_across: float) -> np.ndarray:
    """Return smooth noise of unit deviation."""
    noise = cv2.GaussianBlur(
        rng.standard_normal((lines, width), dtype=np.float32), (0, 0), sigmaX=sigma_across, sigmaY=sigma_along
    )
    return noise / max(1e-6, float(noise.std()))


def _dome(lines: int, width: int) -> np.ndarray:
    """Return a dome: 1 in the middle, 0 on the ellipse that touches the sides, negative beyond."""
    y = np.linspace(-1, 1, lines, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return 1 - np.hypot(x, y)


def _taper(lines: int, width: int, sharpness: float = 8.0) -> np.ndarray:
    """Return an envelope that is 1 inside and falls to 0 at the border of an ellipse."""
    return np.clip(_dome(lines, width) * sharpness, 0, 1)


def _ragged(rng: np.random.Generator, lines: int, width: int, roughness: float) -> np.ndarray:
    """Return the form of an island: positive inside an outline ragged at two scales, negative at the border."""
    dome = _dome(lines, width)
    coarse = _smooth(rng, lines, width, max(3, lines / 9), max(3, width / 7))
    fine = _smooth(rng, lines, width, 2.5, 1.8)
    return dome - 0.28 + roughness * (coarse + 0.3 * fine) * np.clip(3 * dome, 0, 1)


def _closed(mask: np.ndarray, reach_px: int) -> np.ndarray:
    """Return one outline around parts within `reach_px` of each other, as an inspector would outline a cluster."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_px + 1, 2 * reach_px + 1))
    framed = cv2.copyMakeBorder(mask, reach_px, reach_px, reach_px, reach_px, cv2.BORDER_CONSTANT, value=0)
    whole = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, kernel)[reach_px:-reach_px, reach_px:-reach_px]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
    if count <= 2:
        return whole
    return (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)


def _some(mask: np.ndarray) -> np.ndarray:
    """Return the mask, or where chance left it empty, a dot in the middle, so that every drawing shows something."""
    if not mask.any():
        mask[mask.shape[0] // 2 - 2 : mask.shape[0] // 2 + 2, mask.shape[1] // 2 - 2 : mask.shape[1] // 2 + 2] = 1
    return mask


def _stamp(gain: np.ndarray, light: np.ndarray, mask: np.ndarray) -> Stamp:
    """Return a stamp cut to the mask with a rim, so that the box of its mask is the defect's box."""
    mask = _some(mask)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    rim = 6
    window = (
        slice(max(0, int(rows[0]) - rim), int(rows[-1]) + 1 + rim),
        slice(max(0, int(columns[0]) - rim), int(columns[-1]) + 1 + rim),
    )
    return Stamp(
        np.ascontiguousarray(gain[window], np.float32),
        np.ascontiguousarray(light[window], np.float32),
        np.ascontiguousarray(mask[window], np.uint8),
    )


def _turned(stamp: Stamp, degrees: float) -> Stamp:
    """Return the stamp rotated about its centre."""
    lines, width = stamp.mask.shape
    turn = cv2.getRotationMatrix2D((width / 2, lines / 2), degrees, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    size = (int(lines * sin + width * cos) + 2, int(lines * cos + width * sin) + 2)
    turn[:, 2] += np.array(size) / 2 - (width / 2, lines / 2)
    return _stamp(
        cv2.warpAffine(stamp.gain, turn, size, borderValue=1.0),
        cv2.warpAffine(stamp.light, turn, size, borderValue=0.0),
        (cv2.warpAffine(stamp.mask * 255, turn, size) > 110).astype(np.uint8),
    )


def scratch(rng: np.random.Generator) -> Stamp:
    """Draw a bright score, a dark groove or a band of abrasion, mostly along the strip; one in five exceeds a frame."""
    lines = int(rng.uniform(300, 800) if rng.random() < 0.2 else rng.uniform(50, 240))
    kind = rng.choice(["score", "groove", "abrasion"], p=[0.5, 0.25, 0.25])
    width = int({"score": rng.uniform(2, 6), "groove": rng.uniform(5, 12), "abrasion": rng.uniform(10, 26)}[kind])
    shape = (lines, width + 24)
    middle = shape[1] / 2 - 0.5 + 0.6 * _smooth(rng, lines, 1, 25, 1)
    across = np.abs(np.arange(shape[1], dtype=np.float32)[None] - middle)
    ends = (np.minimum(np.arange(lines), np.arange(lines)[::-1]) / max(12, lines / 6)).astype(np.float32)[:, None]
    ends = np.minimum(1, ends)
    body = np.exp(-((across / (width / 2 * (0.35 + 0.65 * ends))) ** 4)) * np.minimum(1, 3 * ends)
    along = np.clip(0.75 + 0.35 * _smooth(rng, lines, 1, 14, 1), 0.3, 1.3)
    hair = np.clip(0.5 + 0.6 * _smooth(rng, *shape, 18, 0.7), 0, 1.6)
    gain: np.ndarray = np.ones(shape, np.float32)
    light: np.ndarray = np.zeros(shape, np.float32)
    if kind == "score":
        light = float(rng.uniform(50, 130)) * body * along * np.clip(hair, 0.4, 1.3)
        gain = 1 - 0.3 * np.exp(-(((across - width * 0.9) / 1.5) ** 2)) * ends * along
    elif kind == "groove":
        gain = 1 - float(rng.uniform(0.35, 0.65)) * body * along * hair
    else:
        light = float(rng.uniform(40, 90)) * body * along * np.clip(hair - 0.5, 0, 1) * 2
        gain = 1 - 0.2 * body * np.clip(0.6 - hair, 0, 1)
    mask = ((body > 0.3) & (ends > 0.1)).astype(np.uint8)
    steep = rng.normal(0, 3) if lines > 260 or rng.random() < 0.65 else rng.uniform(-80, 80)
    return _turned(Stamp(gain.astype(np.float32), light.astype(np.float32), mask), float(steep))


def inclusion(rng: np.random.Generator) -> Stamp:
    """Draw dark slag strings, elongated along the strip: one to five spindles in a row."""
    count = int(rng.integers(1, 6))
    lines, width = int(rng.uniform(40, 180)), 44
    gain, mask = np.ones((lines, width), np.float32), np.zeros((lines, width), np.uint8)
    for _ in range(count):
        long, wide = int(rng.uniform(0.35, 1.0) * lines), int(rng.uniform(5, 13))
        y, x = int(rng.integers(0, lines - long + 1)), int(width / 2 + np.clip(rng.normal(0, 6), -15, 15) - wide / 2)
        body = np.clip(2.5 * _dome(long, wide) + 0.35 * _smooth(rng, long, wide, 6, 1.2), 0, 1)
        gain[y : y + long, x : x + wide] *= 1 - float(rng.uniform(0.3, 0.6)) * body
        mask[y : y + long, x : x + wide] |= (body > 0.25).astype(np.uint8)
    return _stamp(cv2.GaussianBlur(gain, (0, 0), 0.7), np.zeros_like(gain), _closed(mask, 7))


def patches(rng: np.random.Generator) -> Stamp:
    """Draw a dark island of residual scale with a ragged outline, longer along the strip than across."""
    lines, width = int(rng.uniform(60, 200)), int(rng.uniform(40, 120))
    form = _ragged(rng, lines, width, float(rng.uniform(0.12, 0.3)))
    mask = _closed((form > 0).astype(np.uint8), 3)
    body = np.clip(0.35 + 7 * form, 0, 1) * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.3)
    depth = float(rng.uniform(0.35, 0.6)) * (1 + 0.2 * _smooth(rng, lines, width, 10, 5))
    return _stamp(1 - body * np.clip(depth, 0.2, 0.8), np.zeros_like(body), mask)


def pitted_surface(rng: np.random.Generator) -> Stamp:
    """Draw a field of small round dark pits, each with a light lip."""
    lines, width = int(rng.uniform(80, 220)), int(rng.uniform(60, 180))
    size = float(rng.uniform(1.3, 2.4))
    crowd = 1.4 * np.clip(_ragged(rng, lines, width, 0.25), -1, 0.5)
    pits = _smooth(rng, lines, width, size * 1.4, size) + crowd - float(rng.uniform(1.1, 1.7))
    depth = np.clip(pits * 1.5, 0, 1) * _taper(lines, width)
    lip = np.clip(np.roll(depth, 3, axis=0) - depth, 0, 1)
    mask = _closed((depth > 0.25).astype(np.uint8), 12)
    depth, lip = depth * mask, lip * mask  # nothing outside the outline, or the truth would call it clean
    return _stamp(1 - 0.5 * depth + 0.15 * lip, np.zeros_like(depth), mask)


def rolled_in_scale(rng: np.random.Generator) -> Stamp:
    """Draw a cloud of flecks of scale rolled into the surface: dark, elongated across the strip."""
    lines, width = int(rng.uniform(70, 200)), int(rng.uniform(70, 200))
    crowd = 1.5 * np.clip(_ragged(rng, lines, width, 0.3), -1, 0.5)
    flecks = _smooth(rng, lines, width, 1.5, 3.0) + crowd - float(rng.uniform(1.2, 1.7))
    depth = np.clip(flecks * 1.3, 0, 1) * _taper(lines, width)
    mask = _closed((depth > 0.2).astype(np.uint8), 14)
    depth = depth * mask
    haze = 0.10 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 5)
    return _stamp((1 - haze) * (1 - 0.6 * depth), np.zeros_like(depth), mask)


def crazing(rng: np.random.Generator) -> Stamp:
    """Draw a net of hair cracks, mostly across the strip."""
    lines, width = int(rng.uniform(90, 220)), int(rng.uniform(90, 220))
    net = np.minimum(
        np.abs(_smooth(rng, lines, width, 5, 12)),
        np.abs(_smooth(rng, lines, width, 7, 9)) + np.abs(_smooth(rng, lines, width, 25, 25)) * 0.25,
    )
    breaks = np.clip(0.6 + 0.8 * _smooth(rng, lines, width, 6, 8), 0, 1)
    envelope = _taper(lines, width, 4)
    cracks = np.exp(-((net / 0.07) ** 2)) * breaks * envelope
    gain = (1 - 0.55 * cv2.GaussianBlur(cracks, (0, 0), 0.6)) * (
        1 + 0.07 * envelope * _smooth(rng, lines, width, 1, 1.5)
    )
    return _stamp(gain, np.zeros_like(gain), (envelope > 0.3).astype(np.uint8))


def sliver(rng: np.random.Generator) -> Stamp:
    """Draw steel that was torn or folded and rolled over: a rough patch with black folds and bright ridges."""
    lines, width = int(rng.uniform(50, 200)), int(rng.uniform(60, 260))
    form = _ragged(rng, lines, width, 0.25)
    mask = _closed((form > 0).astype(np.uint8), 4)
    body = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    relief = (
        10 * _smooth(rng, lines, width, 14, 22)
        + 3 * _smooth(rng, lines, width, 5, 8)
        + _smooth(rng, lines, width, 1.2, 1.5)
    )
    shade = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3) + 0.5 * cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3)
    shade /= max(1e-6, float(shade.std()))
    shadow = np.clip(1.2 - np.abs(form) * 14, 0, 1) * np.clip(0.6 + 0.5 * _smooth(rng, lines, width, 10, 14), 0, 1)
    gain = 1 - body * np.clip(0.28 - 0.3 * shade, -0.4, 0.85) - 0.5 * cv2.GaussianBlur(shadow, (0, 0), 1.2)
    light = body * np.clip(shade - 1.1, 0, 2) * float(rng.uniform(15, 50))
    return _stamp(np.clip(gain, 0.05, 2), light, mask)


def edge_mark(rng: np.random.Generator) -> Stamp:
    """Draw a thin crack or seam along the strip's edge."""
    lines, width = int(rng.uniform(40, 220)), 26
    across = np.abs(np.arange(width, dtype=np.float32)[None] - width / 2 + 1.5 * _smooth(rng, lines, 1, 12, 1))
    ends = np.clip(np.minimum(np.arange(lines), np.arange(lines)[::-1]) / 8, 0, 1).astype(np.float32)[:, None]
    along = np.clip(0.8 + 0.3 * _smooth(rng, lines, 1, 8, 1), 0.35, 1.2)
    thick = float(rng.uniform(1.6, 3.0))
    seam = np.exp(-((across / thick) ** 2)) * ends * along
    burr = np.exp(-(((across - 2.2 * thick) / thick) ** 2)) * ends * np.clip(_smooth(rng, lines, width, 2, 1), 0, 2)
    mask = ((across < thick * 1.6) & (ends > 0.3)).astype(np.uint8)
    return _stamp(1 - 0.7 * seam, 28 * burr, mask)


def torn_spot(rng: np.random.Generator) -> Stamp:
    """Draw a small torn or pressed-in spot: a rough dark core with bright grains."""
    lines, width = int(rng.uniform(30, 70)), int(rng.uniform(26, 54))
    form = _ragged(rng, lines, width, 0.3)
    core = np.clip(form * 2.2, 0, 1)
    mask = _closed((core > 0.15).astype(np.uint8), 5)
    core = core * mask
    grains = np.clip(_smooth(rng, lines, width, 1.2, 1.0) - 0.8, 0, 1.5) * core
    return _stamp(1 - 0.5 * core, grains * float(rng.uniform(60, 120)), mask)


def water(rng: np.random.Generator) -> Stamp:
    """Draw a drop or run of water: glare with a sharp outline. Not a defect."""
    lines, width = int(rng.uniform(24, 130)), int(rng.uniform(14, 60))
    form = _ragged(rng, lines, width, 0.4)
    mask = (form > 0).astype(np.uint8)
    body = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    return _stamp(1 + 0.1 * body, body * float(rng.uniform(90, 200)), mask)


def oil(rng: np.random.Generator) -> Stamp:
    """Draw an oil film or a dried stain: a soft shade without relief. Not a defect."""
    lines, width = int(rng.uniform(100, 400)), int(rng.uniform(60, 240))
    cloud = np.clip(_dome(lines, width) * 1.6 + 0.25 * _smooth(rng, lines, width, 30, 18), 0, 1)
    cloud = cv2.GaussianBlur(cloud, (0, 0), 7) * _taper(lines, width, 3)
    return _stamp(
        1 + float(rng.choice([-0.16, -0.1, 0.14])) * cloud, np.zeros_like(cloud), (cloud > 0.2).astype(np.uint8)
    )


DEFECTS: Mapping[str, Draw] = MappingProxyType(
    {
        "scratch": scratch,
        "inclusion": inclusion,
        "patches": patches,
        "pitted_surface": pitted_surface,
        "rolled_in_scale": rolled_in_scale,
        "crazing": crazing,
        "sliver": sliver,
        "edge_mark": edge_mark,
        "torn_spot": torn_spot,
    }
)
PSEUDO_DEFECTS: Mapping[str, Draw] = MappingProxyType({"water": water, "oil": oil})
