"""`linewatch quantize`: one graph for every backend, from the training part's tiles, accepted or refused as a whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from made_pictures import REPO, texture

from linewatch import cli
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import Acceptance, EngineManifest, Task
from linewatch.datasets import Knowledge, open_set
from linewatch.datasets.seen import seen_by
from linewatch.datasets.splits import HELD_OUT_FOLD, Split
from linewatch.evaluation.acceptance import drop_high, refuse_beyond
from linewatch.evaluation.evaluate import Headline, of_engine, of_loaded
from linewatch.evaluation.fold_networks import fold_networks
from linewatch.evaluation.int8_calibration import Calibration, draw
from linewatch.evaluation.quantize import DEVIATION, quantize
from linewatch.export.int8 import Activations, Quantiser, activation_scales, q_dq
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, load_engine
from linewatch.training.house.screen import ScreenSettings, new_screen

ENGINES = REPO / "engines"
SIBLINGS = sorted(path.parent.name for path in ENGINES.glob("*-*int8/manifest.json"))
BACKENDS = ("onnxruntime", "openvino")
TOLERANCE = 0.01
"""Mean difference between backends, of a full scale of 1: a rounding to int8 may fall either way."""


def _engine(name: str) -> Engine:
    task = EngineManifest.model_validate_json((ENGINES / name / "manifest.json").read_bytes()).task
    return load_engine(ENGINES, name, task)


def _tiles(engine: Engine, count: int) -> list[np.ndarray]:
    spec = engine.manifest.input
    return [texture(seed, spec.lines, spec.width) for seed in range(count)]


def _full_scale(found: np.ndarray) -> np.ndarray:
    return found.astype(np.float64) / (255 if found.dtype == np.uint8 else 1)


@pytest.fixture(scope="module", params=["segment", "screen"])
def made(request: pytest.FixtureRequest) -> tuple[Engine, bytes, bytes]:
    """A shipped engine, and its signed and unsigned graphs by a few made tiles."""
    engine = _engine(request.param)
    with Quantiser(engine.model, _tiles(engine, 4)) as quantiser:
        left = quantiser.weighted[:1]
        return engine, quantiser.quantised(left), quantiser.quantised(left, Activations.UINT8)


def _held_for_every_backend(model: bytes) -> None:
    graph = onnx.load_from_string(model)
    assert {one.domain for one in graph.opset_import} <= {"", "ai.onnx"}
    pairs = list(q_dq(graph))
    assert pairs
    for node, scale, zero in pairs:
        assert zero.dtype == np.int8, node.name  # no int32: no quantised bias
        assert not zero.any(), node.name
        assert (scale > 0).all(), node.name
    weights = [scale for node, scale, _ in pairs if node.op_type == "DequantizeLinear" and scale.ndim == 1]
    assert weights  # per channel


@pytest.mark.slow
def test_the_signed_graph_is_symmetric_throughout_and_has_no_quantised_bias(made: tuple[Engine, bytes, bytes]) -> None:
    engine, signed, unsigned = made
    _held_for_every_backend(signed)
    assert len(signed) < 0.4 * len(engine.model)
    kinds = {zero.dtype for _, _, zero in q_dq(onnx.load_from_string(unsigned))}
    assert kinds == {np.dtype(np.int8), np.dtype(np.uint8)}  # weights and activations


def test_an_activation_function_stays_between_its_convolution_and_the_next_q_dq(
    made: tuple[Engine, bytes, bytes],
) -> None:
    """OpenVINO and TensorRT fuse convolution, function and quantisation only in that order."""
    graph = onnx.load_from_string(made[1]).graph
    behind = {name: node.op_type for node in graph.node for name in node.output}
    functions = [node for node in graph.node if node.op_type == "Relu" or "relu6" in node.name]
    functions = [node for node in functions if node.op_type in ("Relu", "Clip")]
    assert functions
    assert {behind[node.input[0]] for node in functions} <= {"Conv", "Add"}


@pytest.mark.slow
def test_both_cpu_backends_run_it_alike(made: tuple[Engine, bytes, bytes]) -> None:
    """OpenVINO once gave a wrong answer behind every Concat; this holds it to ONNX Runtime's."""
    engine, *graphs = made
    pixels = np.stack(_tiles(engine, 6)[4:])[:, None]  # not those of the calibration
    for graph in graphs:
        found = {}
        for backend in BACKENDS:
            executor = open_backend(backend).open(engine.manifest, graph, (1, 2), 1)[0]
            found[backend] = _full_scale(executor.run(pixels, 2))
            executor.close()
        assert np.abs(found["openvino"] - found["onnxruntime"]).mean() < TOLERANCE


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_shipped_sibling_says_all_that_it_was_accepted_by(name: str) -> None:
    engine = _engine(name)
    manifest = engine.manifest
    source = _engine(manifest.quantisation.source)  # type: ignore[union-attr]
    quantisation = manifest.quantisation
    assert quantisation is not None
    assert manifest.precision == "int8"
    assert quantisation.source_sha256 == source.manifest.model.sha256
    assert (manifest.task, manifest.thresholds, manifest.classes) == (
        source.manifest.task,
        source.manifest.thresholds,
        source.manifest.classes,
    )
    assert {one.backend for one in quantisation.acceptance} == set(BACKENDS)
    assert all(one.drop_high <= one.bound for one in quantisation.acceptance)
    if quantisation.activations == "int8":
        _held_for_every_backend(engine.model)
    else:
        assert name.endswith("-uint8")
    calibration = Calibration.model_validate_json((REPO / quantisation.calibration).read_bytes())
    assert calibration.scales == activation_scales(engine.model)


