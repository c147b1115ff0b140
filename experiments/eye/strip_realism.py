"""How far the simulator's clean strip lies from real clean strip, in the features of the eye's trunk.

``python -m experiments.eye.strip_realism --data "$LINEWATCH_DATA" --run runs/eye [--pictures docs/pictures]``, after
`experiments.eye.train`.

Every tile without a defect is described by the trunk's maps at strides 8, 16 and 32, averaged over the tile. Real tiles
are described by the network that has not seen their frame, and rendered tiles by the same network. Two figures, each
beside that of two halves of the real groups, which are as alike as the set is to itself:

- AUC of a logistic regression that tells the two apart, on groups of frames (or seeds) that it was not fitted on
  (a two-sample test by classifier, Lopez-Paz and Oquab 2017, arXiv:1610.06545). 0.5: it cannot.
- Frechet distance of Gaussians (Heusel et al. 2017, arXiv:1706.08500) on the leading principal components of the real
  tiles, each scaled to a variance of one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.eye.kinds import TREAD_PLATES
from experiments.eye.maps import load_networks
from linewatch.config.line import LineSettings
from linewatch.datasets.splits import FOLDS
from linewatch.metrics.intervals import intervals
from linewatch.metrics.tiles import TILE_PX, TileTruth, steel_columns, tile_starts
from linewatch.networks.inspect import FrameNetwork
from linewatch.simulation.strip import TEXTURES, SimulatedStrip, Texture
from linewatch.training.samples.labelled_frames import Folds, LabelledFrame, read_frames

COMPONENTS = 32
"""Principal components that the classifier sees."""
DISTANCE_COMPONENTS = 8
"""Those that the distance is taken on: of some sixty tiles on either side the noise would hide it in more."""
PARTS = 5
COMPARED: tuple[Texture, ...] = ("drawn", "measured")
"""Real tread plate is five frames, too few to compare with."""
ROWS = 7
"""Of the picture."""
SEEDS = range(60_000, 60_040)
"""Of the rendered strip; no training has used them."""
STEEL_SHARE = 0.9


@dataclass(frozen=True)
class Tiles:
    """Tiles of some strip. features: float64 (n, channels). group: int64 (n,), tiles of one may show the same steel."""

    features: NDArray[np.float64]
    group: NDArray[np.int64]


class TrunkFeatures:
    """Describes whole frames by a network's trunk."""

    def __init__(self, network: FrameNetwork):
        self._network = network
        self._maps: list[torch.Tensor] = []
        network.trunk.register_forward_hook(lambda _module, _inputs, maps: self._keep(maps))

    def _keep(self, maps: Sequence[torch.Tensor]) -> None:
        self._maps = list(maps[2:])

    @torch.inference_mode()
    def __call__(self, gray: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return float64 (tiles, channels) of a frame, uint8 (256, width)."""
        self._network(torch.from_numpy(gray)[None, None])
        rows = []
        for x in tile_starts(gray.shape[1]):
            parts = []
            for one in self._maps:
                stride = gray.shape[1] // one.shape[3]
                parts.append(one[0, :, :, x // stride : (x + TILE_PX) // stride].mean((1, 2)))
            rows.append(torch.cat(parts).double().numpy())
        return np.array(rows)


def clean_tiles(gray: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which tiles are nearly all steel and hold no defect: bool (tiles,)."""
    truth = TileTruth.of(mask, steel_columns(gray))
    return np.asarray((truth.defect_px == 0) & (truth.steel_share >= STEEL_SHARE))


def real_tiles(features: TrunkFeatures, frames: Sequence[LabelledFrame], folds: Folds) -> Tiles:
    """Return the clean tiles of these frames."""
    rows, groups = [], []
    for frame in frames:
        kept = clean_tiles(frame.gray(), frame.mask)
        if kept.any():
            rows.append(features(frame.gray())[kept])
            groups.append(np.full(int(kept.sum()), folds.group[frame.name]))
    return Tiles(np.concatenate(rows), np.concatenate(groups))


def rendered_frames(seeds: Sequence[int], texture: Texture) -> dict[int, NDArray[np.uint8]]:
    """Return a clean rendered frame for each seed."""
    line = LineSettings()
    length_m = line.frame_lines * line.mm_per_line / 1000
    return {
        seed: SimulatedStrip(seed, length_m, 0.0, line, texture=texture).lines(0, line.frame_lines) for seed in seeds
    }


def rendered_tiles(features: TrunkFeatures, frames: Mapping[int, NDArray[np.uint8]]) -> Tiles:
    """Return the tiles of rendered frames, each frame a group."""
    kept = {seed: clean_tiles(gray, np.zeros_like(gray)) for seed, gray in frames.items()}
    rows = [features(gray)[kept[seed]] for seed, gray in frames.items()]
    return Tiles(np.concatenate(rows), np.repeat(list(frames), [int(one.sum()) for one in kept.values()]))


@dataclass(frozen=True)
class ToldApart:
    """How surely each tile is told to be of the second strip: score float64 (n,), second bool (n,), group (n,)."""

    score: NDArray[np.float64]
    second: NDArray[np.bool_]
    group: NDArray[np.int64]

    @classmethod
    def apart(cls, first: Tiles, second: Tiles) -> ToldApart:
        """Tell two strips apart, each tile by a classifier that has seen none of its group."""
        x = np.concatenate([first.features, second.features])
        y = np.repeat([False, True], [len(first.group), len(second.group)])
        group = np.concatenate([first.group, second.group + first.group.max() + 1])
        score = np.zeros(len(y))
        for train, test in StratifiedGroupKFold(PARTS, shuffle=True, random_state=0).split(x, y, group):
            model = make_pipeline(
                StandardScaler(), PCA(min(COMPONENTS, len(train) // 4)), StandardScaler(), LogisticRegression(C=0.1)
            )
            score[test] = model.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        return cls(score, y, group)

    def auc(self, rows: NDArray[np.intp]) -> float | None:
        """Return the area under the curve of these tiles; None where they are of one strip."""
        return float(roc_auc_score(self.second[rows], self.score[rows])) if len(set(self.second[rows])) == 2 else None

    def metrics(self, rows: NDArray[np.intp]) -> dict[str, float | None]:
        """Return `auc` by its name."""
        return {"auc": self.auc(rows)}


def frechet_distance(real: NDArray[np.float64], first: Tiles, second: Tiles) -> float:
    """Return the distance of two strips in the leading components of `real`, each of variance one."""
    scale = make_pipeline(StandardScaler(), PCA(DISTANCE_COMPONENTS, whiten=True)).fit(real)
    one, other = (scale.transform(tiles.features) for tiles in (first, second))
    apart = one.mean(0) - other.mean(0)
    cov_one, cov_other = np.cov(one.T), np.cov(other.T)
    roots = np.sqrt(np.linalg.eigvals(cov_one @ cov_other).astype(complex)).real.sum()
    return float(apart @ apart + np.trace(cov_one) + np.trace(cov_other) - 2 * roots)


def halves(tiles: Tiles, seed: int) -> tuple[Tiles, Tiles]:
    """Divide tiles into two halves of their groups."""
    groups = np.random.default_rng(seed).permutation(np.unique(tiles.group))
    first = np.isin(tiles.group, groups[::2])
    return tuple(Tiles(tiles.features[part], tiles.group[part]) for part in (first, ~first))  # type: ignore[return-value]


def drawn_groups(tiles: Tiles, count: int, seed: int) -> Tiles:
    """Return the tiles of random groups, about `count` of them."""
    kept: list[int] = []
    for group in np.random.default_rng(seed).permutation(np.unique(tiles.group)).tolist():
        if np.isin(tiles.group, kept).sum() < count:
            kept.append(group)
    rows = np.isin(tiles.group, kept)
    return Tiles(tiles.features[rows], tiles.group[rows])


def report(name: str, real: Sequence[Tiles], pairs: Sequence[tuple[Tiles, Tiles]]) -> None:
    """Print the figures of one strip, over the networks of all folds."""
    told = [ToldApart.apart(*pair) for pair in pairs]
    aucs = [one.auc(np.arange(len(one.score))) for one in told]
    ends = [intervals(one.metrics, one.group, draws=200).get("auc") for one in told]
    distances = [frechet_distance(one.features, *pair) for one, pair in zip(real, pairs, strict=True)]
    low, high = np.mean([end for end in ends if end is not None], axis=0)
    print(
        f"{name:24} AUC {np.mean([auc for auc in aucs if auc is not None]):.3f} ({low:.3f} to {high:.3f}), Frechet "
        f"distance {np.mean(distances):.1f} ({min(distances):.1f} to {max(distances):.1f} over the folds)",
        flush=True,
    )


def draw(path: Path) -> None:
    """Draw rendered strip of each texture side by side. Real frames are not ours to publish, so none is drawn."""
    columns = []
    for texture in TEXTURES:
        rows = [
            cv2.copyMakeBorder(
                cv2.resize(gray, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
                2,
                2,
                2,
                2,
                cv2.BORDER_CONSTANT,
                None,
                255,
            )
            for gray in rendered_frames(SEEDS[: 2 * ROWS : 2], texture).values()
        ]
        columns.append(np.vstack(rows))
    cv2.imwrite(str(path), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/eye"), help="a run of experiments.eye.train")
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks, _ = load_networks(options.run)
    folds = Folds.read()
    frames = [one for one in read_frames(options.data) if not one.doubtful and one.name not in TREAD_PLATES]
    features = {fold: TrunkFeatures(networks[fold]) for fold in options.folds}
    real = {fold: real_tiles(features[fold], folds.of(frames, fold), folds) for fold in options.folds}
    every = list(real.values())
    groups = np.unique(np.concatenate([tiles.group for tiles in every]))
    print(f"{sum(len(tiles.group) for tiles in every)} clean real tiles, {len(groups)} groups")
    report("real against real", every, [halves(one, fold) for fold, one in real.items()])
    for texture in COMPARED:
        rendered, pairs = rendered_frames(SEEDS, texture), []
        for fold, one in real.items():  # as many tiles as in the halves, since both figures depend on their number
            first, second = halves(one, fold)
            pairs.append((first, drawn_groups(rendered_tiles(features[fold], rendered), len(second.group), fold)))
        report(texture, every, pairs)
    if options.pictures:
        draw(options.pictures / "simulated-strip.jpg")


if __name__ == "__main__":
    main()
