"""Quantisation of an FP32 engine to INT8: `linewatch quantize`.

The calibration tiles decide which weighted nodes stay FP32: the first ones, as few as bring the outputs within
`DEVIATION` of FP32 on average. The held-out images only accept or refuse.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import (
    ENGINE_NAME,
    MANIFEST,
    Acceptance,
    EngineManifest,
    ModelFile,
    Quantisation,
    Task,
)
from linewatch.datasets import DataSet, Knowledge, Specimen
from linewatch.datasets.arguments import complete, open_sets
from linewatch.datasets.seen import SEEN
from linewatch.datasets.splits import SEED
from linewatch.evaluation.acceptance import compare, compare_over_folds, refuse_beyond
from linewatch.evaluation.evaluate import EnginePredictor, of_loaded
from linewatch.evaluation.fold_networks import fold_networks
from linewatch.evaluation.int8_calibration import CALIBRATION, TILES, Calibration, draw
from linewatch.evaluation.latency import CPU_BACKENDS, ms_per_row
from linewatch.export.engine_folder import table
from linewatch.export.int8 import Activations, Quantiser, activation_scales
from linewatch.inference.engines import Engine, find_engine
from linewatch.inference.reference_tiles import write_reference_tiles
from linewatch.training.predictor import answers
from linewatch.training.runs import CARD

DEVIATION = 0.005
"""Mean difference of the outputs from FP32, of a full scale of 1, on the calibration tiles."""
MOST_LEFT_FP32 = 5
UNSIGNED_GAIN = 0.9
"""An engine with unsigned activations is made if a CPU backend runs it in less than this share of the signed time."""
_PROBE_EVERY = 4


@dataclass(frozen=True)
class Int8Engine:
    """The manifest of an accepted and written INT8 engine, and milliseconds per row by (precision, backend)."""

    manifest: EngineManifest
    ms: Mapping[tuple[str, str], float]


def quantize(
    name: str,
    *,
    data: Sequence[str],
    new_name: str | None = None,
    bound: float | None = None,
    engines_dir: Path = Path("engines"),
    calibration_dir: Path = CALIBRATION,
    tiles: int = TILES,
    folds: Path | None = None,
) -> list[Int8Engine]:
    """Write `engines_dir/NAME-int8/` and, if it is faster on a CPU, `engines_dir/NAME-uint8/`.

    Each engine has its file in `calibration_dir`. folds: the run folder of a training of screen or inspect; the
    networks of its cross-validation are then quantised in the same way and evaluated, each on the fold that it has not
    seen, instead of the one engine on the images that it has not seen.

    `ConfigError` for an unusable name or unusable data; `EngineError`, and nothing is written, if the source is not
    FP32 or a metric may drop by more than its bound.
    """
    new_name = new_name or f"{name}-int8"
    if not re.fullmatch(ENGINE_NAME, new_name) or new_name == name:
        raise ConfigError(f"--name {new_name}: expected lower-case letters, digits, - and _, other than {name}")
    if bound is not None and not 0 < bound < 1:
        raise ConfigError(f"--bound is {bound}, expected more than 0 and less than 1")
    source = _source(engines_dir, name)
    work = _Work(source, [*map(complete, open_sets(data))], bound, calibration_dir, tiles, folds)
    signed = work.accepted(work.draft(new_name, Activations.INT8))
    unsigned = work.draft(f"{name}-uint8", Activations.UINT8)
    ms = ms_per_row({"fp32": source, "int8": signed.engine, "uint8": unsigned.engine})
    accepted = [signed]
    if any(ms["uint8", one] < UNSIGNED_GAIN * ms["int8", one] for one in CPU_BACKENDS):
        accepted.append(work.accepted(unsigned))
    return [Int8Engine(work.write(draft, engines_dir, ms), ms) for draft in accepted]


def int8_table(engines: Sequence[Int8Engine]) -> Table:
    """Return a table of the accepted engines: metrics, drops and milliseconds per row."""
    found = Table(title="INT8 siblings", title_justify="left")
    for column in ("engine", "set", "figure", "backend", "FP32", "INT8", "drop up to", "bound", "FP32 ms", "INT8 ms"):
        found.add_column(column)
    for engine in engines:
        quantisation = engine.manifest.quantisation
        assert quantisation is not None
        for one in quantisation.acceptance:
            values = (one.fp32, one.int8, one.drop_high, one.bound)
            ms = (engine.ms["fp32", one.backend], engine.ms[quantisation.activations, one.backend])
            found.add_row(
                engine.manifest.name,
                one.data,
                one.figure,
                one.backend,
                *(f"{value:.4f}" for value in values),
                *(f"{value:.2f}" for value in ms),
            )
    return found


def _source(engines_dir: Path, name: str) -> Engine:
    engine = find_engine(engines_dir, name)
    precision = engine.manifest.precision
    if precision != "fp32":
        raise EngineError(f"engine {name}: its precision is {precision}, expected fp32; name its FP32 source")
    return engine


@dataclass(frozen=True)
class _Int8Draft:
    """An INT8 engine that is not written yet."""

    engine: Engine
    calibration: Calibration


class _Work:
    """The quantisation of one source: its calibration tiles, their FP32 outputs, and the sets to evaluate on."""

    def __init__(
        self,
        source: Engine,
        sets: Sequence[DataSet],
        bound: float | None,
        calibration_dir: Path,
        tiles: int,
        folds: Path | None,
    ) -> None:
        self.source, self.sets, self.bound, self.folder = source, sets, bound, calibration_dir
        self.tiles, self.pixels = draw(of_loaded(source), sets, tiles)
        self.probe = self.pixels[::_PROBE_EVERY]
        self.expected = _outputs(source, self.probe)
        self.networks = list(fold_networks(folds, source)) if folds else []
        if self.networks and not any(map(self._outlined, sets)):
            lines, width = self.pixels[0].shape
            raise ConfigError(
                f"--data: none of {', '.join(one.name for one in sets)} has outlined frames of {lines} lines x "
                f"{width} px, by which a network of frames is evaluated over its folds; name one that has"
            )

    def draft(self, name: str, activations: Activations) -> _Int8Draft:
        """Return the graph with the fewest FP32 nodes that keeps the deviation; the nearest one if none does."""
        least: tuple[float, Engine] | None = None
        with Quantiser(self.source.model, self.pixels) as quantiser:
            for count in range(MOST_LEFT_FP32 + 1):
                left = quantiser.weighted[:count]
                engine = self._engine(name, quantiser.quantised(left, activations), left, activations)
                deviation = float(np.abs(_outputs(engine, self.probe) - self.expected).mean())
                if least is None or deviation < least[0]:
                    least = deviation, engine
                if deviation <= DEVIATION:
                    break
        assert least is not None
        engine = least[1]
        calibration = Calibration(
            engine=name,
            source=self.source.manifest.name,
            source_sha256=self.source.manifest.model.sha256,
            seed=SEED,
            tiles=tuple(self.tiles),
            scales=activation_scales(engine.model),
        )
        return _Int8Draft(engine, calibration)

    def accepted(self, draft: _Int8Draft) -> _Int8Draft:
        """Return the draft with its acceptance on every CPU backend; `EngineError` beyond a bound."""
        taxonomy = Taxonomy.read()
        manifest = draft.engine.manifest
        found = (
            self._over_folds(draft)
            if self.networks
            else [
                one
                for backend in CPU_BACKENDS
                for one in compare(
                    of_loaded(self.source, backend),
                    of_loaded(draft.engine, backend),
                    backend,
                    self.sets,
                    taxonomy,
                    self.bound,
                )
            ]
        )
        refuse_beyond(manifest.name, found)
        assert manifest.quantisation is not None
        quantisation = manifest.quantisation.model_copy(update={"acceptance": tuple(found)})
        manifest = manifest.model_copy(update={"quantisation": quantisation, "metrics": _metrics(found)})
        return replace(draft, engine=replace(draft.engine, manifest=manifest))

    def _over_folds(self, draft: _Int8Draft) -> list[Acceptance]:
        """Evaluate each network, quantised like the draft, on the fold that neither it nor its tiles come from."""
        how = draft.engine.manifest.quantisation
        assert how is not None
        found = []
        for data_set in self.sets:
            fold_of = {one.file: one.fold for one in data_set.specimens}
            frames = self._outlined(data_set)
            if not frames:
                continue
            parts = []
            for network in self.networks:
                own = zip(self.tiles, self.pixels, strict=True)
                pixels = [gray for tile, gray in own if fold_of.get(tile.file) != network.fold]
                with Quantiser(network.model, pixels) as quantiser:
                    model = quantiser.quantised(how.left_fp32, Activations(how.activations))
                fp32, int8 = replace(self.source, model=network.model), replace(draft.engine, model=model)
                parts.append((fp32, int8, [one for one in frames if one.fold == network.fold]))
            for backend in CPU_BACKENDS:
                opened = [(of_loaded(fp32, backend), of_loaded(int8, backend), of) for fp32, int8, of in parts]
                found += compare_over_folds(opened, backend, data_set, self.bound)
        return found

    def _outlined(self, data_set: DataSet) -> list[Specimen]:
        """Return the outlined frames of the engine's size."""
        frames = [one for one in data_set.specimens if one.knowledge is Knowledge.OUTLINED]
        return [one for one in frames if one.gray().shape == self.pixels[0].shape]

    def write(self, draft: _Int8Draft, engines_dir: Path, ms: Mapping[tuple[str, str], float]) -> EngineManifest:
        """Write the engine's folder atomically, and its calibration file."""
        manifest = draft.engine.manifest
        part, folder = engines_dir / f".{manifest.name}.part", engines_dir / manifest.name
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        (part / manifest.model.file).write_bytes(draft.engine.model)
        (part / MANIFEST).write_text(manifest.text())
        manifest = write_reference_tiles(part)
        (part / CARD).write_text(_card(manifest, len(self.tiles), ms))
        if (self.source.directory / SEEN).is_file():
            shutil.copy(self.source.directory / SEEN, part / SEEN)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._calibration_file(manifest.name).write_text(draft.calibration.model_dump_json(indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        return manifest

    def _engine(self, name: str, model: bytes, left_fp32: Sequence[str], activations: Activations) -> Engine:
        source = self.source.manifest
        manifest = source.model_copy(
            update={
                "name": name,
                "model": ModelFile(sha256=hashlib.sha256(model).hexdigest()),
                "precision": "int8",
                "reference": None,
                "quantisation": Quantisation(
                    source=source.name,
                    source_sha256=source.model.sha256,
                    activations=activations.value,
                    left_fp32=tuple(left_fp32),
                    calibration=self._calibration_file(name).as_posix(),
                    acceptance=(),
                ),
            }
        )
        return Engine(manifest, self.source.directory, model)  # the source's folder: it was trained on the same images

    def _calibration_file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _outputs(engine: Engine, tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the engine's outputs, scaled to 1; of an inspect engine, each class by its share of the defect's."""
    found = answers(EnginePredictor(engine, "openvino"), tiles)
    if engine.manifest.task is Task.INSPECT:
        found[:, 2:] *= found[:, 1:2]
    return found.astype(np.float32) / np.float32(255 if found.dtype == np.uint8 else 1)


def _metrics(acceptance: Sequence[Acceptance]) -> dict[str, float]:
    """Return both engines' metrics; for INT8 those of the worst backend."""
    found: dict[str, float] = {}
    for one in acceptance:
        key = f"{one.data}_{one.figure}"
        found[key] = min(one.int8, found.get(key, one.int8))
        found[f"{key}_fp32"] = one.fp32
    return found


def _card(manifest: EngineManifest, tiles: int, ms: Mapping[tuple[str, str], float]) -> str:
    quantisation = manifest.quantisation
    assert quantisation is not None
    precision = quantisation.activations
    compared = [
        [one.data, one.figure, one.backend, one.count, one.fp32, one.int8, one.drop_high, one.bound]
        for one in quantisation.acceptance
    ]
    timed = [[backend, ms["fp32", backend], ms[precision, backend]] for backend in CPU_BACKENDS]
    left = ", ".join(f"`{name}`" for name in quantisation.left_fp32) or "none"
    where = (
        "One file for every backend: OpenVINO, ONNX Runtime, TensorRT."
        if precision == "int8"
        else "Unsigned activations: for CPUs alone, TensorRT does not take them."
    )
    return f"""# Engine `{manifest.name}`: `{quantisation.source}` in INT8

Same input, output, classes and thresholds as `{quantisation.source}`, whose card says how it was trained and where it
fails. {where}

## How it was made
`linewatch quantize {quantisation.source}`, by onnxruntime.quantization: explicit Q/DQ, symmetric int8 weights per
channel, {precision} activations by minimum and maximum over {tiles} tiles of the training part
(`{quantisation.calibration}`), FP32 biases. Normalisation and the nodes after the last weights stay FP32, and of the
weighted nodes: {left}.

## Metrics
Held-out images, paired with FP32 (`drop up to`: upper end of the 95 % interval of the drop, bootstrap over images).

{table(["set", "metric", "backend", "count", "FP32", "INT8", "drop up to", "bound"], compared)}

Milliseconds per row, one thread, median of nine turns, on the machine that made it:

{table(["backend", "FP32", "INT8"], timed)}

## Terms
{manifest.terms}
"""
