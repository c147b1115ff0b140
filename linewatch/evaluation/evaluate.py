"""Evaluation of an engine or a checkpoint on a labelled set, by its task, with the same code for both.

Images that the target was trained on are left out: those whose fingerprints the checkpoint (or the engine's
``seen.csv``) holds, and for the shipped engines those of folds 0-3 of ``configs/splits``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import MANIFEST, OUTPUT_OF, EngineManifest, Task
from linewatch.datasets import HOUSE_SETS, DataSet, DatasetError, Knowledge, Specimen
from linewatch.datasets.check import require_choice
from linewatch.datasets.class_names import is_clean
from linewatch.datasets.seen import fingerprint, seen_by
from linewatch.datasets.splits import HELD_OUT_FOLD
from linewatch.export.engine_folder import onnx_bytes
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, load_engine
from linewatch.metrics import labels, masks, multi_label, windows
from linewatch.metrics.inspected import InspectScores
from linewatch.metrics.result import EvaluationResult
from linewatch.metrics.tiles import STEEL_SHARE, TILE_STEP_PX, TileTruth, steel_columns, tile_scores
from linewatch.training.papers.study import resized
from linewatch.training.predictor import Predictor, TorchPredictor, answers
from linewatch.training.protocols import PAPER_PROTOCOLS
from linewatch.training.runs import TrainedNetwork, is_checkpoint, load, with_claims

SURE_PX = 64
"""A tile shows a class from this many of its pixels on; a tile with some, but fewer, is not evaluated for it."""


@dataclass(frozen=True)
class EvaluationTarget:
    """An engine or a checkpoint: its predictor, and what is known of its inputs, outputs and training."""

    name: str
    task: Task
    classes: tuple[str, ...]
    thresholds: dict[str, float]
    lines: int
    width: int
    predict: Predictor
    onnx: Callable[[], bytes]
    """Returns its ONNX graph."""
    seen: frozenset[str]
    """Fingerprints of the images that it was trained on; empty if only folds are known."""
    trained: TrainedNetwork | None = None
    cell_px: int | None = None


class EnginePredictor:
    """An engine on a backend, one row at a time, as the service runs it."""

    def __init__(self, engine: Engine, backend: str = "onnxruntime"):
        (self.executor,) = open_backend(backend).open(engine.manifest, engine.model, (1,), 1)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray:
        return np.concatenate([self.executor.run(np.ascontiguousarray(row[None]), 1) for row in images])


def open_target(name: str, engines_dir: Path = Path("engines"), backend: str = "onnxruntime") -> EvaluationTarget:
    """Open a run folder, a `network.ckpt`, an engine's folder or an engine by its name under `engines_dir`."""
    path = Path(name)
    if is_checkpoint(path):
        return of_checkpoint(load(path), name)
    folder = path if (path / MANIFEST).is_file() else engines_dir / name
    if not (folder / MANIFEST).is_file():
        raise EngineError(
            f"{name}: neither a run folder, nor a network.ckpt, nor an engine's folder, nor one of {engines_dir}"
        )
    return of_engine(folder, backend)


