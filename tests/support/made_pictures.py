"""Images and tables that the tests make."""

import csv
from pathlib import Path

import cv2
import numpy as np

REPO = Path(__file__).parents[2]


def write_table(path: Path, head: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([head, *rows])


def texture(seed: int, lines: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(120, 30, (lines, width)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) * 1.2 - 20, 0, 255).astype(np.uint8)
