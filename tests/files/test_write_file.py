"""An output file is replaced as a whole where it is a regular file, and nothing else is replaced."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from linewatch.contracts.errors import ConfigError
from linewatch.files import descriptor_of, write_file, write_output

NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to act as another user")


def as_nobody(path: Path, data: bytes) -> str:
    """Write as an unprivileged user; return what was raised."""
    program = (
        "import os, sys; from pathlib import Path; from linewatch.files import write_file\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        f"try: write_file(Path({str(path)!r}), {data!r})\n"
        "except OSError as error: print(error.strerror)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.fixture
def shared(tmp_path_factory):
    """A folder that another user can reach."""
    folder = tmp_path_factory.mktemp("shared")
    for at in (folder, *folder.parents):
        if at == Path("/tmp"):
            break
        at.chmod(0o755)
    return folder


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "other").touch()
    write_file(tmp_path / "new", b"a")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path):
    file = tmp_path / ("x" * 255)
    file.write_bytes(b"before")
    file.chmod(0o640)
    with file.open("rb") as reader:
        write_file(file, b"after", sync=True)
        assert reader.read() == b"before"  # who reads it meanwhile reads one or the other
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"after", 0o640)


def test_a_link_stays_and_its_target_is_written(tmp_path):
    target, link, dangling = tmp_path / "target", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(b"before")
    link.symlink_to("target")
    dangling.symlink_to("made")
    write_file(link, b"after")
    write_file(dangling, b"new")
    assert (link.is_symlink(), dangling.is_symlink()) == (True, True)
    assert (target.read_bytes(), (tmp_path / "made").read_bytes()) == (b"after", b"new")


def test_a_pipe_and_a_device_are_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"data" * 100_000)
    reader.join()
    assert read == [b"data" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    before = os.stat("/dev/null")
    write_file(Path("/dev/null"), b"data")
    assert (before.st_ino, stat.S_ISCHR(before.st_mode)) == (os.stat("/dev/null").st_ino, True)
    with pytest.raises(OSError, match="No space left"):
        write_file(Path("/dev/full"), b"data")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_takes_it_behind_what_it_has(name, tmp_path):
    (tmp_path / "link").symlink_to("/dev/stdout")
    path, out = tmp_path / name, tmp_path / "out"
    program = (
        "from pathlib import Path; from linewatch.files import write_file\n"
        f"print('first'); write_file(Path({str(path)!r}), b'second'); print('third')"
    )
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
    assert out.read_bytes() == b"first\nsecondthird\n"
    assert Path("/dev/stdout").is_symlink()
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert piped.stdout == b"first\nsecondthird\n"


def test_what_names_a_descriptor(tmp_path):
    assert descriptor_of(Path("/dev/stdout")) == 1
    assert descriptor_of(tmp_path / "7") is None
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert descriptor_of(tmp_path / "a") is None
    with pytest.raises(ConfigError, match="name another file"):
        write_output(tmp_path / "a", b"")


def test_what_cannot_be_written_is_said_and_nothing_is_left(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path, said in ((tmp_path / "folder", "Is a directory"), (tmp_path / "file" / "x", "File exists")):
        with pytest.raises(ConfigError, match=f"cannot write .*{said}; name another file"):
            write_output(path, b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@needs_root
def test_a_file_of_another_owner_keeps_its_owner(tmp_path):
    file = tmp_path / "file"
    file.touch()
    os.chown(file, NOBODY, NOBODY)
    write_file(file, b"after")
    assert (file.stat().st_uid, file.stat().st_gid, file.read_bytes()) == (NOBODY, NOBODY, b"after")


@needs_root
def test_another_users_rights_decide(shared):
    """Read-only: refused. Writable, of another owner or in a folder that may not be written: in place, as it was."""
    readonly, theirs = shared / "readonly", shared / "theirs"
    for file in (readonly, theirs):
        file.write_bytes(b"a longer text before")
    theirs.chmod(0o666)
    inode = theirs.stat().st_ino
    assert as_nobody(readonly, b"after") == "Permission denied"
    assert as_nobody(shared / "new", b"after") == "Permission denied"
    assert as_nobody(theirs, b"after") == ""
    shared.chmod(0o777)
    assert as_nobody(readonly, b"after") == "Permission denied"
    assert as_nobody(theirs, b"once more") == ""
    assert (theirs.read_bytes(), theirs.stat().st_ino, theirs.stat().st_uid) == (b"once more", inode, 0)
    assert readonly.read_bytes() == b"a longer text before"
    assert sorted(path.name for path in shared.iterdir()) == ["readonly", "theirs"]
