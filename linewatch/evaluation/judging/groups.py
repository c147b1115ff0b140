"""Groups of frames that may show the same steel, and the folds of a cross-validation: intervals draw whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import named
from linewatch.datasets.own.csv_table import read_rows
from linewatch.datasets.splits import SplitImage, coil_neighbours, connect, look_alikes
from linewatch.evaluation.judging.true_frames import TrueFrame


@dataclass(frozen=True)
class GroupTable:
    """A table of a split: the group, and perhaps the fold, of each frame by its file name with or without suffix."""

    path: Path
    rows: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> GroupTable:
        """Read a table with the columns file, group and perhaps fold. Raises DatasetError."""
        rows, header = read_rows(path)
        if not {"file", "group"} <= set(header):
            raise DatasetError(f"{path}: expected columns file, group and perhaps fold; found {', '.join(header)}")
        return cls(path, {row["file"]: row for row in rows})

    def of_fold(self, frames: Sequence[TrueFrame], fold: int) -> list[TrueFrame]:
        """Return the frames of one fold. Raises DatasetError where the table has no such fold."""
        folds = {row.get("fold", "") for row in self.rows.values()}
        if str(fold) not in folds:
            raise DatasetError(f"{self.path}: has no fold {fold}; its folds are {', '.join(sorted(folds)) or 'none'}")
        return [one for one in frames if self._row(one)["fold"] == str(fold)]

    def groups(self, frames: Sequence[TrueFrame]) -> list[str]:
        """Return the name of each frame's group. Raises DatasetError for frames that the table lacks."""
        lacking = [one.file for one in frames if not self._find(one)]
        if lacking:
            raise DatasetError(
                f"{self.path}: lacks {len(lacking)} of {len(frames)} frames ({named(lacking)}); add them, or leave "
                "out --split"
            )
        return [f"{self.path.stem}:{self._row(one)['group']}" for one in frames]

    def _find(self, frame: TrueFrame) -> Mapping[str, str] | None:
        file = Path(frame.file)
        return next((self.rows[name] for name in (frame.file, file.name, file.stem) if name in self.rows), None)

    def _row(self, frame: TrueFrame) -> Mapping[str, str]:
        return self._find(frame) or {"fold": "", "group": ""}


def near_duplicates(frames: Sequence[TrueFrame], *, show: bool = False) -> list[str]:
    """Return the name of each frame's group: that of the first frame in it.

    Frames share a group if their profiles across the strip match, as of neighbours on a coil, or if they look alike.
    """
    listed = track(frames, "grouping frames", disable=not show, transient=True)
    images = [SplitImage(one.name, "", one.gray()) for one in listed]
    numbers = connect(len(images), [*coil_neighbours(images), *look_alikes(images)])
    first: dict[int, str] = {}
    return [first.setdefault(number, one.name) for number, one in zip(numbers, frames, strict=True)]
