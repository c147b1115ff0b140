"""Signatures of engine folders: who made an engine, and that nothing of it was changed since."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import nets
import numpy as np
import pytest

from linewatch import cli
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.contracts.signer import fingerprint
from linewatch.inference.engines import best_sibling, find_engine, load_engines
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.signatures import SIGNATURE, SigningKey, verify
from linewatch.service_settings import settings_from

pytest.importorskip("cryptography")
LINES = 64


def make_engine(folder: Path, task: Task = Task.SEGMENT) -> Path:
    nets.write(folder, task, getattr(nets, task.value)(LINES, LINES), LINES, LINES)
    (folder / task.value / "CARD.md").write_text("a card\n")
    return folder / task.value


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.new(tmp_path / "maker.pem")


@pytest.fixture
def engine(tmp_path: Path, key: SigningKey) -> Path:
    """An engine that `key` has signed."""
    folder = make_engine(tmp_path / "engines")
    key.sign(folder)
    return folder


def test_a_signed_engine_is_loaded_where_its_signer_is_trusted(engine: Path, key: SigningKey) -> None:
    assert verify(engine, (key.signer,)).signer == key.signer
    found = find_engine(engine.parent, "segment", ("ed25519:" + "A" * 43 + "=", key.signer))
    assert found.manifest.name == "segment"


def change_card(folder: Path) -> None:
    (folder / "CARD.md").write_text("another card\n")


def change_threshold(folder: Path) -> None:
    """The model's hash in the manifest is right: only the signature can tell."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["thresholds"]["defect"] = 0.999
    (folder / "manifest.json").write_text(json.dumps(manifest))


