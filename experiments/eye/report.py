"""Print the figures of a training run, each frame by a network that has not seen it.

``python -m experiments.eye.report --data DIR --out runs/eye [--pictures docs/pictures]``, after `maps` and `shipped`.
Fits and writes `probability.json` too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.eye import maps as frame_maps
from experiments.eye import shipped
from experiments.eye.instances import FEATURES, find_instances
from experiments.eye.judge import (
    Judged,
    Score,
    ground_shared,
    precision_and_recall,
    recall_by_class,
    score,
    threshold_at_precision,
)
from experiments.eye.maps import Maps
from experiments.eye.probability import Table
from linewatch.metrics.calibration import calibration_error
from linewatch.metrics.intervals import intervals
from linewatch.metrics.tiles import TileTruth, steel_columns, tile_scores
from linewatch.metrics.windows import WindowScores
from linewatch.networks.inspect import FrameNetwork
from linewatch.training.samples.labelled_frames import UNKNOWN, Folds, LabelledFrame, read_frames

TOLD_PRECISION, CALLED_PRECISION = 0.60, 0.80
"""What an operating point must reach on the folds that it is chosen on."""


def instance_table(frames: Sequence[LabelledFrame], folds: Folds, maps: Mapping[str, Maps]) -> Table:
    """Return every instance that the networks propose."""
    found = {frame.name: find_instances(maps[frame.name], frame.gray()) for frame in frames}
    return Table.of(frames, folds, found, FEATURES)


def shipped_table(frames: Sequence[LabelledFrame], folds: Folds, told: Mapping[str, Sequence[shipped.Told]]) -> Table:
    """Return every defect that the shipped cascade publishes."""
    found = {frame.name: [one.instance for one in told[frame.name]] for frame in frames}
    return Table.of(frames, folds, found, shipped.FEATURES)


def show(title: str, of: Score) -> None:
    """Print the figures of one operating point."""
    counts = of.counts
    say(
        f"{title}: recall {of.told('recall')} of {counts['true']}, precision {of.told('precision')} of "
        f"{counts['found']}, right class {of.told('right_class')}; on {counts['clean']} clean frames "
        f"{counts['false_on_clean']} false, {counts['clean_touched']} frames touched"
    )


def show_called(called: Sequence[Judged]) -> None:
    """Print further figures of what is called."""
    found, true, shared = ground_shared(called)
    say(f"  called by class: {recall_by_class(called)}; boxes on {found:.1%} of the ground, true ones on {true:.1%},")
    say(f"    intersection over union {shared:.2f}")


def show_second_stage(title: str, table: Table) -> tuple[NDArray[np.float64], dict[float, list[Judged]]]:
    """Print the figures of a second stage; return the probabilities and the frames at both operating points."""
    probability, usable = table.crossed(), table.usable
    group = table.group[usable].tolist()

    def figures(rows: NDArray[np.intp]) -> dict[str, float | None]:
        return {"error": calibration_error(probability[usable][rows], table.right[usable][rows])}

    low, high = intervals(figures, group)["error"]
    error = calibration_error(probability[usable], table.right[usable])
    say(f"{title}: {usable.sum()} instances, {table.right[usable].sum()} right; calibration error {error:.3f}")
    say(f"    ({low:.3f} to {high:.3f}; resampling adds to it)")
    show("  proposed", score(table.judged(probability)))
    points = {}
    for name, least in (("told", TOLD_PRECISION), ("called", CALLED_PRECISION)):
        points[least], chosen = table.operated(least)
        show(f"  {name}, chosen without the fold ({', '.join(f'{one:.2f}' for one in chosen)})", score(points[least]))
        at = threshold_at_precision(table.judged(probability), least)
        show(
            f"  {name}, one point for all ({at:.2f}), chosen on them",
            score([one.at(at) for one in table.judged(probability)]),
        )
    show_called(points[CALLED_PRECISION])
    return probability, points


def screen_merit(frames: Sequence[LabelledFrame], maps: Mapping[str, Maps]) -> WindowScores:
    """Return the scores of the screen's head for the tiles of frames with outlines."""
    kept = [frame for frame in frames if frame.outlined and not frame.doubtful]
    steel = [steel_columns(frame.gray()) for frame in kept]
    scores = [
        tile_scores(maps[frame.name].screen, FrameNetwork.SCREEN_PX, columns)
        for frame, columns in zip(kept, steel, strict=True)
    ]
    return WindowScores.of_tiles(
        scores, [TileTruth.of(frame.mask, columns) for frame, columns in zip(kept, steel, strict=True)]
    )


