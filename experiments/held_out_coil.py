"""A recorded coil of real strip that the shipped cascade has not seen: held-out Severstal frames, then NEU patches.

``python -m experiments.held_out_coil build --data "$LINEWATCH_DATA" --out out/coil`` writes `coil.avi` with its
sidecar, `truth.json`, `truth.npz` and `cascade.toml`. Replay it with that configuration, since the default, the inspect
engine, was trained on these very frames and knows none of NEU's classes: ``linewatch replay out/coil/coil.avi --config
out/coil/cascade.toml``. Then ``python -m experiments.held_out_coil judge --coil out/coil --verdicts
out/coil/verdicts.jsonl`` prints the figures of `linewatch judge`, here of what went through the whole service. The base
install is enough.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.capture.recorder import record
from linewatch.capture.sidecar import sidecar_path
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.verdict import Defect, DefectState, StripArea, StripBox
from linewatch.datasets import Knowledge, Specimen, read_set
from linewatch.datasets.splits import HELD_OUT_FOLD
from linewatch.evaluation.judging.figures import Figures, as_json, figures_of
from linewatch.evaluation.judging.inspector import InspectedFrame, OutlinedDefect
from linewatch.evaluation.judging.judged import JudgedFrame, judge_frame
from linewatch.evaluation.judging.tables import tables_of
from linewatch.evaluation.judging.true_frames import FrameTruth
from linewatch.geometry.strip import StripScale
from linewatch.metrics.tiles import steel_columns
from linewatch.simulation.truth import CoilTruth
from linewatch.terminal import wide_console
from linewatch.wire.decode import defect_from
from linewatch.wire.schema import VerdictLine
from linewatch.wire.verdict_file import read_verdicts

COIL = "REAL"
PATCH_PX, PATCH_LINE, PATCH_COLUMNS = 192, 32, (16, 480, 928, 1392)
"""The places of patches in a frame: in every second tile of the grid, with clean strip between them."""


@dataclass(frozen=True)
class RealFrame:
    """A frame of 256 lines. truth: uint8, 0 clean, else 1 + the index into the taxonomy's trained classes."""

    source: str
    gray: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def held_out_frames(data: Path, taxonomy: Taxonomy) -> list[RealFrame]:
    """Return fold 4 of Severstal by name, then fold 4 of NEU, four patches on each clean frame of fold 4."""
    strip = [one for one in read_set("severstal", data) if one.fold == HELD_OUT_FOLD]
    strip = sorted((one for one in strip if one.knowledge is Knowledge.OUTLINED), key=lambda one: one.file)
    patches = [one for one in read_set("neu", data) if one.fold == HELD_OUT_FOLD]
    frames = [RealFrame("severstal", one.gray(), true_classes(one, taxonomy)) for one in strip]
    hosts = [frame.gray for frame in frames if not frame.truth.any() and all_steel(frame.gray)]
    # Neighbours in the list have one class.
    order = np.random.default_rng(4).permutation(len(patches))
    per_frame = len(PATCH_COLUMNS)
    for number, first in enumerate(range(0, len(order) - per_frame + 1, per_frame)):
        chosen = [patches[int(i)] for i in order[first : first + per_frame]]
        frames.append(patched(hosts[number % len(hosts)], chosen, taxonomy, number))
    return frames


def all_steel(gray: NDArray[np.uint8]) -> bool:
    """Return whether the frame shows neither an end nor an edge of the strip."""
    return bool(steel_columns(gray).mean() > 0.95 and gray.mean(axis=1).min() > 20)


