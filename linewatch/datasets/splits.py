"""Which picture may be trained on and which may only be judged: seeded folds over groups of pictures that show the
same steel.

The sets hide repeats. NEU's patches are often overlapping cut-outs of one photograph under neighbouring numbers,
X-SDD has exact repeats, Severstal's frames can be neighbours on a coil. A random split puts the same steel on both
sides and flatters every figure, so pictures that overlap are grouped first, and a group is never divided.

``python -m linewatch.datasets.splits --data DIR --out configs/splits`` writes the committed tables again.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import LinewatchError

FOLDS = 5
HELD_OUT_FOLD = 4
"""No shipped engine has seen this fold: not in training, thresholds or early stopping."""

SEED = 20261121

_COARSE_PX, _FINE_PX = 32, 96
_COARSE_CORRELATION = 0.70
_SAME_STEEL = 0.90
_SAME_STEEL_NEIGHBOUR = 0.80
_NEIGHBOUR_DISTANCE = 10
_MIN_OVERLAP = 0.25
_PROFILE_PX = 800
_PROFILE_SHIFT_PX = 12
_COIL_NEIGHBOUR = 0.60
_HASH_BITS_APART = 4


class SplitError(LinewatchError):
    """A split table cannot be read, or does not know a picture it is asked about."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture on its way into a split: its file name, the stratum it counts for and its gray pixels."""

    file: str
    stratum: str
    gray: NDArray[np.uint8]

    @property
    def number(self) -> int:
        """The running number in the file name; neighbours in number are often neighbours on the steel."""
        found = re.search(r"(\d+)\.\w+$", self.file)
        return int(found.group(1)) if found else -(10**9)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where one picture stands: the group of pictures that share its steel, and that group's fold."""

    file: str
    group: int
    fold: int


class Split:
    """A committed table ``file,group,fold`` of one data set."""

    def __init__(self, name: str, assignments: Iterable[Assignment]):
        self.name = name
        self.assignments = tuple(assignments)
        self._fold = {one.file: one.fold for one in self.assignments}

    @classmethod
    def read(cls, path: Path) -> Split:
        """Reads a table; `SplitError` names the file and what is wrong with it."""
        try:
            with path.open(newline="") as handle:
                rows = list(csv.DictReader(handle))
            return cls(path.stem, [Assignment(row["file"], int(row["group"]), int(row["fold"])) for row in rows])
        except (OSError, KeyError, ValueError) as error:
            raise SplitError(
                f"{path}: expected a table file,group,fold, found {error!r}; remake it with linewatch.datasets.splits"
            ) from error

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["file", "group", "fold"])
            writer.writerows((one.file, one.group, one.fold) for one in self.assignments)

    def fold_of(self, file: str) -> int:
        try:
            return self._fold[file]
        except KeyError:
            raise SplitError(
                f"{file}: not in the split of {self.name}; make the split again with linewatch.datasets.splits"
            ) from None


