"""A service whose one engine inspects whole frames: it runs, changes engines and recipes as one with a cascade does."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from faulty_backends import LateBackend
from live_service import PATIENCE_S, live_service
from test_exchange import ROOT, beside, copy_engine, verdicts
from test_replay import timeless, with_
from waiting import wait_until

from linewatch.client import Commander
from linewatch.config.recipe import RecipeEngines, RecipeSettings
from linewatch.contracts.verdict import Quality
from linewatch.daemon.replay import replay
from linewatch.inference.backends.registry import open_backend
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import BesideState, EngineAction

pytestmark = pytest.mark.service


@pytest.fixture
def inspecting(settings: ServiceSettings, tmp_path: Path) -> ServiceSettings:
    """Settings with the shipped inspect engine, a copy of it and a segmenter."""
    folder = tmp_path / "engines"
    for name in ("inspect", "segment"):
        shutil.copytree(ROOT / "engines" / name, folder / name)
    copy_engine(folder, "inspect", "inspect-b")
    inference = settings.inference.model_copy(
        update={"chain": "inspect", "engines_dir": folder, "deadline_ms": 60_000.0}
    )
    return settings.model_copy(update={"inference": inference})


@pytest.fixture
def service(inspecting: ServiceSettings, tmp_path: Path) -> Iterator[SimpleNamespace]:
    with live_service(inspecting, tmp_path / "v.jsonl", 1000.0) as found:
        yield found


def test_it_compares_promotes_and_refuses_engines(service: SimpleNamespace) -> None:
    with Commander(service.commands) as commander:
        commander.engine(EngineAction.LOAD, "segment")
        status = beside(service, lambda found: found is not None and found.state is BesideState.FAILED)
        assert status.beside is not None
        assert "has no place among the running engines (inspect)" in (status.beside.text or "")
        reply = commander.engine(EngineAction.LOAD, "inspect-b", shadow=True)
        assert [engine.role for engine in reply.engines] == ["inspect"]
        status = beside(service, lambda found: found is not None and found.tiles > 20)
        assert status.beside is not None
        assert (status.beside.state, status.beside.role) == (BesideState.COMPARED, "inspect")
        assert status.beside.agreed == status.beside.tiles, "an engine agrees with its copy"
        commander.engine(EngineAction.PROMOTE)
        status = beside(service, lambda found: found is None)
        assert [one.identity.partition("@")[0] for one in status.engines] == ["inspect-b"]
        decided = service.service.totals.frames
        wait_until(lambda: service.service.totals.frames >= decided + 5, PATIENCE_S)
        service.service.stop()
    found = verdicts(service)
    assert {len(line["engines"]) for line in found} == {1}
    assert {span["quality"] for line in found for span in line["spans"]} == {Quality.INSPECTED}


@pytest.mark.timeout(300)
def test_verdicts_are_the_same_bytes_at_any_worker_count_and_delay(inspecting: ServiceSettings, tmp_path: Path) -> None:
    """Also where the engine gets frames in tiles, whose answers come in any order."""
    short = with_(inspecting, source={"length_m": 2.5})
    wide = with_(short, line={"width_px": 1760, "frame_lines": 320})
    for name, settings in (("whole", short), ("tiles", wide)):
        one, many = tmp_path / f"{name}-1", tmp_path / f"{name}-4"
        replay(with_(settings, inference={"workers": 1}), out=one)
        replay(
            with_(settings, inference={"workers": 4, "ladder": (1, 2)}),
            out=many,
            backend=LateBackend(open_backend("onnxruntime"), 0.05, 1),
        )
        assert timeless(one) == timeless(many)
        defects = [
            len(line["defects"])
            for text in one.read_text().splitlines()
            for line in [json.loads(text)]
            if line["kind"] == "verdict"
        ]
        assert sum(defects) > 0


def test_a_recipe_names_an_inspect_engine_of_its_own(inspecting: ServiceSettings, tmp_path: Path) -> None:
    recipe = RecipeSettings(name="all", product="strip", engines=RecipeEngines(inspect="inspect-b"))
    out, data = tmp_path / "v.jsonl", tmp_path / "coil.json"
    data.write_text(json.dumps({"coil": "TEST-7", "product": "strip"}))
    summary = replay(inspecting.model_copy(update={"recipe": (recipe,)}), out=out, coil_data=data)
    found = [line for text in out.read_text().splitlines() if (line := json.loads(text))["kind"] == "verdict"]
    assert {one.partition("@")[0] for line in found for one in line["engines"]} == {"inspect-b"}
    assert summary.coverage == 1.0
    assert sum(len(line["defects"]) for line in found) > 0
