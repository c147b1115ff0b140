"""Reference tiles: pictures kept with an engine, and the answers that it gave to them when it was made.

`write_reference_tiles` adds them to an engine's folder. `try_out` runs an engine on them before it inspects any strip,
and refuses an engine whose answers are no probabilities or are not those of the file. An engine that answers every
picture alike is refused as well, unless it only outlines.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import MANIFEST, EngineManifest, Precision, ReferenceFile, Task
from linewatch.contracts.ports import Backend
from linewatch.inference.answers import CLASSES, AnswerCheck
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.model_ports import promised_output
from linewatch.simulation.tiles import drawn_tiles

SCORE_TOLERANCE: Mapping[Precision, float] = {"fp32": 0.01, "fp16": 0.05, "int8": 0.2}
"""Largest difference of a classifier's score. Between ONNX Runtime and OpenVINO: 1e-5 in fp32, 0.09 in int8."""
MAP_TOLERANCE: Mapping[Precision, float] = {"fp32": 0.002, "fp16": 0.01, "int8": 0.03}
"""Mean difference over a tile's map. Between ONNX Runtime and OpenVINO: 1e-5 in fp32, 0.004 in int8."""
_MOST_BYTES = 64 << 20
_KEPT_PIXELS, _FEWEST_KEPT, _MOST_KEPT = 1 << 19, 2, 8
_SHOWN = 0.5
"""A class is shown by a tile that scores at least this."""
_NAMES_CLASSES = {Task.CLASSIFY: 0, Task.INSPECT: CLASSES}
"""Tasks whose answers have a column or a plane for each class, and where these begin."""

