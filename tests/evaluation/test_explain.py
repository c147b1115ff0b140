"""`linewatch explain` looks where the network looks; `linewatch networks` lists what is registered."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made_pictures import REPO, texture

from linewatch import cli
from linewatch.contracts.errors import EngineError
from linewatch.evaluation.explain import explain
from linewatch.networks.registry import NETWORKS

ENGINES = REPO / "engines"


def test_a_segmenters_map_lies_on_the_defect(tmp_path: Path) -> None:
    gray = (texture(3, 200, 200) // 4 + 120).astype(np.uint8)
    gray[60:140, 90:110] = 245
    cv2.imwrite(str(tmp_path / "scratch.png"), gray)
    found = explain("segment", tmp_path / "scratch.png", tmp_path / "out.png", ENGINES)
    assert found.activation.shape == (200, 200)
    inside = np.zeros((200, 200), bool)
    inside[60:140, 90:110] = True
    assert found.activation[inside].mean() > 3 * found.activation[~inside].mean()
    drawn = cv2.imread(str(tmp_path / "out.png"))
    assert drawn.shape[1] == 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "shape"), [("classify", (200, 200)), ("classify", (256, 1600)), ("screen", (256, 1600))]
)
def test_every_engine_has_a_map_of_the_pictures_size(engine: str, shape: tuple[int, int], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "picture.png"), texture(5, *shape))
    found = explain(engine, tmp_path / "picture.png", tmp_path / "out.png", ENGINES)
    assert found.activation.shape == shape
    assert np.isfinite(found.activation).all()
    assert found.activation.max() > 0
    scores = list(found.scores.values())
    assert scores == sorted(scores, reverse=True)
    assert (len(scores) == 13) == (engine == "classify")


def test_what_is_no_engine_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nothing: neither a run folder"):
        explain("nothing", tmp_path / "picture.png", tmp_path / "out.png", ENGINES)


@pytest.mark.slow
def test_networks_lists_both_counts_and_who_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    assert cli.main(["networks", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name.split()[0] for name in rows} == set(NETWORKS)
    assert rows["nasnet_mobile"]["keras_parameters"] == 4_376_022
    assert rows["custom_cnn"]["gflop"] == pytest.approx(4.02, abs=0.01)
    assert torch.is_grad_enabled()
