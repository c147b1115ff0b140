"""Splits: seeded folds over groups of images that show the same steel.

The sets have hidden repeats: NEU's patches are often overlapping cut-outs of one photograph under neighbouring numbers,
X-SDD has exact repeats, Severstal's frames can be neighbours on a coil. A random split puts the same steel on both
sides and flatters every metric, so overlapping images are grouped first, and a group is never divided.

``python -m experiments.make_splits --data DIR`` writes the committed tables again.
"""

from __future__ import annotations

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

TRAINED_FOLDS = tuple(fold for fold in range(FOLDS) if fold != HELD_OUT_FOLD)

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
_LEAST_COLUMNS = 150
_LOOK_ALIKE = 0.95
_FRAMES_AT_ONCE = 512
_HASH_BITS_APART = 4


class SplitError(LinewatchError):
    """A split table cannot be read, or lacks an image."""


@dataclass(frozen=True, slots=True)
class SplitImage:
    """An image to assign to a fold: its file name, its stratum and its gray pixels."""

    file: str
    stratum: str
    gray: NDArray[np.uint8]

    @property
    def number(self) -> int:
        """Return the running number in the file name; neighbouring numbers are often neighbours on the steel."""
        found = re.search(r"(\d+)\.\w+$", self.file)
        return int(found.group(1)) if found else -(10**9)


@dataclass(frozen=True, slots=True)
class Assignment:
    """An image's group, which shows the same steel, and that group's fold."""

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
        """Read a table; `SplitError` names the file and what is wrong with it."""
        try:
            with path.open(newline="") as handle:
                rows = list(csv.DictReader(handle))
            return cls(path.stem, [Assignment(row["file"], int(row["group"]), int(row["fold"])) for row in rows])
        except (OSError, KeyError, ValueError) as error:
            raise SplitError(
                f"{path}: expected a table file,group,fold, found {error!r}; make it again with experiments.make_splits"
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
                f"{file}: not in the split of {self.name}; make the split again with experiments.make_splits"
            ) from None


def same_steel(images: Sequence[SplitImage]) -> list[tuple[int, int]]:
    """Return pairs of images of one stratum that overlap by at least a quarter, at any shift.

    Images overlap if the normalised cross-correlation of their high-passed gray reaches 0.9, or 0.8 where their running
    numbers differ by at most 10.
    """
    pairs = []
    by_stratum: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_stratum[image.stratum].append(index)
    for members in by_stratum.values():
        coarse = _Correlator([images[i].gray for i in members], _COARSE_PX)
        fine = _Correlator([images[i].gray for i in members], _FINE_PX)
        for a in range(len(members) - 1):
            others = np.arange(a + 1, len(members))
            others = others[coarse.best(a, others) >= _COARSE_CORRELATION]
            for b, correlation in zip(others, fine.best(a, others), strict=True):
                first, second = images[members[a]], images[members[b]]
                near = abs(first.number - second.number) <= _NEIGHBOUR_DISTANCE
                if correlation >= (_SAME_STEEL_NEIGHBOUR if near else _SAME_STEEL):
                    pairs.append((members[a], members[b]))
    return pairs


class _Correlator:
    """The best normalised cross-correlation over all shifts, by FFT."""

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


def coil_neighbours(frames: Sequence[SplitImage]) -> list[tuple[int, int]]:
    """Return pairs of frames with matching profiles across the strip, where neither camera nor coil moves."""
    if not frames:
        return []
    profiles, on_strip = map(np.stack, zip(*(_profile(frame.gray) for frame in frames), strict=True))
    pairs = []
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        block = np.s_[start : start + _FRAMES_AT_ONCE]
        alike = np.zeros((len(profiles[block]), len(frames)), bool)
        for shift in range(-_PROFILE_SHIFT_PX, _PROFILE_SHIFT_PX + 1):
            others = np.roll(profiles, shift, axis=1), np.roll(on_strip, shift, axis=1)
            alike |= _profile_correlations(profiles[block], on_strip[block], *others) >= _COIL_NEIGHBOUR
        rows, columns = np.nonzero(np.triu(alike, start + 1))
        pairs += [(start + a, b) for a, b in zip(rows.tolist(), columns.tolist(), strict=True)]
    return pairs


