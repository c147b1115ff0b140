"""What measuring the picture's health costs a frame: ``python -m benchmarks.picture``. The issue allows 0.1 ms."""

import argparse
import time

import cv2

from linewatch.capture.edges import find_edges
from linewatch.capture.picture.measure import measure
from linewatch.capture.picture.meter import PictureMeter
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.config.picture import PictureSettings
from linewatch.contracts.frame import Frame
from linewatch.simulation.strip import SimulatedStrip

FRAMES = 100


def main() -> None:
    """Print CPU milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help=f"times {FRAMES} frames")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    line, capture, picture = LineSettings(), CaptureSettings(), PictureSettings()
    strip = SimulatedStrip(3, FRAMES * line.frame_lines * line.mm_per_line / 1000, 1.0, line, texture="measured")
    pixels = [strip.lines(number * line.frame_lines, line.frame_lines) for number in range(FRAMES)]
    edges = [find_edges(one, capture) for one in pixels]
    frames = [
        Frame(
            pixels=pixels[number % FRAMES],
            slot=None,
            ordinal=number,
            coil=f"COIL-{number // 800}",
            side="top",
            camera="cam1",
            sequence=number,
            first_line=number * line.frame_lines,
            lines=line.frame_lines,
            valid_lines=line.frame_lines,
            encoder_count=0,
            along_mm=number * line.frame_lines * line.mm_per_line,
            mm_per_line=line.mm_per_line,
            mm_per_px=line.mm_per_px,
            captured_ns=number * 12_800_000,
        )
        for number in range(given.rounds * FRAMES)
    ]
    meter = PictureMeter(picture, capture, line)
    begin = time.process_time()
    for number, frame in enumerate(frames):
        meter.follow(frame, edges[number % FRAMES])
    followed = time.process_time() - begin
    begin = time.process_time()
    for number in range(3 * FRAMES):
        measure(pixels[number % FRAMES], edges[number % FRAMES], capture, None)
    measured = time.process_time() - begin
    print(f"{followed / len(frames) * 1000:.3f} ms a frame, one in {picture.every_frames} measured")
    print(f"{measured / (3 * FRAMES) * 1000:.3f} ms of that, in a frame that is measured, is looking at its pixels")


if __name__ == "__main__":
    main()
