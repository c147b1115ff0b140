"""Only verified engines are opened, and every refusal says what was found, what was expected and the remedy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nets
import pytest

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import MANIFEST, Quantisation, Task
from linewatch.contracts.ports import Backend
from linewatch.inference.engines import load_engine, load_engines, verify_all
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings


@pytest.fixture
def own_dir(engines_dir: Path, tmp_path: Path) -> Path:
    """Return a copy of the engines that a test may damage."""
    return Path(shutil.copytree(engines_dir, tmp_path / "engines"))


def _edit(path: Path, change: Callable[[dict], object]) -> None:
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def test_a_sound_engine_is_loaded_with_the_bytes_of_its_hash(engines_dir: Path) -> None:
    engine = load_engine(engines_dir, "screen", Task.SCREEN)
    assert engine.manifest.task is Task.SCREEN
    assert engine.model == (engines_dir / "screen" / "model.onnx").read_bytes()


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder missing": (
        shutil.rmtree,
        "no such engine, expected one of classify, inspect, inspect-tiles, screen-tiles, segment",
    ),
    "manifest missing": (lambda d: (d / "manifest.json").unlink(), "manifest.json: cannot be read"),
    "model missing": (lambda d: (d / "model.onnx").unlink(), "model.onnx: cannot be read"),
    "bad json": (lambda d: (d / "manifest.json").write_text("{"), "is not an engine manifest"),
    "unknown key": (lambda d: _edit(d / "manifest.json", lambda t: t.update(treshold=1)), "treshold: Extra inputs"),
    "wrong hash": (lambda d: (d / "model.onnx").write_bytes(b"other"), "sha256 is .*its manifest promises"),
    "one bit flipped": (
        lambda d: (d / "model.onnx").write_bytes(bytes([(m := (d / "model.onnx").read_bytes())[0] ^ 1]) + m[1:]),
        "damaged or not this engine's",
    ),
    "other name": (lambda d: _edit(d / "manifest.json", lambda t: t.update(name="else")), "names itself else"),
    "model elsewhere": (
        lambda d: _edit(d / "manifest.json", lambda t: t["model"].update(file="../segment/model.onnx")),
        "expected a file beside manifest.json",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_engine_is_refused_in_one_line(case: str, own_dir: Path) -> None:
    spoil, message = SPOILED[case]
    spoil(own_dir / "screen")
    with pytest.raises(EngineError, match=message) as refused:
        load_engine(own_dir, "screen", Task.SCREEN)
    assert "\n" not in str(refused.value)


def test_an_engine_of_another_task_is_refused(engines_dir: Path) -> None:
    with pytest.raises(EngineError, match=r"its task is segment, inference\.screen expects one with task screen"):
        load_engine(engines_dir, "segment", Task.SCREEN)


def test_classify_and_segment_must_look_at_equal_tiles(own_dir: Path) -> None:
    nets.write(own_dir, Task.SEGMENT, nets.segment(32, 32), 32, 32, name="small")
    with pytest.raises(EngineError, match="expected equal tiles"):
        load_engines(InferenceSettings(engines_dir=own_dir, chain="cascade", segment="small"))


def _sibling(folder: Path, name: str, made_of: str, seed: int = 5) -> None:
    how = Quantisation(
        source="classify",
        source_sha256=made_of,
        activations="uint8",
        left_fp32=(),
        calibration="none",
        acceptance=(),
    )
    model = nets.classify(64, 64, seed=seed)
    nets.write(folder, Task.CLASSIFY, model, 64, 64, name=name, precision="int8", quantisation=how)


def test_the_first_int8_sibling_made_of_this_very_engine_serves(own_dir: Path) -> None:
    settings = InferenceSettings(engines_dir=own_dir, chain="cascade")
    source = load_engine(own_dir, "classify", Task.CLASSIFY).manifest.model.sha256
    _sibling(own_dir, "classify-uint8", "0" * 64)
    assert load_engines(settings, ("uint8", "int8")).classify.manifest.name == "classify", "of an older engine"
    _sibling(own_dir, "classify-int8", source)
    assert load_engines(settings, ("uint8", "int8")).classify.manifest.name == "classify-int8"
    shutil.rmtree(own_dir / "classify-uint8")
    _sibling(own_dir, "classify-uint8", source)
    engines = load_engines(settings, ("uint8", "int8"))
    assert [engine.manifest.name for engine in engines.by_task().values()] == ["screen", "classify-uint8", "segment"]
    assert load_engines(settings).classify.manifest.name == "classify"
    in_fp32 = settings.model_copy(update={"precision": "fp32"})
    assert load_engines(in_fp32, ("uint8",)).classify.manifest.name == "classify"


def test_a_damaged_sibling_is_refused(own_dir: Path) -> None:
    _sibling(own_dir, "classify-uint8", load_engine(own_dir, "classify", Task.CLASSIFY).manifest.model.sha256)
    (own_dir / "classify-uint8" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(EngineError, match="sha256"):
        load_engines(InferenceSettings(engines_dir=own_dir, chain="cascade"), ("uint8",))


LIARS: dict[str, tuple[Task, dict[str, object], str]] = {
    "input name": (Task.SCREEN, {"input": {"name": "x", "lines": 64, "width": 208, "nominal_mm_per_px": 1}}, "input"),
    "input size": (Task.SCREEN, {"input": {"lines": 64, "width": 224, "nominal_mm_per_px": 1}}, "input"),
    "output name": (Task.SCREEN, {"output": "scores"}, "output"),
    "cell size": (Task.SCREEN, {"cell_px": 8}, "output"),
    "classes": (Task.CLASSIFY, {"classes": ["scratch"], "thresholds": {"scratch": 0.5}}, "output"),
}


@pytest.mark.parametrize("case", LIARS)
def test_a_model_that_is_not_what_its_manifest_promises_is_refused(case: str, backend: Backend, own_dir: Path) -> None:
    task, lie, where = LIARS[case]
    _edit(own_dir / task / "manifest.json", lambda tree: tree.update(lie))
    engine = load_engine(own_dir, task, task)
    with pytest.raises(EngineError, match=f"has {where} .*, its manifest promises .*; export"):
        backend.check(engine.manifest, engine.model)
    with pytest.raises(EngineError, match=f"has {where}"):
        backend.open(engine.manifest, engine.model, (1,), 1)


def test_a_file_that_is_no_model_is_refused_even_with_the_right_hash(backend: Backend, tmp_path: Path) -> None:
    nets.write(tmp_path, Task.SCREEN, b"these are not the weights", 64, 208)
    engine = load_engine(tmp_path, "screen", Task.SCREEN)
    with pytest.raises(EngineError, match=r"the runtime cannot use model\.onnx"):
        backend.check(engine.manifest, engine.model)


def test_a_model_of_a_fixed_batch_is_refused(backend: Backend, own_dir: Path) -> None:
    import onnx

    model = onnx.load_from_string((own_dir / "screen" / "model.onnx").read_bytes())
    for port in (model.graph.input[0], model.graph.output[0]):
        port.type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(
        EngineError, match=r"has input image uint8 \(1, 1, 64, 208\), its manifest promises .*\(n, 1, 64"
    ):
        backend.check(load_engine(own_dir, "screen", Task.SCREEN).manifest, model.SerializeToString())


def test_every_engine_is_reported_with_its_fault(backend: Backend, own_dir: Path) -> None:
    (own_dir / "classify" / "model.onnx").write_bytes(b"other")
    (own_dir / "notes.txt").write_text("not an engine")
    reports = {report.name: report for report in verify_all(own_dir, backend)}
    assert list(reports) == ["classify", "inspect", "inspect-tiles", "screen", "screen-tiles", "segment"]
    assert "sha256" in (reports["classify"].fault or "")
    assert reports["classify"].manifest is not None
    assert [r.fault for r in reports.values() if r.name != "classify"] == [None] * 5
    assert reports["screen"].model_bytes == (own_dir / "screen" / "model.onnx").stat().st_size


def test_a_missing_engines_folder_is_an_error(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such folder"):
        verify_all(tmp_path / "none", backend)


def test_a_shape_that_only_shows_when_run_is_refused_too(backend: Backend, own_dir: Path) -> None:
    """The classifier declares an output of unknown extent; the pool's first run finds that it is wrong."""
    import onnx

    model = onnx.load_from_string((own_dir / "classify" / "model.onnx").read_bytes())
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "c"
    shutil.rmtree(own_dir / "classify")
    classes = tuple(f"c{i}" for i in range(7))
    nets.write(
        own_dir,
        Task.CLASSIFY,
        model.SerializeToString(),
        64,
        64,
        classes=classes,
        thresholds=dict.fromkeys(classes, 0.5),
    )
    engines = load_engines(InferenceSettings(engines_dir=own_dir, chain="cascade"))
    with pytest.raises(EngineError, match="its manifest promises"):
        EnginePool(engines, backend, (1,), 1)


def test_hidden_folders_are_no_engines_links_that_lead_nowhere_are_and_a_byte_order_mark_is_no_fault(
    backend: Backend, own_dir: Path
) -> None:
    (own_dir / ".ipynb_checkpoints").mkdir()
    (own_dir / "gone").symlink_to(own_dir / "nowhere")
    manifest = own_dir / "classify" / MANIFEST
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    found = {report.name: report.fault for report in verify_all(own_dir, backend)}
    assert ".ipynb_checkpoints" not in found
    assert found["classify"] is None
    assert "expected" in str(found["gone"])
