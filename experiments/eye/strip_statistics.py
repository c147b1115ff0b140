"""Measure on real strip what `linewatch.simulation.measured` renders by.

``python -m experiments.eye.strip_statistics --data "$LINEWATCH_DATA" [--write]`` writes `measured.json`: mean and
spread of some statistics of a frame's clean strip, no pixels. It prints them beside those of rendered strip.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from experiments.eye.kinds import TREAD_PLATES
from linewatch.config.line import LineSettings
from linewatch.metrics.tiles import steel_columns
from linewatch.simulation import measured
from linewatch.simulation.measured import STATISTICS
from linewatch.simulation.strip import TEXTURES, SimulatedStrip, Texture
from linewatch.training.samples.labelled_frames import read_frames

WINDOW_PX = 512
BAND_EDGES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
SEEDS = range(60_000, 60_040)
FILE = Path(measured.__file__).with_name("measured.json")


def clean_windows(gray: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield the windows of a frame, half overlapping, that are all steel and hold no defect."""
    steel = steel_columns(gray)
    for x in range(0, gray.shape[1] - WINDOW_PX + 1, WINDOW_PX // 2):
        window = np.s_[:, x : x + WINDOW_PX]
        if steel[x : x + WINDOW_PX].all() and not mask[window].any():
            yield gray[window]


def statistics(window: NDArray[np.uint8]) -> list[float]:
    """Return STATISTICS of a window."""
    gray = window.astype(np.float64)
    mean = gray.mean()
    place = np.linspace(-1, 1, len(gray))
    rows = gray.mean(1) / mean - 1
    slope = rows @ place / (place @ place)
    bow_shape = place**2 - 1 / 3
    bow = rows @ bow_shape / (bow_shape @ bow_shape)
    level = gray / np.maximum(1 + slope * place + bow * bow_shape, 0.2)[:, None] / mean
    columns = level.mean(0)
    around = cv2.GaussianBlur(columns[None], (0, 0), 60)[0]
    finer = columns - cv2.GaussianBlur(columns[None], (0, 0), 6)[0]
    clouds = cv2.GaussianBlur(level / columns, (0, 0), 10) - cv2.GaussianBlur(level / columns, (0, 0), 30)
    grain = (gray - cv2.GaussianBlur(gray, (0, 0), 8)) / mean
    depth = np.log(np.sqrt(cv2.blur(grain**2, (24, 24)))[12::24, 12::24] + 1e-4)
    windowed = grain * np.outer(np.hanning(len(gray)), np.hanning(gray.shape[1]))
    power = np.abs(np.fft.rfft2(windowed)) ** 2
    along, across = np.abs(np.fft.fftfreq(len(gray)))[:, None], np.fft.rfftfreq(gray.shape[1])[None]
    frequency = np.hypot(along, across)
    bands = [(frequency >= low) & (frequency < high) for low, high in itertools.pairwise(BAND_EDGES)]
    by_band = np.log([power[band].mean() for band in bands])
    leans = [
        np.log(power[band & (across > 2 * along)].mean() / power[band & (along > 2 * across)].mean())
        for band in bands[1:4]
    ]
    standard = grain / grain.std()
    return [
        np.log(mean),
        slope,
        bow,
        np.log((columns - around).std()),
        np.log(finer.std()),
        np.log(grain.std()),
        *(by_band[[0, 1, 3, 4]] - by_band[2]),
        *leans,
        np.arcsinh((standard**3).mean()),
        np.log((standard**4).mean()),
        np.log(depth.std()),
        np.log(clouds.std()),
    ]


def real_statistics(data: Path) -> NDArray[np.float64]:
    """Return the median of each frame's windows: float64 (frames, len(STATISTICS))."""
    rows = []
    for frame in read_frames(data):
        if not frame.doubtful and frame.outlined and frame.name not in TREAD_PLATES:
            windows = [statistics(window) for window in clean_windows(frame.gray(), frame.mask)]
            if windows:
                rows.append(np.median(windows, axis=0))
    return np.array(rows)


def rendered_statistics(texture: Texture) -> NDArray[np.float64]:
    """Return the same of rendered frames."""
    line, rows = LineSettings(), []
    for seed in SEEDS:
        gray = SimulatedStrip(seed, line.frame_lines * line.mm_per_line / 1000, 0.0, line, texture=texture).lines(
            0, line.frame_lines
        )
        windows = [statistics(window) for window in clean_windows(gray, np.zeros_like(gray))]
        if windows:
            rows.append(np.median(windows, axis=0))
    return np.array(rows)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write measured.json")
    options = parser.parse_args()
    real = real_statistics(options.data)
    if options.write:
        low, high = np.percentile(real, [2.5, 97.5], axis=0)
        held = real.clip(low, high)  # a single odd frame must not shape the others
        spread = np.linalg.cholesky(np.cov(held.T) + 1e-6 * np.eye(len(STATISTICS)))
        table = {
            "measured_on": f"clean strip of {len(real)} frames of severstal and severstal_more, without tread plate",
            "statistics": STATISTICS,
            "mean": held.mean(0).round(4).tolist(),
            "spread": spread.round(4).tolist(),
        }
        rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in table.items())
        FILE.write_text("{\n" + rows + "\n}\n")
        print(f"{FILE}: {len(real)} frames")
    found = {"real": real} | {texture: rendered_statistics(texture) for texture in TEXTURES}
    print(f"{'10, 50 and 90 % of':12}" + "".join(f"{name:>26}" for name in found))
    for i, name in enumerate(STATISTICS):
        print(
            f"{name:12}"
            + "".join(
                f"{' '.join(f'{value:7.2f}' for value in np.percentile(one[:, i], [10, 50, 90])):>26}"
                for one in found.values()
            )
        )


if __name__ == "__main__":
    main()
