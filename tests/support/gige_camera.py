"""Aravis' fake GigE Vision camera in a process of its own, and why it may be missing."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until

from linewatch.capture.genicam.discovery import GVCP_PORT, answers
from linewatch.capture.genicam.library import aravis
from linewatch.contracts.errors import ConfigError

ADDRESS = "127.0.0.1"
SERIAL = "LW01"
_PROGRAM = "arv-fake-gv-camera-0.8"
_PLAYER = Path(__file__).with_name("gige_player.py")
_PATIENCE_S = 120.0


def why_missing() -> str | None:
    """Say what a test with a GigE camera needs and this host lacks; None where it has all."""
    try:
        aravis()
    except ConfigError as error:
        return str(error)
    return None if shutil.which(_PROGRAM) else f"needs {_PROGRAM}; apt install aravis-tools"


needs_gige_camera = pytest.mark.skipif(why_missing() is not None, reason=why_missing() or "")


class FakeGigeCamera:
    """A camera process that can be killed, paused and started again."""

    def __init__(self, serial: str = SERIAL, address: str = ADDRESS, inside: tuple[str, ...] = ()) -> None:
        """inside: what a program is run behind, such as another network namespace."""
        self.serial, self.address = serial, address
        self._inside = inside
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, lost_per_thousand: float = 0.0) -> None:
        """Start Aravis' own program, which shows a ramp that moves by one level a frame."""
        lost = ("-r", str(lost_per_thousand)) if lost_per_thousand else ()
        self._start((*self._inside, _PROGRAM, "-i", self.address, "-s", self.serial, *lost))

    def play(self, frames: np.ndarray, folder: Path, *, genicam: str | None = None) -> None:
        """Start a camera that shows these pictures, (pictures, bytes) or (pictures, lines, width)."""
        np.save(folder / "played.npy", frames.reshape(len(frames), -1))
        described: tuple[str, ...] = ()
        if genicam is not None:
            (folder / "camera.xml").write_text(genicam)
            described = ("--genicam", str(folder / "camera.xml"))
        self._start(
            (
                *(sys.executable, str(_PLAYER), "--address", self.address, "--serial", self.serial),
                *("--frames", str(folder / "played.npy"), *described),
            )
        )

    def send_chunks(self, folder: Path) -> None:
        """Start a camera whose frames carry counters, see gige_chunk_camera.py."""
        (folder / "camera.xml").write_text(chunk_description())
        program = str(_PLAYER.with_name("gige_chunk_camera.py"))
        options = ("--address", self.address, "--serial", self.serial, "--genicam", str(folder / "camera.xml"))
        self._start((sys.executable, program, *options))

    def _start(self, command: tuple[str, ...]) -> None:
        assert self._process is None
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: answers(self.address))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def fake_gige_camera() -> Iterator[FakeGigeCamera]:
    """Give a camera that is not started. Only one can be on an address: others wait for it, in whatever process.

    Skips the test where another program has the address.
    """
    with (Path(tempfile.gettempdir()) / "linewatch-gige-camera.lock").open("w") as lock:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_free():
                    break
                fcntl.flock(lock, fcntl.LOCK_UN)
            if time.monotonic() > deadline_s:
                pytest.skip(f"UDP port {GVCP_PORT} of {ADDRESS}, where GigE cameras answer, is taken")
            time.sleep(0.2)
        camera = FakeGigeCamera()
        try:
            yield camera
        finally:
            camera.kill()


def _is_free() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ADDRESS, GVCP_PORT))
        except OSError:
            return False
    return True


def camera_description(*extra: str) -> str:
    """Return Aravis' description of its fake camera (GenICam XML), with more monochrome formats and these nodes."""
    text: Any = aravis().FakeCamera.new("X").get_genicam_xml()
    text = text if isinstance(text, str) else text[0]
    from linewatch.capture.genicam.mono import MONO_FORMATS

    entries = "".join(
        f'<EnumEntry Name="{one.name}" NameSpace="Standard"><Value>{one.code}</Value></EnumEntry>'
        for one in MONO_FORMATS
        if f'"{one.name}"' not in text
    )
    at = text.index("<pValue>PixelFormatRegister</pValue>")
    text = text[:at] + entries + text[at:]
    return str(text.replace("</RegisterDescription>", "".join(extra) + "</RegisterDescription>"))


_CHUNKS = """
<Category Name="ChunkDataControl">
  <pFeature>ChunkModeActive</pFeature><pFeature>ChunkSelector</pFeature><pFeature>ChunkEnable</pFeature>
  <pFeature>ChunkEncoderValue</pFeature><pFeature>ChunkLineCounter</pFeature>
</Category>
<Boolean Name="ChunkModeActive"><pValue>ChunkModeRegister</pValue><OnValue>1</OnValue><OffValue>0</OffValue></Boolean>
<Enumeration Name="ChunkSelector">
  <EnumEntry Name="EncoderValue"><Value>1</Value></EnumEntry>
  <EnumEntry Name="LineCounter"><Value>2</Value></EnumEntry>
  <pValue>ChunkSelectorRegister</pValue>
</Enumeration>
<Boolean Name="ChunkEnable"><pValue>ChunkEnableRegister</pValue><OnValue>1</OnValue><OffValue>0</OffValue></Boolean>
<Port Name="EncoderPort"><ChunkID>1002</ChunkID></Port>
<Port Name="LinePort"><ChunkID>1003</ChunkID></Port>
"""


def chunk_description() -> str:
    """Return the description of the camera in gige_chunk_camera.py."""

    def register(name: str, address: int, port: str, access: str) -> str:
        return (
            f'<IntReg Name="{name}"><Address>{address:#x}</Address><Length>4</Length><AccessMode>{access}</AccessMode>'
            f"<pPort>{port}</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>"
        )

    text = camera_description(
        _CHUNKS,
        *(register(f"Chunk{name}Register", at, "Device", "RW") for name, at in (("Mode", 0x400), ("Selector", 0x404))),
        register("ChunkEnableRegister", 0x408, "Device", "RW"),
        register("ChunkEncoderValue", 0, "EncoderPort", "RO"),
        register("ChunkLineCounter", 0, "LinePort", "RO"),
    )
    text = text.replace(
        '<pVariable Name="PIXELFORMAT">PixelFormat</pVariable>',
        '<pVariable Name="PIXELFORMAT">PixelFormat</pVariable><pVariable Name="CHUNKS">ChunkModeRegister</pVariable>',
    )
    text = text.replace("&amp;0xFF) / 8</Formula>", "&amp;0xFF) / 8 + CHUNKS * 32</Formula>")
    root = "<pFeature>TransportLayerControl</pFeature>"
    return text.replace(root, f"{root}<pFeature>ChunkDataControl</pFeature>", 1)
