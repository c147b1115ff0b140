"""The command line itself: nothing is imported before it is needed, and every command explains itself."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from linewatch import cli
from linewatch.daemon.coils.cli import CoilDataOptions
from linewatch.wire.schema import CoilDataBody

pytestmark = pytest.mark.service

NAMES = [name for commands in cli.COMMANDS.values() for name in commands]


def imported_by(*words: str) -> set[str]:
    """The modules that one command has imported when it ends."""
    code = "import sys; from linewatch.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split())


def test_help_imports_no_room_and_no_heavy_package() -> None:
    modules = imported_by("--help")
    assert "cyclopts" in modules
    assert not modules & {"numpy", "cv2", "zmq", "pydantic", "onnxruntime", "torch", "sqlalchemy"}
    rooms = {name for name in modules if name.startswith("linewatch.")}
    assert rooms == {"linewatch.cli", "linewatch.cli.output", "linewatch.contracts", "linewatch.contracts.errors"}


def test_a_command_imports_its_own_room_only() -> None:
    modules = imported_by("engine", "--help")
    assert "linewatch.client.cli" in modules
    assert not modules & {"linewatch.daemon.cli", "linewatch.evaluation.cli", "linewatch.history.cli", "cv2", "torch"}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.split()[:3] == ["Usage:", "linewatch", name]
    assert "--help" not in shown.splitlines()[0]


def test_help_needs_no_extra() -> None:
    """Every command's help is shown where the base alone is installed."""
    absent = ("torch", "sqlalchemy", "alembic", "jinja2", "pymodbus", "matplotlib", "openvino", "scipy")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); from linewatch.cli import main; "
        f"sys.exit(max(main([name, '--help']) for name in {NAMES}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Expected a command"),
        (["inspect"], "replay"),
        (["replay"], "SOURCE"),
        (["replay", "x.avi", "--pase", "max"], "--pace"),
        (["replay", "x.avi", "--pace", "slow"], "line-rate"),
        (["replay", "x.avi", "--workers", "two"], "--workers"),
        (["replay", "x.avi", "y.avi"], "y.avi"),
        (["record", "c.toml"], "--out"),
        (["defects"], "--coil"),
        (["defects", "--coil", "a", "--passage", "1"], "--passage"),
        (["ack", "--no-all"], "--no-all"),
        (["keys"], "allow"),
        (["keys", "bogus"], "bogus"),
    ],
)
def test_arguments_at_fault_end_with_2_and_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("linewatch: ")
    assert said in line


def test_a_hyphen_prints_the_map_of_registers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bridge", "modbus", "--map", "-"]) == 0
    assert capsys.readouterr().out == (Path(__file__).parents[2] / "docs" / "modbus-map.csv").read_text()


def test_the_data_of_a_coil_are_those_of_the_wire() -> None:
    assert ["coil", *(field.name for field in fields(CoilDataOptions))] == list(CoilDataBody.model_fields)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_installed_for_a_shell(shell: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "linewatch.cli", "--install-completion", "--shell", shell],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path), "SHELL": f"/bin/{shell}"},
    )
    assert ended.returncode == 0, ended.stderr
    scripts = [path.read_text() for path in tmp_path.rglob("*linewatch*") if path.is_file()]
    assert any("--size-tolerance" in text and "not-a-defect" in text for text in scripts)
