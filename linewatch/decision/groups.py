"""Which things belong together when pairs of them do."""

from collections.abc import Iterable


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of 0..count-1, each ascending, ordered by their first member."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for i in range(count):
        members.setdefault(root(i), []).append(i)
    return [members[i] for i in sorted(members)]
