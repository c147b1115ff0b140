"""The evidence of the product is that of the experiment with which its figures were found."""

import cv2
import numpy as np
import pytest
from mapped_strip import CLASSES, MAP_RULES, mapped, maps_of

from experiments.eye.instances import FEATURES, find_instances
from experiments.eye.maps import Maps
from linewatch.contracts.evidence import evidence_names
from linewatch.contracts.manifest import DEFECT_LEVELS
from linewatch.decision.defects.components import find_pieces
from linewatch.decision.defects.evidence import evidence_of

ROWS, COLUMNS = 64, 400


def some_strip(seed: int) -> tuple[Maps, np.ndarray, np.ndarray]:
    """Maps as the experiment has them, the same as the product has them, and a picture."""
    rng = np.random.default_rng(seed)
    outlines = np.zeros((1 + len(CLASSES), ROWS, COLUMNS), np.float32)
    outlines[0] = rng.random((ROWS, COLUMNS)) * 0.02
    for at in range(6):  # apart from each other, strong ones, faint ones and one that is cut
        plane = np.zeros((ROWS, COLUMNS), np.float32)
        x, y = 30 + 60 * at + int(rng.integers(20)), int(rng.integers(64))
        cv2.ellipse(plane, (x, y), (int(rng.integers(2, 12)), int(rng.integers(1, 6))), 0, 0, 360, 1.0, -1)
        outlines[0] += cv2.GaussianBlur(plane, (5, 5), 0) * float(rng.choice([0.9, 0.5, 0.3, 0.15]))
    outlines[0] = outlines[0].clip(0, 0.99)
    shares = rng.dirichlet(np.full(len(CLASSES), 0.5), (ROWS, COLUMNS)).transpose(2, 0, 1)
    outlines[1:] = outlines[0] * shares
    screen = rng.random((8, 50)).astype(np.float32)
    gray = rng.integers(60, 200, (ROWS * 4, COLUMNS * 4), dtype=np.uint8)
    maps = maps_of(outlines[0], shares, np.kron(screen, np.ones((8, 8))))
    return Maps(screen, outlines, np.zeros((ROWS, COLUMNS), np.float32)), maps, gray


@pytest.mark.parametrize("seed", range(8))
def test_pieces_and_their_evidence_are_those_of_the_experiment(seed: int) -> None:
    theirs, maps, gray = some_strip(seed)
    levels = [MAP_RULES.defect_threshold_u8 / 255 * share for share in DEFECT_LEVELS]
    expected = sorted(find_instances(theirs, gray, levels), key=lambda one: one.found.box)
    prediction = mapped(maps, pixels=gray)
    pieces = find_pieces(prediction, MAP_RULES)
    told = evidence_of(pieces, prediction, MAP_RULES, np.zeros(len(pieces)))
    ours = sorted(zip(map(box_of, pieces.cells), told.tolist(), strict=True))
    assert [box for box, _ in ours] == [one.found.box for one in expected]
    assert len(expected) >= 4
    names = evidence_names(CLASSES)
    for (_, row), one in zip(ours, expected, strict=True):
        values = dict(zip(names, row, strict=True))
        for name, value in zip(FEATURES, one.features, strict=True):
            if name != "apart":  # it takes four passes
                assert values[f"score_{name}" if name in CLASSES else name] == pytest.approx(value, abs=2e-5), name


def box_of(cells: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box of cells in pixels: left, top, right, bottom."""
    return 4 * cells[:, 1].min(), 4 * cells[0, 0], 4 * cells[:, 2].max(), 4 * cells[-1, 0] + 4
