"""Import of an ONNX file as an engine folder: `linewatch engine import`."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import (
    ENGINE_NAME,
    MANIFEST,
    OUTPUT_OF,
    EngineManifest,
    InputSpec,
    ModelFile,
    Task,
    TrainingRecord,
)
from linewatch.importer.card import card_text
from linewatch.importer.graph import IMAGE, Normalisation, bare_engine, finished_engine, with_free_rows
from linewatch.importer.network import (
    Layout,
    PictureForm,
    Port,
    chosen_output,
    last_activation,
    open_session,
    picture_form,
    ports,
    refuse_detector,
    refuse_other_order,
    refuse_training_mode,
    run_rows,
)
from linewatch.importer.network_file import NetworkFile, operators, read_network
from linewatch.importer.outputs import Activation, Answer, Classes, OutputReader, classes_of
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.reference_tiles import write_reference_tiles
from linewatch.simulation.tiles import drawn_tiles

TILE_PX = 256
THRESHOLD = 0.5
_ROWS_TOGETHER = 3
_MOST_PX = 16384
_ROW_TOLERANCE = 2e-3
_HOW_TO_FREE_THE_BATCH = (
    "export it with a free batch: torch.onnx.export(..., dynamic_shapes=({0: 'n'},)), or dynamic=True for Ultralytics"
)
_UNCALIBRATED = (
    f"thresholds are {THRESHOLD} and not calibrated: `linewatch fit-thresholds {{name}} --data NAME=DIR` chooses them "
    "on labelled pictures"
)
_ONE_BY_ONE = "its operators are bound to one tile, so the graph runs it tile by tile, which is slower"


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What the owner of a network says about it. None: as the file says, or the default of the task.

    lines, width: of the tiles (a screen: the frames) that the engine takes. cell_px: of a screen.
    """

    task: Task
    classes: tuple[str, ...] = ()
    layout: Layout | None = None
    normalisation: Normalisation = field(default_factory=Normalisation)
    activation: Activation | None = None
    background: int | None = None
    output: str | None = None
    lines: int | None = None
    width: int | None = None
    cell_px: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedEngine:
    """An engine folder that was written. facts: what was put around the network; notes: what its owner should know."""

    manifest: EngineManifest
    folder: Path
    facts: tuple[str, ...]
    notes: tuple[str, ...]


def import_engine(path: Path, request: ImportRequest, engines_dir: Path) -> ImportedEngine:
    """Write the engine folder `engines_dir/NAME/`: model, manifest, reference tiles and card.

    The engine was run on reference tiles before anything lies under its name. Raises ConfigError for options and
    EngineError for a network that cannot be taken, which say what is missing.
    """
    name = _engine_name(path, request.name)
    folder = engines_dir / name
    if folder.exists():
        raise EngineError(f"{folder}: is there already, expected a free name; give another --name, or remove it")
    if request.task is Task.INSPECT:
        raise ConfigError(
            "task inspect: its maps come from a network that was made for linewatch, expected task classify, segment "
            "or screen; import the network as one of these, or train one by `linewatch train inspect`"
        )
    classes = classes_of(request.classes, request.background, request.task)
    network = read_network(path)
    inputs, outputs = ports(network)
    refuse_detector(network, outputs)
    refuse_training_mode(network)
    refuse_other_order(network, request.classes)
    form = picture_form(network, inputs, request.layout)
    _check_normalisation(path, form, request.normalisation)
    port = chosen_output(network, outputs, request.output)
    size = _size(request)
    tiles = drawn_tiles(*size)[:, None]
    picture = form.lines or size[0], form.width or size[1]
    bare, raw, notes = _running(network, form, port, size, request.normalisation, tiles)
    reader = OutputReader(
        str(path), raw, classes, request.activation, last_activation(network, port.name), form.layout, size, picture
    )
    answer = {
        Task.CLASSIFY: reader.classify,
        Task.SEGMENT: reader.segment,
        Task.SCREEN: lambda: reader.screen(request.cell_px),
    }[request.task]()
    model = finished_engine(bare, answer.tail, answer.value, answer.output).SerializeToString()
    facts = _facts(form, port, size, request.normalisation, answer)
    notes = (*notes, *answer.notes, _UNCALIBRATED.format(name=name))
    manifest = EngineManifest(
        name=name,
        version="1",
        task=request.task,
        model=ModelFile(sha256=hashlib.sha256(model).hexdigest()),
        input=InputSpec(name=IMAGE, lines=size[0], width=size[1], nominal_mm_per_px=1.0),
        output=OUTPUT_OF[request.task],
        cell_px=answer.cell_px,
        classes=classes.defects if request.task is not Task.SCREEN else (),
        thresholds=_thresholds(request.task, classes),
        precision=_precision(network.model),
        normalisation=f"{_normalisation(form, request.normalisation)}, inside the graph",
        training=_record(network),
        metrics={},
        terms="not recorded: those of the network's owner",
        scores_sum_to_one=answer.sums_to_one,
    )
    notes = (*notes, *_openvino_note(manifest, model))
    manifest = _write(folder, manifest, model, card_text(manifest, network, facts, notes))
    return ImportedEngine(manifest, folder, facts, notes)


