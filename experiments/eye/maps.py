"""Compute each frame's maps by the network that has not seen it: ``python -m experiments.eye.maps --data DIR --out
runs/eye`` writes `maps.npz`, which every later step reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from linewatch.datasets.splits import FOLDS
from linewatch.networks.inspect import FrameNetwork
from linewatch.training.house.inspect_fit import load_network, state_file
from linewatch.training.samples.labelled_frames import Folds, LabelledFrame, read_frames

FAINT = 0.02
_PARTS = ("screen", "outlines", "apart")


@dataclass(frozen=True)
class Maps:
    """The maps of one frame.

    screen: float32 (8, 50). outlines: float32 (1 + classes, 64, 400), probabilities, the mean over the frame and its
    mirror images. apart: float32 (64, 400), the standard deviation over these images of the first outline plane.
    """

    screen: NDArray[np.float32]
    outlines: NDArray[np.float32]
    apart: NDArray[np.float32]


@torch.inference_mode()
def maps_of(network: FrameNetwork, gray: NDArray[np.uint8], mirrored: Sequence[tuple[int, ...]]) -> Maps:
    """Return the maps of a frame, averaged over mirror images along these axes (1: lines, 2: columns)."""
    image = torch.from_numpy(gray)[None]
    said = network(torch.stack([image.flip(axes) for axes in mirrored]))
    outlines = torch.stack([one.flip(axes) for one, axes in zip(said.outline_probability(), mirrored, strict=True)])
    screen = torch.stack(
        [one.flip([axis - 1 for axis in axes]) for one, axes in zip(said.screen.sigmoid(), mirrored, strict=True)]
    )
    apart = outlines[:, 0].std(0, correction=0)
    return Maps(screen.mean(0).numpy(), outlines.mean(0).numpy(), apart.numpy())


ALL_MIRRORS = ((), (1,), (2,), (1, 2))


def unseen(frames: Sequence[LabelledFrame], folds: Folds, networks: Mapping[int, FrameNetwork]) -> dict[str, Maps]:
    """Return the maps of every frame by the network trained without its fold; two at a time, one thread each."""
    with ThreadPoolExecutor(2, initializer=partial(torch.set_num_threads, 1)) as pool:
        return dict(
            pool.map(
                lambda frame: (frame.name, maps_of(networks[folds.fold[frame.name]], frame.gray(), ALL_MIRRORS)), frames
            )
        )


def load_networks(run: Path) -> tuple[dict[int, FrameNetwork], int]:
    """Return the cooled networks of a training run, by fold, and the smallest number of steps of any of them."""
    loaded = {fold: load_network(state_file(run, fold)) for fold in range(FOLDS)}
    return {fold: network for fold, (network, _) in loaded.items()}, min(steps for _, steps in loaded.values())


def write(maps: Mapping[str, Maps], path: Path) -> None:
    """Write the maps as bytes, which suffice for probabilities. Values below FAINT become 0 to keep the file small."""

    def bytes_of(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.round(np.where(values < FAINT, 0, values) * 255).astype(np.uint8)

    arrays = {f"{name}/{part}": bytes_of(getattr(one, part)) for name, one in maps.items() for part in _PARTS}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> dict[str, Maps]:
    """Read what `write` wrote."""
    with np.load(path) as stored:
        names = {key.rpartition("/")[0] for key in stored}
        return {
            name: Maps(*(stored[f"{name}/{part}"].astype(np.float32) / 255 for part in ("screen", "outlines", "apart")))
            for name in sorted(names)
        }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"), help="a training run, which gets `maps.npz`")
    options = parser.parse_args()
    networks, steps = load_networks(options.out)
    write(unseen(read_frames(options.data), Folds.read(), networks), options.out / "maps.npz")
    print(f"maps of networks of at least {steps} steps in {options.out / 'maps.npz'}")


if __name__ == "__main__":
    main()
