"""What it brings to know a line's normal strip, judged on kinds of strip that the second stage has not seen.

``python -m experiments.eye.normal_strip --data "$LINEWATCH_DATA" --run runs/eye``, after `experiments.eye.maps`.

A kind of clean strip (`experiments.eye.kinds`) stands for a line. The second stage that judges it was fitted without
any frame of the kind, and without the fold of the frame judged; its network has not seen the frame (nor any real tread
plate, since all lie in one fold). What is normal is learned from the other frames of the kind, as `linewatch
learn-normal` does it. False defects are counted on the frame itself, recall on copies of it on which real defects of
its own fold were laid, which the network has not seen either. Maps are decided on by the product's `decide`.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.eye import maps as frame_maps
from experiments.eye.judge import MM_PER_LINE, MM_PER_PX, Found, Judged, judge, threshold_at_precision
from experiments.eye.kinds import kind_of
from experiments.eye.maps import ALL_MIRRORS, Maps, load_networks, maps_of
from experiments.eye.report import CALLED_PRECISION, TOLD_PRECISION
from linewatch.capture.edges import find_edges
from linewatch.config.capture import CaptureSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.alarm import AlarmNotice
from linewatch.contracts.evidence import evidence_names
from linewatch.contracts.frame import Frame
from linewatch.contracts.normal import FAINT, LearnedStrip, LineOfNormal, NormalModel, NormalStrip, traits_of
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.probability import ProbabilityModel, log_odds
from linewatch.contracts.verdict import DefectState
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.learn_normal import reference_of
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.second_stage import crossed, fit
from linewatch.metrics.intervals import intervals
from linewatch.networks.inspect import FrameNetwork
from linewatch.training.samples.blending import Blender
from linewatch.training.samples.labelled_frames import CLASSES, Folds, LabelledFrame, pieces_of, read_frames

NAMES = evidence_names(CLASSES)
COPIES = {"tread plate": 8, "painted": 6, "streaked": 5, "plain": 2}
"""How often defects are laid on each frame of a kind."""
RULES = DecisionRules(
    defect_threshold_u8=64,
    class_thresholds=dict.fromkeys(CLASSES, 0.5),
    min_area_mm2=4.0,
    merge_gap_mm=2.0,
    outlined_classes=frozenset(CLASSES),
)
"""All that is found is told, by its peak: the second stage is applied to its evidence here."""
LINE = LineOfNormal(side="top", camera="cam1", width_px=1600, mm_per_px=MM_PER_PX, mm_per_line=MM_PER_LINE)


@dataclass(frozen=True)
class FoundIn:
    """What was found in a frame: judged, and evidence float64 (n, len(NAMES))."""

    judged: Judged
    evidence: NDArray[np.float64]


def find(frame: LabelledFrame, gray: NDArray[np.uint8], maps: Maps, group: int) -> FoundIn:
    """Return what the product's decision finds in the maps of a frame."""
    lines, width = gray.shape
    edges = find_edges(gray, CaptureSettings())
    tiles = tiles_on(tile_grid(lines, width, lines, 256), edges)
    side = FrameNetwork.SCREEN_PX // FrameNetwork.OUTLINE_PX
    shares = maps.outlines[1:] / np.maximum(maps.outlines[1:].sum(0), 1e-6)
    planes = np.concatenate([np.kron(maps.screen, np.ones((side, side)))[None], maps.outlines[:1], shares])
    plane = np.kron(maps.outlines[0], np.ones((FrameNetwork.OUTLINE_PX,) * 2))
    shown = np.round(plane * 255).astype(np.uint8)
    prediction = Prediction(
        frame=Frame(
            pixels=gray,
            slot=None,
            ordinal=0,
            coil=frame.name,
            side="top",
            camera="cam1",
            sequence=0,
            first_line=0,
            lines=lines,
            valid_lines=lines,
            encoder_count=0,
            along_mm=0.0,
            mm_per_line=MM_PER_LINE,
            columns=AcrossMap(0.0, MM_PER_PX, gray.shape[1]),
            captured_ns=0,
        ),
        edges=edges,
        tiles=tiles,
        screen_scores=np.ones(len(tiles), np.float32),
        passed=np.ones(len(tiles), bool),
        class_scores=np.zeros((len(tiles), len(CLASSES)), np.float32),
        probability=np.stack([shown[:, tile.x : tile.x + tile.width] for tile in tiles])
        if tiles
        else np.zeros((0, lines, 256), np.uint8),
        classes=CLASSES,
        engines=("inspect",),
        scored_px=lines * max(0, edges.right_px - edges.left_px),
        maps=planes.astype(np.float32),
    )
    state, decided = decide(DecisionState.initial(), prediction, RULES)
    told = [one for one in (*decided, *finish(state)) if not isinstance(one, AlarmNotice)]
    events = [event for one in told for event in one.defects]
    defects = [one.defect for one in events if one.state is DefectState.CLOSED and one.merged_into is None]
    found = []
    for one in defects:
        (x0, x1), (y0, y1) = one.box.across_mm, one.box.along_mm
        box = tuple(round(at) for at in (x0 / MM_PER_PX, y0 / MM_PER_LINE, x1 / MM_PER_PX, y1 / MM_PER_LINE))
        found.append(Found(box, CLASSES.index(one.defect_class)))  # type: ignore[arg-type]
    evidence = np.array([[dict(one.evidence)[name] for name in NAMES] for one in defects]).reshape(-1, len(NAMES))
    return FoundIn(judge(frame, group, found), evidence)