def _thresholds(task: Task, classes: Classes) -> dict[str, float]:
    names = {Task.SCREEN: ("pass",), Task.CLASSIFY: classes.defects, Task.SEGMENT: ("defect",)}[task]
    return dict.fromkeys(names, THRESHOLD)


def _record(network: NetworkFile) -> TrainingRecord:
    """Return what is known of the training: the files that were imported, and who wrote them."""
    files = ", ".join(f"{file} (sha256 {digest})" for file, digest in network.hashes.items())
    recipe = f"linewatch engine import {files}"
    return TrainingRecord(recipe=recipe, encoder=network.producer, seed=0, data=(), split="not recorded")


def _engine_name(path: Path, name: str | None) -> str:
    made = name if name is not None else re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")
    if not re.fullmatch(ENGINE_NAME, made):
        found = f"--name {name}" if name is not None else f"{path}: gives the engine no name"
        raise ConfigError(f"{found}: expected lower-case letters, digits, - and _; give --name")
    return made


def _size(request: ImportRequest) -> tuple[int, int]:
    """Return lines and width of the tiles, of a screen the frames, that the engine will take."""
    line = LineSettings()
    lines, width = (line.frame_lines, line.width_px) if request.task is Task.SCREEN else (TILE_PX, TILE_PX)
    for option, value in (("lines", request.lines), ("width", request.width), ("cell-px", request.cell_px)):
        if value is not None and not 1 <= value <= _MOST_PX:
            raise ConfigError(f"--{option} {value}: expected 1 to {_MOST_PX} pixels")
    return request.lines or lines, request.width or width


def _check_normalisation(path: Path, form: PictureForm, given: Normalisation) -> None:
    for option, values in (("--mean", given.mean), ("--std", given.std)):
        if len(values) not in (1, form.channels):
            raise ConfigError(
                f"{option}: found {len(values)} values, expected one, or one for each of the network's {form.channels} "
                "channels"
            )
    if not all(one > 0 for one in given.std) or given.white <= 0:
        raise ConfigError("--std and --white: expected numbers above 0")
    if form.dtype == np.uint8 and given != Normalisation():
        raise ConfigError(
            f"{path}: takes gray levels as they are (uint8), so its normalisation is inside it; leave --mean, --std "
            "and --white out"
        )