def _profile(gray: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    mean = cv2.resize(gray.astype(np.float32), (_PROFILE_PX, 1), interpolation=cv2.INTER_AREA)
    on_strip = cv2.erode((mean > 20).astype(np.uint8), np.ones((1, 41), np.uint8)) > 0
    return (mean - cv2.GaussianBlur(mean, (0, 0), 12))[0].astype(np.float64), on_strip[0]


def _profile_correlations(
    ours: NDArray[np.float64], on_ours: NDArray[np.bool_], theirs: NDArray[np.float64], on_theirs: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the correlation of every pair over the columns that are strip in both; -1 where these are few."""
    a, b = on_ours.astype(np.float64), on_theirs.astype(np.float64)
    x, y = ours * a, theirs * b
    count = np.maximum(a @ b.T, 1.0)
    sum_x, sum_y = x @ b.T, a @ y.T
    xx, yy = (x * x) @ b.T - sum_x**2 / count, a @ (y * y).T - sum_y**2 / count
    xy = x @ y.T - sum_x * sum_y / count
    return np.where(count < _LEAST_COLUMNS, -1.0, xy / np.sqrt(np.maximum(xx * yy, 0.0) + 1e-9))


def look_alikes(frames: Sequence[SplitImage]) -> list[tuple[int, int]]:
    """Return the pairs of frames that correlate at 16 x 100 px, in any mirroring."""
    small = [cv2.resize(frame.gray, (100, 16), interpolation=cv2.INTER_AREA).astype(np.float32) for frame in frames]
    rows = np.array([(one - one.mean()).ravel() / max(float(one.std()) * one.size**0.5, 1e-6) for one in small])
    rows = rows.reshape(len(small), 1600)
    pairs: set[tuple[int, int]] = set()
    for flip in (np.s_[:, :], np.s_[::-1, :], np.s_[:, ::-1], np.s_[::-1, ::-1]):
        mirrored = rows.reshape(-1, 16, 100)[(slice(None), *flip)].reshape(len(rows), 1600)
        for start in range(0, len(rows), _FRAMES_AT_ONCE):
            alike = np.triu(rows[start : start + _FRAMES_AT_ONCE] @ mirrored.T >= _LOOK_ALIKE, start + 1)
            pairs.update((start + a, b) for a, b in np.argwhere(alike).tolist())
    return sorted(pairs)


def connect(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return the group number of each of `count` items, by first appearance; pairs share a group (union-find)."""
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
    """Return the fold of each item: groups stay whole, strata are spread evenly, `seed` breaks ties."""
    return assign_parts(groups, strata, [1 / folds] * folds, seed)


def assign_parts(groups: Sequence[int], strata: Sequence[str], shares: Sequence[float], seed: int = SEED) -> list[int]:
    """Return the part of each item; parts have about their shares of every stratum, and groups stay whole."""
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
    name: str, images: Sequence[SplitImage], pairs: Callable[[Sequence[SplitImage]], list[tuple[int, int]]] = same_steel
) -> Split:
    """Return groups and folds of a set; the same images give the same table."""
    groups = connect(len(images), pairs(images))
    folds = assign_folds(groups, [image.stratum for image in images])
    return Split(name, [Assignment(p.file, g, f) for p, g, f in zip(images, groups, folds, strict=True)])


def perceptual_pairs(images: Iterable[SplitImage]) -> list[tuple[int, int]]:
    """Return pairs of similar images: 64-bit hashes of their low frequencies (pHash) at most 4 bits apart.

    For sets too large to correlate every pair. Only images that agree in one of five bands of bits are compared, as any
    two at most 4 bits apart do. This finds copies and other encodings of an image, not shifted cut-outs.
    """
    hashes = np.array([_perceptual_hash(one.gray) for one in images], np.uint64)
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
