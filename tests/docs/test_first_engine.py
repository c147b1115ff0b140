"""docs/first-engine.md takes a network from each framework to the running line, command by command.

The blocks of the page are run as they stand, in one folder. Keras is tried where it is installed. Ultralytics is not
used here for its licence (AGPL): a graph of the same form, made by torch, takes the place of its classifier.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from linewatch import cli
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Subscriber
from linewatch.daemon.service import Service, open_service
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import find_engine, verify_all
from linewatch.service_settings import ServiceSettings
from linewatch.simulation.tiles import drawn_tiles
from linewatch.wire.schema import BesideState, EngineBeside, StatusMessage

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
PAGE = (ROOT / "docs" / "first-engine.md").read_text()
BLOCKS = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
PRELUDE = "from linewatch.networks.torchvision_operators import declare; declare()\n"


def run_python(name: str, folder: Path) -> None:
    """Run a block as its own program."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRELUDE + BLOCKS[name]]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def run_commands(name: str, *more: str) -> None:
    """Run the commands of a block."""
    for line in BLOCKS[name].replace("\\\n", " ").splitlines():
        run_line(line, *more)


def run_line(line: str, *more: str) -> None:
    words = shlex.split(line)
    assert words[0] == "linewatch"
    assert cli.main([*words[1:], *more]) == 0, line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the engines of a cascade and the configuration, where the page's commands are run."""
    for name in ("screen", "classify", "segment"):  # each is tried by `linewatch engines`
        shutil.copytree(ROOT / "engines" / name, tmp_path / "engines" / name)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(folder: Path, name: str) -> np.ndarray:
    """Return the engine's answers to some tiles, once `linewatch engines` has found no fault in any."""
    backend = open_backend("onnxruntime")
    assert not [report.fault for report in verify_all(folder / "engines", backend) if report.fault]
    engine = find_engine(folder / "engines", name)
    (executor,) = backend.open(engine.manifest, engine.model, (1,), 1)
    return executor.run(np.ascontiguousarray(drawn_tiles(256, 256)[:3, None]), 3)


@pytest.mark.heavy  # tests/importer/test_torch.py imports a smaller one
def test_a_classifier_of_torch(folder: Path) -> None:
    run_python("torch_classifier.py", folder)
    assert (folder / "torch_classifier.onnx.data").is_file()
    run_commands("torch_classifier")
    assert answers(folder, "torch_classifier").shape == (3, 2)


@pytest.mark.skipif(find_spec("keras") is None, reason="needs keras, which linewatch does not install")
def test_a_classifier_of_keras(folder: Path) -> None:
    run_python("keras_classifier.py", folder)
    run_commands("keras_classifier")
    assert answers(folder, "keras_classifier").shape == (3, 2)


class AsUltralytics(nn.Module):
    """The form of an Ultralytics classifier: pixels from 0 to 1, softmax inside."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU())
        self.linear = nn.Linear(32, 3)
        nn.init.normal_(self.linear.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.features(images).mean((2, 3))).softmax(1)


def test_a_graph_in_the_form_of_ultralytics(folder: Path) -> None:
    torch.manual_seed(0)
    torch.onnx.export(
        AsUltralytics().eval(),
        (torch.rand(1, 3, 224, 224),),
        folder / "best.onnx",
        dynamo=False,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
    )
    model = onnx.load(folder / "best.onnx")
    for key, value in (("author", "Ultralytics"), ("task", "classify"), ("names", "{0: 'background'}")):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, folder / "best.onnx")
    run_commands("ultralytics_classifier")
    assert find_engine(folder / "engines", "best").manifest.classes == ("scratch", "sliver")
    assert answers(folder, "best").shape == (3, 2)


@pytest.mark.heavy
def test_a_segmenter_of_torchvision(folder: Path) -> None:
    run_python("torchvision_segmenter.py", folder)
    run_commands("torchvision_segmenter")
    assert answers(folder, "torchvision_segmenter").shape == (3, 256, 256)


@contextmanager
def running(settings: ServiceSettings, engines_dir: Path) -> Iterator[Service]:
    """Run the service on a long, slow simulated strip with the engines of a folder."""
    assert settings.source is not None
    changed = settings.model_copy(
        update={
            "inference": settings.inference.model_copy(update={"engines_dir": engines_dir, "deadline_ms": 60_000.0}),
            "line": settings.line.model_copy(update={"line_rate_hz": 1000.0}),
            "wire": settings.wire.model_copy(update={"commands": f"ipc://{engines_dir.parent}/cmd"}),
        }
    )
    source = settings.source.model_copy(update={"length_m": 2000.0})
    clock, found, ready = MonotonicClock(), list[Service](), threading.Event()

    def run() -> None:
        with (
            open_camera(source, changed.line, clock, live=True) as camera,
            open_service(changed, camera, clock) as opened,
        ):
            found.append(opened)
            opened.run(ready.set)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield found[0]
    finally:
        found[0].stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def status_of(service: Service, enough: Callable[[EngineBeside | None], bool]) -> StatusMessage:
    """Return the first status whose engine beside the running ones fulfils the condition."""
    deadline, status = time.monotonic() + PATIENCE_S, None
    with Subscriber(service.publisher.endpoint, service.server.endpoint, topics=["status"]) as subscriber:
        while time.monotonic() < deadline:
            status = subscriber.poll(0.5)
            if isinstance(status, StatusMessage) and enough(status.beside):
                return status
    raise AssertionError(f"never; last {status}")


def pictures(folder: Path) -> None:
    """Write a small labelled set with masks."""
    for part in ("images", "masks"):
        (folder / "pictures" / part).mkdir(parents=True)
    rows = ["file,class"]
    for number, tile in enumerate(drawn_tiles(256, 256)[:3]):
        cv2.imwrite(str(folder / "pictures" / "images" / f"{number}.png"), tile)
        cv2.imwrite(
            str(folder / "pictures" / "masks" / f"{number}.png"), (tile > np.quantile(tile, 0.9)) * np.uint8(255)
        )
        rows.append(f"{number}.png,scratch")
    (folder / "pictures" / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.heavy
def test_a_segmenter_of_smp_to_the_running_line(folder: Path, settings: ServiceSettings) -> None:
    run_python("smp_segmenter.py", folder)
    run_commands("smp_segmenter")
    run_commands("check")
    run_commands("reference")
    pictures(folder)
    run_commands("fit-thresholds")
    assert find_engine(folder / "engines", "smp_segmenter").manifest.thresholds["defect"] != 0.5
    with running(settings, folder / "engines") as service:
        where = ["--commands", service.commands.endpoint]
        first, second = BLOCKS["shadow"].splitlines()
        run_line(first, *where)
        status_of(service, lambda found: found is not None and found.state is BesideState.COMPARED and found.tiles > 0)
        run_line(second, *where)
        run_commands("promote", *where)
        status = status_of(service, lambda found: found is None)
        assert status.engines[2].identity.startswith("smp_segmenter@")
        assert status.healthy
