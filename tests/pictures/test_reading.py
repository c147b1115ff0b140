"""A picture is read whole or not at all: damage that decoders conceal is an error, and no whole file is refused."""

import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.contracts.frame import Cause
from linewatch.pictures.error import PictureError
from linewatch.pictures.reading import pages, read_gray, read_picture

RNG = np.random.default_rng(3)
STEEL = cv2.GaussianBlur(RNG.integers(60, 200, (128, 800)).astype(np.uint8), (0, 0), 1.5)
STEEL = np.clip(STEEL + RNG.integers(-9, 9, STEEL.shape), 0, 255).astype(np.uint8)
WIDE = STEEL.astype(np.uint16) * 16  # 12-bit counts

JPEGS = {
    "baseline": [],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "progressive with restarts": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
}
TIFFS = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773}


def encoded(suffix: str, pixels: np.ndarray = STEEL, flags: list[int] | None = None) -> bytes:
    return cv2.imencode(suffix, pixels, flags or [])[1].tobytes()


def tiff(compression: str, pixels: np.ndarray = STEEL) -> bytes:
    return encoded(".tif", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, TIFFS[compression]])


def saved(folder: Path, data: bytes, name: str = "one.picture") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def hole(data: bytes, at: float = 0.4, size: int = 4096) -> bytes:
    """A block of the file system that came back as zeros."""
    begin = int(len(data) * at)
    return data[:begin] + bytes(size) + data[begin + size :]


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("at", [0.1, 0.4, 0.7])
def test_a_hole_in_a_jpeg_is_damage(tmp_path: Path, kind: str, at: float) -> None:
    data = encoded(".jpg", flags=[cv2.IMWRITE_JPEG_QUALITY, 95, *JPEGS[kind]])
    assert np.array_equal(read_picture(saved(tmp_path, data)), cv2.imdecode(np.frombuffer(data, np.uint8), -1))
    damaged = hole(data, at)
    assert cv2.imdecode(np.frombuffer(damaged, np.uint8), -1) is not None  # OpenCV invents the rest
    with pytest.raises(PictureError, match=r"one\.picture: .*JPEG") as caught:
        read_picture(saved(tmp_path, damaged))
    assert caught.value.cause is Cause.CORRUPT


def test_a_block_of_zeros_is_damage_whether_or_not_the_decoder_notices(tmp_path: Path) -> None:
    """In one of fifty holes the picture has the right number of blocks again, and the decoder does not warn."""
    data = encoded(".jpg", flags=[cv2.IMWRITE_JPEG_QUALITY, 95])
    with pytest.raises(PictureError, match="damaged JPEG data: a block of zeros"):
        read_picture(saved(tmp_path, hole(data, size=64)))


