"""A GigE Vision camera on this host that plays pictures: Aravis' fake camera with another pattern, run as a process.

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

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

_FILL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32)
"""buffer, user data, exposure in us, gain, pixel format."""


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
    library.arv_buffer_get_data.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.arv_fake_camera_set_fill_pattern.argtypes = [ctypes.c_void_p, _FILL, ctypes.c_void_p]
    frames = np.load(options.frames, mmap_mode="r")
    played = 0

    @_FILL
    def fill(buffer: int, *_: Any) -> None:
        nonlocal played
        place = library.arv_buffer_get_data(buffer, None)  # it tells the size of what was received: nothing
        picture = np.ascontiguousarray(frames[played % len(frames)])
        ctypes.memmove(place, picture.ctypes.data, min(fake.get_payload(), picture.nbytes))
        played += 1

    camera = Aravis.GvFakeCamera(
        interface_name=options.address,
        serial_number=options.serial,
        genicam_filename=options.genicam,
        gvsp_lost_ratio=options.lost,
    )
    if not camera.is_running():
        sys.exit(f"cannot listen on {options.address}")
    fake = camera.get_fake_camera()
    # PyGObject frees the function once it is set: Aravis declares that it is needed for the call alone.
    library.arv_fake_camera_set_fill_pattern(_pointer(fake.__gpointer__, None), fill, None)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
