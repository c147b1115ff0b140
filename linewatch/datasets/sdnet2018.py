"""SDNET2018 (Maguire et al. 2018, doi:10.15142/T3TD19), the "Bridge" set of Apostolopoulos & Tzani: over 56,000
images of concrete decks, pavements and walls, 256 x 256 px, `cracked` or `ok`.

From https://digitalcommons.usu.edu/all_datasets/48. Terms: CC BY 4.0. Layouts: ``D|P|W`` with ``CD|UD``, ``CP|UP``,
``CW|UW`` in them, as downloaded; ``labels.csv`` and ``images/``. An image ``7001-115.jpg`` is piece 115 of
photograph 7001, which is one group.
"""

from __future__ import annotations

from pathlib import Path

from linewatch.datasets.layout import folders_of, images, labelled, of_table, unknown_layout
from linewatch.datasets.specimen import Specimen

NAME = "sdnet2018"
LABELS = ("cracked", "ok")


def read(root: Path) -> list[Specimen]:
    """Read the set, one label per image."""
    if (root / "labels.csv").is_file():
        return of_table(NAME, root)
    found = [
        labelled(NAME, path, "cracked" if kind.startswith("C") else "ok", root, f"{place}{path.stem.partition('-')[0]}")
        for place, folder in folders_of(root, ("D", "P", "W")).items()
        for kind, inner in folders_of(folder, (f"C{place}", f"U{place}")).items()
        for path in images(inner)
    ]
    if not found:
        raise unknown_layout(NAME, root, ("D/CD, D/UD, P/CP ...", "labels.csv and images/"))
    return found
