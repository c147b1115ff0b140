"""The defects of one passage in columns: a coil may have hundreds of thousands, of which a reader looks at a few."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np

from linewatch.contracts.verdict import Defect, DefectState, Extent, StripBox


class ToldDefect(NamedTuple):
    """An instance as it was last told: the history's columns of these names, whatever it was read from.

    class_scores: by class, or the JSON of that: of most defects nobody asks for them.
    """

    name: str
    state: str
    merged_into: str | None
    defect_class: str
    confidence: float
    peak: float
    across_begin_mm: float
    across_end_mm: float
    along_begin_mm: float
    along_end_mm: float
    area_mm2: float
    edge_mm: float | None
    extent: str
    frames: int
    class_scores: dict[str, float] | str
    length_mm: float
    width_mm: float
    orientation_deg: float
    contrast: float | None
    part_of: str | None
    severity: int | None
    tentative: bool
    excluded: bool


@dataclass(frozen=True, slots=True, eq=False)
class Defects:
    """n instances. across_mm, along_mm: float64 (n, 2), the others (n,): objects, float64, int64 frames, int8 severity,
    bool tentative and excluded.

    edge_mm, contrast: NaN where not known. severity: 0 where not graded.
    """

    coil: str
    side: str
    camera: str
    ids: np.ndarray
    classes: np.ndarray
    confidence: np.ndarray
    peak: np.ndarray
    across_mm: np.ndarray
    along_mm: np.ndarray
    area_mm2: np.ndarray
    edge_mm: np.ndarray
    extents: np.ndarray
    frames: np.ndarray
    class_scores: np.ndarray
    length_mm: np.ndarray
    width_mm: np.ndarray
    orientation_deg: np.ndarray
    contrast: np.ndarray
    part_of: np.ndarray
    severity: np.ndarray
    tentative: np.ndarray
    excluded: np.ndarray

    @classmethod
    def of(cls, coil: str, side: str, camera: str, told: "ToldColumns") -> Self:
        """All that was told, in that order."""
        by_name = told.columns

        def floats(*names: str) -> np.ndarray:
            """None becomes NaN."""
            arrays = [np.array(by_name[name], np.float64) for name in names]
            return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)

        def objects(name: str) -> np.ndarray:
            made = np.empty(len(by_name[name]), object)
            made[:] = by_name[name]
            return made

        return cls(
            *(coil, side, camera),
            ids=objects("name"),
            classes=objects("defect_class"),
            confidence=floats("confidence"),
            peak=floats("peak"),
            across_mm=floats("across_begin_mm", "across_end_mm"),
            along_mm=floats("along_begin_mm", "along_end_mm"),
            area_mm2=floats("area_mm2"),
            edge_mm=floats("edge_mm"),
            extents=objects("extent"),
            frames=np.array(by_name["frames"], np.int64),
            class_scores=objects("class_scores"),
            length_mm=floats("length_mm"),
            width_mm=floats("width_mm"),
            orientation_deg=floats("orientation_deg"),
            contrast=floats("contrast"),
            part_of=objects("part_of"),
            severity=np.array([one or 0 for one in by_name["severity"]], np.int8),
            tentative=np.array(by_name["tentative"], np.bool_),
            excluded=np.array(by_name["excluded"], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Defect]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> Defect:
        """As it was decided."""
        edge_mm, contrast = float(self.edge_mm[row]), float(self.contrast[row])
        across_mm, along_mm = self.across_mm[row].tolist(), self.along_mm[row].tolist()
        return Defect(
            id=self.ids[row],
            coil=self.coil,
            side=self.side,
            camera=self.camera,
            defect_class=self.classes[row],
            confidence=float(self.confidence[row]),
            peak=float(self.peak[row]),
            box=StripBox((across_mm[0], across_mm[1]), (along_mm[0], along_mm[1])),
            area_mm2=float(self.area_mm2[row]),
            edge_mm=None if np.isnan(edge_mm) else edge_mm,
            extent=Extent(self.extents[row]),
            frames=int(self.frames[row]),
            class_scores=_highest_first(self.class_scores[row]),
            length_mm=float(self.length_mm[row]),
            width_mm=float(self.width_mm[row]),
            orientation_deg=float(self.orientation_deg[row]),
            contrast=None if np.isnan(contrast) else contrast,
            part_of=self.part_of[row],
            severity=int(self.severity[row]) or None,
            tentative=bool(self.tentative[row]),
            excluded=bool(self.excluded[row]),
        )

    def take(self, rows: np.ndarray | slice) -> Self:
        """Those of places, of a mask or of a slice."""
        columns = (getattr(self, one.name)[rows] for one in fields(self)[3:])
        return type(self)(self.coil, self.side, self.camera, *columns)


class ToldColumns:
    """Gathers what was told of a passage's defects, in columns by the names of `ToldDefect`; the last word counts."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in ToldDefect._fields}

    def add(self, columns: Iterable[Sequence[Any]]) -> None:
        """More of them, in columns in the order of `ToldDefect`'s; none of no defects."""
        for column, values in zip(self.columns.values(), columns, strict=False):
            column.extend(values)


@dataclass(frozen=True, slots=True)
class PhysicalDefects:
    """What remains of all that was told: defects by where they begin, without those that merged into another.

    merged: from the name of one that merged to the one in `defects` that it became part of. still_open: names of those
    whose end was not told.
    """

    defects: Defects
    merged: dict[str, str]
    still_open: frozenset[str]

    @classmethod
    def among(cls, coil: str, side: str, camera: str, told: ToldColumns) -> Self:
        """What merged into something that was never told stays: nothing else is known of that defect."""
        columns = told.columns
        names, along_mm = columns["name"], columns["along_begin_mm"]
        last = {name: row for row, name in enumerate(names)}
        into = {names[row]: other for row in last.values() if (other := columns["merged_into"][row]) is not None}
        merged = _merged(into, last) if into else {}
        # A ring, which no service tells, leads to one that merged itself: none of it is kept.
        kept = [row for name, row in last.items() if name not in merged]
        kept.sort(key=names.__getitem__)
        kept.sort(key=along_mm.__getitem__)
        still_open = frozenset(names[row] for row in kept if columns["state"][row] != DefectState.CLOSED)
        return cls(Defects.of(coil, side, camera, told).take(np.array(kept, np.int64)), merged, still_open)


def _merged(into: dict[str, str], known: Collection[str]) -> dict[str, str]:
    """Where each leads to, of those that lead to something known."""
    ends = {}
    for name in into:
        end, seen = name, set()
        while end in into and end not in seen:
            seen.add(end)
            end = into[end]
        if end in known:
            ends[name] = end
    return ends


def _highest_first(scores: dict[str, float] | str) -> tuple[tuple[str, float], ...]:
    """As a defect carries them."""
    by_class: dict[str, float] = json.loads(scores) if isinstance(scores, str) else scores
    return tuple(sorted(by_class.items(), key=lambda one: (-one[1], one[0])))