def take_signature(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


def sign_by_another(folder: Path) -> None:
    SigningKey.new(folder.parent / "other.pem").sign(folder)


def claim_the_trusted_signer(folder: Path) -> None:
    """Put the trusted signer's name on what another one signed."""
    trusted = json.loads((folder / SIGNATURE).read_text())["signer"]
    change_card(folder)
    sign_by_another(folder)
    forged = json.loads((folder / SIGNATURE).read_text()) | {"signer": trusted}
    (folder / SIGNATURE).write_text(json.dumps(forged))


def list_the_changed_file(folder: Path) -> None:
    """Change a file, and its hash in the signature's list."""
    change_card(folder)
    listed = json.loads((folder / SIGNATURE).read_text())
    listed["files"]["CARD.md"] = "0" * 64
    (folder / SIGNATURE).write_text(json.dumps(listed))


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (change_card, r"CARD\.md was changed since"),
    (change_threshold, r"manifest\.json was changed since"),
    (lambda folder: (folder / "CARD.md").unlink(), r"CARD\.md is missing since"),
    (lambda folder: (folder / "model.onnx.data").write_bytes(b"weights"), r"model\.onnx\.data was added since"),
    (lambda folder: (folder / "more").mkdir(), "more is no file"),
    (lambda folder: os.mkfifo(folder / "pipe"), "pipe is no file"),
    (take_signature, "is not signed, expected"),
    (sign_by_another, "signed by [0-9a-f]{16}, expected a trusted signer"),
    (claim_the_trusted_signer, r"its signature\.json was changed since"),
    (list_the_changed_file, r"its signature\.json was changed since"),
    (lambda folder: (folder / SIGNATURE).write_text("{}"), "is no signature of an engine"),
    (lambda folder: (folder / SIGNATURE).write_bytes(os.urandom(5000)), "is no signature of an engine"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_what_was_not_signed_as_it_is_is_refused_in_one_line(
    engine: Path, key: SigningKey, change: Callable[[Path], object], said: str
) -> None:
    change(engine)
    with pytest.raises(EngineError, match=said) as refused:
        find_engine(engine.parent, "segment", (key.signer,))
    assert "\n" not in str(refused.value)


def test_a_signature_is_of_one_engine(engine: Path, key: SigningKey) -> None:
    """A trusted engine under another's name would take its place."""
    other = engine.with_name("classify")
    shutil.copytree(engine, other)
    with pytest.raises(EngineError, match="its signature is for segment, expected classify"):
        verify(other, (key.signer,))


def test_a_sibling_must_be_signed_too(engine: Path, key: SigningKey) -> None:
    sibling = engine.with_name("segment-int8")
    shutil.copytree(engine, sibling)
    source = find_engine(engine.parent, "segment", (key.signer,))
    with pytest.raises(EngineError, match="its signature is for segment"):
        best_sibling(source, ("int8",), (key.signer,))


def test_a_service_that_requires_signatures_does_not_start_on_other_engines(engine: Path, key: SigningKey) -> None:
    folder = engine.parent
    settings = InferenceSettings(engines_dir=folder, chain="cascade", trusted_signers=(key.signer,))
    for task in (Task.SCREEN, Task.CLASSIFY):
        key.sign(make_engine(folder, task))
    assert set(load_engines(settings).by_task()) == {Task.SCREEN, Task.CLASSIFY, Task.SEGMENT}
    take_signature(folder / "classify")
    with pytest.raises(EngineError, match="engine classify: is not signed"):
        load_engines(settings)
    assert load_engines(settings.model_copy(update={"trusted_signers": ()}))


@pytest.mark.parametrize("signer", ["", "ed25519:", "ed25519:AAAA", "ssh-rsa AAAA", "ed25519:" + "?" * 44])
def test_a_signer_that_is_no_key_is_refused_with_the_configuration(signer: str) -> None:
    from linewatch.contracts.errors import ConfigError

    with pytest.raises(ConfigError, match="is no public key of a signer"):
        settings_from({"inference": {"trusted_signers": [signer]}}, "tests")


def test_a_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "maker.pem"
    before = os.umask(0)
    try:
        key = SigningKey.new(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.read(path).signer == key.signer
    with pytest.raises(EngineError, match="there is a file already"):
        SigningKey.new(path)
    path.chmod(0o640)
    with pytest.raises(EngineError, match="has mode 0640"):
        SigningKey.read(path)
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(EngineError, match="is no signer's secret key"):
        SigningKey.read(tmp_path / "junk")


def test_the_page_s_process_runs_no_engine_that_a_trusted_signer_did_not_sign(engine: Path, key: SigningKey) -> None:
    picture = engine.parent / "defect.png"
    cv2.imwrite(str(picture), np.full((LINES, LINES), 90, np.uint8))

    def shown(*trusted: str) -> subprocess.CompletedProcess[bytes]:
        given = str(picture), str(engine.parent), engine.name, str(LINES), str(LINES), "0"
        command = [sys.executable, "-m", "linewatch.inference.activation", *given, *trusted]
        return subprocess.run(command, capture_output=True, check=False)

    assert shown(key.signer).stdout.partition(b"\n")[2].startswith(b"\x89PNG")
    change_card(engine)
    refused = shown(key.signer)
    assert (refused.returncode, refused.stdout) == (3, b"")
    assert b"CARD.md was changed since" in refused.stderr
    assert shown().returncode == 0, "where no signer is named, none is asked for"


def test_the_commands_make_a_key_sign_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, pem = tmp_path / "engines", str(tmp_path / "maker.pem")
    make_engine(folder)
    where = ["--engines", str(folder)]
    assert cli.main(["engine", "new-key", pem, "--json"]) == 0
    signer = json.loads(capsys.readouterr().out)["signer"]
    assert cli.main(["engine", "verify", "segment", *where]) == EngineError.exit_code
    assert "is not signed" in capsys.readouterr().out
    assert cli.main(["engine", "sign", "segment", "--key", pem, *where]) == 0
    assert fingerprint(signer) in capsys.readouterr().out
    assert cli.main(["engine", "verify", "segment", "--signer", signer, "--json", *where]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts["files"]) == {"CARD.md", "manifest.json", "model.onnx"}
    change_card(folder / "segment")
    assert cli.main(["engine", "verify", "segment", *where]) == EngineError.exit_code
    assert "CARD.md was changed" in capsys.readouterr().out
    assert cli.main(["engine", "verify", "segment", "--signer", "maker", *where]) == 2
    assert cli.main(["engine", "sign", "--key", pem, *where]) == 2
    assert cli.main(["engine", "sign", "nobody", "--key", pem, *where]) == EngineError.exit_code