def laid_frames(
    frames: Sequence[LabelledFrame], folds: Folds, networks: Mapping[int, FrameNetwork]
) -> Iterator[tuple[str, LabelledFrame, NDArray[np.uint8], Maps]]:
    """Yield copies of the clean frames with real defects of their own fold laid on: name, truth, image and maps."""
    for frame in frames:
        if not frame.clean or frame.doubtful:
            continue
        fold = folds.fold[frame.name]
        hosts = [other for other in folds.of(frames, fold) if other.outlined and not other.clean]
        blenders = [
            Blender.of((other.gray(), other.mask == 1 + k) for other in hosts if (other.mask == 1 + k).any())
            for k in range(len(CLASSES))
        ]
        rng = np.random.default_rng(int(frame.name, 16))
        for _ in range(COPIES[kind_of(frame.name)]):
            gray, mask = frame.gray(), np.zeros_like(frame.mask)
            for k in rng.choice([k for k in range(len(CLASSES)) if blenders[k].donors], 2).tolist():
                gray, there = blenders[k](gray, np.where(mask > 0, mask + 1, 0).astype(np.uint8), rng)
                mask = np.where(there == 1, 1 + k, mask).astype(np.uint8)
            classes = tuple((np.unique(mask[mask > 0]) - 1).tolist())
            truth = dataclasses.replace(frame, mask=mask, classes=classes, pieces=tuple(pieces_of(mask)))
            yield frame.name, truth, gray, maps_of(networks[fold], gray, ALL_MIRRORS)


def instances_of(found: Sequence[FoundIn], clean: Sequence[bool]) -> LabelledInstances:
    """Return the rows of these frames."""
    counts = [len(one.evidence) for one in found]
    return LabelledInstances.of(
        NAMES,
        np.concatenate([one.evidence for one in found]),
        np.concatenate([one.judged.right for one in found]),
        np.repeat([one.judged.group for one in found], counts),
        np.repeat(clean, counts),
        sum(clean),
    )


