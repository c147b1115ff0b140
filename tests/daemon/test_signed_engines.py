"""A service that requires signatures runs no engine that no trusted signer signed, at any moment of its life."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from bright_strip import write_running_strip
from live_service import PATIENCE_S, live_service
from waiting import wait_until

from linewatch import cli
from linewatch.client import Commander
from linewatch.contracts.errors import EngineError
from linewatch.inference.reference_tiles import write_reference_tiles
from linewatch.inference.signatures import SigningKey
from linewatch.service_settings import ServiceSettings, load_settings
from linewatch.wire.schema import BesideState, EngineAction, EngineBeside

pytest.importorskip("cryptography")
pytestmark = pytest.mark.service


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.new(tmp_path / "maker.pem")


@pytest.fixture
def settings(tmp_path: Path, key: SigningKey) -> ServiceSettings:
    """Signed engines, and `screen-b`, a signed copy of the screen with reference tiles."""
    config = write_running_strip(tmp_path, encoder=True)
    folder = tmp_path / "engines"
    shutil.copytree(folder / "screen", folder / "screen-b")
    manifest = folder / "screen-b" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": "screen-b"}))
    write_reference_tiles(folder / "screen-b")
    for engine in folder.iterdir():
        key.sign(engine)
    config.write_text(config.read_text().replace("[inference]", f'[inference]\ntrusted_signers = ["{key.signer}"]'))
    return load_settings(config)


@pytest.fixture
def service(settings: ServiceSettings, tmp_path: Path) -> Iterator[SimpleNamespace]:
    with live_service(settings, tmp_path / "v.jsonl", 2000.0) as found:
        yield found


def test_the_start_is_refused_in_one_line(
    settings: ServiceSettings, tmp_path: Path, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "engines" / "classify" / "CARD.md"
    card.write_text("changed\n")
    assert cli.main(["run", str(tmp_path / "service.toml")]) == EngineError.exit_code
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("linewatch:")]
    assert "engine classify: CARD.md was added since" in said
    assert cli.main(["check", str(tmp_path / "service.toml")]) == 3
    assert "CARD.md was added since" in capsys.readouterr().out


def test_what_is_not_signed_is_neither_loaded_nor_promoted_nor_gone_back_to(
    service: SimpleNamespace, tmp_path: Path, key: SigningKey
) -> None:
    other, folder = SigningKey.new(tmp_path / "other.pem"), tmp_path / "engines"
    with Commander(service.commands) as commander:

        def beside(enough: Callable[[EngineBeside], bool]) -> EngineBeside:
            def found() -> EngineBeside | None:
                now = commander.engine(EngineAction.SHOW).beside
                return now if now is not None and enough(now) else None

            return wait_until(found, PATIENCE_S)

        def refused(by: str) -> None:
            now = beside(lambda one: one.state is BesideState.FAILED)
            assert by in (now.text or "")
            assert "\n" not in (now.text or "")
            commander.engine(EngineAction.DROP)

        before = commander.engine(EngineAction.SHOW).engines
        other.sign(folder / "screen-b")
        commander.engine(EngineAction.LOAD, "screen-b")
        refused("expected a trusted signer")
        key.sign(folder / "screen-b")
        commander.engine(EngineAction.LOAD, "screen-b")
        beside(lambda one: one.state is BesideState.READY)
        (folder / "screen-b" / "CARD.md").write_text("changed on trial\n")
        commander.engine(EngineAction.PROMOTE)
        refused("CARD.md was added since")
        assert commander.engine(EngineAction.SHOW).engines == before
        key.sign(folder / "screen-b")
        commander.engine(EngineAction.LOAD, "screen-b")
        beside(lambda one: one.state is BesideState.READY)
        commander.engine(EngineAction.PROMOTE)
        wait_until(lambda: commander.engine(EngineAction.SHOW).engines != before, PATIENCE_S)
        # What the folder of the engine before holds by now is not read: it goes back to what was verified at its load.
        (folder / "screen" / "model.onnx").write_bytes(b"another model")
        commander.engine(EngineAction.ROLLBACK)
        wait_until(lambda: commander.engine(EngineAction.SHOW).engines == before, PATIENCE_S)
        decided = service.service.totals.frames
        wait_until(lambda: service.service.totals.frames > decided + 5, PATIENCE_S)
        commander.engine(EngineAction.LOAD, "screen")
        refused("model.onnx was changed since")
