"""Judges an engine or a checkpoint on any labelled set, by its task alone, with one code for both.

What was trained on is left out: pictures whose fingerprints the checkpoint (or the engine's ``seen.csv``) holds, and
for the shipped engines the pictures of folds 0-3 of ``configs/splits``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.datasets import HOUSE_SETS, DataSet, DatasetError, Knowledge, Specimen
from linewatch.datasets.splits import HELD_OUT_FOLD
from linewatch.export.engine_folder import OUTPUT_OF, onnx_bytes
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, load_engine
from linewatch.metrics import labels, masks, multi_label, windows
from linewatch.metrics.judgement import Judgement
from linewatch.metrics.pass_rate import STEEL_SHARE, TILE_STEP_PX, TileTruth, steel_columns, tile_scores
from linewatch.training.papers.study import resized
from linewatch.training.predictor import Predictor, TorchPredictor, answers
from linewatch.training.protocols import PAPER_RECIPES
from linewatch.training.runs import Trained, fingerprint, is_checkpoint, load, with_claims

MANIFEST, SEEN = "manifest.json", "seen.csv"
SURE_PX = 64
"""A tile shows a class from this many of its pixels on; with fewer, but some, the tile is not judged for it."""


@dataclass(frozen=True)
class Judgeable:
    """What can be judged: a predictor, and what is known of its inputs, outputs and past."""

    name: str
    task: Task
    classes: tuple[str, ...]
    thresholds: dict[str, float]
    lines: int
    width: int
    predict: Predictor
    onnx: Callable[[], bytes]
    """Its graph."""
    seen: frozenset[str]
    """Fingerprints of the pictures that it was fitted to; empty where only folds are known."""
    trained: Trained | None = None
    cell_px: int | None = None


class EnginePredictor:
    """An engine on a backend, one row at a time, as the service runs it."""

    def __init__(self, engine: Engine, backend: str = "onnxruntime"):
        (self.executor,) = open_backend(backend).open(engine.manifest, engine.model, (1,), 1)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray:
        return np.concatenate([self.executor.run(np.ascontiguousarray(row[None]), 1) for row in images])


def open_judgeable(target: str, engines_dir: Path = Path("engines"), backend: str = "onnxruntime") -> Judgeable:
    """A run folder, a `network.ckpt`, an engine's folder or an engine's name under `engines_dir`."""
    path = Path(target)
    if is_checkpoint(path):
        return of_checkpoint(load(path), target)
    folder = path if (path / MANIFEST).is_file() else engines_dir / target
    if not (folder / MANIFEST).is_file():
        raise EngineError(
            f"{target}: neither a run folder, nor a network.ckpt, nor an engine's folder, nor one of {engines_dir}"
        )
    return of_engine(folder, backend)


def of_checkpoint(trained: Trained, name: str) -> Judgeable:
    settings, study = trained.study.settings, trained.study
    return Judgeable(
        name,
        study.task,
        study.classes,
        trained.record.thresholds,
        settings.lines,
        settings.width,
        TorchPredictor(study.shipped(trained.network)),
        lambda: onnx_bytes(study.shipped(trained.network), settings.lines, settings.width, OUTPUT_OF[study.task]),
        frozenset(trained.record.seen),
        trained,
    )


def of_engine(folder: Path, backend: str = "onnxruntime") -> Judgeable:
    manifest = EngineManifest.model_validate_json((folder / MANIFEST).read_bytes())
    return of_loaded(load_engine(folder.resolve().parent, folder.resolve().name, manifest.task), backend)


def of_loaded(engine: Engine, backend: str = "onnxruntime") -> Judgeable:
    manifest = engine.manifest
    return Judgeable(
        manifest.name,
        manifest.task,
        manifest.classes,
        manifest.thresholds,
        manifest.input.lines,
        manifest.input.width,
        EnginePredictor(engine, backend),
        lambda: engine.model,
        _seen(engine.directory),
        cell_px=manifest.cell_px,
    )


def _seen(folder: Path) -> frozenset[str]:
    if not (folder / SEEN).is_file():
        return frozenset()
    with (folder / SEEN).open(newline="") as handle:
        return frozenset(row["sha256"] for row in csv.DictReader(handle))


def unseen(judgeable: Judgeable, data_set: DataSet) -> list[Specimen]:
    """The specimens that `judgeable` was not fitted to."""
    if judgeable.seen:
        return [one for one in data_set.specimens if fingerprint(one.path) not in judgeable.seen]
    return [one for one in data_set.specimens if one.fold is None or one.fold == HELD_OUT_FOLD]


def seen(judgeable: Judgeable, data_set: DataSet) -> list[Specimen]:
    """The specimens that `judgeable` is known to have been fitted to; of the shipped engines, folds 0-3."""
    if judgeable.seen:
        return [one for one in data_set.specimens if fingerprint(one.path) in judgeable.seen]
    if data_set.name not in HOUSE_SETS:
        return []
    return [one for one in data_set.specimens if one.fold is not None and one.fold != HELD_OUT_FOLD]


@dataclass(frozen=True)
class Headline:
    """The one figure that an engine is accepted by on a set, for any draw of its samples.

    of: the figure of the samples at these indices, None where they do not define it. groups: the picture of each
    sample. right: of a figure that is a share, the samples with it.
    """

    name: str
    of: Callable[[NDArray[np.intp]], float | None]
    groups: Sequence[str]
    right: NDArray[np.bool_] | None = None


def headline(
    judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> Headline | None:
    """Screen: recall where a tenth of the clean windows pass. Classify: top 1. Segment: mean Dice of the defective
    pictures. None where the set does not tell it.
    """
    outlined = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    match judgeable.task:
        case Task.CLASSIFY if not any(len(one.mask_labels) > 1 for one in outlined):
            scores, truth, _, files = _label_scores(judgeable, data_set, specimens, taxonomy)
            right = scores.argmax(1) == truth
            return Headline("top1", lambda at: float(right[at].mean()), files, right)
        case Task.SEGMENT if outlined:
            dice = _overlap(judgeable, outlined).image_dice()
            files = [one.file for one in outlined]
            return Headline("dice", lambda at: None if np.isnan(dice[at]).all() else float(np.nanmean(dice[at])), files)
        case Task.SCREEN if outlined and all(
            one.gray().shape == (judgeable.lines, judgeable.width) for one in outlined
        ):
            return window_headline([(judgeable, outlined)], data_set)
    return None


def window_headline(judged: Sequence[tuple[Judgeable, Sequence[Specimen]]], data_set: DataSet) -> Headline:
    """Recall where a tenth of the clean windows pass, over several screens, each on frames of its own."""
    found = [_window_scores(judgeable, data_set, specimens) for judgeable, specimens in judged]
    scores, defective = (np.concatenate([each[part] for each in found]) for part in (0, 1))
    files = [file for _, _, names in found for file in names]
    return Headline(
        "recall_at_10pct", lambda at: windows.recall_at_pass_rates(scores[at], defective[at])["0.10"], files
    )


def evaluate(judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy) -> Judgement:
    """The task's figures on `specimens`; of a checkpoint on the set that it was trained on, its paper's as well."""
    if not specimens:
        raise DatasetError(
            f"{data_set.name}: {judgeable.name} was trained on all of its pictures; --all judges on them all the same"
        )
    judge = {Task.CLASSIFY: _classify, Task.SEGMENT: _segment, Task.SCREEN: _screen}[judgeable.task]
    found, trained = judge(judgeable, data_set, specimens, taxonomy), judgeable.trained
    if trained is None or trained.record.data_set != data_set.name:
        return found
    own = trained.study.judge([trained.judged(specimens)], None)
    return with_claims(_completed(found, own), PAPER_RECIPES[trained.record.recipe], data_set.name)


def _completed(found: Judgement, own: Judgement) -> Judgement:
    """The task's figures, which an engine has as well, and beside them those that only the paper's protocol gives."""
    lacking = {
        name: value
        for name, value in dict(own).items()
        if getattr(found, name) in (None, {}) and value not in (None, {})
    }
    known = Judgement.model_validate({**dict(found), **lacking, "intervals": {}, "paper": {}}).figures()
    intervals = {name: at for name, at in own.intervals.items() if name in known and name.split(".")[0] in lacking}
    return Judgement.model_validate(
        {**dict(found), **lacking, "intervals": {**found.intervals, **intervals}, "paper": {}}
    )


def column_of(label: str, judgeable: Judgeable, data_set: str, taxonomy: Taxonomy) -> int:
    """The output of `judgeable` that means the set's `label`: by its own name, or one joined of several
    (`2+3`), or by the taxonomy's.
    """
    house = taxonomy.sets[data_set].labels.get(label) if data_set in taxonomy.sets else None
    for number, name in enumerate(judgeable.classes):
        if name in (label, house) or label in name.split("+"):
            return number
    raise DatasetError(
        f"{data_set}: label {label!r} is no class of {judgeable.name}, which knows {', '.join(judgeable.classes)}; "
        "map it in configs/taxonomy.toml, or judge another network"
    )


def _classify(judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy) -> Judgement:
    if any(one.knowledge is Knowledge.OUTLINED and len(one.mask_labels) > 1 for one in specimens):
        return _classify_frames(judgeable, data_set, specimens, taxonomy)
    scores, truth, names, files = _label_scores(judgeable, data_set, specimens, taxonomy)
    return labels.judge(scores, truth, names, files)


def _label_scores(
    judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> tuple[NDArray, NDArray[np.intp], list[str], list[str]]:
    """Scores (n, the set's classes), true class numbers, the classes' names, files."""
    specimens = [one for one in specimens if one.labels]
    columns = {label: column_of(label, judgeable, data_set.name, taxonomy) for label in data_set.labels}
    order = list(dict.fromkeys(columns.values()))
    size = (judgeable.width, judgeable.lines)
    scores = answers(judgeable.predict, [resized(one.gray(), size) for one in specimens])
    truth = np.array([order.index(columns[one.labels[0]]) for one in specimens])
    return scores[:, order], truth, [judgeable.classes[c] for c in order], [one.file for one in specimens]


def _classify_frames(
    judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> Judgement:
    """Over the grid tiles of outlined frames that lie on the strip."""
    frames = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    column = {
        label: column_of(label, judgeable, data_set.name, taxonomy)
        for label in dict.fromkeys(label for one in frames for label in one.mask_labels)
    }
    columns = sorted(set(column.values()))
    images, truth, known, files = [], [], [], []
    for frame in frames:
        gray, mask = frame.gray(), frame.mask()
        steel = steel_columns(gray)
        for x in range(0, gray.shape[1] - judgeable.width + 1, min(TILE_STEP_PX, judgeable.width)):
            if steel[x : x + judgeable.width].mean() < 0.25:
                continue
            window = np.s_[: judgeable.lines, x : x + judgeable.width]
            area = np.zeros(len(columns), np.int64)
            for value, label in enumerate(frame.mask_labels, 1):
                area[columns.index(column[label])] += int((mask[window] == value).sum())
            images.append(resized(gray[window], (judgeable.width, judgeable.lines)))
            truth.append(area >= SURE_PX)
            known.append((area == 0) | (area >= SURE_PX))
            files.append(frame.file)
    scores = answers(judgeable.predict, images)[:, columns]
    names = [judgeable.classes[column] for column in columns]
    limits = [judgeable.thresholds[name] for name in names]
    sure = np.all(known, axis=1)
    return multi_label.judge(scores[sure], np.array(truth)[sure], names, limits, np.array(files)[sure])


def _segment(judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy) -> Judgement:
    """Over whole pictures, at their own size."""
    outlined = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    if not outlined:
        raise DatasetError(
            f"{data_set.name}: has no masks, but {judgeable.name} is judged by them; name a set with masks"
        )
    overlap = _overlap(judgeable, outlined)
    found = masks.judge(overlap, ["defect"], groups=[one.file for one in outlined])
    return found.model_copy(update={"dice_per_class": _dice_by_label(overlap.image_dice(), outlined)})


def _overlap(judgeable: Judgeable, outlined: Sequence[Specimen]) -> masks.Overlap:
    parts = []
    for one in outlined:
        called = probability(judgeable, one.gray())
        parts.append(masks.Overlap.of(called[None], one.mask()[None] > 0, judgeable.thresholds["defect"]))
    return masks.Overlap.joined(parts)


def _dice_by_label(dice: NDArray[np.float64], specimens: Sequence[Specimen]) -> dict[str, float | None]:
    """Mean Dice of the pictures that show one label only, by label."""
    of: dict[str, list[float]] = {}
    for value, one in zip(dice, specimens, strict=True):
        if len(one.labels) == 1 and not np.isnan(value):
            of.setdefault(one.labels[0], []).append(float(value))
    return {label: float(np.mean(values)) for label, values in sorted(of.items())}


def probability(judgeable: Judgeable, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Defect probability x 255, of the picture's own shape: tile by tile over a strip frame, a patch at one go."""
    found = np.zeros_like(gray)
    for window in windows_of(gray.shape, judgeable.lines, judgeable.width):
        tile = np.ascontiguousarray(gray[window])
        answer = judgeable.predict(resized(tile, (judgeable.width, judgeable.lines))[None, None])[0]
        np.maximum(found[window], resized(answer, tile.shape[::-1]), out=found[window])
    return found


def windows_of(shape: tuple[int, ...], lines: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Where a network of lines x width looks in a picture: at all of a patch; at a frame of twice its width or more in
    overlapping windows of its own size.
    """
    if shape[1] < 2 * width:
        yield np.s_[:, :]
        return
    for x in dict.fromkeys([*range(0, shape[1] - width, min(TILE_STEP_PX, width)), shape[1] - width]):
        yield np.s_[: min(lines, shape[0]), x : x + width]


def _screen(judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy) -> Judgement:
    return windows.judge(*_window_scores(judgeable, data_set, specimens))


def _window_scores(
    judgeable: Judgeable, data_set: DataSet, specimens: Sequence[Specimen]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Score, truth and file of each window that counts."""
    frames = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    shape = (judgeable.lines, judgeable.width)
    pictures = [(one.gray(), one.mask(), one.file) for one in frames]
    pictures = [each for each in pictures if each[0].shape == shape]
    if not pictures:
        raise DatasetError(
            f"{data_set.name}: has no outlined frames of {shape[0]} x {shape[1]}, which {judgeable.name} is judged by; "
            "name a set of strip frames"
        )
    assert judgeable.cell_px is not None
    cells = answers(judgeable.predict, [gray for gray, _, _ in pictures])
    scores, defective, files = [], [], []
    for (gray, mask, file), of in zip(pictures, cells, strict=True):
        steel = steel_columns(gray)
        truth = TileTruth.of(mask, steel)
        counts = (truth.defect_px > 0) | (truth.steel_share >= STEEL_SHARE)
        scores.append(tile_scores(of, judgeable.cell_px, steel)[counts])
        defective.append(truth.defect_px[counts] > 0)
        files += [file] * int(counts.sum())
    return np.concatenate(scores), np.concatenate(defective), files
