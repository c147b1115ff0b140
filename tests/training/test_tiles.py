"""Tiles say what is known of them, no more, and come out the same from the same seed."""

from pathlib import Path

import numpy as np
import pytest

from linewatch.config.taxonomy import Taxonomy
from linewatch.datasets import read_set
from linewatch.metrics.tiles import tile_starts
from linewatch.training.samples.tiles import KnownTile, TileMaker, load_frames, load_patches


@pytest.fixture
def maker(made_data: Path, made_splits: Path, taxonomy: Taxonomy) -> TileMaker:
    specimens = [one for name in ("neu", "xsdd", "severstal") for one in read_set(name, made_data, made_splits)]
    return TileMaker(load_frames(specimens, taxonomy), load_patches(specimens, taxonomy), patch_share=0.5)


def make(maker: TileMaker, count: int) -> list[KnownTile]:
    return [maker.make(np.random.default_rng((1, i))) for i in range(count)]


def test_tiles_have_one_shape_and_repeat(maker: TileMaker, taxonomy: Taxonomy) -> None:
    tiles = make(maker, 60)
    for tile, again in zip(tiles, make(maker, 60), strict=True):
        assert tile.image.shape == (256, 256)
        assert tile.image.dtype == np.uint8
        assert tile.target.shape == tile.weight.shape == (len(taxonomy.trained_classes),)
        assert np.array_equal(tile.image, again.image)
    assert {tile.source for tile in tiles} == {"neu", "xsdd", "severstal"}
    assert not np.array_equal(tiles[0].image, tiles[1].image)


def test_a_class_that_is_there_is_never_denied(maker: TileMaker, taxonomy: Taxonomy) -> None:
    """A tile that shows a made scratch says so, whatever else it masks."""
    at = taxonomy.trained_classes.index("scratch")
    for tile in make(maker, 200):
        if tile.source == "severstal" and tile.defect is not None and tile.defect.sum() >= 150:
            assert tile.target[at] == 1
            assert tile.weight[at] == 1


def test_frames_without_a_defect_and_tiles_of_the_grid(made_data: Path, made_splits: Path, taxonomy: Taxonomy) -> None:
    frames = load_frames(read_set("severstal", made_data, made_splits), taxonomy)
    clean = next(frame for frame in frames if frame.clean)
    scratched = next(frame for frame in frames if not frame.clean)
    assert len(clean.grid()) == len(tile_starts(1600))
    assert all(not tile.target.any() and tile.weight.all() for tile in clean.grid())
    at = taxonomy.trained_classes.index("scratch")
    assert [bool(tile.target[at]) for tile in scratched.grid()] == [
        x0 < 330 and x0 + 256 > 300 for x0 in tile_starts(1600)
    ]


def test_outlined_patches_only_where_outlines_are_needed(
    made_data: Path, made_splits: Path, taxonomy: Taxonomy
) -> None:
    specimens = [one for name in ("neu", "xsdd", "severstal") for one in read_set(name, made_data, made_splits)]
    maker = TileMaker(
        load_frames(specimens, taxonomy), load_patches(specimens, taxonomy, outlined=True), patch_share=0.7
    )
    assert all(tile.defect is not None for tile in make(maker, 80))
