"""A file that would run code when it is unpickled is refused, in one line, by everything that reads one."""

import io
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_fit import phase, run

from experiments.eye import average
from linewatch.contracts.errors import LinewatchError
from linewatch.evaluation.engine_export import export_checkpoint
from linewatch.networks.registry import NETWORKS
from linewatch.training.house.inspect_fit import ALL, FoldTraining, InspectSettings, load_network, state_file
from linewatch.training.house.screen import ScreenSettings, load_screen
from linewatch.training.runs import load

ROOT = Path(__file__).parents[2]
PARTS = ("linewatch", "experiments", "benchmarks", "tools")
UNPICKLES = re.compile(r"torch\.load\(|pickle\.loads?\(|Unpickler\(|allow_pickle=True|joblib|weights_only=False")


class Hostile:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def _torch_load(stored: bytes) -> object:
    return torch.load(io.BytesIO(stored), weights_only=False)


def _average(file: Path) -> None:
    folder = file.parent.parent
    for network in range(ALL + 1):
        state = state_file(folder, network)
        state.parent.mkdir(exist_ok=True)
        state.write_bytes(file.read_bytes())
    sys.argv = ["average", str(folder), str(folder), "--out", str(folder / "out")]
    average.main()


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a checkpoint to go on from": ("run/fit/last.ckpt", lambda file: run(file.parent.parent, phase(3))),
    "a finished phase": ("run/fit/weights.pt", lambda file: run(file.parent.parent, phase(1))),
    "a network to evaluate": ("run/network.ckpt", lambda file: load(file.parent)),
    "a network to export": ("run/network.ckpt", lambda file: export_checkpoint(file, "new", file.parent)),
    "an inspect network": ("fold-1/state.pt", load_network),
    "an inspect network to export": (
        "fold-1/state.pt",
        lambda file: export_checkpoint(file, "new", file.parent, [f"severstal_frames={file.parent}"]),
    ),
    "an inspect training to go on": ("s/state.pt", lambda file: FoldTraining.begin(None, file, InspectSettings())),
    "inspect networks to average": ("fold-0/state.pt", _average),
    "a screen": ("fit/weights.pt", lambda file: load_screen(file, ScreenSettings())),
    "a trunk": ("trunk.pt", lambda file: NETWORKS["resnet34"].build(weights=file)),
}


@pytest.mark.parametrize("form", ["an archive of torch", "a bare pickle"])
@pytest.mark.parametrize("what", READERS)
def test_code_in_a_file_is_not_run(what: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    name, read = READERS[what]
    file, made = tmp_path / name, tmp_path / "made"
    file.parent.mkdir(parents=True, exist_ok=True)
    hostile = Hostile(made)
    if form == "a bare pickle":
        file.write_bytes(pickle.dumps({"state": hostile, "network": hostile}))
    else:
        torch.save({"record": "{}", "epoch": 0, "step": 1, "state": hostile, "network": hostile}, file)
    stored = file.read_bytes()
    with pytest.raises(LinewatchError) as refused:
        read(file)
    assert not made.exists()
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    (pickle.loads if form == "a bare pickle" else _torch_load)(stored)
    assert made.is_dir(), "it is one that would have run"


def test_only_one_module_unpickles() -> None:
    found = {
        str(file.relative_to(ROOT))
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        if UNPICKLES.search(file.read_text())
    }
    between_own_processes = {"linewatch/strip/reader_process.py", "linewatch/strip/readers.py"}
    assert found == {"linewatch/networks/stored.py"} | between_own_processes
