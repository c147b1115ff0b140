"""The taxonomy is closed and complete, and says no more than the sets do."""

import csv
from pathlib import Path

import numpy as np
import pytest

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError


def test_every_label_of_the_real_sets_has_a_house_class(taxonomy: Taxonomy, real_data: Path) -> None:
    for name, table, column in (
        ("neu", "labels.csv", "class"),
        ("neu", "boxes.csv", "class"),
        ("xsdd", "labels.csv", "class"),
        ("severstal", "labels.csv", "defect_classes"),
        ("severstal", "class_only.csv", "defect_classes"),
    ):
        with (real_data / name / table).open(newline="") as handle:
            for row in csv.DictReader(handle):
                taxonomy.targets(name, row[column].split("+"))


def test_pseudo_defects_are_never_outputs_of_a_classifier(taxonomy: Taxonomy) -> None:
    pseudo = {name for name, one in taxonomy.classes.items() if one.pseudo}
    assert {"water", "oil", "scale_dust", "paint_mark", "tread_plate"} <= pseudo
    assert pseudo.isdisjoint(taxonomy.trained_classes)


def test_the_same_thing_has_one_name_in_all_sets(taxonomy: Taxonomy) -> None:
    assert (
        taxonomy.house_class("neu", "scratches")
        == taxonomy.house_class("xsdd", "surface_scratch")
        == taxonomy.house_class("severstal", "3")
    )


def test_a_class_that_a_set_does_not_label_is_masked(taxonomy: Taxonomy) -> None:
    target, weight = taxonomy.targets("neu", ["crazing"])
    at = taxonomy.trained_classes.index
    assert target[at("crazing")] == 1
    assert target.sum() == 1
    assert weight[at("scratch")] == 1
    assert weight[at("red_scale")] == 0


def test_a_frame_called_clean_denies_every_class_and_one_without_label_only_its_own(taxonomy: Taxonomy) -> None:
    clean, empty = taxonomy.targets("severstal", ["ok"]), taxonomy.targets("severstal", [])
    assert not clean[0].any()
    assert clean[1].all()
    assert not empty[0].any()
    assert not empty[1].all()
    assert np.all(empty[1] <= clean[1])


def test_a_label_that_nobody_mapped_is_refused(taxonomy: Taxonomy) -> None:
    with pytest.raises(ConfigError, match="rust"):
        taxonomy.targets("neu", ["rust"])
    with pytest.raises(ConfigError, match="no data set 'kolektor'"):
        taxonomy.targets("kolektor", [])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[classes.a]\nmeaning="x"\nseverity="minor"\ncolour="red"\n[sets]', "colour"),
        ('[classes.a]\nmeaning="x"\nseverity="awful"\n[sets]', "awful"),
        (
            '[classes.a]\nmeaning="x"\nseverity="minor"\n[sets.s]\nlabels={l="b"}',
            "which are not house classes",
        ),
        ('[classes.a]\nmeaning="x"\nseverity="minor"\n[sets.s]\nlabels={l="a"}\nabsent=["a"]', "lists them as absent"),
        ("[classes", "is not TOML"),
    ],
)
def test_a_taxonomy_that_does_not_close_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "taxonomy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        Taxonomy.read(path)