TileRunner = Callable[[NDArray[np.uint8]], np.ndarray]
"""Runs an engine on one tile, uint8 (1, 1, lines, width). Raises EngineError."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTiles:
    """tiles: uint8 (n, lines, width). answers: (n, ...) as the task gives them. classes: whose scores they are."""

    tiles: NDArray[np.uint8]
    answers: np.ndarray
    classes: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return them as the bytes of a compressed .npz file, equal for equal contents."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, tiles=self.tiles, answers=self.answers, classes=np.array(self.classes, np.str_))
        return buffer.getvalue()


def read_reference_tiles(directory: Path, manifest: EngineManifest) -> ReferenceTiles | None:
    """Return the reference tiles of the engine in `directory`; None where its manifest names none, or the file is gone.

    Raises EngineError for a file that is damaged or does not fit the engine.
    """
    promised = manifest.reference
    if promised is None:
        return None
    path = directory / promised.file
    if path.parent != directory:
        raise EngineError(
            f"engine {manifest.name}: reference.file is {promised.file!r}, expected a file beside {MANIFEST}; "
            "correct it there"
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror}); {_remedy(manifest)}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != promised.sha256:
        raise EngineError(
            f"{path}: sha256 is {found[:12]}..., its manifest promises {promised.sha256[:12]}...; the file is damaged "
            f"or not this engine's: copy it again, or {_remedy(manifest)}"
        )
    try:
        return _parsed(data, manifest)
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise EngineError(
            f"{path}: does not hold this engine's reference tiles ({error}); {_remedy(manifest)}"
        ) from error


def write_reference_tiles(folder: Path, backend: Backend | None = None) -> EngineManifest:
    """Run the engine in `folder` on drawn tiles, keep those that differ most in the answers beside its model, and name
    them in its manifest, which is returned.

    To be called last by whatever makes an engine, once its model and manifest are written. backend: ONNX Runtime by
    default. Raises EngineError, and writes nothing, when the engine cannot run or its answers are unusable.
    """
    path = folder / MANIFEST
    manifest = EngineManifest.parse(path.read_bytes())
    model = (folder / manifest.model.file).read_bytes()
    reference = answered(manifest, model, backend)
    data = reference.to_bytes()
    tolerance = SCORE_TOLERANCE if manifest.task is Task.CLASSIFY else MAP_TOLERANCE
    named = ReferenceFile(sha256=hashlib.sha256(data).hexdigest(), tolerance=dict(tolerance))
    manifest = manifest.model_copy(update={"reference": named})
    (folder / named.file).write_bytes(data)
    path.write_text(manifest.text())
    return manifest


def answered(manifest: EngineManifest, model: bytes, backend: Backend | None = None) -> ReferenceTiles:
    """Return drawn tiles and the engine's answers to them, as `write_reference_tiles` keeps them."""
    (executor,) = (backend or open_backend("onnxruntime")).open(manifest, model, (1,), 1)
    try:
        tiles = drawn_tiles(manifest.input.lines, manifest.input.width)
        answers = _answers(manifest, tiles, lambda tile: executor.run(tile, 1))
    finally:
        executor.close()
    kept = _most_different(answers, _FEWEST_KEPT, _KEPT_PIXELS // tiles[0].size)
    classes = manifest.classes if manifest.task in _NAMES_CLASSES else ()
    return ReferenceTiles(tiles[kept], answers[kept], classes)


def try_out(manifest: EngineManifest, reference: ReferenceTiles | None, precision: Precision, run: TileRunner) -> None:
    """Raise EngineError unless the engine answers as it must: see the module. `run` answers one tile.

    Without reference tiles drawn ones are taken, which show answers that are no probabilities, but not another order
    of classes. precision: in which the engine runs, which the tolerance follows.
    """
    if reference is None:
        _answers(manifest, drawn_tiles(manifest.input.lines, manifest.input.width), run)
        return
    answers = _answers(manifest, reference.tiles, run)
    assert manifest.reference is not None
    tolerance = max(manifest.reference.tolerance.get(one, 0.0) for one in (precision, manifest.precision))
    fault = _difference(manifest, reference, answers, tolerance)
    if fault:
        raise EngineError(f"engine {manifest.name}: {fault}")


def precision_of(identity: str) -> Precision:
    """Return the precision in which an engine of this identity runs."""
    named = identity.split("/")
    return "fp16" if "fp16" in named else "int8" if "int8" in named else "fp32"


def other_order(
    running: EngineManifest, reference: ReferenceTiles, manifest: EngineManifest, run: TileRunner
) -> str | None:
    """Return how a classifier's order of classes differs from that of the running one of the same classes.

    For an engine without reference tiles of its own. reference: of the running one. The same network with its output in
    another order is recognised; None for any other network.
    """
    if manifest.task not in _NAMES_CLASSES or running.reference is None or manifest.classes != running.classes:
        return None
    told = _answers(manifest, reference.tiles, run)
    expected = _by_name(reference.answers, reference.classes, manifest)
    tolerance = running.reference.tolerance[running.precision]
    if _apart(told, expected, manifest.task) <= tolerance:
        return None
    moved = _moved_classes(manifest, told, expected, tolerance)
    return None if moved is None else f"compared with the running {running.name} it {moved}"


def lacking(manifest: EngineManifest) -> str:
    """Say what cannot be checked of an engine without reference tiles, and the remedy."""
    return (
        "it has no reference tiles, so that another order of its classes or a changed model would not be noticed; "
        f"once its answers are known to be right, {_remedy(manifest)}"
    )


def _remedy(manifest: EngineManifest) -> str:
    return f"run `linewatch engines --add-reference {manifest.name}`"


def _parsed(data: bytes, manifest: EngineManifest) -> ReferenceTiles:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(one.file_size for one in archive.infolist())
    if size > _MOST_BYTES:
        raise ValueError(f"unpacked it has {size} bytes, expected at most {_MOST_BYTES}")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        tiles, answers, classes = arrays["tiles"], arrays["answers"], arrays["classes"]
    lines, width = manifest.input.lines, manifest.input.width
    if tiles.dtype != np.uint8 or tiles.shape[1:] != (lines, width) or not len(tiles):
        raise ValueError(f"its tiles are {tiles.dtype} {tiles.shape}, expected uint8 (n, {lines}, {width})")
    wanted = promised_output(manifest)
    if answers.dtype != wanted.dtype or answers.shape != (len(tiles), *wanted.dims[1:]):
        raise ValueError(f"its answers are {answers.dtype} {answers.shape}, expected {wanted}")
    return ReferenceTiles(tiles, answers, tuple(map(str, classes)))


def _answers(manifest: EngineManifest, tiles: NDArray[np.uint8], run: TileRunner) -> np.ndarray:
    """Return the answers to these tiles. Raises EngineError for answers that `AnswerCheck` or `_constant` refuses."""
    check, answers = AnswerCheck(manifest), []
    fault = None
    for tile in tiles:
        try:
            answer = run(np.ascontiguousarray(tile)[None, None])
        except EngineError:
            raise
        except Exception as error:  # a runtime's own
            raise EngineError(
                f"engine {manifest.name}: it fails on a reference tile ({type(error).__name__}: {error}), expected an "
                "answer; export it again, or choose another inference.backend"
            ) from error
        if fault := check.shape_fault(answer, 1):
            break
        answers.append(answer.copy())
    if fault is None:
        told = np.concatenate(answers)
        fault = check.value_fault(told) or _constant(manifest, told)
        if fault is None:
            return told
    raise EngineError(f"engine {manifest.name}: on reference tiles it {fault}")


def _constant(manifest: EngineManifest, answers: np.ndarray) -> str | None:
    """Return what is wrong with answers that do not depend on the picture.

    A segmenter may find nothing in any, and the bytes of one that has hardly learned anything are all alike.
    """
    if len(answers) < 2 or (answers != answers[0]).any() or manifest.task is Task.SEGMENT:
        return None
    return (
        f"gave the same answer to {len(answers)} different pictures (its first value is {answers.flat[0]:.3g}), "
        "expected answers that follow the picture; look for weights that were not loaded, or a saturated last layer"
    )


def _difference(
    manifest: EngineManifest, reference: ReferenceTiles, answers: np.ndarray, tolerance: float
) -> str | None:
    """Return what is wrong where the answers are not those of the file."""
    scale = 255.0 if answers.dtype == np.uint8 else 1.0
    told, expected = answers.astype(np.float64) / scale, reference.answers.astype(np.float64) / scale
    if manifest.task in _NAMES_CLASSES:
        expected = _by_name(expected, reference.classes, manifest)
    apart = _apart(told, expected, manifest.task)
    if apart <= tolerance:
        return None
    return (
        f"answers differ by {apart:.2g} from those that it gave to its reference tiles when it was made, expected at "
        f"most {tolerance:g}; {_likeness(manifest, told, expected, tolerance)}"
    )


def _by_name(expected: np.ndarray, recorded: tuple[str, ...], manifest: EngineManifest) -> np.ndarray:
    """Return the answers in the order of the engine's classes. Classes that were renamed are taken by their place."""
    if set(recorded) != set(manifest.classes) or len(set(recorded)) != len(recorded):
        return expected
    first = _NAMES_CLASSES[manifest.task]
    return expected[:, [*range(first), *(first + recorded.index(name) for name in manifest.classes)]]


def _apart(told: np.ndarray, expected: np.ndarray, task: Task) -> float:
    distance = np.abs(told - expected).reshape(len(told), -1)
    return float(distance.max() if task is Task.CLASSIFY else distance.mean(axis=1).max())


def _likeness(manifest: EngineManifest, told: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """Say what answers that differ from the reference look like, with the remedy."""
    if manifest.task in _NAMES_CLASSES and (moved := _moved_classes(manifest, told, expected, tolerance)):
        return moved
    if _apart(1 - told, expected, manifest.task) <= tolerance:
        return "looks inverted: give the probability of a defect, not that of clean steel"
    if _apart(np.exp(-np.logaddexp(0, -told)), expected, manifest.task) <= tolerance:
        return "looks like logits: add a sigmoid to the end of the graph"
    return (
        "the model, its normalisation or the runtime gives other answers: export the engine again, or, where the model "
        f"was changed on purpose, {_remedy(manifest)}"
    )


def _moved_classes(manifest: EngineManifest, told: np.ndarray, expected: np.ndarray, tolerance: float) -> str | None:
    """Say which scores stand in another's place; None where the scores are not the expected ones in another order.

    Classes that no tile shows have scores near 0 that cannot be told apart, and do not count. Shares in a map are
    compared cell by cell.
    """
    if manifest.task is Task.INSPECT:
        told, expected = (
            np.moveaxis(maps[:, CLASSES:], 1, -1).reshape(-1, len(manifest.classes)) for maps in (told, expected)
        )
    shown, wanted = np.flatnonzero(told.max(axis=0) >= _SHOWN), np.flatnonzero(expected.max(axis=0) >= _SHOWN)
    if not len(shown) or len(shown) != len(wanted):
        return None
    distances = np.abs(told[:, shown, None] - expected[:, None, wanted]).max(axis=0)  # (output, expected output)
    sources = wanted[distances.argmin(axis=1)]
    if distances.min(axis=1).max() > tolerance or len(set(sources)) < len(sources):
        return None
    moved = ", ".join(
        f"the score of {manifest.classes[source]} where {manifest.classes[place]} must be"
        for place, source in zip(shown, sources, strict=True)
        if place != source
    )
    if not moved:
        return None
    return f"looks like class order changed ({moved}): put the classes of manifest and output in one order"


def _most_different(answers: np.ndarray, fewest: int, most: int) -> list[int]:
    """Return the indices of the tiles whose answers lie farthest apart, in ascending order."""
    flat = answers.reshape(len(answers), -1).astype(np.float32)
    kept = [int(flat.std(axis=1).argmax())]
    nearest = np.full(len(flat), np.inf)
    while len(kept) < min(max(most, fewest), _MOST_KEPT, len(flat)):
        nearest = np.minimum(nearest, np.abs(flat - flat[kept[-1]]).mean(axis=1))
        kept.append(int(nearest.argmax()))
    return sorted(set(kept))
