"""Damages videos in every codec and container that is common, and counts what is noticed.

`python -m experiments.video_damage --out out/video-damage.json` prints the table of docs/experiments/video-damage.md.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import structlog

from linewatch.capture.cameras.recording import RecordingCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.simulation.strip import SimulatedStrip

LINE: Final = LineSettings()
FRAMES: Final = 36
TRIALS: Final = 8
BLOCK: Final = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to write a video: PyAV's encoder with its options, or OpenCV's default one by its four letters."""

    name: str
    suffix: str
    encoder: str
    options: tuple[tuple[str, str], ...] = ()


KINDS: Final = (
    Kind("FFV1 by `linewatch record`, AVI", "avi", "ffv1", (("level", "3"), ("slicecrc", "1"), ("g", "1"))),
    Kind("FFV1 by OpenCV, AVI", "avi", "FFV1"),
    Kind("FFV1 by OpenCV, MKV", "mkv", "FFV1"),
    Kind("MJPG by OpenCV, AVI", "avi", "MJPG"),
    Kind("MJPG by OpenCV, MKV", "mkv", "MJPG"),
    Kind("MPEG-4 by OpenCV (XVID), AVI", "avi", "XVID"),
    Kind("MPEG-4 by OpenCV (mp4v), MP4", "mp4", "mp4v"),
    Kind("H.264, MP4", "mp4", "libx264", (("g", "12"),)),
    Kind("H.264, MKV", "mkv", "libx264", (("g", "12"),)),
    Kind("H.265, MP4", "mp4", "libx265", (("g", "12"), ("x265-params", "log-level=none"))),
    Kind("H.265, MKV", "mkv", "libx265", (("g", "12"), ("x265-params", "log-level=none"))),
    Kind("HFYU by OpenCV, AVI", "avi", "HFYU"),
)


def zeroed(data: bytearray, at: int, _rng: np.random.Generator) -> None:
    """A block of a disk that is lost."""
    at -= at % BLOCK
    data[at : at + BLOCK] = bytes(BLOCK)


def overwritten(data: bytearray, at: int, rng: np.random.Generator) -> None:
    """A block of another file."""
    at -= at % BLOCK
    data[at : at + BLOCK] = rng.integers(0, 256, BLOCK, dtype=np.uint8).tobytes()


def removed(data: bytearray, at: int, _rng: np.random.Generator) -> None:
    """A block that was never written."""
    del data[at : at + BLOCK]


def flipped(data: bytearray, at: int, rng: np.random.Generator) -> None:
    """One wrong bit."""
    data[at] ^= 1 << int(rng.integers(8))


def cut(data: bytearray, _at: int, rng: np.random.Generator) -> None:
    """A copy that broke off."""
    del data[int(len(data) * rng.uniform(0.4, 0.8)) :]


DAMAGES: Final[dict[str, Callable[[bytearray, int, np.random.Generator], None]]] = {
    "4 kB zeroed": zeroed,
    "4 kB overwritten": overwritten,
    "4 kB removed": removed,
    "one bit flipped": flipped,
    "cut short": cut,
}


@dataclass(slots=True)
class Outcome:
    """Counts of frames over all trials of one damage.

    wrong: that are not what was recorded, or are not inspected. inspected: how many are wrong and inspected
    nevertheless. refused: trials in which the whole video is refused.
    """

    wrong: int = 0
    inspected: int = 0
    refused: int = 0


def write(path: Path, kind: Kind, pictures: np.ndarray) -> None:
    """Write the pictures, uint8 (frames, lines, width)."""
    lines, width = pictures.shape[1:]
    if kind.encoder.isupper() or kind.encoder == "mp4v":
        colour = kind.encoder != "FFV1"
        fourcc = cv2.VideoWriter.fourcc(*kind.encoder)
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25, (width, lines), isColor=colour)
        for picture in pictures:
            video.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if colour else picture)
        video.release()
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.encoder, rate=25, options=dict(kind.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, lines
        stream.pix_fmt = "gray" if kind.encoder == "ffv1" else "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode(None))


def inspected(path: Path) -> dict[int, bytes]:
    """Return the pictures that would be inspected, by their place on the strip in frames. Raises SourceError."""
    with RecordingCamera(path, LINE) as camera:
        return {
            grab.first_line // LINE.frame_lines: grab.image.tobytes()
            for grab in iter(camera.read, None)
            if grab.image is not None and grab.fault is None
        }


def outcomes(kind: Kind, pictures: np.ndarray, folder: Path) -> dict[str, Outcome]:
    """Damage a video of this kind in every way, several times each, and compare with the whole one."""
    path = folder / f"video.{kind.suffix}"
    write(path, kind, pictures)
    data, whole = path.read_bytes(), inspected(path)
    assert sorted(whole) == list(range(FRAMES)), f"false alarm on a whole {kind.name}"
    results = {}
    for name, damage in DAMAGES.items():
        outcome = results[name] = Outcome()
        for trial in range(TRIALS):
            rng = np.random.default_rng(trial)
            damaged = bytearray(data)
            damage(damaged, int(len(data) * rng.uniform(0.1, 0.9)), rng)
            path.write_bytes(damaged)
            try:
                found = inspected(path)
            except SourceError:
                outcome.refused += 1
                continue
            invented = sum(whole.get(place) != picture for place, picture in found.items())
            outcome.inspected += invented
            outcome.wrong += FRAMES - len(found) + invented
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the counts")
    out = parser.parse_args().out
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    strip = SimulatedStrip(7, FRAMES * LINE.frame_lines * LINE.mm_per_line / 1000, 2.0, LINE)
    pictures = np.stack([strip.lines(number * LINE.frame_lines, LINE.frame_lines) for number in range(FRAMES)])
    table = {}
    print(f"| video | {' | '.join(DAMAGES)} |\n|---|{'---|' * len(DAMAGES)}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            results = outcomes(kind, pictures, Path(folder))
            table[kind.name] = {name: [one.wrong, one.inspected, one.refused] for name, one in results.items()}
            print(f"| {kind.name} | {' | '.join(map(_cell, results.values()))} |", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table, indent=1))


def _cell(outcome: Outcome) -> str:
    if outcome.refused == TRIALS:
        return "refused"
    if not outcome.wrong:
        return "no effect"
    share = f"{1 - outcome.inspected / outcome.wrong:.0%} of {outcome.wrong}"
    return share + (f"; {outcome.refused} refused" if outcome.refused else "")


if __name__ == "__main__":
    main()
