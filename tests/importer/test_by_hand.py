"""An engine's folder that was put together by hand from two files of an export is refused with the remedy."""

import hashlib
import json
from pathlib import Path

import foreign_networks as foreign
import nets
import onnx
import pytest

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import find_engine


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_weights_in_a_second_file_are_refused_with_the_command_that_takes_them_in(backend: str, tmp_path: Path) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    nets.write(tmp_path, Task.CLASSIFY, nets.classify(64, 64), 64, 64, name="mine")
    path = tmp_path / "mine" / "model.onnx"
    foreign.save(onnx.load(path), path, weights="model.onnx.data")
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    manifest["model"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "mine" / "manifest.json").write_text(json.dumps(manifest))
    engine = find_engine(tmp_path, "mine")
    with pytest.raises(EngineError, match=r"weights lie in another file.*`linewatch engine import`"):
        open_backend(backend).check(engine.manifest, engine.model)
