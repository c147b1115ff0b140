"""How much damage to picture files is noticed, and what reading them costs, beside OpenCV.

Damages copies of real frames at random, reads them with `linewatch.pictures` and with OpenCV, and counts those that
decode to other pixels. Also reads every picture under a folder as it is: none may be refused.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import numpy as np

from linewatch.pictures.error import PictureError
from linewatch.pictures.reading import SUFFIXES, read_gray, read_picture

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_KINDS: Final[dict[str, tuple[str, list[int]]]] = {
    "JPEG": (".jpg", _JPEG),
    "JPEG, restart markers": (".jpg", [*_JPEG, cv2.IMWRITE_JPEG_RST_INTERVAL, 8]),
    "JPEG, progressive": (".jpg", [*_JPEG, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "JPEG, progressive, restart markers": (
        ".jpg",
        [*_JPEG, cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
    ),
    "PNG": (".png", []),
    "TIFF, LZW": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
    "TIFF, deflate": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
    "TIFF, PackBits": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 32773]),
    "TIFF, uncompressed": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
    "BMP": (".bmp", []),
}


def _hole(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data) - 4096)) // 512 * 512
    return data[:at] + bytes(4096) + data[at + 4096 :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _bit(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]


def _swap(data: bytes, rng: np.random.Generator) -> bytes:
    one, other = sorted(int(at) for at in rng.choice(len(data) // 4096, 2, replace=False) * 4096)
    middle = data[one + 4096 : other]
    return data[:one] + data[other : other + 4096] + middle + data[one : one + 4096] + data[other + 4096 :]


_DAMAGES: Final[dict[str, Callable[[bytes, np.random.Generator], bytes]]] = {
    "4 kB of zeros": _hole,
    "cut short": _cut,
    "two 4 kB blocks swapped": _swap,
    "one bit": _bit,
}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("LINEWATCH_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None, help="default: LINEWATCH_DATA")
    parser.add_argument("--damages", type=int, default=100, help="of each sort, to each kind of file")
    parser.add_argument("--whole", action="store_true", help="also read every picture of the data as it is")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    frames = [read_gray(path) for path in sorted((given.data / "severstal/images").glob("*.jpg"))[:40]]
    with TemporaryDirectory() as folder:
        _damage(Path(folder) / "one", frames, given.damages)
        _speed(Path(folder) / "one", frames)
    if given.whole:
        _whole(given.data)


def _damage(path: Path, frames: list[np.ndarray], damages: int) -> None:
    print(f"| kind | {' | '.join(_DAMAGES)} |\n|---|{'---|' * len(_DAMAGES)}")
    for kind, (suffix, flags) in _KINDS.items():
        cells = []
        for damage in _DAMAGES.values():
            rng = np.random.default_rng(1)
            counts: Counter[str] = Counter()
            for number in range(damages):
                data = cv2.imencode(suffix, frames[number % len(frames)], flags)[1].tobytes()
                good = _opencv(data)
                damaged = damage(data, rng)
                ours, theirs = _ours(path, damaged), _opencv(damaged)
                counts["noticed"] += ours is None
                counts["noticed by OpenCV"] += theirs is None
                counts["harmless"] += ours is not None and good is not None and np.array_equal(ours, good)
            harmful = damages - counts["harmless"]
            cells.append(f"{counts['noticed']} of {harmful} ({counts['noticed by OpenCV']})")
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)


def _speed(path: Path, frames: list[np.ndarray]) -> None:
    print("\n| kind | linewatch, ms | OpenCV, ms | ratio |\n|---|---|---|---|")
    for kind, (suffix, flags) in _KINDS.items():
        spent = dict.fromkeys(("ours", "theirs"), 0.0)
        for _ in range(2):
            for frame in frames:
                path.write_bytes(cv2.imencode(suffix, frame, flags)[1].tobytes())
                begin = time.process_time()
                read_picture(path)
                middle = time.process_time()
                cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                spent["ours"] += middle - begin
                spent["theirs"] += time.process_time() - middle
        ours, theirs = (value / 2 / len(frames) * 1000 for value in spent.values())
        print(f"| {kind} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)


def _whole(data: Path) -> None:
    counts: Counter[str] = Counter()
    for path in sorted(data.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        counts[path.suffix.lower()] += 1
        theirs = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert theirs is not None
        try:
            counts["other pixels"] += not np.array_equal(read_gray(path), theirs)
        except PictureError as error:
            counts["refused"] += 1
            print(error)
    print(f"\nwhole: {dict(counts)}")


def _ours(path: Path, data: bytes) -> np.ndarray | None:
    path.write_bytes(data)
    try:
        return read_picture(path)
    except PictureError:
        return None


def _opencv(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


if __name__ == "__main__":
    _main()
