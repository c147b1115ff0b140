"""Small made sets in the real sets' layout, and the real ones where LINEWATCH_DATA names them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_pictures import REPO, texture, write_table

from linewatch.config.taxonomy import Taxonomy
from linewatch.datasets.splits import Assignment, Split


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    return Taxonomy.read(REPO / "configs" / "taxonomy.toml")


@pytest.fixture
def made_data(tmp_path: Path) -> Path:
    """neu, xsdd and severstal with a few made pictures each, one per fold, laid out as the real ones are."""
    data = tmp_path / "data"
    for folder in (
        "neu/images",
        "neu/masks",
        "xsdd/images",
        "severstal/images",
        "severstal/masks",
        "severstal/class_only",
        "severstal/unlabelled",
    ):
        (data / folder).mkdir(parents=True)

    neu = [(f"{name}_{i}.jpg", name) for name in ("crazing", "scratches", "patches") for i in range(1, 6)]
    for seed, (file, name) in enumerate(neu):
        gray = texture(seed, 200, 200)
        mask = np.zeros((200, 200), np.uint8)
        if name != "crazing":
            mask[40:160, 90:110] = 255
            cv2.imwrite(str(data / "neu/masks" / f"{Path(file).stem}.png"), mask)
        gray[mask > 0] = 250
        cv2.imwrite(str(data / "neu/images" / file), gray)
    write_table(data / "neu/labels.csv", ["file", "class"], [list(one) for one in neu])
    boxes: list[list[object]] = [[file, name, 90, 40, 110, 160] for file, name in neu]
    boxes.append(["scratches_1.jpg", "inclusion", 1, 1, 20, 20])
    write_table(data / "neu/boxes.csv", ["file", "class", "xmin", "ymin", "xmax", "ymax"], boxes)

    xsdd = [(f"{name}__{i}.png", name) for name in ("red_iron", "surface_scratch") for i in range(1, 6)]
    for seed, (file, _) in enumerate(xsdd):
        cv2.imwrite(str(data / "xsdd/images" / file), texture(100 + seed, 128, 128))
    write_table(data / "xsdd/labels.csv", ["file", "class"], [list(one) for one in xsdd])

    frames = []
    for seed in range(10):
        file, labels = f"frame{seed}.png", ("ok", "3")[seed % 2]
        gray, mask = texture(200 + seed, 256, 1600), np.zeros((256, 1600), np.uint8)
        if labels == "3":
            mask[100:200, 300:330] = 3
            gray[mask > 0] = 20
        cv2.imwrite(str(data / "severstal/images" / file), gray)
        cv2.imwrite(str(data / "severstal/masks" / f"frame{seed}.png"), mask)
        frames.append([file, labels, mask.mean() / 3])
    write_table(data / "severstal/labels.csv", ["file", "defect_classes", "mask_fraction"], frames)
    cv2.imwrite(str(data / "severstal/class_only/only.jpg"), texture(300, 256, 1600))
    write_table(data / "severstal/class_only.csv", ["file", "defect_classes"], [["only.jpg", "1+3"]])
    cv2.imwrite(str(data / "severstal/unlabelled/nobody.jpg"), texture(301, 256, 1600))
    return data


@pytest.fixture
def made_splits(made_data: Path, tmp_path: Path) -> Path:
    """Splits of the made sets: every fifth picture in one fold."""
    splits = tmp_path / "splits"
    splits.mkdir()
    for name, folders in (
        ("neu", ["images"]),
        ("xsdd", ["images"]),
        ("severstal", ["images", "class_only", "unlabelled"]),
    ):
        files = sorted(path.name for folder in folders for path in (made_data / name / folder).iterdir())
        Split(name, [Assignment(file, i, i % 5) for i, file in enumerate(files)]).write(splits / f"{name}.csv")
    return splits


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("LINEWATCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LINEWATCH_DATA names no folder of real sets")
    return Path(folder)