def of_checkpoint(trained: TrainedNetwork, name: str) -> EvaluationTarget:
    settings, study = trained.study.settings, trained.study
    return EvaluationTarget(
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


def of_engine(folder: Path, backend: str = "onnxruntime") -> EvaluationTarget:
    manifest = EngineManifest.parse((folder / MANIFEST).read_bytes())
    return of_loaded(load_engine(folder.resolve().parent, folder.resolve().name, manifest.task), backend)


def of_loaded(engine: Engine, backend: str = "onnxruntime") -> EvaluationTarget:
    manifest = engine.manifest
    return EvaluationTarget(
        manifest.name,
        manifest.task,
        manifest.classes,
        manifest.thresholds,
        manifest.input.lines,
        manifest.input.width,
        EnginePredictor(engine, backend),
        lambda: engine.model,
        seen_by(engine.directory),
        cell_px=manifest.cell_px,
    )


def unseen(target: EvaluationTarget, data_set: DataSet) -> list[Specimen]:
    """Return the specimens that `target` was not trained on."""
    if target.seen:
        return [one for one in data_set.specimens if fingerprint(one.path) not in target.seen]
    return [one for one in data_set.specimens if one.fold is None or one.fold == HELD_OUT_FOLD]


def seen(target: EvaluationTarget, data_set: DataSet) -> list[Specimen]:
    """Return the specimens that `target` is known to have been trained on; for the shipped engines, folds 0-3."""
    if target.seen:
        return [one for one in data_set.specimens if fingerprint(one.path) in target.seen]
    if data_set.name not in HOUSE_SETS:
        return []
    return [one for one in data_set.specimens if one.fold is not None and one.fold != HELD_OUT_FOLD]


@dataclass(frozen=True)
class Headline:
    """The one metric that an engine is accepted by on a set, for any draw of its samples.

    of: returns the metric of the samples at these indices, None where it is undefined. groups: the image of each
    sample. correct: for a metric that is the share of correct samples, which those are.
    """

    name: str
    of: Callable[[NDArray[np.intp]], float | None]
    groups: Sequence[str]
    correct: NDArray[np.bool_] | None = None


def headlines(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> list[Headline]:
    """Return the headline metrics of a target on a set; none if the set lacks the labels for them.

    Screen: recall where a tenth of the clean windows pass. Classify: top 1. Segment: mean Dice of the defective images.
    Inspect: see `frame_headlines`.
    """
    outlined = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    match target.task:
        case Task.CLASSIFY if not any(len(one.mask_labels) > 1 for one in outlined):
            scores, truth, _, files = _label_scores(target, data_set, specimens, taxonomy)
            correct = scores.argmax(1) == truth
            return [Headline("top1", lambda at: float(correct[at].mean()), files, correct)]
        case Task.SEGMENT if outlined:
            dice = _areas(target, outlined).image_dice()
            files = [one.file for one in outlined]
            return [
                Headline("dice", lambda at: None if np.isnan(dice[at]).all() else float(np.nanmean(dice[at])), files)
            ]
        case Task.SCREEN | Task.INSPECT if outlined and all(
            one.gray().shape == (target.lines, target.width) for one in outlined
        ):
            return frame_headlines([(target, outlined)], data_set)
    return []


def frame_headlines(parts: Sequence[tuple[EvaluationTarget, Sequence[Specimen]]], data_set: DataSet) -> list[Headline]:
    """Return the headline metrics of networks of whole frames, each on outlined frames of its own.

    Screen: the recall where a tenth of the clean windows pass. Inspect: that of its screen plane, the mean Dice of the
    defective frames at its threshold, and the share of the true pieces that its defect plane finds.
    """
    if parts[0][0].task is Task.SCREEN:
        return [_window_headline(parts, data_set)]
    frames = [(target, one) for target, specimens in parts for one in specimens]
    answered = ((one.gray(), one.mask(), target.predict(one.gray()[None, None])[0]) for target, one in frames)
    first = parts[0][0]
    assert first.cell_px is not None
    scores = InspectScores.of(answered, first.cell_px, first.thresholds["defect"])
    files = np.array([one.file for _, one in frames])
    windows, found = scores.windows, scores.found
    return [
        Headline(
            "recall_at_10pct", lambda at: windows.at(at).recall_at(0.1), files[windows.groups.astype(int)].tolist()
        ),
        Headline("dice", scores.mean_dice, files.tolist()),
        Headline("piece_recall", lambda at: float(found[at].mean()), files[scores.of_frame].tolist(), found),
    ]


def _window_headline(parts: Sequence[tuple[EvaluationTarget, Sequence[Specimen]]], data_set: DataSet) -> Headline:
    found = [window_scores(target, data_set, specimens) for target, specimens in parts]
    scores, defective = (np.concatenate([each[part] for each in found]) for part in (0, 1))
    files = [file for _, _, names in found for file in names]
    return Headline(
        "recall_at_10pct", lambda at: windows.recall_at_pass_rates(scores[at], defective[at])["0.10"], files
    )


def evaluate(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> EvaluationResult:
    """Return the task's metrics on `specimens`; for a checkpoint on its own set, its paper's metrics, too."""
    if not specimens:
        raise DatasetError(
            f"{data_set.name}: {target.name} was trained on all of its images; --all evaluates on them nevertheless"
        )
    by_task = {
        Task.CLASSIFY: _classify,
        Task.SEGMENT: _segment,
        Task.SCREEN: _screen,
        Task.INSPECT: _screen,
    }[target.task]
    found, trained = by_task(target, data_set, specimens, taxonomy), target.trained
    if trained is None or trained.record.data_set != data_set.name:
        return found
    own = trained.study.evaluate([trained.held_out(specimens)], None)
    return with_claims(_completed(found, own), PAPER_PROTOCOLS[trained.record.protocol], data_set.name)


def _completed(found: EvaluationResult, own: EvaluationResult) -> EvaluationResult:
    """Return the task's metrics, which an engine has, too, with those added that only the paper's protocol defines."""
    lacking = {
        name: value
        for name, value in dict(own).items()
        if getattr(found, name) in (None, {}) and value not in (None, {})
    }
    known = EvaluationResult.model_validate({**dict(found), **lacking, "intervals": {}, "paper": {}}).metrics()
    intervals = {name: at for name, at in own.intervals.items() if name in known and name.split(".")[0] in lacking}
    return EvaluationResult.model_validate(
        {**dict(found), **lacking, "intervals": {**found.intervals, **intervals}, "paper": {}}
    )


def column_of(label: str, target: EvaluationTarget, data_set: str, taxonomy: Taxonomy) -> int:
    """Return the number of the target's output for the set's `label`.

    It has the label's name, a name joined of several labels (`2+3`), or the taxonomy's house class.
    """
    house = taxonomy.sets[data_set].labels.get(label) if data_set in taxonomy.sets else None
    for number, name in enumerate(target.classes):
        if name in (label, house) or label in name.split("+"):
            return number
    raise DatasetError(
        f"{data_set}: label {label!r} is no class of {target.name}, which has {', '.join(target.classes)}; "
        "map it in configs/taxonomy.toml, or evaluate another network"
    )


def _classify(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> EvaluationResult:
    if any(one.knowledge is Knowledge.OUTLINED and len(one.mask_labels) > 1 for one in specimens):
        return _classify_frames(target, data_set, specimens, taxonomy)
    scores, truth, names, files = _label_scores(target, data_set, specimens, taxonomy)
    return labels.evaluate(scores, truth, names, files)


def _label_scores(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> tuple[NDArray, NDArray[np.intp], list[str], list[str]]:
    """Return scores (n, the set's classes), true class numbers (n,), the classes' names, and files.

    A target without a class for clean steel gives it what is left of 1 above the highest score of a defect.
    """
    specimens = [one for one in specimens if one.labels]
    require_choice(data_set.name, data_set.labels, specimens)
    clean = [one for one in data_set.labels if is_clean(one) and one not in target.classes]
    columns = {one: column_of(one, target, data_set.name, taxonomy) for one in data_set.labels if one not in clean}
    columns |= dict.fromkeys(clean, len(target.classes))
    order = list(dict.fromkeys(columns.values()))
    size = (target.width, target.lines)
    scores = answers(target.predict, [resized(one.gray(), size) for one in specimens])
    scores = np.column_stack([scores, 1 - scores.max(1)])
    truth = np.array([order.index(columns[one.labels[0]]) for one in specimens])
    names = [*target.classes, *clean[:1]]
    return scores[:, order], truth, [names[c] for c in order], [one.file for one in specimens]


def _classify_frames(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> EvaluationResult:
    """Evaluate on the grid tiles of outlined frames that lie on the strip."""
    frames = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    column = {
        label: column_of(label, target, data_set.name, taxonomy)
        for label in dict.fromkeys(label for one in frames for label in one.mask_labels)
    }
    columns = sorted(set(column.values()))
    images, truth, known, files = [], [], [], []
    for frame in frames:
        gray, mask = frame.gray(), frame.mask()
        steel = steel_columns(gray)
        for x in range(0, gray.shape[1] - target.width + 1, min(TILE_STEP_PX, target.width)):
            if steel[x : x + target.width].mean() < STEEL_SHARE:
                continue
            window = np.s_[: target.lines, x : x + target.width]
            area = np.zeros(len(columns), np.int64)
            for value, label in enumerate(frame.mask_labels, 1):
                area[columns.index(column[label])] += int((mask[window] == value).sum())
            images.append(resized(gray[window], (target.width, target.lines)))
            truth.append(area >= SURE_PX)
            known.append((area == 0) | (area >= SURE_PX))
            files.append(frame.file)
    if not images:
        raise DatasetError(
            f"{data_set.name}: no image holds a tile of {target.width} x {target.lines} on the strip, by which "
            f"{target.name} is evaluated; name a set of strip frames, or of images of one class each"
        )
    scores = answers(target.predict, images)[:, columns]
    names = [target.classes[column] for column in columns]
    limits = [target.thresholds[name] for name in names]
    sure = np.all(known, axis=1)
    return multi_label.evaluate(scores[sure], np.array(truth)[sure], names, limits, np.array(files)[sure])


def _segment(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> EvaluationResult:
    """Evaluate on whole images at their own size."""
    outlined = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    if not outlined:
        raise DatasetError(f"{data_set.name}: has no masks, by which {target.name} is evaluated; name a set with masks")
    areas = _areas(target, outlined)
    found = masks.evaluate(areas, ["defect"], groups=[one.file for one in outlined])
    intervals = {name: at for name, at in found.intervals.items() if not name.startswith("dice_per_class.")}
    by_label = _dice_by_label(areas.image_dice(), outlined)
    return found.model_copy(update={"dice_per_class": by_label, "intervals": intervals})


def _areas(target: EvaluationTarget, outlined: Sequence[Specimen]) -> masks.MaskAreas:
    parts = []
    for one in outlined:
        called = probability(target, one.gray())
        parts.append(masks.MaskAreas.of(called[None], one.mask()[None] > 0, target.thresholds["defect"]))
    return masks.MaskAreas.joined(parts)


def _dice_by_label(dice: NDArray[np.float64], specimens: Sequence[Specimen]) -> dict[str, float | None]:
    """Return the mean Dice of the images that show one label only, by label."""
    of: dict[str, list[float]] = {}
    for value, one in zip(dice, specimens, strict=True):
        if len(one.labels) == 1 and not np.isnan(value):
            of.setdefault(one.labels[0], []).append(float(value))
    return {label: float(np.mean(values)) for label, values in sorted(of.items())}


def probability(target: EvaluationTarget, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the defect probability x 255 in the image's shape: a strip frame tile by tile, a patch as a whole."""
    found = np.zeros_like(gray)
    for window in windows_of(gray.shape, target.lines, target.width):
        tile = np.ascontiguousarray(gray[window])
        answer = target.predict(resized(tile, (target.width, target.lines))[None, None])[0]
        np.maximum(found[window], resized(answer, tile.shape[::-1]), out=found[window])
    return found


def windows_of(shape: tuple[int, ...], lines: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield the windows in which a network of lines x width sees an image.

    A patch is seen as a whole, a frame of twice the network's width or more in overlapping windows of its size.
    """
    if shape[1] < 2 * width:
        yield np.s_[:, :]
        return
    for x in dict.fromkeys([*range(0, shape[1] - width, min(TILE_STEP_PX, width)), shape[1] - width]):
        yield np.s_[: min(lines, shape[0]), x : x + width]


def _screen(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen], taxonomy: Taxonomy
) -> EvaluationResult:
    return windows.evaluate(*window_scores(target, data_set, specimens))


def window_scores(
    target: EvaluationTarget, data_set: DataSet, specimens: Sequence[Specimen]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Return score, truth and file of each window that is defective or clean, by a screen or a screen plane."""
    frames = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    shape = (target.lines, target.width)
    images = [(one.gray(), one.mask(), one.file) for one in frames]
    images = [each for each in images if each[0].shape == shape]
    if not images:
        raise DatasetError(
            f"{data_set.name}: has no outlined frames of {shape[0]} x {shape[1]}, by which {target.name} is evaluated; "
            "name a set of strip frames"
        )
    assert target.cell_px is not None
    cells = answers(target.predict, [gray for gray, _, _ in images])
    if target.task is Task.INSPECT:
        cells = cells[:, 0]  # the screen plane
    scores, defective, files = [], [], []
    for (gray, mask, file), of in zip(images, cells, strict=True):
        steel = steel_columns(gray)
        truth = TileTruth.of(mask, steel)
        counts = truth.clean | (truth.defect_px > 0)
        scores.append(tile_scores(of, target.cell_px, steel)[counts])
        defective.append(truth.defect_px[counts] > 0)
        files += [file] * int(counts.sum())
    return np.concatenate(scores), np.concatenate(defective), files
