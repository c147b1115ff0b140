"""Pairs the defects of two records of one strip: one to one first, then the pieces of defects that split or merged.

Symmetric: pairing B with A gives the same links the other way round, and a record paired with itself pairs each defect
with itself. Nothing here depends on the order in which defects come.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import MIN_OVERLAP
from linewatch.geometry.outlines import Outlines, overlaps

PIECE_OVERLAP = 0.5
"""A piece joins a defect that is already paired when they share this much of the smaller of the two."""


@dataclass(frozen=True, slots=True)
class FoundDefect:
    """The part of a physical defect that a comparison looks at."""

    id: str
    defect_class: str
    confidence: float
    probability: float
    area_mm2: float
    box: StripBox


def hull(defects: Sequence[FoundDefect]) -> StripBox:
    """Return the smallest box around all of them."""
    return StripBox.hull(one.box for one in defects)


@dataclass(frozen=True, slots=True)
class OutlinedDefects:
    """Defects with different ids, and their outlines in the same order."""

    defects: Sequence[FoundDefect]
    outlines: Outlines


@dataclass(frozen=True, slots=True)
class Group:
    """One physical defect, as indices into both records: `a[0]` and `b[0]` are the pair, the others are pieces.

    More than one `b`: it split in B. More than one `a`: B merged them. None on one side: only the other has it.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]


def pair_up(a: OutlinedDefects, b: OutlinedDefects, tolerance_mm: float) -> tuple[Group, ...]:
    """Put every defect of both into exactly one group; in the order of A, then those of B alone.

    Two defects are the same when their outlines, each grown by half of `tolerance_mm`, share `MIN_OVERLAP` of the
    smaller one; of several candidates, the one that shares most of the larger wins, then the one of the same class. A
    defect that is left joins, as a piece, the paired defect with which it shares most, if that is `PIECE_OVERLAP` of
    the smaller one: a fragment lies within its whole, a neighbour does not.
    """
    ours, theirs = a.outlines.grown(tolerance_mm), b.outlines.grown(tolerance_mm)
    met = overlaps(ours, theirs)
    areas = ours.areas()[met.one], theirs.areas()[met.other]
    of_smaller = met.shared / np.minimum(*areas)
    of_larger = np.minimum(met.shared / np.maximum(*areas), 1.0)
    rank = {name: number for number, name in enumerate(sorted({one.id for one in (*a.defects, *b.defects)}))}
    one, other = _TieBreakers.of(a.defects, rank).at(met.one), _TieBreakers.of(b.defects, rank).at(met.other)
    differs = one.classes != other.classes
    # Ties end at the ids: two links that still tie have no defect in common, so their order does not matter.
    order = np.lexsort(
        (
            np.maximum(one.ids, other.ids),
            np.minimum(one.ids, other.ids),
            one.ids != other.ids,
            np.abs(one.areas - other.areas),
            differs,
            -of_larger,
        )
    )
    a_of, b_of = np.full(len(a.defects), -1), np.full(len(b.defects), -1)
    candidates = order[of_smaller[order] >= MIN_OVERLAP]
    for i, j in zip(met.one[candidates].tolist(), met.other[candidates].tolist(), strict=True):
        if a_of[i] < 0 and b_of[j] < 0:
            a_of[i], b_of[j] = j, i
    near = of_smaller >= PIECE_OVERLAP
    pieces_a = _pieces(met.one, met.other, (near & (a_of[met.one] < 0)), (met.shared, differs, other.ids))
    pieces_b = _pieces(met.other, met.one, (near & (b_of[met.other] < 0)), (met.shared, differs, one.ids))
    return _groups(a_of, b_of, pieces_a, pieces_b)


@dataclass(frozen=True, slots=True)
class _TieBreakers:
    """Columns by which ties are broken: class, rank of the id, area."""

    classes: np.ndarray
    ids: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, defects: Sequence[FoundDefect], rank: dict[str, int]) -> "_TieBreakers":
        return cls(
            np.array([one.defect_class for one in defects], dtype=object),
            np.array([rank[one.id] for one in defects], np.int64),
            np.array([one.area_mm2 for one in defects], np.float64),
        )

    def at(self, rows: np.ndarray) -> "_TieBreakers":
        return _TieBreakers(self.classes[rows], self.ids[rows], self.areas[rows])


def _pieces(
    piece: np.ndarray, host: np.ndarray, kept: np.ndarray, measure: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[int, int]:
    """Return the host of each piece: the one with which it shares most, then of the same class, then by id."""
    shared, differs, ids = (column[kept] for column in measure)
    order = np.lexsort((ids, differs, -shared, piece[kept]))
    pieces, first = np.unique(piece[kept][order], return_index=True)
    return dict(zip(pieces.tolist(), host[kept][order][first].tolist(), strict=True))


def _groups(
    a_of: np.ndarray, b_of: np.ndarray, pieces_a: dict[int, int], pieces_b: dict[int, int]
) -> tuple[Group, ...]:
    more_a: dict[int, list[int]] = {}
    more_b: dict[int, list[int]] = {}
    for piece, host in pieces_a.items():
        more_a.setdefault(int(b_of[host]), []).append(piece)
    for piece, host in pieces_b.items():
        more_b.setdefault(int(a_of[host]), []).append(piece)
    groups = []
    for i, j in enumerate(a_of.tolist()):
        if j >= 0:
            # By the pair, so that pieces of both of its sides are in one group.
            groups.append(Group((i, *more_a.get(i, ())), (j, *more_b.get(j, ()))))
        elif i not in pieces_a:
            groups.append(Group((i,), ()))
    groups.extend(Group((), (j,)) for j, i in enumerate(b_of.tolist()) if i < 0 and j not in pieces_b)
    return tuple(groups)