def _running(
    network: NetworkFile,
    form: PictureForm,
    port: Port,
    size: tuple[int, int],
    normalisation: Normalisation,
    tiles: NDArray[np.uint8],
) -> tuple[ModelProto, NDArray[np.float32], tuple[str, ...]]:
    """Return the network behind its head, with free rows, its output for the tiles, and what was done to free them.

    Several rows together must give what each gives alone. Where they do not, the network is run row by row.
    """
    as_it_is = bare_engine(network.model, form, port.name, size, normalisation)
    rows = form.rows or 1
    # To whole batches, of which the first comes twice.
    padded = np.resize(tiles, (-(-len(tiles) // rows) * rows, *tiles.shape[1:]))
    padded = np.concatenate([padded, padded[:rows]])
    found = _answers(as_it_is, padded, rows)
    if found is None:
        raise EngineError(f"{network.path}: cannot be run on tiles of {_by(size)}: {_why(as_it_is, padded, rows)}")
    _check_values(network, found, rows)
    found = found[: len(tiles)]
    few = tiles[:_ROWS_TOGETHER]
    free = bare_engine(with_free_rows(network.model), form, port.name, size, normalisation)
    if all(_alike(found, _answers(free, few, together)) for together in (1, _ROWS_TOGETHER)):
        return free, found, () if form.rows is None else (f"its batch, fixed to {form.rows}, was freed",)
    if rows == 1:
        single = bare_engine(network.model, form, port.name, size, normalisation, found.shape[1:])
        if _alike(found, _answers(single, few, _ROWS_TOGETHER)):
            return single, found, (f"{_ONE_BY_ONE}; to change that, {_HOW_TO_FREE_THE_BATCH}",)
    raise EngineError(
        f"{network.path}: works on batches of {rows} alone, expected any number of tiles; {_HOW_TO_FREE_THE_BATCH}"
    )


def _answers(model: ModelProto, tiles: NDArray[np.uint8], rows: int) -> NDArray[np.float32] | None:
    """Return the answers to the tiles in batches of so many rows, or None where it cannot be run so."""
    try:
        found = run_rows(open_session(model.SerializeToString()), tiles, rows)
    except Exception:  # ONNX Runtime's exceptions have no public base
        return None
    return found if len(found) == len(tiles) else None


def _why(model: ModelProto, tiles: NDArray[np.uint8], rows: int) -> str:
    """Return in one line why a model cannot be run."""
    try:
        found = run_rows(open_session(model.SerializeToString()), tiles, rows)
    except Exception as error:  # as above
        last = str(error).strip().splitlines()[-1]
        return f"{last}; give --lines and --width that it can take, or export it with a fixed size of picture"
    return f"it gives {len(found)} rows for {len(tiles)} tiles; export it so that the first dimension is the batch"


def _check_values(network: NetworkFile, raw: NDArray[np.float32], rows: int) -> None:
    """Raise EngineError for answers that are not finite, or differ between the first and the last `rows`."""
    if not np.isfinite(raw).all():  # before the activation, which could hide it
        raise EngineError(
            f"{network.path}: gives values that are not finite numbers on reference tiles; check --mean, --std and "
            "--white, and where it was exported in float16, export it in float32"
        )
    if not np.array_equal(raw[:rows], raw[-rows:]):
        raise EngineError(
            f"{network.path}: gives other values for the same tile again (dropout is on, or it draws at random); call "
            "model.eval() before the export"
        )


def _alike(expected: NDArray[np.float32], found: NDArray[np.float32] | None) -> bool:
    """Say whether the first tiles were answered as expected."""
    if found is None or found.shape[1:] != expected.shape[1:]:
        return False
    scale = max(1.0, float(np.abs(expected).max()))
    return bool(np.abs(expected[: len(found)] - found).max() <= _ROW_TOLERANCE * scale)


def _precision(model: ModelProto) -> Literal["fp32", "fp16", "int8"]:
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    if any("QuantizeLinear" in node.op_type or "Integer" in node.op_type for node in operators(model)):
        return "int8"
    return "fp16" if kinds and TensorProto.FLOAT16 in kinds and TensorProto.FLOAT not in kinds else "fp32"


def _normalisation(form: PictureForm, given: Normalisation) -> str:
    return "gray levels as they are (uint8)" if form.dtype == np.uint8 else str(given)


def _facts(
    form: PictureForm, port: Port, size: tuple[int, int], normalisation: Normalisation, answer: Answer
) -> tuple[str, ...]:
    """Return in words what stands before and behind the network."""
    wanted = form.lines or size[0], form.width or size[1]
    before = [f"{_by(size)} px resized to the network's {_by(wanted)} (bilinear)"] if wanted != size else []
    before.append(_normalisation(form, normalisation))
    before += [f"gray as {form.channels} equal channels"] if form.channels > 1 else []
    before += ["channels last"] if form.layout is Layout.NHWC else []
    before += [f"cast to {form.dtype}"] if form.dtype not in (np.uint8, np.float32) else []
    behind = f"{answer.activation}" if answer.activation is not Activation.NONE else "no activation"
    return (f"before: {', '.join(before)}", f"behind: output {port.name}, {behind}")


def _openvino_note(manifest: EngineManifest, model: bytes) -> tuple[str, ...]:
    """Return what is to be known of the engine on OpenVINO, where that is installed."""
    try:
        backend = open_backend("openvino")
    except EngineError:
        return ()
    try:
        backend.check(manifest, model)
    except EngineError as error:
        return (f'OpenVINO cannot run it, so keep inference.backend = "onnxruntime" ({error})',)
    return ()


def _write(folder: Path, manifest: EngineManifest, model: bytes, card: str) -> EngineManifest:
    """Write the folder under another name first: an incomplete engine never lies under its own.

    Returns the manifest with the reference tiles.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as draft:
            made = Path(draft) / folder.name
            made.mkdir()
            (made / "model.onnx").write_bytes(model)
            (made / MANIFEST).write_text(manifest.text())
            manifest = write_reference_tiles(made)
            (made / "CARD.md").write_text(card)
            made.rename(folder)
    except OSError as error:
        raise EngineError(
            f"{folder}: cannot be written ({error.strerror}); give a folder that can be by --engines"
        ) from error
    return manifest


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
