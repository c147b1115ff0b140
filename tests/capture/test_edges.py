"""The strip-edge finder, on rendered and on real frames."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linewatch.capture.edges import find_edges
from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import Cause, StripEdges, extent

SETTINGS = CaptureSettings()
RNG = np.random.default_rng(3)


def strip(left: int, right: int, level: int = 90, width: int = 1600) -> np.ndarray:
    pixels = RNG.integers(0, 6, (256, width)).astype(np.uint8)
    pixels[:, left:right] = RNG.normal(level, 8, (256, right - left)).clip(0, 255)
    return pixels


@settings(max_examples=30, deadline=None)
@given(
    left=st.integers(0, 800), width=st.integers(40, 800), level=st.integers(40, 240)
)  # darker, a line of noise may be too dark
def test_strip_is_found_to_the_pixel(left: int, width: int, level: int) -> None:
    found = find_edges(strip(left, left + width, level), SETTINGS)
    assert found == StripEdges(left, left + width, left > 0, left + width < 1600)


def test_strip_that_fills_the_view_has_no_edge_in_it() -> None:
    assert find_edges(strip(0, 1600), SETTINGS) == StripEdges(0, 1600, False, False)


def test_dark_stripes_on_the_strip_do_not_end_it() -> None:
    pixels = strip(100, 1500)
    for column in (140, 600, 603, 610, 1400):
        pixels[:, column : column + 40] = 3
    assert find_edges(pixels, SETTINGS) == StripEdges(100, 1500, True, True)


def test_narrow_reflection_beside_the_strip_is_not_the_strip() -> None:
    pixels = strip(400, 1200)
    pixels[:, 100:115] = 200
    pixels[:, 1590:] = 200
    assert find_edges(pixels, SETTINGS) == StripEdges(400, 1200, True, True)


@pytest.mark.parametrize("lines", [0, 1, 256])
def test_nothing_in_view_is_empty(lines: int) -> None:
    found = find_edges(np.zeros((lines, 1600), np.uint8), SETTINGS)
    assert found.left_px == found.right_px
    assert not found.left_found
    assert not found.right_found


def test_only_narrow_steel_is_empty() -> None:
    found = find_edges(strip(800, 820), SETTINGS)
    assert found.left_px == found.right_px


def test_zones_too_dark_or_blown_out_are_told() -> None:
    pixels = strip(0, 1600)
    pixels[:, 640:960] = 12  # a lamp segment is dead; what is left of its light
    pixels[:, 1280:1600] = 255
    edges = find_edges(pixels, SETTINGS)
    assert edges == StripEdges(0, 1600, False, False, dark_columns=((640, 960),), bright_columns=((1280, 1600),))


def test_lines_too_dark_or_blown_out_are_told() -> None:
    """The lamp fails and comes back within a frame; what it shows besides is judged as if those lines were absent."""
    pixels = strip(200, 1400, level=60)
    pixels[100:180] = 0
    pixels[200:216, 200:1400] = 255
    assert find_edges(pixels, SETTINGS) == StripEdges(
        200, 1400, True, True, dark_lines=((100, 180),), bright_lines=((200, 216),)
    )


@pytest.mark.parametrize(("first", "every"), [(1, 2), (2, 4), (3, 4)])
def test_light_that_flickers_with_the_lines_is_told(first: int, every: int) -> None:
    pixels = strip(0, 1600)
    pixels[first::every] = 0
    assert find_edges(pixels, SETTINGS).dark_lines == tuple((line, line + 1) for line in range(first, 256, every))


def test_what_is_dark_in_the_lit_lines_is_dark() -> None:
    pixels = strip(0, 1600)
    pixels[128:] = 0
    pixels[:128, 640:960] = 12
    assert find_edges(pixels, SETTINGS) == StripEdges(
        0, 1600, False, False, dark_columns=((640, 960),), dark_lines=((128, 256),)
    )


def test_a_defect_is_no_failing_light() -> None:
    """A dark defect as wide as a zone on half of the lines, and a bright one."""
    pixels = strip(0, 1600)
    pixels[:128, 640:768] = 0
    pixels[:100, 960:1088] = 255
    edges = find_edges(pixels, SETTINGS)
    assert edges == StripEdges(0, 1600, False, False)


@pytest.mark.parametrize(("divisor", "in_view"), [(6, True), (16, False)])
def test_strip_with_too_little_light_cannot_be_judged(divisor: int, in_view: bool) -> None:
    edges = find_edges(strip(0, 1600, level=110) // divisor, SETTINGS)
    assert edges.dark_lines == (((0, 256),) if in_view else ())
    assert (edges.right_px > edges.left_px) is in_view


@pytest.mark.data
@pytest.mark.skipif("LINEWATCH_DATA" not in os.environ, reason="LINEWATCH_DATA is not set")
def test_real_frames_with_black_margins() -> None:
    """On Severstal frames the margin outside the found edges is dark, and just inside them there is steel."""
    folder = Path(os.environ["LINEWATCH_DATA"]) / "severstal" / "images"
    margins = 0
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        edges = find_edges(image, SETTINGS)
        assert edges.right_px - edges.left_px >= 60, path.name
        means = image.mean(0)
        margins += (edges.left_found and edges.left_px > 200) + (edges.right_found and edges.right_px < 1400)
        for outside in (means[: max(0, edges.left_px - 8)], means[edges.right_px + 8 :]):
            if edges.right_px - edges.left_px < 1600 and outside.size:
                assert np.median(outside) <= SETTINGS.edge_level, path.name
        assert np.median(means[edges.left_px : edges.right_px]) > SETTINGS.edge_level, path.name
    assert margins >= 10


@pytest.mark.data
@pytest.mark.skipif("LINEWATCH_DATA" not in os.environ, reason="LINEWATCH_DATA is not set")
def test_the_light_of_real_frames_suffices_but_for_six() -> None:
    """Of 198 real frames six are dark or blown out over more than 5 % of the strip's width or of their lines."""
    images = [
        (path.name, image)
        for path in sorted(Path(os.environ["LINEWATCH_DATA"]).glob("severstal*/*/*.jpg"))
        if (image := cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) is not None and image.shape == (256, 1600)
    ]
    poor = {}
    for name, image in images:
        edges = find_edges(image, SETTINGS)
        dark, bright = extent(edges.dark_columns), extent(edges.bright_columns)
        lines = extent(edges.dark_lines) + extent(edges.bright_lines)
        if dark + bright > 0.05 * edges.width_px or lines > 0.05 * 256:
            poor[name] = (dark, bright, lines)
    assert len(images) == 198
    assert poor == {
        "0a9a7a6c7.jpg": (0, 0, 56),
        "0d1b42754.jpg": (256, 0, 105),
        "0d78ac743.jpg": (0, 0, 16),
        "0dcfc9c19.jpg": (0, 0, 83),
        "84a9ab164.jpg": (0, 64, 0),
        "unknownid_FredericFerriere_defect.jpg": (0, 0, 74),
    }


