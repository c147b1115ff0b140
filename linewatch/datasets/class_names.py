"""Class names that people wrote: spellings of one name are joined, names that are nearly one are refused."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from linewatch.datasets.errors import DatasetError

CLEAN = "ok"
"""The class of images that are free of defects, where a set does not name it."""

_CLEAN_NAMES = {
    *(CLEAN, "clean", "free", "good", "normal", "none", "background", "intact"),
    *("nodefect", "nodefects", "defectfree", "nondefective", "notdefective", "defectless", "withoutdefect"),
    *("gut", "io", "i.o", "i.o.", "inordnung", "fehlerfrei", "gutteil"),
}
"""In lower case, without blanks, dashes and underscores."""


def is_clean(label: str) -> bool:
    """Return whether a class name means that there is no defect."""
    return re.sub(r"[\s_-]", "", _joined(label)) in _CLEAN_NAMES


def spellings(labels: Iterable[str]) -> dict[str, str]:
    """Return the one spelling for each name: names that differ in case, or in blanks around and within, are one.

    The most frequent spelling counts, among equals the one with the fewest capitals. `DatasetError` for names that
    differ in blanks, dashes and underscores only, such as `roll mark` and `roll_mark`: they may be one class or two.
    """
    written = list(labels)
    counts = Counter(_tidy(label) for label in written)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        alike[_joined(label)].append(label)
    near: dict[str, list[str]] = defaultdict(list)
    for key, members in alike.items():
        if not key:
            raise DatasetError("a class name is empty, expected a word; name the class")
        near[re.sub(r"[\s_-]", "", key) if re.search(r"[^\W\d_]", key) else key].append(members[0])
    for members in near.values():
        if len(members) > 1:
            raise DatasetError(
                f"classes {' and '.join(repr(name) for name in sorted(members))} differ only in blanks, dashes or "
                "underscores, expected one spelling; name them alike, or differently"
            )
    chosen = {
        key: min(members, key=lambda label: (-counts[label], sum(map(str.isupper, label)), label))
        for key, members in alike.items()
    }
    return {label: chosen[_joined(label)] for label in written}


def in_house_terms(labels: Iterable[str], house: Mapping[str, str], data_set: str) -> dict[str, str]:
    """Return the house class of each label by the user's mapping; `DatasetError` for a label that it lacks."""
    by_key = {_joined(label): name for label, name in house.items()}
    found = {label: by_key.get(_joined(label), label if is_clean(label) else "") for label in labels}
    lacking = sorted(label for label, name in found.items() if not name)
    if lacking:
        raise DatasetError(
            f"{data_set}: the taxonomy maps {', '.join(sorted(house))}, but not {', '.join(lacking)}; add them to "
            f"[sets.{data_set}] labels in configs/taxonomy.toml, or take that section out to keep the set's own names"
        )
    return found


def _joined(label: str) -> str:
    return _tidy(label).casefold()


def _tidy(label: str) -> str:
    """Return a name without blanks around and doubled within; an umlaut is one letter, however it was typed."""
    return " ".join(unicodedata.normalize("NFC", label).split())
