"""Findings of whole cascades on strip with known truth that is new to them.

Operating points are chosen and evaluated on them (`experiments.false_calls`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.real_frames import (
    PATCH_COLUMNS,
    TOLERANCE_MM,
    RealFrame,
    all_steel,
    instances,
    patched,
    true_classes,
)
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.verdict import Defect, Extent
from linewatch.datasets import Knowledge, Specimen
from linewatch.evaluation.judging.inspector import Inspector
from linewatch.geometry.matching import match
from linewatch.simulation.quilt import quilted, relit
from linewatch.simulation.strip import SimulatedStrip
from linewatch.simulation.truth import TrueDefect

MISLABELLED = frozenset({"0d1b42754.jpg"})
"""Kaggle labels it free of defects, but it shows torn and lapped skin over its whole width. It counts where frames are
evaluated as labelled, and is never used as clean strip."""


class CascadeFinding(ClosedModel):
    """A closed defect. true: the numbers, within its `Findings`, of the true pieces that it lies on."""

    frame: int
    defect_class: str
    confidence: float
    peak: float
    area_mm2: float
    tile: bool
    true: tuple[int, ...]


class Findings(ClosedModel):
    """The defects that one set of engines found on one source, and the classes of its true pieces, `true`.

    frames: their names. clean: for each frame, whether it is clean by its label or the simulator's truth; a defect on a
    clean frame is a false instance. area_m2: of one frame.
    """

    source: str
    fold: int | None
    frames: tuple[str, ...]
    clean: tuple[bool, ...]
    area_m2: float
    true: tuple[str, ...]
    found: tuple[CascadeFinding, ...]

    @property
    def clean_m2(self) -> float:
        """The area of the clean frames."""
        return sum(self.clean) * self.area_m2

    def false(self) -> list[CascadeFinding]:
        """Return the defects found on clean frames."""
        return [one for one in self.found if self.clean[one.frame] and not one.true]


@dataclass(frozen=True)
class FindingsCollector:
    """Runs an inspector on one source after the other."""

    inspector: Inspector
    line: LineSettings
    taxonomy: Taxonomy
    fold: int | None

    @property
    def frame_m2(self) -> float:
        return self.line.width_px * self.line.mm_per_px * self.line.frame_lines * self.line.mm_per_line / 1e6

    def strip(self, specimens: Iterable[Specimen]) -> Findings:
        """Inspect outlined strip frames, each as a coil of its own."""
        chosen = [one for one in specimens if one.knowledge is Knowledge.OUTLINED and one.data_set == "severstal"]
        frames = [RealFrame("severstal", one.gray(), true_classes(one, self.taxonomy)) for one in chosen]
        return self._single("severstal", frames, [one.file for one in chosen])

    def patches(self, specimens: Sequence[Specimen], hosts: Sequence[NDArray[np.uint8]]) -> Findings:
        """Inspect defect patches, four on each frame of clean strip."""
        each = len(PATCH_COLUMNS)
        frames = [
            patched(hosts[number % len(hosts)], specimens[first : first + each], self.taxonomy, number)
            for number, first in enumerate(range(0, len(specimens) - each + 1, each))
        ]
        return self._single("patches", frames, [f"{number}" for number in range(len(frames))])

    def composed(self, frames: Sequence[NDArray[np.uint8]], count: int, seed: int) -> Findings:
        """Inspect clean strip composed of clean frames (`linewatch.simulation.quilt`)."""
        made = quilted(frames, count, np.random.default_rng([seed, self.fold or 0]))
        blank = np.zeros(frames[0].shape, np.uint8)
        names = [f"{number}" for number in range(count)]
        return self._single("composed", (RealFrame("composed", gray, blank) for gray in made), names)

    def simulated(self, seeds: Sequence[int], frames_each: int, defects_per_m: float) -> Findings:
        """Inspect rendered strip with stains (water, oil); each seed has another steel and light. No defects: clean."""
        length_m = frames_each * self.line.frame_lines * self.line.mm_per_line / 1000
        found: list[CascadeFinding] = []
        true: list[str] = []
        for number, seed in enumerate(seeds):
            strip, rng = SimulatedStrip(seed, length_m, defects_per_m, self.line), np.random.default_rng([seed, 9])
            lines = self.line.frame_lines
            defects = self.inspector.coil(relit(strip.lines(frame * lines, lines), rng) for frame in range(frames_each))
            truth = strip.truth("SIM").defects
            found += _matched(defects, truth, number, len(true))
            true += [one.defect_class for one in truth]
        return Findings(
            source="simulated defects" if defects_per_m else "simulated",
            fold=self.fold,
            frames=tuple(str(seed) for seed in seeds),
            clean=(defects_per_m == 0,) * len(seeds),
            area_m2=self.frame_m2 * frames_each,
            true=tuple(true),
            found=tuple(found),
        )

    def _single(self, source: str, frames: Iterable[RealFrame], names: Sequence[str]) -> Findings:
        found: list[CascadeFinding] = []
        true: list[str] = []
        clean: list[bool] = []
        for number, frame in enumerate(frames):
            truth = list(instances([frame], self.line, self.taxonomy))
            found += _matched(self.inspector.coil([frame.gray]), truth, number, len(true))
            true += [one.defect_class for one in truth]
            clean.append(not truth)
        return Findings(
            source=source,
            fold=self.fold,
            frames=tuple(names),
            clean=tuple(clean),
            area_m2=self.frame_m2,
            true=tuple(true),
            found=tuple(found),
        )


def clean_frames(specimens: Iterable[Specimen]) -> list[NDArray[np.uint8]]:
    """Return the frames that clean strip is composed of."""
    return [one.gray() for one in specimens if one.labels == ("ok",) and one.file not in MISLABELLED]


def hosts_of(frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return the frames that are steel all over, for patches to lie on."""
    return [frame for frame in frames if all_steel(frame)]


def _matched(
    defects: Sequence[Defect], truth: Sequence[TrueDefect], frame: int, first: int
) -> Iterator[CascadeFinding]:
    matching = match([one.box for one in defects], [one.box for one in truth], tolerance_mm=TOLERANCE_MM)
    on: dict[int, list[int]] = {}
    for pair in matching.pairs:
        on.setdefault(pair.found, []).append(first + pair.true)
    for number, defect in enumerate(defects):
        yield CascadeFinding(
            frame=frame,
            defect_class=defect.defect_class,
            confidence=defect.confidence,
            peak=defect.peak,
            area_mm2=defect.area_mm2,
            tile=defect.extent is Extent.TILE,
            true=tuple(on.get(number, ())),
        )