def test_flat_steel_whose_shortest_code_gives_blocks_of_zeros_is_whole(tmp_path: Path) -> None:
    flat = np.full((256, 1600), 128, np.uint8)
    flat[100:140, 300:900] = STEEL[:40, :600]
    data = encoded(".jpg", flat, [cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    assert bytes(64) in data
    assert np.array_equal(read_picture(saved(tmp_path, data)), cv2.imdecode(np.frombuffer(data, np.uint8), -1))


@pytest.mark.parametrize(
    "data",
    [
        encoded(".jpg")[:-2],
        encoded(".jpg")[:5000],
        encoded(".png")[:-12],
        encoded(".png")[:5000],
        encoded(".bmp")[: len(encoded(".bmp")) * 2 // 3],
        encoded(".bmp")[:-1],
        tiff("none")[: len(tiff("none")) * 2 // 3],
        b"",
        bytes(5000),
        b"this is no picture",
    ],
    ids=["jpeg end", "jpeg", "png end", "png", "bmp", "bmp end", "tiff", "empty", "zeros", "text"],
)
def test_a_file_that_is_cut_short_or_no_picture_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PictureError, match=r"one\.picture: "):
        read_picture(saved(tmp_path, data))


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits"])
@pytest.mark.parametrize("size", [64, 4096])
def test_a_damaged_strip_of_a_tiff_is_damage(tmp_path: Path, compression: str, size: int) -> None:
    data = tiff(compression)
    assert np.array_equal(read_picture(saved(tmp_path, data)), STEEL)
    with pytest.raises(PictureError, match="damaged"):
        read_picture(saved(tmp_path, hole(data, size=size)))


@pytest.mark.parametrize("data", [encoded(".bmp"), tiff("none")], ids=["bmp", "tiff"])
def test_a_lost_block_of_uncompressed_pixels_is_damage_and_black_strip_is_not(tmp_path: Path, data: bytes) -> None:
    damaged = data[:40_960] + bytes(4096) + data[45_056:]
    with pytest.raises(PictureError, match="a block of zeros"):
        read_picture(saved(tmp_path, damaged))
    suffix = ".bmp" if data.startswith(b"BM") else ".tif"
    for black in (slice(None), slice(0, 64), slice(64, None), slice(40, 60)):
        pixels = np.maximum(STEEL, 1)
        pixels[black] = 0
        cv2.imwrite(str(tmp_path / f"one{suffix}"), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
        assert np.array_equal(read_picture(tmp_path / f"one{suffix}"), pixels)


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
def test_a_block_of_zeros_within_a_line_is_damage_and_black_lines_are_not(tmp_path: Path, suffix: str) -> None:
    """4096 pixels a line: black lines are as long as blocks."""
    pixels = np.full((64, 4096), 90, np.uint8)
    pixels[20:30] = 0
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    assert np.array_equal(read_picture(path), pixels)
    data = bytearray(path.read_bytes())
    data[60_001 : 60_001 + 4096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(PictureError, match="a block of zeros"):
        read_picture(path)


def test_one_wrong_bit_in_a_png_or_deflated_tiff_is_damage(tmp_path: Path) -> None:
    for data in (encoded(".png"), tiff("deflate")):
        for at in range(600, len(data) // 2, 999):
            flipped = data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]
            with pytest.raises(PictureError, match="damaged"):
                read_picture(saved(tmp_path, flipped))


@pytest.mark.parametrize("behind", [bytes(512), bytes(70_000), b"\xff" * 9, b"camera 7", encoded(".jpg")])
def test_what_lies_behind_a_jpegs_end_does_no_harm(tmp_path: Path, behind: bytes) -> None:
    data = encoded(".jpg")
    assert np.array_equal(read_picture(saved(tmp_path, data + behind)), read_picture(saved(tmp_path, data)))


def test_zeros_with_which_a_camera_fills_up_its_jpeg_do_no_harm_but_a_hole_there_does(tmp_path: Path) -> None:
    data = encoded(".jpg", flags=[cv2.IMWRITE_JPEG_QUALITY, 95])
    filled = data[:-2] + bytes(300) + data[-2:]
    assert np.array_equal(read_picture(saved(tmp_path, filled)), read_picture(saved(tmp_path, data)))
    with pytest.raises(PictureError, match="damaged JPEG"):
        read_picture(saved(tmp_path, data[:-302] + bytes(300) + data[-2:]))


@pytest.mark.parametrize("compression", TIFFS)
@pytest.mark.parametrize("pixels", [STEEL, WIDE, np.dstack([STEEL, STEEL // 2, STEEL // 3])], ids=["8", "16", "colour"])
def test_whole_tiffs_are_read_to_the_pixel(tmp_path: Path, compression: str, pixels: np.ndarray) -> None:
    read = read_picture(saved(tmp_path, tiff(compression, pixels)))
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)


@pytest.mark.parametrize("flat", [0, 255, None])
def test_flat_and_noisy_pictures_are_whole(tmp_path: Path, flat: int | None) -> None:
    """The longest strings that LZW can make, and data that it cannot compress."""
    pixels = RNG.integers(0, 256, STEEL.shape).astype(np.uint8) if flat is None else np.full_like(STEEL, flat)
    for data in (tiff("lzw", pixels), tiff("packbits", pixels), tiff("deflate", pixels), encoded(".png", pixels)):
        assert np.array_equal(read_picture(saved(tmp_path, data)), pixels)
    assert read_picture(saved(tmp_path, encoded(".jpg", pixels))).shape == pixels.shape


def stack(folder: Path, pictures: list[np.ndarray]) -> Path:
    cv2.imwritemulti(str(folder / "stack.tif"), pictures)
    return folder / "stack.tif"


def test_all_pages_of_a_tiff_come_in_order(tmp_path: Path) -> None:
    pictures = [np.roll(STEEL, 7 * number, axis=0)[: 128 - number] for number in range(6)]
    path = stack(tmp_path, pictures)
    found = pages(path)
    assert [page.name for page in found] == [f"stack.tif page {number}" for number in range(1, 7)]
    assert all(np.array_equal(page.read(), picture) for page, picture in zip(found, pictures, strict=True))
    with pytest.raises(PictureError, match=r"stack\.tif: holds 6 pages, expected one picture"):
        read_picture(path)


def test_a_stack_that_breaks_off_says_so_with_one_more_page(tmp_path: Path) -> None:
    path = stack(tmp_path, [STEEL + number for number in range(6)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    *whole, last = pages(path)
    assert 2 <= len(whole) < 6
    for page in whole:
        page.read()
    with pytest.raises(
        PictureError, match=f"page {last.number}: its list of pages breaks off behind page {len(whole)}"
    ):
        last.read()


def test_a_list_of_pages_that_runs_in_a_circle_ends(tmp_path: Path) -> None:
    path = saved(tmp_path, tiff("none"))
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    path.write_bytes(data)
    page, more = pages(path)
    page.read()
    with pytest.raises(PictureError, match="runs in a circle"):
        more.read()


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda seen: seen,
    2: np.fliplr,
    3: lambda seen: np.rot90(seen, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda seen: np.rot90(seen, -1),
    7: lambda seen: np.rot90(seen, 2).T,
    8: lambda seen: np.rot90(seen, 1),
    9: lambda seen: seen,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_as_its_tag_says(tmp_path: Path, orientation: int) -> None:
    jpeg = encoded(".jpg")
    plain = read_picture(saved(tmp_path, jpeg))
    turned = read_picture(saved(tmp_path, with_exif(jpeg, orientation)))
    assert np.array_equal(turned, TURNS[orientation](plain))


def test_gray_of_colour_is_its_luma_and_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    colour = np.dstack([STEEL, STEEL // 2, STEEL // 3])
    want = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    assert np.array_equal(read_gray(saved(tmp_path, encoded(".png", colour))), want)
    with pytest.raises(PictureError, match=f"16 bits a pixel, values up to {WIDE.max()}; expected 8") as caught:
        read_gray(saved(tmp_path, encoded(".png", WIDE)))
    assert caught.value.cause is Cause.DEPTH


def test_a_jpeg_of_12_bits_is_refused_for_its_depth(tmp_path: Path) -> None:
    data = bytearray(encoded(".jpg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 4] = 12
    with pytest.raises(PictureError, match="12 bits a pixel, expected 8") as caught:
        read_picture(saved(tmp_path, bytes(data)))
    assert caught.value.cause is Cause.DEPTH


def test_a_picture_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, why in (
        ("link.png", "cannot be read: No such file"),
        ("none.png", "cannot be read: No such file"),
        ("folder.png", "no regular file"),
        ("pipe.png", "no regular file"),
    ):
        (page,) = pages(tmp_path / name)
        with pytest.raises(PictureError, match=f"{name}: {why}"):
            page.read()


def test_whatever_a_file_holds_nothing_but_a_picture_error_comes_of_it(tmp_path: Path) -> None:
    """Random damage to headers and data of every kind, seeded."""
    rng = np.random.default_rng(5)
    small = STEEL[:24, :64]
    kinds = [encoded(".jpg", small), encoded(".png", small), encoded(".bmp", small)]
    kinds += [tiff(compression, small) for compression in TIFFS]
    kinds.append(stack(tmp_path, [small, small]).read_bytes())
    for data in kinds:
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(int(rng.integers(1, 6))):
                damaged[int(rng.integers(8, len(data)))] = int(rng.integers(256))
            path = saved(tmp_path, bytes(damaged[: int(rng.integers(8, len(data) + 1))]))
            for page in pages(path)[:4]:
                with suppress(PictureError):
                    assert page.read().ndim in {2, 3}


def test_an_animated_png_is_refused(tmp_path: Path) -> None:
    data = encoded(".png")
    chunk = b"acTL" + struct.pack(">II", 3, 0)
    animated = data[:33] + struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    with pytest.raises(PictureError, match="an animated PNG"):
        read_picture(saved(tmp_path, animated))