@pytest.mark.parametrize("top", [235, 249, 255])
def test_light_that_a_camera_clips_below_the_brightest_level_is_blown_out(top: int) -> None:
    """A video of limited range ends at 235, and some sensors saturate below 250."""
    steel = np.random.default_rng(1).normal(150, 12, (256, 1600))
    steel[:, 800:] *= 1.8
    edges = find_edges(np.clip(steel, 0, top).astype(np.uint8), CaptureSettings())
    (bright,) = edges.bright_columns
    assert abs(bright[0] - 800) <= 64
    assert bright[1] == 1600
    assert edges.dark_columns == ()


def test_strip_that_is_dim_or_half_blown_out_is_doubtful():
    """Defects are called less often there, though the picture can be judged: coverage counts it as degraded."""
    assert find_edges(strip(200, 1400, level=60), SETTINGS).doubt is None
    assert find_edges(strip(200, 1400, level=26), SETTINGS).doubt is Cause.DARK
    a_part = strip(200, 1400, level=60)
    a_part[:, 600:650] = 26
    assert find_edges(a_part, SETTINGS).doubt is None
    blown = strip(200, 1400, level=160)
    blown[:, 200:1400:3] = 255
    assert find_edges(blown, SETTINGS).doubt is Cause.BRIGHT
