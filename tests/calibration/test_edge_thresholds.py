"""The levels that tell strip from background are chosen from the camera's own pictures."""

import numpy as np
import pytest
from taken_pictures import taken

from linewatch.calibration.edges.making import make_edges
from linewatch.capture.edges import find_edges
from linewatch.config.capture import CaptureSettings
from linewatch.contracts.errors import SourceError

WIDTH, LINES, PICTURES = 640, 32, 12


def view(
    strip: float = 100.0, background: float = 30.0, edges: tuple[int, int] = (60, 580), reflection: float = 0.0
) -> np.ndarray:
    """Pictures of strip that wanders by up to 3 px; reflection: level of 20 columns beside it, from column 20 on."""
    rng = np.random.default_rng(4)
    pictures = rng.normal(background, 2, (PICTURES, LINES, WIDTH))
    for number, picture in enumerate(pictures):
        wander = number % 4 - 2
        left, right = max(0, edges[0] + wander), min(WIDTH, edges[1] + wander)
        fall = 1.0 - 0.3 * np.abs(np.linspace(-1, 1, right - left)) ** 3
        picture[:, left:right] = strip * fall + rng.normal(0, 6, (LINES, right - left))
        if reflection:
            picture[:, 20:40] += reflection - background
    return pictures.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("strip", "background"), [(100.0, 30.0), (200.0, 90.0), (60.0, 2.0)])
def test_the_level_lies_between_background_and_strip_and_finds_the_edges(strip, background):
    pictures = view(strip, background)
    part = make_edges(taken(pictures), CaptureSettings(), "me").part
    assert background + 5 < part.edge_level < 0.7 * strip - 5
    assert (part.wrong_columns, part.edge_min_width_px) == (0.0, 32)
    assert part.background_level.value == pytest.approx(background, abs=1)
    assert part.edge_scatter_px < 3
    capture = CaptureSettings(edge_level=part.edge_level)
    found = [find_edges(one, capture) for one in pictures]
    assert [one.left_px for one in found] == [60 + number % 4 - 2 for number in range(PICTURES)]
    usual = find_edges(pictures[0], CaptureSettings())
    assert background < 16 or not usual.left_found  # what the level of the defaults makes of a bright background


def test_a_reflection_beside_the_strip_counts_as_no_strip():
    pictures = view(reflection=90.0)
    part = make_edges(taken(pictures), CaptureSettings(edge_min_width_px=8), "me").part
    assert part.edge_min_width_px >= 40
    capture = CaptureSettings(edge_level=part.edge_level, edge_min_width_px=part.edge_min_width_px)
    assert find_edges(pictures[0], capture).left_px == 58
    assert find_edges(pictures[0], CaptureSettings(edge_level=part.edge_level, edge_min_width_px=8)).left_px == 20


BAD = {
    "fills the view": (lambda: view(edges=(-9, WIDTH + 9)), "beside the strip|times their spread"),
    "no strip": (lambda: np.full((PICTURES, LINES, WIDTH), 20, np.uint8), "beside the strip|times their spread"),
    "bright background": (lambda: view(60.0, 55.0), "both sides of the picture are brighter"),
    "brighter background": (lambda: view(60.0, 190.0), "both sides of the picture are brighter"),
    "blown out": (lambda: view(400.0, 30.0), "blown out"),
}


@pytest.mark.parametrize("name", BAD)
def test_pictures_that_tell_no_level_are_refused(name):
    pictures, said = BAD[name]
    with pytest.raises(SourceError, match=said) as caught:
        make_edges(taken(pictures()), CaptureSettings(), "me")
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