def patched(host: NDArray[np.uint8], patches: Sequence[Specimen], taxonomy: Taxonomy, number: int) -> RealFrame:
    """Return the clean frame `host`, mirrored by `number`, with four patches that do not touch each other."""
    gray = host[:: -1 if number % 2 else 1, :: -1 if number % 4 > 1 else 1].copy()
    truth = np.zeros_like(gray)
    for x, patch in zip(PATCH_COLUMNS, patches, strict=True):
        window = np.s_[PATCH_LINE : PATCH_LINE + PATCH_PX, x : x + PATCH_PX]
        size = (PATCH_PX, PATCH_PX)
        gray[window] = cv2.resize(patch.gray(), size, interpolation=cv2.INTER_AREA)
        truth[window] = cv2.resize(true_classes(patch, taxonomy), size, interpolation=cv2.INTER_NEAREST)
    return RealFrame("neu", gray, truth)


def true_classes(one: Specimen, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return the class of each pixel, as `RealFrame.truth`; a patch without outline or box is all its class."""

    def value(label: str) -> int:
        return 1 + taxonomy.trained_classes.index(taxonomy.house_class(one.data_set, label))

    if one.knowledge is Knowledge.LABELLED and not one.boxes:
        return np.full_like(one.gray(), value(one.labels[0]))
    truth = np.zeros_like(one.gray())
    if one.mask_path is not None:
        values = np.array([0, *(value(label) for label in one.mask_labels)], np.uint8)
        return values[one.mask()]
    for box in one.boxes:
        truth[box.y0 : box.y1, box.x0 : box.x1] = value(box.label)
    return truth


class FrameCamera:
    """A camera that delivers frames in memory; it is not live."""

    live = False
    serial = ""

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
    whole = FrameTruth(taxonomy.trained_classes, np.concatenate([frame.truth for frame in frames]), (), outlined=True)
    truth = CoilTruth(
        coil=COIL,
        seed=0,
        lines=lines,
        length_mm=lines * line.mm_per_line,
        mm_per_px=line.mm_per_px,
        mm_per_line=line.mm_per_line,
        defects=whole.defects(line, ()),
        pseudo_defects=(),
    )
    truth.write(out / "truth.json")
    sources, masks = np.array([frame.source for frame in frames]), np.stack([frame.truth for frame in frames])
    np.savez_compressed(out / "truth.npz", sources=sources, truth=masks)
    (out / "cascade.toml").write_text('[inference]\nchain = "cascade"\n')
    return truth


def judged_frames(coil: Path, verdicts: Path, taxonomy: Taxonomy) -> dict[str, list[JudgedFrame]]:
    """Return the frames of each source, judged by what the service published; `SourceError` for other verdicts.

    A defect that reaches over several frames is an instance in each of them. The screen's scores are not published, so
    that nothing is told of tiles.
    """
    known, line = np.load(coil / "truth.npz"), LineSettings()
    sources, masks = known["sources"].tolist(), known["truth"]
    seen = _inspected(verdicts, line)
    if len(seen) != len(masks):
        raise SourceError(f"{verdicts}: has {len(seen)} frames, the coil has {len(masks)}; replay this coil again")
    found: dict[str, list[JudgedFrame]] = {source: [] for source in dict.fromkeys(sources)}
    for number, (source, mask, frame) in enumerate(zip(sources, masks, seen, strict=True)):
        name, truth = f"{source}/{number}", FrameTruth(taxonomy.trained_classes, mask, (), outlined=True)
        found[source].append(judge_frame(name, name, truth, frame, line))
    return found


def _inspected(verdicts: Path, line: LineSettings) -> list[InspectedFrame]:
    """Return what was found in each frame of a verdict file, with positions from the frame's own first line."""
    closed: dict[str, Defect] = {}
    into: dict[str, str] = {}
    frames: list[tuple[StripArea, dict[str, float], list[tuple[str, NDArray[np.int32]]]]] = []
    for one in read_verdicts(verdicts):
        parts = []
        for event in one.defects:
            if event.merged_into is not None:
                into[event.id] = event.merged_into
            elif event.state is DefectState.CLOSED:
                closed[event.id] = defect_from(event)
            if event.mask is not None and isinstance(one, VerdictLine):
                runs = np.array(event.runs, np.int32).reshape(-1, 3)
                parts.append((event.id, runs + np.array([event.mask.first_line - one.first_line, 0, 0], np.int32)))
        if isinstance(one, VerdictLine):
            area, causes = StripArea(), Counter[str]()
            for span in one.spans:
                area = area.plus(span.area or StripArea())
                causes.update(span.uninspected_mm2_by_cause)
            frames.append((area, dict(causes), parts))
    scale = StripScale(0.0, line.mm_per_line, line.across_offset_mm, line.mm_per_px)
    return [
        InspectedFrame(tuple(_within(parts, closed, into, scale)), (), np.zeros(0, np.float32), area, causes)
        for area, causes, parts in frames
    ]


def _within(
    parts: Sequence[tuple[str, NDArray[np.int32]]], closed: dict[str, Defect], into: dict[str, str], scale: StripScale
) -> Iterator[OutlinedDefect]:
    """Yield the parts of defects that lie in one frame."""
    of: dict[str, list[NDArray[np.int32]]] = defaultdict(list)
    for name, runs in parts:
        owner = name
        while owner in into:
            owner = into[owner]
        of[owner].append(runs)
    for owner, each in of.items():
        runs = np.concatenate(each)
        if owner not in closed or not len(runs):
            continue
        box = scale.box(runs[:, 1].min(), runs[:, 2].max(), runs[:, 0].min(), runs[:, 0].max() + 1)
        area_mm2 = float((runs[:, 2] - runs[:, 1]).sum() * scale.mm2_per_px)
        yield OutlinedDefect(replace(closed[owner], box=box, area_mm2=area_mm2), runs)


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

    @classmethod
    def in_frames(cls, frames: Sequence[JudgedFrame], line: LineSettings) -> Self:
        """From the told instances of judged frames."""
        scale = StripScale(0.0, line.mm_per_line, line.across_offset_mm, line.mm_per_px)
        pairs = []
        for frame in frames:
            hits = Counter(number for one in frame.instances if one.told for number in one.on)
            for one in frame.instances:
                if one.told and not one.tile and len(one.on) == 1 and hits[one.on[0]] == 1:
                    boxes = one.box_px, frame.pieces[one.on[0]].box_px
                    pairs.append(tuple(scale.box(x0, x1, y0, y1) for x0, y0, x1, y1 in boxes))
        return cls.of([(found, true) for found, true in pairs])


def judge(coil: Path, verdicts: Path, taxonomy: Taxonomy) -> dict[str, tuple[Figures, PositionError]]:
    """Return the figures and the position error of each source."""
    judged = judged_frames(coil, verdicts, taxonomy)
    return {
        source: (figures_of(frames), PositionError.in_frames(frames, LineSettings()))
        for source, frames in judged.items()
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, dest="part")
    builder = parts.add_parser("build")
    builder.add_argument("--data", type=Path, required=True)
    builder.add_argument("--out", type=Path, required=True)
    judging = parts.add_parser("judge")
    judging.add_argument("--coil", type=Path, required=True)
    judging.add_argument("--verdicts", type=Path, required=True)
    judging.add_argument("--json", action="store_true")
    options = parser.parse_args()
    taxonomy = Taxonomy.read()
    if options.part == "build":
        truth = build(options.data, options.out, LineSettings(), taxonomy)
        print(f"{options.out}/coil.avi: {truth.length_mm / 1000:.1f} m, {len(truth.defects)} true pieces")
        return
    found = judge(options.coil, options.verdicts, taxonomy)
    if options.json:
        print(json.dumps({name: {**as_json(one), "position": asdict(at)} for name, (one, at) in found.items()}))
        return
    for source, (figures, at) in found.items():
        print(source)
        for table in tables_of(figures):
            wide_console().print(table)
        if at.pairs:
            print(
                f"position, of {at.pairs} pairs, median and 95th percentile: {at.along_median_mm:.1f} and "
                f"{at.along_p95_mm:.1f} mm along, {at.across_median_mm:.1f} and {at.across_p95_mm:.1f} mm across"
            )


if __name__ == "__main__":
    main()
