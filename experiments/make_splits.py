"""Write the committed split tables again: ``python -m experiments.make_splits --data DIR --out configs/splits``."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from linewatch.datasets import SPLITS, read_gray
from linewatch.datasets.splits import SplitImage, coil_neighbours, make_split, same_steel


def labelled_images(root: Path) -> list[SplitImage]:
    """Read the images of a set laid out as ``labels.csv`` (file,class) and ``images/``, in the table's order."""
    with (root / "labels.csv").open(newline="") as handle:
        return [
            SplitImage(row["file"], row["class"], read_gray(root / "images" / row["file"]))
            for row in csv.DictReader(handle)
        ]


def severstal_frames(root: Path) -> list[SplitImage]:
    """Read all Severstal frames: labelled (stratum: their classes), class-only and unlabelled."""
    frames = []
    for table, folder, prefix in (("labels.csv", "images", ""), ("class_only.csv", "class_only", "class_only:")):
        with (root / table).open(newline="") as handle:
            frames += [
                SplitImage(row["file"], prefix + row["defect_classes"], read_gray(root / folder / row["file"]))
                for row in csv.DictReader(handle)
            ]
    return frames + [
        SplitImage(path.name, "unlabelled", read_gray(path)) for path in sorted((root / "unlabelled").iterdir())
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=SPLITS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, read, pairs in (
        ("severstal", severstal_frames, coil_neighbours),
        ("xsdd", labelled_images, same_steel),
        ("neu", labelled_images, same_steel),
    ):
        make_split(name, read(arguments.data / name), pairs).write(arguments.out / f"{name}.csv")


if __name__ == "__main__":
    main()
