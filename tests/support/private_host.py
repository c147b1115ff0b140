"""A host of its own for a test: this machine's file system below an overlay, namespaces, and systemd as process 1.

Nothing that is installed, started or mounted inside reaches this machine. Needs root, and Linux with overlayfs.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from waiting import wait_until

SYSTEMD: Final = Path("/lib/systemd/systemd")
NAMESPACES: Final = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
BOOT: Final = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
ip link set lo up
touch ../booting
mkdir former
pivot_root . former
umount --lazy /former
rmdir /former
exec /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=basic.target --log-target=null
"""


def why_impossible() -> str | None:
    """Say why no private host can be made here; None where it can."""
    if os.getuid() != 0:
        return "a private host needs root"
    if not SYSTEMD.exists() or shutil.which("unshare") is None:
        return "a private host needs systemd and util-linux"
    tried = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces can be made here: {tried.stderr.strip()}" if tried.returncode else None


class PrivateHost:
    """Runs while the block lasts. folder: where the overlay keeps what is written, outside any other overlay."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()

    def __enter__(self) -> "PrivateHost":
        self._unshare = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "bash", "-c", BOOT],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "boot.log").open("wb"),
            start_new_session=True,
        )
        wait_until(lambda: self._ended() or (self._folder / "booting").exists())
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        self._init = int(children.read_text().split()[0])
        wait_until(
            lambda: self._ended() or self.run("systemctl is-system-running", check=False) in ("running", "degraded")
        )
        return self

    def __exit__(self, *exc: object) -> None:
        os.kill(self._init, signal.SIGKILL)
        self._unshare.wait(30)

    def run(self, command: str, *, check: bool = True, within_s: float = 600.0) -> str:
        """Run a shell command as root inside; return what it wrote, errors last. Raises AssertionError if it fails."""
        enter = ["nsenter", "--target", str(self._init), "--all", "--root", "--wdns=/"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*enter, *clean, "sh", "-c", command], capture_output=True, text=True, check=False, timeout=within_s
        )
        told = (done.stdout + done.stderr).strip()
        assert done.returncode == 0 or not check, f"{command}: exit code {done.returncode}\n{told[-3000:]}"
        return told

    def wait_for(self, command: str, expected: str, within_s: float = 120.0) -> None:
        """Wait until a command writes exactly this."""
        end_s = time.monotonic() + within_s
        while (told := self.run(command, check=False)) != expected:
            assert time.monotonic() < end_s, f"{command}: {told[-2000:]!r}, expected {expected!r}"
            time.sleep(0.2)

    def _ended(self) -> bool:
        assert self._unshare.poll() is None, (self._folder / "boot.log").read_text()
        return False
