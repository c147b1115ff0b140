"""Which images an engine was trained on: `seen.csv` in its folder holds their fingerprints."""

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

SEEN = "seen.csv"


def fingerprint(image: Path) -> str:
    """Return the first 16 digits of the file's sha256."""
    return hashlib.sha256(image.read_bytes()).hexdigest()[:16]


def write_seen(engine: Path, fingerprints: Iterable[str]) -> None:
    """Write the fingerprints of the images that an engine was trained on into its folder."""
    with (engine / SEEN).open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["sha256"])
        writer.writerows([one] for one in fingerprints)


def seen_by(engine: Path) -> frozenset[str]:
    """Return the fingerprints of the images that the engine of this folder was trained on; none where it tells none."""
    if not (engine / SEEN).is_file():
        return frozenset()
    with (engine / SEEN).open(newline="") as handle:
        return frozenset(row["sha256"] for row in csv.DictReader(handle))
