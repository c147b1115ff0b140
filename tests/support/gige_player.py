"""A GigE Vision camera on this host that plays pictures: Aravis' fake camera with another pattern, in a process of its own.

    python gige_player.py --address 127.0.0.1 --serial LW01 --frames frames.npy [--lost 0.005] [--genicam camera.xml]

frames.npy: (pictures, bytes) as the sensor sends them, played in order from the first that is asked for, then again.
"""

import argparse
import ctypes
import signal
import sys
from typing import Any

import gi
import numpy as np

gi.require_version("Aravis", "0.8")
from gi.repository import Aravis  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--serial", required=True)
    parser.add_argument("--frames", required=True)
    parser.add_argument("--lost", type=float, default=0.0)
    parser.add_argument("--genicam")
    options = parser.parse_args()
    library = ctypes.CDLL("libaravis-0.8.so.0")
    library.arv_buffer_get_data.restype = ctypes.c_void_p
    library.arv_buffer_get_data.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
    frames = np.load(options.frames, mmap_mode="r")
    played = 0

    def fill(buffer: Any, *_: Any) -> None:
        nonlocal played
        size = ctypes.c_size_t()
        place = library.arv_buffer_get_data(hash(buffer), ctypes.byref(size))
        picture = np.ascontiguousarray(frames[played % len(frames)])
        ctypes.memmove(place, picture.ctypes.data, min(size.value, picture.nbytes))
        played += 1

    camera = Aravis.GvFakeCamera(
        interface_name=options.address,
        serial_number=options.serial,
        genicam_filename=options.genicam,
        gvsp_lost_ratio=options.lost,
    )
    if not camera.is_running():
        sys.exit(f"cannot listen on {options.address}")
    camera.get_fake_camera().set_fill_pattern(fill, None)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
