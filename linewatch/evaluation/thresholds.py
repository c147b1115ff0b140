"""Choice of an engine's thresholds on labelled pictures: `linewatch fit-thresholds`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import MANIFEST, EngineManifest, Task
from linewatch.datasets import DataSet, DatasetError, Knowledge, Specimen
from linewatch.datasets.arguments import OwnSets, complete, open_sets
from linewatch.datasets.check import tell
from linewatch.evaluation.evaluate import EvaluationTarget, column_of, of_loaded, probability, unseen, window_scores
from linewatch.files import write_file
from linewatch.inference.engines import find_engine
from linewatch.metrics.curves import threshold_by_f1
from linewatch.metrics.masks import MaskAreas
from linewatch.metrics.windows import WindowScores
from linewatch.training.papers.study import resized
from linewatch.training.predictor import answers

F1_SLACK = 0.01
"""As for the shipped classifier: the highest threshold whose F1 is this near to the best."""
PASS_RATE = 0.1
"""Share of the clean windows that a screen may pass."""
_HEADING = "## Calibration by `linewatch fit-thresholds`"
_MASK_STEPS = tuple(round(step / 20, 2) for step in range(1, 20))
_MOST_LENGTHS = 2
"""A picture this many times as wide as a tile is a frame, not a tile."""


@dataclass(frozen=True)
class ChosenThresholds:
    """Thresholds that were written to a manifest. pictures: how many they were chosen on. notes: what was left out."""

    manifest: EngineManifest
    before: dict[str, float]
    pictures: int
    notes: tuple[str, ...]


def fit_thresholds(name: str, data: Sequence[str], engines_dir: Path, own: OwnSets = OwnSets()) -> ChosenThresholds:
    """Choose the thresholds of the engine `name` on every set that `data` names, and write them to its manifest.

    own: how users' own sets are read.

    classify: for each class the highest threshold within 0.01 of the best F1. segment: the threshold of the best Dice
    over all pixels. screen: the lowest that passes a tenth of the clean windows. Pictures of its training are left out.
    Raises EngineError for an engine, and DatasetError for pictures, that cannot be used.
    """
    if not data:
        raise ConfigError("fit-thresholds: expected labelled pictures by --data NAME=DIR")
    target = of_loaded(find_engine(engines_dir, name))
    sets = [(data_set, unseen(target, data_set)) for data_set in map(complete, open_sets(data, own))]
    for data_set, _ in sets:
        tell(data_set)
    chosen, pictures, notes = {Task.CLASSIFY: _by_label, Task.SEGMENT: _by_mask, Task.SCREEN: _by_window}[target.task](
        target, sets
    )
    folder = engines_dir / name
    manifest = EngineManifest.parse((folder / MANIFEST).read_bytes())
    before = dict(manifest.thresholds)
    manifest = manifest.model_copy(
        update={"thresholds": before | {key: round(value, 4) for key, value in chosen.items()}}
    )
    write_file(folder / MANIFEST, manifest.text().encode())
    _tell_card(folder / "CARD.md", manifest, ", ".join(data_set.name for data_set, _ in sets), pictures)
    return ChosenThresholds(manifest, before, pictures, notes)


def _by_label(
    target: EvaluationTarget, sets: Sequence[tuple[DataSet, Sequence[Specimen]]]
) -> tuple[dict[str, float], int, tuple[str, ...]]:
    taxonomy, tiles, truth, clean = Taxonomy.read(), [], [], set[str]()
    for data_set, specimens in sets:
        for one in specimens:
            if not one.labels:
                continue
            gray = one.gray()
            if gray.shape[1] >= _MOST_LENGTHS * target.width:
                raise DatasetError(
                    f"{one.path}: is {gray.shape[0]} x {gray.shape[1]}, a frame; thresholds of a classifier are chosen "
                    f"on pictures of about a tile, {target.lines} x {target.width}: cut them out"
                )
            columns = {label: _column(label, target, data_set.name, taxonomy) for label in one.labels}
            clean |= {label for label, column in columns.items() if column is None}
            tiles.append(resized(gray, (target.width, target.lines)))
            truth.append([number in columns.values() for number in range(len(target.classes))])
    known = np.array(truth, bool).reshape(len(tiles), len(target.classes))
    if not known.any():
        raise DatasetError(
            f"no picture shows a class of {target.name} ({', '.join(target.classes)}), found the labels "
            f"{', '.join(sorted(clean)) or 'none'}; name the engine's classes as the set does, or map them in "
            "configs/taxonomy.toml"
        )
    scores = answers(target.predict, tiles)
    both = [bool(known[:, number].any() and not known[:, number].all()) for number in range(len(target.classes))]
    chosen = {
        name: threshold_by_f1(scores[:, number], known[:, number], F1_SLACK)
        for number, name in enumerate(target.classes)
        if both[number]
    }
    left = [name for name, chosen_on in zip(target.classes, both, strict=True) if not chosen_on]
    notes = [f"taken as clean steel: {', '.join(sorted(clean))}"] if clean else []
    notes += [f"left as they are, without pictures both of the class and of others: {', '.join(left)}"] if left else []
    return chosen, len(tiles), tuple(notes)


def _by_mask(
    target: EvaluationTarget, sets: Sequence[tuple[DataSet, Sequence[Specimen]]]
) -> tuple[dict[str, float], int, tuple[str, ...]]:
    outlined = [one for _, specimens in sets for one in specimens if one.knowledge is Knowledge.OUTLINED]
    if not outlined:
        raise DatasetError(f"no picture has a mask, by which {target.name} is calibrated; name a set with masks")
    areas: dict[float, list[MaskAreas]] = {step: [] for step in _MASK_STEPS}
    for one in outlined:
        found, mask = probability(target, one.gray())[None], one.mask()[None] > 0
        for step, of in areas.items():
            of.append(MaskAreas.of(found, mask, step))
    dice = {step: _pooled_dice(MaskAreas.joined(of)) for step, of in areas.items()}
    return {"defect": max(dice, key=dice.__getitem__)}, len(outlined), ()


def _pooled_dice(areas: MaskAreas) -> float:
    return float(2 * areas.both.sum() / max(areas.called.sum() + areas.true.sum(), 1))


def _by_window(
    target: EvaluationTarget, sets: Sequence[tuple[DataSet, Sequence[Specimen]]]
) -> tuple[dict[str, float], int, tuple[str, ...]]:
    found = [window_scores(target, data_set, specimens) for data_set, specimens in sets]
    scores, defective, files = (np.concatenate([np.asarray(each[part]) for each in found]) for part in range(3))
    if defective.all() or not defective.any():
        raise DatasetError(f"the frames show defects alone, or none; {target.name} needs both to be calibrated")
    windows = WindowScores(scores, defective, files)
    threshold = min(windows.threshold(PASS_RATE), 1.0)
    note = (
        f"passes {windows.recall(threshold):.0%} of the defective and {windows.pass_rate(threshold):.0%} of the clean"
    )
    return {"pass": threshold}, len(set(files)), (f"{note} windows",)


def _column(label: str, target: EvaluationTarget, data_set: str, taxonomy: Taxonomy) -> int | None:
    try:
        return column_of(label, target, data_set, taxonomy)
    except DatasetError:
        return None


def _tell_card(card: Path, manifest: EngineManifest, sets: str, pictures: int) -> None:
    """Append the thresholds to the card, in place of those of an earlier calibration."""
    if not card.is_file():
        return
    text = card.read_text().partition("## Calibration by ")[0]
    chosen = ", ".join(f"{name} {value:.2f}" for name, value in manifest.thresholds.items())
    card.write_text(f"{text.rstrip()}\n\n{_HEADING}\nChosen on {pictures} pictures of {sets}: {chosen}.\n")
