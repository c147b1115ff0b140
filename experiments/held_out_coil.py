"""A recorded coil of real strip that no shipped engine has seen: held-out Severstal frames, then held-out NEU patches.

``python -m experiments.held_out_coil build --data "$LINEWATCH_DATA" --out out/coil`` writes `coil.avi` with its
sidecar, `truth.json` and `truth.npz`. Replay it with ``linewatch replay``; then ``python -m experiments.held_out_coil
evaluate --coil out/coil --verdicts out/coil/verdicts.jsonl`` prints recall and false calls. The base install is enough.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from experiments.real_frames import TOLERANCE_MM, RealFrame, held_out_frames, instances
from linewatch.capture.recorder import record
from linewatch.capture.sidecar import sidecar_path
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.verdict import DefectState, Extent, StripBox
from linewatch.geometry.grid import tile_grid
from linewatch.geometry.matching import Matching, match
from linewatch.metrics.result import Interval
from linewatch.metrics.tiles import STEEL_SHARE, TILE_PX, steel_columns
from linewatch.metrics.windows import false_instances_per_1000_m2
from linewatch.simulation.truth import CoilTruth
from linewatch.wire.schema import VerdictLine
from linewatch.wire.verdict_file import read_verdicts

COIL = "REAL"


class FrameCamera:
    """A camera that delivers frames in memory; it is not live."""

    live = False

    def __init__(self, frames: Sequence[RealFrame], line: LineSettings) -> None:
        self.grabs: int | None = len(frames)
        self._frames: Iterator[tuple[int, RealFrame | None]] = iter(enumerate(frames))
        self._line = line

    def read(self) -> Grab | None:
        number, frame = next(self._frames, (0, None))
        if frame is None:
            return None
        first_line = number * self._line.frame_lines
        return Grab(
            image=frame.gray,
            coil=COIL,
            sequence=number,
            first_line=first_line,
            lines=len(frame.gray),
            encoder_count=first_line,
            along_mm=first_line * self._line.mm_per_line,
            mm_per_line=self._line.mm_per_line,
            captured_ns=round((first_line + len(frame.gray)) / self._line.line_rate_hz * 1e9),
        )

    def stop(self) -> None:
        self._frames = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def build(data: Path, out: Path, line: LineSettings, taxonomy: Taxonomy) -> CoilTruth:
    """Write the recording and its truth into the folder `out`, replacing earlier ones, and return the truth."""
    out.mkdir(parents=True, exist_ok=True)
    frames = held_out_frames(data, taxonomy)
    video = out / "coil.avi"
    for old in (video, sidecar_path(video)):
        old.unlink(missing_ok=True)
    record(FrameCamera(frames, line), video, line, 4096.0)
    lines = len(frames) * line.frame_lines
    truth = CoilTruth(
        coil=COIL,
        seed=0,
        lines=lines,
        length_mm=lines * line.mm_per_line,
        mm_per_px=line.mm_per_px,
        mm_per_line=line.mm_per_line,
        defects=tuple(instances(frames, line, taxonomy)),
        pseudo_defects=(),
    )
    truth.write(out / "truth.json")
    np.savez_compressed(
        out / "truth.npz",
        sources=np.array([frame.source for frame in frames]),
        truth=np.stack([frame.truth for frame in frames]),
        steel=np.stack([steel_columns(frame.gray) for frame in frames]),
    )
    return truth


@dataclass(frozen=True, slots=True)
class TileCounts:
    """Tiles of a source, and those called by the service: a tile is called if it holds a pixel of a found outline."""

    frames: int
    defective: int
    defective_called: int
    clean: int
    clean_called: int
    classes_right: int  # of the called defective tiles, those where a called class is one of the true ones

    @property
    def recall(self) -> float:
        return self.defective_called / self.defective if self.defective else 1.0

    @property
    def false_share(self) -> float:
        return self.clean_called / self.clean if self.clean else 0.0


def evaluate_tiles(coil: Path, verdicts: Path, taxonomy: Taxonomy) -> dict[str, TileCounts]:
    """Return the tile counts by source; `SourceError` if the verdicts are not of this coil."""
    known = np.load(coil / "truth.npz")
    sources, truth, steel = known["sources"], known["truth"], known["steel"]
    tiles = tile_grid(truth.shape[1], truth.shape[2], TILE_PX, TILE_PX)
    sums = {str(source): np.zeros(6, np.int64) for source in dict.fromkeys(sources.tolist())}
    found = _found(verdicts, truth.shape)
    if len(found) != len(truth):
        raise SourceError(f"{verdicts}: has {len(found)} frames, the coil has {len(truth)}; replay this coil again")
    for source, real, columns, called in zip(sources, truth, steel, found, strict=True):
        row = sums[str(source)]
        row[0] += 1
        for tile in tiles:
            window = np.s_[tile.y : tile.y + tile.lines, tile.x : tile.x + tile.width]
            true = {taxonomy.trained_classes[value - 1] for value in np.unique(real[window]).tolist() if value}
            names = {name for name, mask in called.items() if mask[window].any()}
            if true:
                row[1:3] += (1, bool(names))
                row[5] += bool(names & true)
            elif columns[tile.x : tile.x + tile.width].mean() >= STEEL_SHARE:
                row[3:5] += (1, bool(names))
    return {source: TileCounts(*row.tolist()) for source, row in sums.items()}


@dataclass(frozen=True, slots=True)
class PieceCounts:
    """Counts of one class.

    true, hit: pieces of the class, and those with any found defect on them. found, right: defects called this class,
    and those of them that lie on a piece of it.
    """

    true: int
    hit: int
    found: int
    right: int


@dataclass(frozen=True, slots=True)
class PositionError:
    """The distance, in mm, between the box centres of outlined defects and true pieces; None without a pair.

    A pair is a defect and a piece that overlap nothing else: the centre of a part says nothing about the whole.
    """

    pairs: int
    along_median_mm: float | None
    along_p95_mm: float | None
    across_median_mm: float | None
    across_p95_mm: float | None

    @classmethod
    def of(cls, pairs: Sequence[tuple[StripBox, StripBox]]) -> Self:
        """From pairs of boxes, found and true."""
        if not pairs:
            return cls(0, None, None, None, None)

        def errors(side: Literal["along_mm", "across_mm"]) -> list[float]:
            return [abs(sum(getattr(one, side)) - sum(getattr(other, side))) / 2 for one, other in pairs]

        along, across = (np.quantile(errors(side), [0.5, 0.95]).tolist() for side in ("along_mm", "across_mm"))
        return cls(len(pairs), *along, *across)


@dataclass(frozen=True, slots=True)
class InstanceMetrics:
    """Found defects of a source against its true pieces, paired by `linewatch.geometry.matching`.

    found: closed defects that are neither tentative nor merged into another one.
    """

    metres: float
    true: int
    hit: int
    classes_right: int  # of the hit ones, those with a found defect of their class on them
    found: int
    false_calls: int  # found where nothing is drawn
    clean_frames: int  # without a true piece
    clean_m2: float
    false_on_clean: int  # instances found on those
    false_on_clean_per_1000_m2: float | None  # by the recording's nominal millimetres; None without a clean frame
    interval: Interval | None  # of that rate, 95 %, bootstrap over frames
    by_class: dict[str, PieceCounts]
    position: PositionError

    @property
    def recall(self) -> float:
        return self.hit / self.true if self.true else 1.0

    @property
    def false_per_m(self) -> float:
        return self.false_calls / self.metres


def evaluate_instances(coil: Path, verdicts: Path) -> dict[str, InstanceMetrics]:
    """Return the metrics by source; a defect belongs to the source at its centre."""
    truth = CoilTruth.read(coil / "truth.json")
    sources = np.load(coil / "truth.npz")["sources"]
    frame_mm = truth.length_mm / len(sources)
    closed = [
        event
        for line in read_verdicts(verdicts)
        for event in line.defects
        if event.state is DefectState.CLOSED and event.merged_into is None and not event.tentative
    ]
    found = [(event.defect_class, StripBox(event.across_mm, event.along_mm)) for event in closed]
    outlined = {box: event.extent is Extent.MASK for (_, box), event in zip(found, closed, strict=True)}
    true = [(defect.defect_class, defect.box) for defect in truth.defects]

    def frame_of(box: StripBox) -> int:
        return min(int(sum(box.along_mm) / 2 / frame_mm), len(sources) - 1)

    def of(source: str, instances: list[tuple[str, StripBox]]) -> list[tuple[str, StripBox]]:
        return [one for one in instances if sources[frame_of(one[1])] == source]

    line = LineSettings()
    frame_m2 = line.width_px * line.mm_per_px * frame_mm / 1e6
    clean = ~np.load(coil / "truth.npz")["truth"].any(axis=(1, 2))
    calls = np.bincount([frame_of(box) for _, box in found], minlength=len(sources))
    metrics = {}
    for source in dict.fromkeys(sources.tolist()):
        quiet = calls[clean & (sources == source)]
        rate, interval = false_instances_per_1000_m2(quiet, np.full(len(quiet), frame_m2))
        here, real = of(source, found), of(source, true)
        matching = match([box for _, box in here], [box for _, box in real], tolerance_mm=TOLERANCE_MM)
        partners = [Counter(pair.found for pair in matching.pairs), Counter(pair.true for pair in matching.pairs)]
        alone = [
            (here[pair.found][1], real[pair.true][1])
            for pair in matching.pairs
            if partners[0][pair.found] == partners[1][pair.true] == 1 and outlined[here[pair.found][1]]
        ]
        metrics[source] = InstanceMetrics(
            metres=float((sources == source).sum() * frame_mm / 1000),
            true=len(real),
            hit=len(matching.hit),
            classes_right=len({pair.true for pair in matching.pairs if here[pair.found][0] == real[pair.true][0]}),
            found=len(here),
            false_calls=len(here) - len(matching.right),
            clean_frames=len(quiet),
            clean_m2=len(quiet) * frame_m2,
            false_on_clean=int(quiet.sum()),
            false_on_clean_per_1000_m2=rate,
            interval=interval,
            by_class=_by_class(here, real, matching),
            position=PositionError.of(alone),
        )
    return metrics


def _by_class(
    found: Sequence[tuple[str, StripBox]], true: Sequence[tuple[str, StripBox]], matching: Matching
) -> dict[str, PieceCounts]:
    right = {pair.found for pair in matching.pairs if found[pair.found][0] == true[pair.true][0]}
    called, there = Counter(name for name, _ in found), Counter(name for name, _ in true)
    hit, rightly = Counter(true[at][0] for at in matching.hit), Counter(found[at][0] for at in right)
    return {
        name: PieceCounts(there[name], hit[name], called[name], rightly[name]) for name in sorted({*called, *there})
    }


def _found(verdicts: Path, shape: tuple[int, int, int]) -> list[dict[str, NDArray[np.bool_]]]:
    """Return by frame the outlines of each class, by the defect's final class and without tentative defects."""
    frames: list[list[tuple[str, NDArray[np.int64]]]] = []
    final: dict[str, str | None] = {}
    for line in read_verdicts(verdicts):
        parts = []
        for event in line.defects:
            final[event.id] = None if event.tentative else event.defect_class
            if event.mask is not None and isinstance(line, VerdictLine):
                runs = np.array(event.runs, np.int64).reshape(-1, 3)
                runs[:, 0] += event.mask.first_line - line.first_line
                parts.append((event.id, runs))
        if isinstance(line, VerdictLine):
            frames.append(parts)
    called = []
    for parts in frames:
        masks: dict[str, NDArray[np.bool_]] = {}
        for defect, runs in parts:
            if (name := final[defect]) is None:
                continue
            mask = masks.setdefault(name, np.zeros(shape[1:], bool))
            for at, start, stop in runs.tolist():
                mask[at, start:stop] = True
        called.append(masks)
    return called


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, dest="part")
    builder = parts.add_parser("build")
    builder.add_argument("--data", type=Path, required=True)
    builder.add_argument("--out", type=Path, required=True)
    evaluator = parts.add_parser("evaluate")
    evaluator.add_argument("--coil", type=Path, required=True)
    evaluator.add_argument("--verdicts", type=Path, required=True)
    evaluator.add_argument("--json", action="store_true")
    options = parser.parse_args()
    taxonomy = Taxonomy.read()
    if options.part == "build":
        truth = build(options.data, options.out, LineSettings(), taxonomy)
        print(f"{options.out}/coil.avi: {truth.length_mm / 1000:.1f} m, {len(truth.defects)} true pieces")
        return
    tiles_of = evaluate_tiles(options.coil, options.verdicts, taxonomy)
    instances_of = evaluate_instances(options.coil, options.verdicts)
    if options.json:
        rows = {source: {**asdict(row), "instances": asdict(instances_of[source])} for source, row in tiles_of.items()}
        print(json.dumps(rows))
        return
    for source, row in tiles_of.items():
        print(
            f"{source:<10} {row.frames} frames: {row.defective_called} of {row.defective} defective tiles called "
            f"({row.recall:.1%}), right class in {row.classes_right}; {row.clean_called} of {row.clean} clean tiles "
            f"called ({row.false_share:.1%})"
        )
        one = instances_of[source]
        print(
            f"{'':<10} {one.metres:.1f} m: {one.hit} of {one.true} true pieces found ({one.recall:.1%}), right class "
            f"on {one.classes_right}; {one.false_calls} of {one.found} found are false calls "
            f"({one.false_per_m:.1f} per m)"
        )
        if (at := one.position).pairs:
            print(
                f"{'':<10} position, of {at.pairs} pairs, median and 95th percentile: {at.along_median_mm:.1f} and "
                f"{at.along_p95_mm:.1f} mm along, {at.across_median_mm:.1f} and {at.across_p95_mm:.1f} mm across"
            )
        for name, of in one.by_class.items():
            print(
                f"{'':<10}   {name:<16} found {of.hit:>3} of {of.true:<3}  called {of.found:>3}, on such a piece "
                f"{of.right}"
            )
        if one.false_on_clean_per_1000_m2 is not None and one.interval is not None:
            low, high = one.interval
            print(
                f"{'':<10} {one.clean_frames} clean frames, {one.clean_m2:.2f} m2 at nominal millimetres: "
                f"{one.false_on_clean} found there, {one.false_on_clean_per_1000_m2:.0f} per 1,000 m2 "
                f"({low:.0f} to {high:.0f})"
            )


if __name__ == "__main__":
    main()
