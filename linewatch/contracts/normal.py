"""What is normal on one line: the instances that the eye finds on its clean strip, and how much commoner they are.

Every instance that is found on clean strip is a false one. Where a line's clean strip has more of a kind than the clean
strip that the probability model was fitted on, an instance of that kind is less probably a defect, by Bayes' rule in
the ratio of the two densities. As in PatchCore (Roth et al. 2022, arXiv:2106.08265) a coreset of what is normal is
kept and a new instance is compared with it; densities replace its nearest neighbour, so that a defect which somebody
overlooked on the clean strip takes little away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from linewatch.contracts.closed import ClosedModel

TRAITS: Final = ("contrast", "darkness", "roughness", "area", "aspect")
"""The evidence by which instances are alike, beside their log-odds; sizes and gray levels, which every chain knows."""
WIDTH = 0.6
"""Standard deviation of the kernel in each direction, in spreads of the evidence (1 for the log-odds)."""
PRIOR_FRAMES = 2.0
"""The line's density is mixed with that of other strip as if so much of the latter had been seen on the line."""
FLOOR = 0.02
"""Instances a frame. Densities below it do not matter: a few dozen frames cannot tell them apart."""
FAINT = 3.0
"""Instances this far (in log-odds) below what is told are not kept: what they are like is not told anyway."""
MOST_INSTANCES = 512
MOST_LEARNED = 200

Row = tuple[float, ...]


class NormalStrip(ClosedModel):
    """Instances on clean strip, each as its log-odds and then its TRAITS by spread.

    frames: how much strip, in whole frames of the engine, which sees pixels and not millimetres.
    counts: how many instances each row stands for, since a row may stand for its neighbours as well.
    """

    frames: Annotated[float, Field(gt=0)]
    instances: tuple[Row, ...] = ()
    counts: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        if len(self.instances) != len(self.counts):
            raise ValueError(f"{len(self.instances)} instances have {len(self.counts)} counts, expected one of each")
        if any(len(row) != 1 + len(TRAITS) for row in self.instances):
            raise ValueError(f"an instance has not {1 + len(TRAITS)} numbers: its log-odds, {', '.join(TRAITS)}")
        return self

    @cached_property
    def points(self) -> np.ndarray:
        """float64 (len(instances), 1 + len(TRAITS))."""
        return np.array(self.instances, np.float64).reshape(-1, 1 + len(TRAITS))

    @cached_property
    def weights(self) -> np.ndarray:
        """float64 (len(instances),): what each row adds to a density at its place, in instances by frame."""
        return np.array(self.counts, np.float64) / self.frames

    def density(self, points: np.ndarray) -> np.ndarray:
        """Return how many instances like each point there are in a frame: float64 (len(points),)."""
        squares = np.zeros((len(points), len(self.points)))
        for theirs, ours in zip(points.T, self.points.T, strict=True):
            squares += np.subtract.outer(theirs, ours) ** 2
        kernel = np.exp(squares * (-0.5 / (WIDTH**2 * (1 + len(TRAITS)))))
        return np.asarray((kernel * self.weights).sum(axis=1))

    def plus(self, other: Self) -> Self:
        """Return both strips as one, with at most MOST_INSTANCES rows."""
        points, counts = np.concatenate([self.points, other.points]), np.array([*self.counts, *other.counts])
        kept, counts = coreset(points, counts, MOST_INSTANCES)
        return type(self)(frames=self.frames + other.frames, instances=_rows(points[kept]), counts=_row(counts))

    @classmethod
    def of(cls, points: np.ndarray, frames: float) -> Self:
        """Return the strip with these instances, float64 (n, 1 + len(TRAITS)), at most MOST_INSTANCES rows of them."""
        kept, counts = coreset(points, np.ones(len(points)), MOST_INSTANCES)
        return cls(frames=frames, instances=_rows(points[kept]), counts=_row(counts))