@dataclass(frozen=True)
class SecondStage:
    """A second stage, and the probability from which it tells or calls."""

    model: ProbabilityModel
    reference_rows: LabelledInstances
    least: dict[str, float]

    @classmethod
    def fitted(cls, found: Sequence[FoundIn], clean: Sequence[bool]) -> SecondStage:
        """Fit on these frames; the points reach their precision on them, each instance by other groups."""
        rows = instances_of(found, clean)
        probability, at, judged = crossed(rows), 0, []
        for one in found:
            judged.append(one.judged.believed(probability[at : at + len(one.evidence)]))
            at += len(one.evidence)
        least = {
            "told": threshold_at_precision(judged, TOLD_PRECISION),
            "called": threshold_at_precision(judged, CALLED_PRECISION),
        }
        model = fit(rows, "frames without the kind").model_copy(update={"tell_probability": least["told"]})
        return cls(model, rows, least)

    def log_odds(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-odds of each row."""
        return self.model.log_odds(evidence[:, [NAMES.index(name) for name in self.model.evidence]])

    def normal(self, clean: Sequence[FoundIn]) -> NormalModel:
        """Return what is normal on a line with these clean frames."""
        reference = reference_of(self.reference_rows, self.model, Path())
        evidence = np.concatenate([one.evidence for one in clean])
        odds = self.log_odds(evidence)
        near = odds >= log_odds(self.least["told"]) - FAINT
        strip = NormalStrip.of(reference.points(odds[near], traits_of(NAMES, evidence[near])), float(len(clean)))
        entry = LearnedStrip(learned_unix_ns=0, source="frames", m2=1.0, told=0, told_still=0)
        return NormalModel(line=LINE, engine="eye", reference=reference, strip=strip, learned=(entry,))


ROWS = ("false", "false_normal", "pieces", "hit", "hit_normal")


def row(stage: SecondStage, normal: NormalModel, point: str, frame: FoundIn, copies: Sequence[FoundIn]) -> list[int]:
    """Return ROWS of one clean frame and its copies, at `point`.

    A laid piece that something told of the clean frame lies on by chance does not count.
    """
    least = log_odds(stage.least[point])
    odds = stage.log_odds(frame.evidence)
    lowered = odds + normal.unlike_normal(odds, traits_of(NAMES, frame.evidence))
    counts = [int((odds >= least).sum()), int((lowered >= least).sum()), 0, 0, 0]
    told_anyway = [one for one, told in zip(frame.judged.found, odds >= least, strict=True) if told]
    for copy in copies:
        chance = judge(copy.judged.frame, 0, told_anyway).on.any(0)
        odds = stage.log_odds(copy.evidence)
        lowered = odds + normal.unlike_normal(odds, traits_of(NAMES, copy.evidence))
        counts[2] += int((~chance).sum())
        for i, kept in ((3, odds >= least), (4, lowered >= least)):
            counts[i] += int((copy.judged.on[kept].any(0) & ~chance).sum())
    return counts


def show(title: str, table: NDArray[np.int64], groups: Sequence[int]) -> None:
    """Print the sums of ROWS, and the shares with their intervals over groups."""

    def figures(rows: NDArray[np.intp]) -> dict[str, float | None]:
        false, after, pieces, hit, hit_after = table[rows].sum(0).tolist()
        return {
            "false left": after / false if false else None,
            "recall": hit / pieces if pieces else None,
            "recall with it": hit_after / pieces if pieces else None,
            "recall kept": hit_after / hit if hit else None,
        }

    ends = intervals(figures, groups)
    told = ", ".join(
        f"{name} {value:.3f} ({ends[name][0]:.3f} to {ends[name][1]:.3f})" if name in ends else f"{name} {value:.3f}"
        for name, value in figures(np.arange(len(table))).items()
        if value is not None
    )
    print(f"{title}: {len(table)} frames, {dict(zip(ROWS, table.sum(0).tolist(), strict=True))}; {told}", flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/eye"))
    options = parser.parse_args()
    frames, folds = read_frames(options.data), Folds.read()
    maps = frame_maps.read(options.run / "maps.npz")
    found = {one.name: find(one, one.gray(), maps[one.name], folds.group[one.name]) for one in frames}
    clean = {one.name: one.clean and not one.doubtful for one in frames}
    copies: dict[str, list[FoundIn]] = {name: [] for name, is_clean in clean.items() if is_clean}
    for name, truth, gray, laid in laid_frames(frames, folds, load_networks(options.run)[0]):
        copies[name].append(find(truth, gray, laid, folds.group[name]))
    kinds = {name: kind_of(name) for name in copies}
    tables: dict[tuple[str, str], list[list[int]]] = {}
    groups: dict[str, list[int]] = {}
    for kind in COPIES:
        stages: dict[int, SecondStage] = {}
        for name in [one for one in copies if kinds[one] == kind]:
            fold = folds.fold[name]
            if fold not in stages:
                used = [
                    one.name
                    for one in frames
                    if folds.fold[one.name] != fold and kinds.get(one.name) != kind and not one.doubtful
                ]
                stages[fold] = SecondStage.fitted([found[one] for one in used], [clean[one] for one in used])
            normal = stages[fold].normal([found[one] for one in kinds if kinds[one] == kind and one != name])
            groups.setdefault(kind, []).append(folds.group[name])
            for point in ("told", "called"):
                tables.setdefault((kind, point), []).append(row(stages[fold], normal, point, found[name], copies[name]))
    for (kind, point), table in tables.items():
        show(f"{kind}, {point}", np.array(table), groups[kind])
    for point in ("told", "called"):
        held = [kind for kind in COPIES if kind != "plain"]
        every = np.concatenate([tables[kind, point] for kind in held])
        show(f"all but plain, {point}", every, [group for kind in held for group in groups[kind]])
    show_mixed(frames, folds, found, clean)


def show_mixed(
    frames: Sequence[LabelledFrame], folds: Folds, found: Mapping[str, FoundIn], clean: Mapping[str, bool]
) -> None:
    """Print the figures of a line that rolls every kind: all frames, normal from all clean frames of other groups."""
    stages: dict[int, SecondStage] = {}
    counts: dict[str, list[list[int]]] = {"told": [], "called": []}
    judged_groups, times = [], []
    for frame in frames:
        if frame.doubtful:
            continue
        fold, group = folds.fold[frame.name], folds.group[frame.name]
        if fold not in stages:
            used = [one.name for one in frames if folds.fold[one.name] != fold and not one.doubtful]
            stages[fold] = SecondStage.fitted([found[one] for one in used], [clean[one] for one in used])
        stage, here = stages[fold], found[frame.name]
        normal = stage.normal([found[one] for one in found if clean[one] and folds.group[one] != group])
        odds = stage.log_odds(here.evidence)
        began = time.perf_counter()
        lowered = odds + normal.unlike_normal(odds, traits_of(NAMES, here.evidence))
        times.append(time.perf_counter() - began)
        judged_groups.append(group)
        for point, rows in counts.items():
            least = log_odds(stage.least[point])
            before, after = odds >= least, lowered >= least
            on = here.judged.on
            rows.append(
                [
                    int(before.sum()) if clean[frame.name] else 0,
                    int(after.sum()) if clean[frame.name] else 0,
                    len(frame.pieces),
                    int(on[before].any(0).sum()),
                    int(on[after].any(0).sum()),
                ]
            )
    for point, rows in counts.items():
        show(f"all frames, as one line, {point}", np.array(rows), judged_groups)
    print(f"unlike_normal: {np.median(times) * 1e3:.2f} ms a frame, at most {max(times) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