@pytest.mark.parametrize("name", SIBLINGS)
def test_no_shipped_calibration_tile_is_held_out(name: str) -> None:
    calibration = Calibration.model_validate_json((REPO / "calibration" / "int8" / f"{name}.json").read_bytes())
    assert len(calibration.tiles) >= 100
    seen = seen_by(ENGINES / calibration.source)
    if seen:  # where an engine says what it was trained on, that counts
        assert all(one.sha256.startswith(tuple(seen)) for one in calibration.tiles)
        return
    splits = {one: Split.read(REPO / "configs" / "splits" / f"{one}.csv") for one in ("neu", "xsdd", "severstal")}
    assert all(splits[one.data_set].fold_of(one.file) != HELD_OUT_FOLD for one in calibration.tiles)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_the_same_calibration_tiles_are_drawn_again(
    name: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    calibration = Calibration.model_validate_json((REPO / "calibration" / "int8" / f"{name}.json").read_bytes())
    names = {one.data_set for one in calibration.tiles}
    again, _ = draw(of_engine(ENGINES / calibration.source), [open_set(one, _root(one, real_data)) for one in names])
    assert tuple(again) == calibration.tiles


def _root(data_set: str, data: Path) -> Path:
    return data if data_set == "severstal_frames" else data / data_set


def _made_set(made_data: Path, made_splits: Path, *names: str) -> Callable[[list[str]], list[object]]:
    return lambda _: [open_set(name, made_data / name, made_splits) for name in names]


@pytest.mark.slow
def test_a_sibling_is_written_whole_with_its_tiles_and_its_figures(
    made_data: Path, made_splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(f"{quantize.__module__}.open_sets", _made_set(made_data, made_splits, "neu"))
    engines = tmp_path / "engines"
    engines.mkdir()
    (engines / "segment").symlink_to(ENGINES / "segment")
    siblings = quantize(
        "segment", data=["made"], bound=0.9, engines_dir=engines, calibration_dir=tmp_path / "int8", tiles=8
    )
    assert {"segment", *(one.manifest.name for one in siblings)} == {path.name for path in engines.iterdir()}
    first = siblings[0].manifest
    assert first.name == "segment-int8"
    assert {one.data for one in first.quantisation.acceptance} == {"neu"}  # type: ignore[union-attr]
    written = load_engine(engines, "segment-int8", Task.SEGMENT)
    assert written.manifest == first
    calibration = json.loads((tmp_path / "int8" / "segment-int8.json").read_text())
    specimens = open_set("neu", made_data / "neu", made_splits).specimens
    held_out = {one.file for one in specimens if one.fold == HELD_OUT_FOLD}
    assert not held_out & {one["file"] for one in calibration["tiles"]}
    pixels = np.stack(_tiles(written, 3))
    source, sibling = of_loaded(_engine("segment")), of_loaded(written)
    apart = _full_scale(sibling.predict(pixels[:, None])) - _full_scale(source.predict(pixels[:, None]))
    assert np.abs(apart).mean() < 4 * DEVIATION


@pytest.mark.heavy
def test_a_sibling_that_may_be_worse_is_refused_and_leaves_no_trace(
    made_data: Path,
    made_splits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(f"{quantize.__module__}.open_sets", _made_set(made_data, made_splits, "neu"))
    engines = tmp_path / "engines"
    engines.mkdir()
    (engines / "classify").symlink_to(ENGINES / "classify")
    where = ["--engines", str(engines), "--calibration", str(tmp_path / "int8")]
    told = cli.main(["quantize", "classify", "--data", "made", "--bound", "0.001", *where])
    assert told == 4
    said = capsys.readouterr().err
    assert "classify-int8 is refused and nothing was written: neu top1 on onnxruntime" in said
    assert "expected at most 0.001" in said
    assert [path.name for path in engines.iterdir()] == ["classify"]
    assert not (tmp_path / "int8").exists()


@pytest.mark.slow
def test_a_screen_is_not_accepted_over_its_folds_by_frames_without_outlines(
    made_data: Path, made_splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    frames = open_set("severstal", made_data / "severstal", made_splits)
    plain = [replace(one, knowledge=Knowledge.UNLABELLED) for one in frames.specimens]
    monkeypatch.setattr(f"{quantize.__module__}.open_sets", lambda _: [replace(frames, specimens=plain)])
    _leave_networks(tmp_path / "run", "4")
    with pytest.raises(ConfigError, match="none of severstal has outlined frames of 256 lines x 1600 px"):
        quantize("screen", data=["made"], calibration_dir=tmp_path, tiles=2, folds=tmp_path / "run")


def test_an_int8_engine_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="precision is int8, expected fp32"):
        quantize(SIBLINGS[0], data=[], new_name="twice", engines_dir=ENGINES, calibration_dir=tmp_path)


def _leave_networks(run: Path, *without: str) -> None:
    """Untrained networks of the shipped screen's settings, as a training leaves them."""
    said = _engine("screen").manifest.training.recipe
    settings = ScreenSettings.model_validate_json(said.removeprefix("linewatch train screen "))
    for folds in without:
        folder = run / f"without-{folds}" / "fit"
        folder.mkdir(parents=True)
        torch.save(new_screen(settings, None).state_dict(), folder / "weights.pt")


def _share(right: list[bool]) -> Headline:
    of = np.array(right)
    return Headline("top1", lambda at: float(of[at].mean()), [str(i) for i in range(len(of))], of)


def test_the_drops_upper_end_is_paired_and_never_surer_than_the_pictures_allow() -> None:
    all_right = [True] * 40
    assert drop_high(_share(all_right), _share(all_right)) == pytest.approx(1 - 0.05 ** (1 / 40))
    both_wrong_alike = [True, False] * 20
    assert drop_high(_share(both_wrong_alike), _share(both_wrong_alike)) == pytest.approx(1 - 0.05 ** (1 / 40))
    lost_ten = [False] * 10 + [True] * 30
    assert 0.25 < drop_high(_share(all_right), _share(lost_ten)) < 0.45
    assert drop_high(_share(lost_ten), _share(all_right)) <= 0.075


def test_every_figure_beyond_its_bound_is_named() -> None:
    def accepted(backend: str, high: float) -> Acceptance:
        return Acceptance(
            data="neu", figure="dice", backend=backend, count=9, fp32=0.8, int8=0.79, drop_high=high, bound=0.02
        )

    refuse_beyond("x", [accepted("openvino", 0.02)])
    with pytest.raises(EngineError, match=r"x is refused .* openvino 0\.800 -> 0\.790, a drop of up to 0\.021") as told:
        refuse_beyond("x", [accepted("openvino", 0.021), accepted("onnxruntime", 0.001)])
    assert "onnxruntime" not in str(told.value)


@pytest.mark.heavy
def test_a_screens_networks_without_a_fold_are_found_in_its_run(tmp_path: Path) -> None:
    source = _engine("screen")
    _leave_networks(tmp_path, "4", "1-4")
    found = list(fold_networks(tmp_path, source))
    assert [one.fold for one in found] == [1, 4]
    for one in found:
        open_backend("onnxruntime").check(source.manifest, one.model)


@pytest.mark.slow
def test_a_run_without_a_screens_networks_is_refused(tmp_path: Path) -> None:
    source = _engine("screen")
    with pytest.raises(ConfigError, match="holds no networks without a fold"):
        list(fold_networks(tmp_path, source))
    _leave_networks(tmp_path, "4")
    with pytest.raises(ConfigError, match="only screen and inspect are cross-validated"):
        list(fold_networks(tmp_path, _engine("segment")))
    torch.save({"other": torch.zeros(1)}, tmp_path / "without-4" / "fit" / "weights.pt")
    with pytest.raises(ConfigError, match="trained with other settings than screen"):
        list(fold_networks(tmp_path, source))
