"""No steel stands on both sides of a split, and the committed tables can be made again."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_pictures import REPO, texture

from experiments.make_splits import labelled_images, severstal_frames
from linewatch.datasets.splits import (
    FOLDS,
    Split,
    SplitError,
    SplitImage,
    assign_folds,
    coil_neighbours,
    connect,
    make_split,
    same_steel,
)

SPLITS = REPO / "configs" / "splits"
items = st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc")), min_size=1, max_size=60)


@given(items)
def test_a_group_is_never_divided(content: list[tuple[int, str]]) -> None:
    groups, strata = [g for g, _ in content], [s for _, s in content]
    folds = assign_folds(groups, strata)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert folds == assign_folds(groups, strata)


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=30))
def test_connected_items_share_a_group(count: int, pairs: list[tuple[int, int]]) -> None:
    pairs = [(a % count, b % count) for a, b in pairs]
    groups = connect(count, pairs)
    assert all(groups[a] == groups[b] for a, b in pairs)
    assert len(set(groups)) >= count - len(pairs)


def test_strata_are_spread_evenly() -> None:
    folds = assign_folds(list(range(100)), ["a"] * 50 + ["b"] * 50)
    assert (
        {folds[:50].count(fold) for fold in range(FOLDS)} == {10} == {folds[50:].count(fold) for fold in range(FOLDS)}
    )


def test_cut_outs_of_one_photograph_are_found_and_strangers_are_not() -> None:
    """An overlap by half is found whatever the shift; other steel of the same kind is left alone."""
    photograph = texture(7, 300, 300)
    images = [
        SplitImage(f"p_{i}.png", "a", np.ascontiguousarray(photograph[y : y + 200, x : x + 200]))
        for i, (y, x) in enumerate([(0, 0), (60, 40), (100, 20)])
    ]
    images += [SplitImage(f"p_{i}.png", "a", texture(i, 200, 200)) for i in range(20, 24)]
    groups = connect(len(images), same_steel(images))
    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == 5


def test_neighbours_on_a_coil_are_found_by_their_profile_across() -> None:
    stripes = np.random.default_rng(0).normal(0, 25, 1600)
    frames = [
        SplitImage(
            f"f{i}.png",
            "ok",
            np.clip(120 + stripes + np.random.default_rng(i).normal(0, 20, (256, 1600)), 0, 255).astype(np.uint8),
        )
        for i in (1, 2)
    ]
    frames.append(SplitImage("other.png", "ok", texture(9, 256, 1600)))
    assert coil_neighbours(frames) == [(0, 1)]


def test_an_unknown_image_and_a_damaged_table_are_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"stranger.png: not in the split of xsdd"):
        Split.read(SPLITS / "xsdd.csv").fold_of("stranger.png")
    (tmp_path / "neu.csv").write_text("file,fold\na.png,1\n")
    with pytest.raises(SplitError, match=r"neu.csv: expected a table file,group,fold"):
        Split.read(tmp_path / "neu.csv")


@pytest.mark.parametrize("name", ["severstal", "xsdd", "neu"])
def test_the_committed_tables_keep_groups_whole(name: str) -> None:
    folds = defaultdict(set)
    for one in Split.read(SPLITS / f"{name}.csv").assignments:
        folds[one.group].add(one.fold)
    assert all(len(each) == 1 for each in folds.values())
    assert {fold for each in folds.values() for fold in each} == set(range(FOLDS))


@pytest.mark.slow
@pytest.mark.data
def test_the_committed_severstal_split_is_made_again_from_the_frames(real_data: Path) -> None:
    made = make_split("severstal", severstal_frames(real_data / "severstal"), coil_neighbours)
    assert made.assignments == Split.read(SPLITS / "severstal.csv").assignments


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "stratum"), [("neu", "patches"), ("xsdd", "surface_scratch")])
def test_no_near_duplicate_stands_on_both_sides(real_data: Path, name: str, stratum: str) -> None:
    """Made again from the pixels for one class of each patch set; the whole takes a minute."""
    images = [image for image in labelled_images(real_data / name) if image.stratum == stratum]
    split = Split.read(SPLITS / f"{name}.csv")
    pairs = same_steel(images)
    assert len(pairs) > 20
    for a, b in pairs:
        assert split.fold_of(images[a].file) == split.fold_of(images[b].file)
