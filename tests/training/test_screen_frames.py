"""Training frames for the screen: what is known moves with the picture, and targets say no more than is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.training.samples.blending import Blender
from linewatch.training.samples.frames import (
    AREA,
    CLEAN,
    DEFECT,
    UNSURE,
    FrameMaker,
    KnownImage,
    Shares,
    cell_targets,
    jitter,
    patch_sheets,
    rendered,
    strip_end,
    tile_targets,
    tread_plate,
)


def strip(seed: int = 0, defects: int = 1) -> KnownImage:
    """Made-up strip: noise, with dark squares where the map says DEFECT."""
    rng = np.random.default_rng(seed)
    gray = rng.normal(110, 5, (256, 1600)).clip(0, 255).astype(np.uint8)
    known = np.zeros_like(gray)
    for _ in range(defects):
        y, x = int(rng.integers(0, 200)), int(rng.integers(0, 1500))
        known[y : y + 48, x : x + 64] = DEFECT
    gray[known == DEFECT] = 30
    return KnownImage(gray, known)


def test_cells_are_positive_clean_or_unsure() -> None:
    """A cell is 1 with enough defect, 0 only when every pixel is clean, and -1 for a graze or anything unsure."""
    known = np.zeros((256, 1600), np.uint8)
    known[0:32, 0:32] = DEFECT
    known[40, 40] = DEFECT
    known[100, 100] = UNSURE
    known[128:256, 800:1056] = AREA + 1
    cells, areas = cell_targets(known, 32, touched=0.06)
    assert cells.shape == (8, 50)
    assert cells[0, 0] == 1
    assert cells[1, 1] == -1
    assert cells[3, 3] == -1
    assert cells[0, 1] == 0
    assert (cells[4:, 25:33] == -1).all()
    assert (areas[4:, 25:33] == 2).all()
    assert np.count_nonzero(areas) == 4 * 8


def test_one_pixel_makes_its_tile_windows_defective() -> None:
    """Windows that hold a defect pixel are 1, those that hold only doubt -1, the others 0."""
    known = np.zeros((256, 1600), np.uint8)
    known[5, 300] = DEFECT
    known[:, 1500] = UNSURE
    tiles = tile_targets(known, 128)
    starts = np.arange(0, 1600 - 256 + 1, 128)
    want = np.where(
        (starts <= 300) & (starts + 256 > 300), 1, np.where((starts <= 1500) & (starts + 256 > 1500), -1, 0)
    )
    assert list(tiles) == list(want)


@pytest.mark.slow
@given(st.integers(0, 1000))
def test_what_is_known_moves_with_the_picture(seed: int) -> None:
    """After any random look, marked pixels are the dark ones still: their median is well below the rest's."""
    look = jitter(strip(seed % 7, defects=3), zoom=0.15, light=0.5, rng=np.random.default_rng(seed))
    assert look.gray.shape == look.known.shape == (256, 1600)
    assert look.gray.dtype == look.known.dtype == np.uint8
    marked = look.known == DEFECT
    if marked.any():
        assert np.median(look.gray[marked]) < 0.6 * np.median(look.gray[~marked])


def test_a_looking_twice_repeats() -> None:
    """A frame is a function of the generator's state."""
    maker = FrameMaker(
        Shares(areas=0.2, patches=0.3, rendered=0.2),
        [strip(1), strip(2, 0)],
        areas=[KnownImage(strip(3).gray, np.full((256, 1600), AREA, np.uint8))],
        patches=[KnownImage(strip(4).gray[:200, :200], np.full((200, 200), AREA, np.uint8))],
        rendered=[strip(5, 4)],
        blender=Blender.of([(strip(6).gray, strip(6).known)]),
    )
    for seed in range(12):
        first, second = (maker.make(np.random.default_rng(seed)) for _ in range(2))
        assert (first.gray == second.gray).all()
        assert (first.known == second.known).all()


def test_patches_become_areas_of_their_own() -> None:
    """Each patch with a defect somewhere is an area with its own number, so that each must hold a raised cell."""
    patch = KnownImage(strip(4).gray[:128, :128], np.full((128, 128), AREA, np.uint8))
    maker = FrameMaker(Shares(areas=0, patches=1, rendered=0, zoom=0), [strip(2, 0)], patches=[patch])
    known = maker.make(np.random.default_rng(3)).known
    numbers = sorted(set(np.unique(known[known >= AREA]).tolist()))
    assert len(numbers) >= 3
    assert numbers == list(range(AREA, AREA + len(numbers)))


def test_an_end_of_strip_is_clean_and_dark() -> None:
    """Beyond the end nothing is known as defect and nothing is bright."""
    ended = strip_end(KnownImage(strip(0, 0).gray, np.full((256, 1600), DEFECT, np.uint8)), np.random.default_rng(0))
    beyond = ended.known == CLEAN
    assert 0.05 < beyond.mean() < 0.65
    assert ended.gray[beyond].max() < 10


def test_tread_plate_hides_no_defect_and_invents_none() -> None:
    """The pattern changes gray levels, keeps clean pixels clean and makes known defects unsure."""
    before = strip(1, 2)
    after = tread_plate(before, np.random.default_rng(2))
    assert (after.gray != before.gray).mean() > 0.1
    assert ((before.known == CLEAN) == (after.known == CLEAN)).all()
    assert not (after.known == DEFECT).any()


@pytest.mark.parametrize("count", [1, 6, 8])
def test_every_patch_has_its_place_on_a_sheet(count: int) -> None:
    """Six patches a sheet, 256 px each, in order; the rest of the sheet is unsure."""
    patches = [KnownImage(np.full((200, 200), 10 * i, np.uint8), np.zeros((200, 200), np.uint8)) for i in range(count)]
    sheets = patch_sheets(patches)
    assert len(sheets) == -(-count // 6)
    for i in range(count):
        sheet = sheets[i // 6]
        assert sheet.gray.shape == (256, 1600)
        assert (sheet.known[:, 1536:] == UNSURE).all()
        assert (sheet.gray[:, 256 * (i % 6) : 256 * (i % 6) + 256] == 10 * i).all()


@pytest.mark.slow
def test_rendered_strip_knows_its_defects() -> None:
    """Rendered frames carry both defects and clean steel, and the same seeds give the same frames."""
    frames = rendered([901])
    assert len(frames) == 4
    assert any((one.known == DEFECT).any() for one in frames)
    assert all((a.gray == b.gray).all() for a, b in zip(frames, rendered([901]), strict=True))
