"""What a command prints may not be writable: one line, an exit code, no traceback."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PRINTING = (["engines"], ["engines", "--json"], ["schema"], ["--help"], ["replay", "--help"], ["--version"])


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("LINEWATCH", f"{sys.executable} -m linewatch.cli")
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_full_disk_behind_the_output(words: list[str]) -> None:
    ended = shell(f"LINEWATCH {' '.join(words)} > /dev/full")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("linewatch: standard output cannot be written (No space left on device)")


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_reader_that_goes_ends_it_quietly(words: list[str]) -> None:
    ended = shell(f"LINEWATCH {' '.join(words)} | head -c 1; exit ${{PIPESTATUS[0]}}")
    assert (ended.returncode, ended.stderr, len(ended.stdout)) == (0, "", 1)


def test_closed_streams_and_a_full_disk_behind_the_errors() -> None:
    assert shell("LINEWATCH engines >&-").returncode == 0
    for streams in ("2> /dev/full", "2>&-", "> /dev/full 2>&1"):
        ended = shell(f"LINEWATCH coils --config nowhere.toml {streams}")
        assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")


def test_letters_that_the_locale_lacks_are_printed_as_codes() -> None:
    ended = shell("LINEWATCH check nowhere-ä.toml; LINEWATCH coil data ä --file x.toml", PYTHONIOENCODING="ascii")
    assert "Traceback" not in ended.stderr
    ended = shell("LINEWATCH coil start $'\\xff'")
    assert (ended.returncode, "U+DCFF, which cannot be printed" in ended.stderr) == (5, True)


def test_a_page_may_go_to_standard_output(tmp_path: Path) -> None:
    before = os.stat("/dev/stdout", follow_symlinks=False)
    ended = shell("LINEWATCH schema --out /dev/stdout | LINEWATCH schema --out /dev/stdout")
    assert ended.stdout == (ROOT / "docs" / "wire.schema.json").read_text()
    assert os.stat("/dev/stdout", follow_symlinks=False).st_ino == before.st_ino
    assert stat.S_ISLNK(before.st_mode)
    ended = shell("LINEWATCH schema --out /dev/full")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "cannot write /dev/full: No space left on device; name another file" in ended.stderr
