"""Faults that `benchmarks.attack` and `benchmarks.soak` inject: small disks, stops, starvation, junk, hostile peers.

Small disks are mounted, so the programs start themselves again in namespaces of their own (`in_namespace`), whose
loopback has nobody else's ports.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_IN_NAMESPACE: Final = "LINEWATCH_FAULTS_NAMESPACE"


def in_namespace(module: str, arguments: Sequence[str]) -> int | None:
    """Run `python -m MODULE` again with mounts and a loopback of its own; return its exit code, or None inside it.

    Ctrl-C is for the program inside, which ends cleanly and writes its report; this one waits for it.
    """
    if _IN_NAMESPACE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return None
    if shutil.which("unshare") is None:
        print("unshare (util-linux) is not installed; it makes the small disks of these faults", file=sys.stderr)
        return 3
    command = ["unshare", "--user", "--map-root-user", "--mount", "--net", sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env={**os.environ, _IN_NAMESPACE: "1"}) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            with suppress(KeyboardInterrupt):
                return process.wait()


class SmallDisk:
    """A tmpfs at `folder` that can be filled and taken away. Only inside a mount namespace."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.folder, self._kilobytes = folder, kilobytes
        self.mount()

    def mount(self) -> None:
        """Mount an empty disk."""
        assert _IN_NAMESPACE in os.environ, "outside a mount namespace, the whole host would see the disk"
        self.folder.mkdir(exist_ok=True)
        size = f"size={self._kilobytes}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "linewatch-faults", str(self.folder)], check=True)

    def unmount(self) -> None:
        """Take the disk away: what is open stays open, and at the path is the folder below."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def fill(self) -> None:
        """Leave no room at all."""
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "ballast").unlink(missing_ok=True)


def stop_for(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Stop a process by SIGSTOP, and let it go on."""
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def children(count: int, program: str) -> Iterator[None]:
    """Let so many Python processes run a program while the block runs."""
    others = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def starve(seconds: float) -> None:
    """Take all cores."""
    with children(os.cpu_count() or 1, "while True: pass"):
        time.sleep(seconds)


def junk_of_level2(folder: Path) -> None:
    """Put what is no coil data into the folder of Level 2."""
    for number in range(300):
        (folder / f"junk-{number}.json").write_bytes(os.urandom(number * 40))
    with suppress(OSError):
        (Path(os.fsdecode(os.fsencode(folder) + b"/coil\xe4.json"))).write_text("{}")
        os.mkfifo(folder / "pipe.json")
        (folder / "circle.json").symlink_to("circle.json")


def hostile_peer(kind: str, endpoint: str, seconds: float) -> None:
    """Let a peer of `benchmarks.attack.peers` do its worst at a socket."""
    command = [sys.executable, "-m", "benchmarks.attack.peers", kind, endpoint, str(seconds)]
    subprocess.run(command, cwd=ROOT, check=False, timeout=seconds + 60)
