"""Which things belong together when pairs of them do."""

import numpy as np


def connected(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64 (count,): of each of 0..count-1 the smallest member of its connected component, given pairs that touch."""
    root = np.arange(count)
    while len(one):
        root[np.maximum(one, other)] = np.minimum(one, other)  # a root gets a smaller one: never a ring
        while not np.array_equal(above := root[root], root):
            root = above
        one, other = root[one], root[other]
        apart = one != other
        one, other = one[apart], other[apart]
    return root


def members(roots: np.ndarray) -> list[list[int]]:
    """The components of `connected`, each ascending, ordered by their first member."""
    order = np.argsort(roots, kind="stable")
    begins = np.flatnonzero(np.diff(roots[order], prepend=-1))[1:]
    return [part.tolist() for part in np.split(order, begins)] if len(order) else []