def same_steel(pictures: Sequence[Picture]) -> list[tuple[int, int]]:
    """Pairs of pictures of one stratum that overlap on the steel, found at any shift that leaves a quarter of the
    picture in common.

    The measure is normalised cross-correlation of high-passed gray; 0.9 counts, or 0.8 where the running numbers lie
    within 10.
    """
    pairs = []
    by_stratum: dict[str, list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        by_stratum[picture.stratum].append(index)
    for members in by_stratum.values():
        coarse = _Correlator([pictures[i].gray for i in members], _COARSE_PX)
        fine = _Correlator([pictures[i].gray for i in members], _FINE_PX)
        for a in range(len(members) - 1):
            others = np.arange(a + 1, len(members))
            others = others[coarse.best(a, others) >= _COARSE_CORRELATION]
            for b, correlation in zip(others, fine.best(a, others), strict=True):
                first, second = pictures[members[a]], pictures[members[b]]
                near = abs(first.number - second.number) <= _NEIGHBOUR_DISTANCE
                if correlation >= (_SAME_STEEL_NEIGHBOUR if near else _SAME_STEEL):
                    pairs.append((members[a], members[b]))
    return pairs


class _Correlator:
    """Best normalised cross-correlation over all shifts, by FFT."""

    def __init__(self, grays: Sequence[NDArray[np.uint8]], size_px: int):
        self._shape = (2 * size_px, 2 * size_px)
        pixels = np.stack([_high_pass(gray, size_px) for gray in grays])
        self._image = np.fft.rfft2(pixels, s=self._shape)
        self._power = np.fft.rfft2(pixels * pixels, s=self._shape)
        self._window = np.fft.rfft2(np.ones((size_px, size_px), np.float32), s=self._shape)
        overlap = np.fft.irfft2(self._window * self._window.conj(), s=self._shape)
        self._too_little = overlap <= _MIN_OVERLAP * size_px * size_px

    def best(self, a: int, others: NDArray[np.int64]) -> NDArray[np.float32]:
        best = np.zeros(len(others), np.float32)
        for start in range(0, len(others), 32):
            chunk = others[start : start + 32]
            cross = self._back(self._image[a] * self._image[chunk].conj())
            energy_a = self._back(self._power[a] * self._window.conj())
            energy_b = self._back(self._window * self._power[chunk].conj())
            correlation = cross / np.sqrt(np.maximum(energy_a * energy_b, 1.0))
            correlation[:, self._too_little] = -1
            best[start : start + 32] = correlation.max(axis=(1, 2))
        return best

    def _back(self, spectrum: NDArray[np.complexfloating]) -> NDArray[np.floating]:
        return np.fft.irfft2(spectrum, s=self._shape)


def _high_pass(gray: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
    small = cv2.resize(gray, (size_px, size_px), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small - cv2.GaussianBlur(small, (0, 0), size_px / (6 if size_px <= 48 else 12))


def coil_neighbours(frames: Sequence[Picture]) -> list[tuple[int, int]]:
    """Pairs of frames whose profile across the strip matches: neither camera nor coil moves across the strip."""
    profiles = [_profile(frame.gray) for frame in frames]
    shifts = range(-_PROFILE_SHIFT_PX, _PROFILE_SHIFT_PX + 1)
    return [
        (a, b)
        for a in range(len(frames))
        for b in range(a + 1, len(frames))
        if max(_profile_correlation(profiles[a], profiles[b], shift) for shift in shifts) >= _COIL_NEIGHBOUR
    ]


def _profile(gray: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    mean = cv2.resize(gray.astype(np.float32), (_PROFILE_PX, 1), interpolation=cv2.INTER_AREA)
    on_strip = cv2.erode((mean > 20).astype(np.uint8), np.ones((1, 41), np.uint8)) > 0
    return (mean - cv2.GaussianBlur(mean, (0, 0), 12))[0], on_strip[0]


def _profile_correlation(first: tuple, second: tuple, shift: int) -> float:
    (a, on_a), (b, on_b) = first, second
    both = on_a & np.roll(on_b, shift)
    if both.sum() < 150:
        return -1.0
    x, y = a[both], np.roll(b, shift)[both]
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + 1e-9))


def connect(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Group number of each of `count` items, numbered by first appearance; each pair shares a group (union-find)."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b in pairs:
        parent[root(b)] = root(a)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(item), len(numbers)) for item in range(count)]


def assign_folds(groups: Sequence[int], strata: Sequence[str], folds: int = FOLDS, seed: int = SEED) -> list[int]:
    """Fold of each item: groups stay whole, strata are spread as evenly as whole groups allow, ties fall by `seed`."""
    return assign_parts(groups, strata, [1 / folds] * folds, seed)


def assign_parts(groups: Sequence[int], strata: Sequence[str], shares: Sequence[float], seed: int = SEED) -> list[int]:
    """Part of each item, parts being about as large as their shares, in every stratum; a share of 0 gets nothing."""
    members: dict[int, list[int]] = defaultdict(list)
    for item, group in enumerate(groups):
        members[group].append(item)
    order = list(members)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    total = Counter(strata)
    parts = [part for part, share in enumerate(shares) if share > 0]
    relative = [share * len(shares) for share in shares]
    filled = [Counter[str]() for _ in shares]
    part_of: dict[int, int] = {}
    for group in order:
        content = Counter(strata[item] for item in members[group])
        chosen = min(
            parts,
            key=lambda part: (
                sum(n * filled[part][s] / total[s] for s, n in content.items()) / relative[part],
                filled[part].total() / relative[part],
            ),
        )
        filled[chosen] += content
        part_of[group] = chosen
    return [part_of[group] for group in groups]


def make_split(
    name: str, pictures: Sequence[Picture], pairs: Callable[[Sequence[Picture]], list[tuple[int, int]]] = same_steel
) -> Split:
    """Groups and folds for one set; the same pictures give the same table."""
    groups = connect(len(pictures), pairs(pictures))
    folds = assign_folds(groups, [picture.stratum for picture in pictures])
    return Split(name, [Assignment(p.file, g, f) for p, g, f in zip(pictures, groups, folds, strict=True)])


def perceptual_pairs(pictures: Iterable[Picture]) -> list[tuple[int, int]]:
    """Pairs that look alike by a 64-bit hash of their low frequencies (pHash), at most 4 bits apart.

    For sets too large to correlate every pair: only pictures that agree in one of five bands of bits are compared,
    which any two at most 4 bits apart do. It finds copies and other codings of a picture, not shifted cut-outs.
    """
    hashes = np.array([_perceptual_hash(one.gray) for one in pictures], np.uint64)
    pairs: set[tuple[int, int]] = set()
    for band in range(5):
        bits = (hashes >> np.uint64(13 * band)) & np.uint64((1 << 13) - 1)
        buckets: dict[int, list[int]] = defaultdict(list)
        for index, key in enumerate(bits.tolist()):
            buckets[key].append(index)
        for members in buckets.values():
            for at, first in enumerate(members[:-1]):
                others = np.array(members[at + 1 :])
                apart = np.bitwise_count(hashes[others] ^ hashes[first])
                pairs.update((first, int(other)) for other in others[apart <= _HASH_BITS_APART])
    return sorted(pairs)


def _perceptual_hash(gray: NDArray[np.uint8]) -> int:
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:9, :9].ravel()[1:65]
    return int(np.packbits(low > np.median(low)).view(">u8")[0])


