"""What a command prints may not be writable: one line, an exit code, no traceback."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PRINTING = [
    *(["engines"], ["schema"], ["--help"]),
    *(pytest.param(words, marks=pytest.mark.heavy) for words in (["engines", "--json"], ["replay", "--help"])),
    pytest.param(["--version"], marks=pytest.mark.heavy),
]


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


LOGGING = """
import os, sys
from linewatch.cli.output import check_output
check_output()
import structlog
from linewatch.logs import configure_logs
configure_logs("info")
log = structlog.get_logger()
log.info("first")
for _ in range({times}):
    log.error("a_long_line", text="x" * 3000)
print("went on")
{then}
"""


@pytest.mark.parametrize(
    "streams", ["2> /dev/full", "2>&-", "2> >(true)", "0<&- 2>&-", "2> >(exec sleep 9 > /dev/null)"]
)
def test_a_log_that_cannot_be_written_ends_nothing(streams: str, tmp_path: Path) -> None:
    """A full disk, a closed stream, a reader that has gone, and one that does not read."""
    program = tmp_path / "program.py"
    program.write_text(LOGGING.format(times=50, then=""))
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} {program} {streams}; echo rc $?"],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        timeout=50,
        check=False,
    )
    assert ended.stdout.splitlines() == ["went on", "rc 0"]


def test_what_the_log_lost_is_told_once_it_is_read_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(LOGGING.format(times=50, then='sys.stdout.flush(); sys.stdin.readline(); log.info("last")'))
    with subprocess.Popen(
        [sys.executable, str(program)],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"went on\n"
        lines = [json.loads(running.stderr.readline()) for _ in range(15)]
        os.set_blocking(running.stderr.fileno(), False)
        while running.stderr.read(1 << 16):
            pass
        os.set_blocking(running.stderr.fileno(), True)
        running.stdin.write(b"\n")
        running.stdin.flush()
        told, last = (json.loads(line) for line in running.stderr.read().splitlines() if line)
    assert lines[0]["event"] == "first"
    assert (told["event"], 10 < told["lines"] < 50, last["event"]) == ("log_lines_dropped", True, "last")


def test_a_closed_stream_gives_its_number_to_no_file(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os\nfrom linewatch.cli.output import check_output\ncheck_output()\n"
        f"print(os.open({str(tmp_path / 'journal')!r}, os.O_WRONLY | os.O_CREAT) > 2)\n"
    )
    command = f"{sys.executable} {program} 0<&- 2>&-"
    assert subprocess.check_output(["bash", "-c", command], env=ENVIRONMENT, text=True, timeout=50) == "True\n"


def test_a_rendered_strip_replaces_nothing_but_an_earlier_one(tmp_path: Path) -> None:
    """Neither a file of another kind, nor a device, nor a folder; nor is the truth written over the recording."""
    (precious := tmp_path / "precious.mp4").write_bytes(b"mine")
    (tmp_path / "folder.avi").mkdir()
    os.mkfifo(tmp_path / "pipe.avi")
    for out, says in (
        ("precious.mp4", "found suffix '.mp4', expected .avi"),
        ("folder.avi", "is no regular file"),
        ("pipe.avi", "is no regular file"),
        ("precious.mp4/a.avi", "cannot write recording"),
        ("truth.avi", "is a file of the recording"),
    ):
        truth = "truth.avi" if out == "truth.avi" else "truth.json"
        ended = shell(f"LINEWATCH simulate --length-m 1 --out {tmp_path}/{out} --truth {tmp_path}/{truth}")
        assert (ended.returncode, says in ended.stderr, len(ended.stderr.splitlines())) == (3, True, 1), ended.stderr
    assert precious.read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"precious.mp4", "folder.avi", "pipe.avi"}
