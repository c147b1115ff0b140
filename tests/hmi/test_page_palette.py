"""The colours of the classes: readable on steel, and apart for everybody where the shape is the same."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from linewatch.config.taxonomy import Taxonomy

ROOT = Path(__file__).parents[2]
PALETTE = (ROOT / "linewatch" / "hmi" / "static" / "palette.js").read_text()
STEEL = {"LIGHT": "#dfe4e9", "DARK": "#2b3742"}
VISIONS = {  # Machado, Oliveira and Fernandes 2009, severity 1.0
    "normal": np.eye(3),
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LEAST_CONTRAST = 3.0  # WCAG 2.2, 1.4.11
LEAST_APART = 30.0  # CIE 1976; 2 is just noticeable


def linear(colour: str) -> np.ndarray:
    """Return linear sRGB, float64 (3,)."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    """Return CIE L*a*b* as that vision sees the colour, float64 (3,)."""
    seen = np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1)
    xyz = XYZ @ seen / (0.9505, 1.0, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    dark, light = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", STEEL)
def test_classes_are_told_apart(theme: str) -> None:
    found = re.search(rf"const {theme} = \[(.*?)\]", PALETTE)
    shapes = re.search(r"const SHAPES = \[(.*?)\]", PALETTE)
    assert found is not None
    assert shapes is not None
    colours, kinds = re.findall("#[0-9a-f]{6}", found[1]), len(re.findall(r"\w+", shapes[1]))
    assert min(contrast(colour, STEEL[theme]) for colour in colours) >= LEAST_CONTRAST
    classes = list(Taxonomy.read(ROOT / "configs" / "taxonomy.toml").classes)
    for one, other in combinations(range(len(classes)), 2):
        if one % kinds != other % kinds:
            continue
        for vision in VISIONS:
            a, b = (lab(colours[at % len(colours)], vision) for at in (one, other))
            apart = float(np.linalg.norm(a - b))
            assert apart >= LEAST_APART, f"{classes[one]} and {classes[other]} look alike: {vision}, {apart:.0f}"
