"""Write the split of all labelled whole frames again: ``python -m experiments.eye.split --data "$LINEWATCH_DATA"``.

Frames that may show the same steel share a group, and a group is never divided: frames whose profile across the strip
matches (`linewatch.datasets.splits.coil_neighbours`), frames that look alike at low resolution, and the pairs that the
sets' own documents name. Clean frames, and every combination of classes, are spread evenly over five folds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from linewatch.datasets.splits import Assignment, Split, SplitImage, assign_folds, coil_neighbours, connect, look_alikes
from linewatch.training.samples.labelled_frames import CLASSES, SPLIT, LabelledFrame, read_frames

TREAD_PLATE = frozenset({"0a3bbea4d", "0a65bd8d4", "0a76ac9b8"})
NAMED_NEIGHBOURS = (("fed07ccf3", "b6a257b28"), ("56de9f0d1", "7b3566fb9"), ("0f4bf08bd", "988cf521f"))
"""From severstal_more/SOURCE.md; the other pairs there have an unlabelled partner."""


def make_split(frames: Sequence[LabelledFrame]) -> Split:
    """Return groups and folds. The same frames give the same table."""
    grays, at = [frame.gray() for frame in frames], {frame.name: i for i, frame in enumerate(frames)}
    strata = ["+".join(CLASSES[i] for i in frame.classes) or "clean" for frame in frames]
    images = [
        SplitImage(frame.path.name, stratum, gray) for frame, stratum, gray in zip(frames, strata, grays, strict=True)
    ]
    pairs = coil_neighbours(images) + look_alikes(images)
    pairs += [(at[a], at[b]) for a, b in NAMED_NEIGHBOURS]
    plates = sorted(at[name] for name in TREAD_PLATE)
    pairs += [(plates[0], plate) for plate in plates[1:]]
    groups = connect(len(frames), pairs)
    folds = assign_folds(groups, strata)
    return Split(
        SPLIT.stem, [Assignment(frame.path.name, g, f) for frame, g, f in zip(frames, groups, folds, strict=True)]
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=SPLIT)
    options = parser.parse_args()
    frames = read_frames(options.data)
    split = make_split(frames)
    split.write(options.out)
    fold = {Path(row.file).stem: row.fold for row in split.assignments}
    sizes = Counter(row.group for row in split.assignments)
    print(f"{len(frames)} frames in {len(sizes)} groups, the largest of {max(sizes.values())}")
    for number in sorted(set(fold.values())):
        here = [frame for frame in frames if fold[frame.name] == number]
        pieces = Counter(CLASSES[piece.class_index] for frame in here for piece in frame.pieces)
        print(f"fold {number}: {len(here)} frames, {sum(frame.clean for frame in here)} clean; {dict(pieces)}")


if __name__ == "__main__":
    main()
