"""A problem of a data set, and how many of them are shown."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHOWN_OF_A_KIND = 3


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """A file, and a text that says what is wrong with it, what was expected, and the remedy."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def shortened(problems: Sequence[DatasetProblem]) -> Iterator[str]:
    """Yield a line for the first few problems of each kind, and one that counts the others of it.

    Problems are of one kind if their texts differ in numbers and names of files only.
    """
    kinds: dict[str, list[DatasetProblem]] = defaultdict(list)
    for one in problems:
        kinds[re.sub(r"\S*[\d./]\S*", "#", one.text)].append(one)
    for members in kinds.values():
        yield from map(str, members[:_SHOWN_OF_A_KIND])
        if len(members) > _SHOWN_OF_A_KIND:
            yield f"... and {len(members) - _SHOWN_OF_A_KIND} more of this kind"
