"""TIFFs as other programs write them: byte orders, BigTIFF, tiles, planes, palettes, thumbnails, ImageJ's stacks."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.contracts.frame import Cause
from linewatch.pictures.error import PictureError
from linewatch.pictures.reading import pages, read_picture

RNG = np.random.default_rng(7)
GRAY = RNG.integers(0, 256, (37, 53)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (37, 53, 3)).astype(np.uint8)  # R, G, B

Tags = dict[int, tuple[str, tuple[int, ...]]]


def written(*pictures: tuple[Tags, list[bytes]], order: str = "<", big: bool = False) -> bytes:
    """Return a TIFF of pages, each of tags (struct letter and values) and strips, its directories before the strips."""
    out = io.BytesIO()
    number, count_size, entry_size = ("Q", 8, 20) if big else ("I", 2, 12)
    out.write(b"II" if order == "<" else b"MM")
    out.write(struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8))))
    for index, (tags, strips) in enumerate(pictures):
        where = 324 if 322 in tags else 273
        numbers = {**tags, where: (number, (0,) * len(strips)), where + (1 if where == 324 else 6): (number, ())}
        at = out.tell()
        end = at + count_size + len(numbers) * entry_size + (8 if big else 4)
        room = end + 8 * 6 * len(strips) + sum(8 * len(values) for _, values in tags.values())
        places, offset = [], room
        for strip in strips:
            places.append(offset)
            offset += len(strip)
        numbers[where] = (number, tuple(places))
        numbers[where + (1 if where == 324 else 6)] = (number, tuple(map(len, strips)))
        entries, extra = b"", b""
        for tag in sorted(numbers):
            letter, values = numbers[tag]
            data = struct.pack(f"{order}{len(values)}{letter}", *values)
            kind = {"B": 1, "H": 3, "I": 4, "Q": 16}[letter]
            field = 8 if big else 4
            if len(data) > field:
                entries += struct.pack(order + f"HH{number}{number}", tag, kind, len(values), end + len(extra))
                extra += data
            else:
                entries += struct.pack(order + f"HH{number}", tag, kind, len(values)) + data.ljust(field, b"\0")
        follows = offset if index + 1 < len(pictures) else 0
        out.write(struct.pack(order + ("Q" if big else "H"), len(numbers)) + entries)
        out.write(struct.pack(order + number, follows))
        out.write(extra.ljust(room - end, b"\0") + b"".join(strips))
    return out.getvalue()


def page(pixels: np.ndarray, strips: list[bytes], **changes: tuple[int, ...]) -> tuple[Tags, list[bytes]]:
    names = {"compression": 259, "photometric": 262, "rows": 278, "planar": 284, "predictor": 317}
    names |= {"subfile": 254, "description": 270, "samples": 277, "bits": 258, "tile_width": 322, "tile_lines": 323}
    names |= {"colours": 320, "format": 339}
    values = {
        "bits": (8 * pixels.itemsize,),
        "compression": (1,),
        "photometric": (1,),
        "rows": (len(pixels),),
    } | changes
    tags: Tags = {256: ("H", (pixels.shape[1],)), 257: ("I", (len(pixels),))}
    tags |= {names[name]: ("B" if name == "description" else "H", value) for name, value in values.items()}
    return tags, strips


def read(folder: Path, data: bytes) -> np.ndarray:
    (folder / "one.tif").write_bytes(data)
    return read_picture(folder / "one.tif")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders_classic_and_big(tmp_path: Path, order: str, big: bool) -> None:
    strips = [GRAY[:20].tobytes(), GRAY[20:].tobytes()]
    assert np.array_equal(read(tmp_path, written(page(GRAY, strips, rows=(20,)), order=order, big=big)), GRAY)
    wide = GRAY.astype(np.uint16) * 16
    raw = np.diff(wide, axis=1, prepend=np.uint16(0)).astype(f"{order}u2").tobytes()
    form = page(wide, [zlib.compress(raw)], compression=(8,), predictor=(2,))
    assert np.array_equal(read(tmp_path, written(form, order=order, big=big)), wide)


def test_tiles_planes_palettes_and_white_that_is_zero(tmp_path: Path) -> None:
    tiles = np.zeros((48, 64), np.uint8)
    tiles[:37, :53] = GRAY
    strips = [tiles[top : top + 16, left : left + 32].tobytes() for top in (0, 16, 32) for left in (0, 32)]
    assert np.array_equal(read(tmp_path, written(page(GRAY, strips, tile_width=(32,), tile_lines=(16,)))), GRAY)
    planes = [COLOUR[..., sample].tobytes() for sample in range(3)]
    rgb = {"photometric": (2,), "samples": (3,), "bits": (8, 8, 8)}
    assert np.array_equal(read(tmp_path, written(page(COLOUR, planes, planar=(2,), **rgb))), COLOUR[..., ::-1])
    assert np.array_equal(read(tmp_path, written(page(COLOUR, [COLOUR.tobytes()], **rgb))), COLOUR[..., ::-1])
    ramp = tuple(257 * (255 - value) for value in range(256))
    palette = page(GRAY, [GRAY.tobytes()], photometric=(3,), colours=ramp * 3)
    assert np.array_equal(read(tmp_path, written(palette)), np.dstack([255 - GRAY] * 3))
    assert np.array_equal(read(tmp_path, written(page(GRAY, [GRAY.tobytes()], photometric=(0,)))), 255 - GRAY)


def test_jpeg_in_a_tiff_is_checked_as_a_jpeg_is(tmp_path: Path) -> None:
    steel = cv2.GaussianBlur(RNG.integers(0, 256, (64, 640)).astype(np.uint8), (0, 0), 1.0)
    data = cv2.imencode(".jpg", steel, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    want = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read(tmp_path, written(page(steel, [data], compression=(7,)))), want)
    damaged = data[:6000] + bytes(2048) + data[8048:]
    with pytest.raises(PictureError, match="damaged JPEG data"):
        read(tmp_path, written(page(steel, [damaged], compression=(7,))))


def test_thumbnails_are_no_pages(tmp_path: Path) -> None:
    small = GRAY[::4, ::4].copy()
    path = tmp_path / "two.tif"
    whole, thumbnail = page(GRAY, [GRAY.tobytes()]), page(small, [small.tobytes()], subfile=(1,))
    path.write_bytes(written(whole, thumbnail, whole))
    assert [one.read().shape for one in pages(path)] == [GRAY.shape, GRAY.shape]


def test_a_stack_of_imagej_that_lists_its_first_picture_only_is_told(tmp_path: Path) -> None:
    """So ImageJ writes stacks above 4 GB: one directory, and the number of pictures in the description."""
    text = tuple(b"ImageJ=1.54f\nimages=40\nslices=40\n\0")
    path = tmp_path / "stack.tif"
    path.write_bytes(written(page(GRAY, [GRAY.tobytes()], description=text)))
    first, *others = pages(path)
    assert np.array_equal(first.read(), GRAY)
    assert [other.number for other in others] == list(range(2, 41))
    with pytest.raises(PictureError, match="page 40: it holds 40 pictures by its description, its list of pages has 1"):
        others[-1].read()


@pytest.mark.parametrize(
    ("change", "cause", "why"),
    [
        ({"bits": (32,), "format": (3,)}, Cause.DEPTH, "32 bits a pixel, floating point; expected 8, unsigned"),
        ({"bits": (12,)}, Cause.DEPTH, "12 bits a pixel"),
        ({"photometric": (5,)}, Cause.COLOUR, "photometric interpretation 5; expected gray"),
        (
            {"compression": (4,)},
            Cause.CORRUPT,
            "a TIFF of compression 4; expected none, LZW, deflate, PackBits or JPEG",
        ),
        ({"rows": (5,)}, Cause.CORRUPT, "found 1 strips of a page, expected 8"),
    ],
)
def test_forms_that_are_not_read_are_refused_with_their_cause(
    tmp_path: Path, change: dict[str, tuple[int, ...]], cause: Cause, why: str
) -> None:
    with pytest.raises(PictureError, match=why) as caught:
        read(tmp_path, written(page(GRAY, [GRAY.tobytes()], **change)))
    assert caught.value.cause is cause


def test_a_file_that_ends_before_its_pixels_is_cut_short(tmp_path: Path) -> None:
    """Programs that write the directory first leave a list of pages that looks whole."""
    strips = [GRAY[:20].tobytes(), GRAY[20:].tobytes()]
    data = written(page(GRAY, strips, rows=(20,)))
    with pytest.raises(PictureError, match="a TIFF that is cut short: lines 20 to 36 are not in it"):
        read(tmp_path, data[:-100])


def test_a_page_at_an_offset_that_no_file_has_is_refused(tmp_path):
    path = tmp_path / "big.tif"
    path.write_bytes(b"II+\0\x08\0\0\0" + b"\xff" * 8)
    with pytest.raises(PictureError):
        read_picture(path)