def coreset(points: np.ndarray, counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows by greedy k-centre, each farthest from those chosen before it: int64 (m,), m at most `most`.

    The first row is the first centre. Return also the counts, float64 (m,), of the rows that are nearest to each.
    """
    if len(points) <= most:
        return np.arange(len(points)), counts
    chosen = [0]
    nearest = np.zeros(len(points), np.int64)
    distance = ((points - points[0]) ** 2).sum(axis=1)
    while len(chosen) < most:
        farthest = int(distance.argmax())
        fresh = ((points - points[farthest]) ** 2).sum(axis=1)
        nearest[fresh < distance] = len(chosen)
        distance = np.minimum(distance, fresh)
        chosen.append(farthest)
    at = np.array(chosen)
    sums = np.bincount(nearest, counts, len(chosen))
    return at[sums > 0], sums[sums > 0]  # of equal rows one has all


class NormalReference(ClosedModel):
    """What an engine's probability model takes for defects on the clean strip that it was fitted on.

    spreads: standard deviation of each of TRAITS over the instances that it was fitted on.
    """

    probability: str = Field(description="version of the probability model")
    spreads: dict[str, Annotated[float, Field(gt=0)]]
    strip: NormalStrip

    @model_validator(mode="after")
    def _names_traits(self) -> Self:
        if tuple(self.spreads) != TRAITS:
            raise ValueError(f"spreads are of {', '.join(self.spreads) or 'nothing'}, expected {', '.join(TRAITS)}")
        return self

    def points(self, log_odds: np.ndarray, traits: np.ndarray) -> np.ndarray:
        """Return instances, traits float64 (n, len(TRAITS)), as `NormalStrip` has them: (n, 1 + len(TRAITS))."""
        return np.column_stack([log_odds, traits / np.array([*self.spreads.values()])])


class LearnedStrip(ClosedModel):
    """One piece of strip that was learned from, and how the model of before judged it.

    told: instances on it that would be told without a model of what is normal. told_still: those that the model which
    was there before still tells; the first strip has none, and as many as told. A rise shows that normal strip drifts.
    """

    learned_unix_ns: Annotated[int, Field(ge=0)]
    source: str
    coil: str | None = None
    m2: Annotated[float, Field(gt=0)]
    told: Annotated[int, Field(ge=0)]
    told_still: Annotated[int, Field(ge=0)]


class LineOfNormal(ClosedModel):
    """The line whose strip it is: a model of another line's strip is refused."""

    side: str
    camera: str
    width_px: int
    mm_per_px: float
    mm_per_line: float


class NormalModel(ClosedModel):
    """What is normal on one line. version: rises with every strip that is learned."""

    schema_version: Literal[1] = 1
    version: Annotated[int, Field(ge=1)] = 1
    line: LineOfNormal
    engine: str = Field(description="name of the engine that has the probability model")
    reference: NormalReference
    strip: NormalStrip
    learned: Annotated[tuple[LearnedStrip, ...], Field(min_length=1, max_length=MOST_LEARNED)]

    @property
    def identity(self) -> str:
        """Return its line and version, as messages name it."""
        return f"{self.line.camera}-{self.line.side}@{self.version}"

    def unlike_normal(self, log_odds: np.ndarray, traits: np.ndarray) -> np.ndarray:
        """Return what is to be added to the log-odds of instances: float64 (n,), 0 or less.

        log_odds: float64 (n,), by the probability model. traits: float64 (n, len(TRAITS)). The logarithm of the density
        of such instances on other clean strip over that on this line's; never above 0, since strip that is cleaner
        than other strip does not make a defect of what is no defect.
        """
        points = self.reference.points(log_odds, traits)
        elsewhere = self.reference.strip.density(points)
        frames, found = self.strip.frames, self.strip.density(points)
        here = (frames * found + PRIOR_FRAMES * elsewhere) / (frames + PRIOR_FRAMES)
        return np.minimum(0.0, np.log((elsewhere + FLOOR) / (here + FLOOR)))

    def learning(self, strip: NormalStrip, learned: LearnedStrip) -> Self:
        """Return the model that has learned from this strip as well."""
        return self.model_copy(
            update={
                "version": self.version + 1,
                "strip": self.strip.plus(strip),
                "learned": (*self.learned, learned)[-MOST_LEARNED:],
            }
        )


@dataclass(frozen=True, slots=True)
class Drift:
    """How the newest strip differs from what was normal before it, in false defects a square metre.

    told: on the newest strip, without a model. still: those that the model of before still tells. trend: still, less
    that of the strips before it; None while there is none that a model before it has judged.
    """

    told: float
    still: float
    trend: float | None

    @classmethod
    def of(cls, model: NormalModel) -> Self:
        """Return it."""
        *before, newest = model.learned
        judged = before[1:] if len(model.learned) == model.version else before  # the first had no model before it
        m2, still = sum(one.m2 for one in judged), newest.told_still / newest.m2
        return cls(newest.told / newest.m2, still, still - sum(one.told_still for one in judged) / m2 if m2 else None)


def traits_of(names: Sequence[str], evidence: np.ndarray) -> np.ndarray:
    """Return the columns of TRAITS, float64 (n, len(TRAITS)), of evidence (n, len(names)) in the order of `names`."""
    return np.asarray(evidence[:, [names.index(trait) for trait in TRAITS]])


def _rows(points: np.ndarray) -> tuple[Row, ...]:
    return tuple(map(tuple, (points.round(4) + 0.0).tolist()))


def _row(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.round(4).tolist())
