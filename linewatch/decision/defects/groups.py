"""Connected components of pairs."""

import numpy as np


def connected(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the smallest member of the component of each of 0..count-1, given connected pairs: int64 (count,)."""
    root = np.arange(count)
    while len(one):
        root[np.maximum(one, other)] = np.minimum(one, other)  # a root gets a smaller root, so no cycles arise
        while not np.array_equal(above := root[root], root):
            root = above
        one, other = root[one], root[other]
        apart = one != other
        one, other = one[apart], other[apart]
    return root


def members(roots: np.ndarray) -> list[list[int]]:
    """Return the components given by `connected`, each in ascending order, sorted by their first member."""
    order = np.argsort(roots, kind="stable")
    begins = np.flatnonzero(np.diff(roots[order], prepend=-1))[1:]
    return [part.tolist() for part in np.split(order, begins)] if len(order) else []