def dice(frame: LabelledFrame, maps: Maps) -> float:
    """Return the Dice of the outline of any class at 0.5, by pixels."""
    found = np.kron(maps.outlines[0] >= 0.5, np.ones((FrameNetwork.OUTLINE_PX,) * 2, bool))
    true = (frame.mask > 0) & (frame.mask != UNKNOWN)
    return float(2 * (found & true).sum() / max(int(found.sum() + true.sum()), 1))


def draw(table: Table, probability: NDArray[np.float64], compared: Mapping[str, list[Judged]], folder: Path) -> None:
    """Draw precision against recall, and the reliability of the probability."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    curve, reliability = figure.subplots(1, 2)
    _, precisions, recalls = precision_and_recall(table.judged(probability))
    curve.plot(recalls, precisions, label="frame network and second stage, all frames")
    for name, judged in compared.items():
        at = score(judged)
        curve.plot(at.figures["recall"] or 0.0, at.figures["precision"] or 0.0, "o", label=name)
    curve.axhline(CALLED_PRECISION, color="0.7", lw=0.8)
    curve.axvline(0.70, color="0.7", lw=0.8)
    curve.set(xlabel="recall of true pieces", ylabel="precision of instances", xlim=(0, 1), ylim=(0, 1.02))
    curve.legend(loc="lower left", fontsize=8)
    p, right = probability[table.usable], table.right[table.usable]
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), 10) if len(part)]
    reliability.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    reliability.plot([p[part].mean() for part in parts], [right[part].mean() for part in parts], "o-")
    reliability.set(xlabel="probability that is told", ylabel="share of instances on a true piece")
    figure.savefig(folder / "eye-precision-recall.png", dpi=100)


def say(text: str) -> None:
    """Print a line."""
    print(text)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    frames, folds = read_frames(options.data), Folds.read()
    maps, told = frame_maps.read(options.out / "maps.npz"), shipped.read(options.out / "shipped.json")
    new = [frame.name for frame in shipped.unseen(frames)]

    ours = shipped_table([frame for frame in frames if frame.name in new], folds, told)
    called = np.array([one.called for frame in frames if frame.name in new for one in told[frame.name]], float)
    as_told, as_called = ours.judged(called + 1), [one.at(0.5) for one in ours.judged(called)]
    say(f"The shipped cascade, on the {len(new)} frames that it has not seen")
    show("  told", score(as_told))
    show("  called", score(as_called))
    show_called(as_called)
    show_second_stage("A second stage on what it tells", ours)

    table = instance_table(frames, folds, maps)
    show_second_stage("The frame network, by its outlines' peaks alone", table.only("peak"))
    probability, points = show_second_stage(f"The frame network, {len(frames)} frames", table)
    say(f"The same points, on the {len(new)} frames that the shipped cascade has not seen")
    for name, least in (("told", TOLD_PRECISION), ("called", CALLED_PRECISION)):
        show(f"  {name}", score([one for one in points[least] if one.frame.name in new]))
    merit = screen_merit(frames, maps)
    low, high = merit.interval(0.1)
    say(
        f"Screen: recall {merit.recall_at(0.05):.3f} at 5 %, {merit.recall_at(0.1):.3f} ({low:.3f} to {high:.3f}) "
        f"at 10 % of clean tiles passed, AUC {merit.auc():.3f}"
    )
    outlined = [frame for frame in frames if frame.outlined and not frame.clean]
    each = np.array([dice(frame, maps[frame.name]) for frame in outlined])
    group = [folds.group[frame.name] for frame in outlined]
    low, high = intervals(lambda rows: {"dice": float(each[rows].mean())}, group)["dice"]
    say(f"Dice, mean of {len(each)} defective frames: {each.mean():.3f} ({low:.3f} to {high:.3f})")
    model = table.fitted(np.ones(len(table.right), bool))
    (options.out / "probability.json").write_text(model.model_dump_json(indent=1) + "\n")
    if options.pictures:
        compared = {
            "shipped, called, frames new to it": as_called,
            "shipped, told, frames new to it": as_told,
            "frame network, called, the same frames": [
                one for one in points[CALLED_PRECISION] if one.frame.name in new
            ],
        }
        draw(table, probability, compared, options.pictures)


if __name__ == "__main__":
    main()