def labelled_pictures(root: Path) -> list[Picture]:
    """Pictures of a set laid out as ``labels.csv`` (file,class) and ``images/``, in the table's order."""
    with (root / "labels.csv").open(newline="") as handle:
        return [
            Picture(row["file"], row["class"], _gray(root / "images" / row["file"])) for row in csv.DictReader(handle)
        ]


def severstal_frames(root: Path) -> list[Picture]:
    """All Severstal frames: labelled (stratum: their classes), class-only and unlabelled."""
    frames = []
    for table, folder, prefix in (("labels.csv", "images", ""), ("class_only.csv", "class_only", "class_only:")):
        with (root / table).open(newline="") as handle:
            frames += [
                Picture(row["file"], prefix + row["defect_classes"], _gray(root / folder / row["file"]))
                for row in csv.DictReader(handle)
            ]
    return frames + [Picture(path.name, "unlabelled", _gray(path)) for path in sorted((root / "unlabelled").iterdir())]


def _gray(path: Path) -> NDArray[np.uint8]:
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise SplitError(f"{path}: expected a picture, found none that can be read; restore the file")
    return gray.astype(np.uint8, copy=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("configs/splits"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, read, pairs in (
        ("severstal", severstal_frames, coil_neighbours),
        ("xsdd", labelled_pictures, same_steel),
        ("neu", labelled_pictures, same_steel),
    ):
        split = make_split(name, read(arguments.data / name), pairs)
        split.write(arguments.out / f"{name}.csv")


if __name__ == "__main__":
    main()
