"""The gray values of a decoded video frame."""

import re

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

from linewatch.capture.gray import CHROMA_TOLERANCE
from linewatch.contracts.frame import Cause

_PLANAR_GRAY = re.compile(r"gray|yuvj?4\d\dp|nv\d\d")
_PACKED_LUMA = {"yuyv422": 0, "yvyu422": 0, "uyvy422": 1}
_LIMITED_TO_FULL = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def bits_of(form: av.VideoFormat) -> int:
    """Return how many bits a sample of the deepest component has."""
    return max(part.bits for part in form.components)


def luma_of(frame: av.VideoFrame) -> np.ndarray | Cause:
    """Return the picture as uint8 (lines, width): luma, stretched to 0 to 255 where the video uses 16 to 235.

    The video uses 16 to 235 unless it is gray, or says that it uses the full range (ITU-T H.273). It shares memory with
    the frame where it can. COLOUR when a chroma sample or a colour channel is beyond CHROMA_TOLERANCE, DEPTH when it
    is deeper than 8 bits.
    """
    form = frame.format
    if bits_of(form) > 8:
        return Cause.DEPTH
    if _PLANAR_GRAY.fullmatch(form.name):
        gray, chroma = _plane(frame, 0), [_plane(frame, place) for place in range(1, len(frame.planes))]
    elif form.name in _PACKED_LUMA:
        pairs, luma = _plane(frame, 0, 2), _PACKED_LUMA[form.name]
        gray, chroma = np.ascontiguousarray(pairs[:, luma::2]), [pairs[:, 1 - luma :: 2]]
    else:
        red, gray, blue = cv2.split(frame.to_ndarray(format="rgb24"))
        return gray if _within(red, gray) and _within(blue, gray) else Cause.COLOUR
    if not all(_neutral(plane) for plane in chroma):
        return Cause.COLOUR
    full = form.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    full |= form.name == "gray" and frame.color_range != ColorRange.MPEG
    return gray if full else cv2.LUT(gray, _LIMITED_TO_FULL)


def _plane(frame: av.VideoFrame, place: int, samples: int = 1) -> np.ndarray:
    """Return a plane as uint8 (lines, bytes) without a copy; in nv12 and its like the second one holds pairs."""
    plane = frame.planes[place]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
    pairs = 2 if place and frame.format.name.startswith("nv") else samples
    return rows[:, : plane.width * pairs]


def _neutral(chroma: np.ndarray) -> bool:
    low, high, *_ = cv2.minMaxLoc(np.ascontiguousarray(chroma))
    return 128 - low <= CHROMA_TOLERANCE and high - 128 <= CHROMA_TOLERANCE


def _within(one: np.ndarray, other: np.ndarray) -> bool:
    return cv2.norm(one, other, cv2.NORM_INF) <= CHROMA_TOLERANCE
