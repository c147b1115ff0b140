"""A network of its own for a camera: a pair of virtual interfaces, one end of it in a network namespace."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

NAME = "lwcam"
HOST, CAMERA, MOVED = "10.217.61.1", "10.217.61.2", "10.217.61.9"


@dataclass(frozen=True)
class CameraNetwork:
    """The host's end is the interface `host`, at `HOST`; a program that is run behind `inside` is at the other."""

    host: str = f"{NAME}0"
    inside: tuple[str, ...] = ("ip", "netns", "exec", NAME)

    def move(self, old: str, new: str) -> None:
        """Give the camera's end another address."""
        _ip("-n", NAME, "address", "del", f"{old}/24", "dev", f"{NAME}1")
        _ip("-n", NAME, "address", "add", f"{new}/24", "brd", "+", "dev", f"{NAME}1")

    def cable(self, *, plugged: bool) -> None:
        _ip("link", "set", self.host, "up" if plugged else "down")


@contextmanager
def camera_network() -> Iterator[CameraNetwork]:
    """Make the network, and remove it. Skips the test where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and iproute2")
    _remove()
    try:
        try:
            _ip("netns", "add", NAME)
            _ip("link", "add", f"{NAME}0", "type", "veth", "peer", "name", f"{NAME}1", "netns", NAME)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespace can be made: {error.stderr}")
        _ip("address", "add", f"{HOST}/24", "brd", "+", "dev", f"{NAME}0")
        _ip("link", "set", f"{NAME}0", "up")
        _ip("-n", NAME, "address", "add", f"{CAMERA}/24", "brd", "+", "dev", f"{NAME}1")
        _ip("-n", NAME, "link", "set", "lo", "up")
        _ip("-n", NAME, "link", "set", f"{NAME}1", "up")
        yield CameraNetwork()
    finally:
        _remove()


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True)


def _remove() -> None:
    for words in (("link", "del", f"{NAME}0"), ("netns", "del", NAME)):
        subprocess.run(("ip", *words), check=False, capture_output=True)
