"""TIFF 6.0 and BigTIFF: the list of pages, and the pixels of one page.

Read here rather than by libtiff in OpenCV, which shows a strip that it cannot decode as it happens to come out, reads
all pages at once or the first alone, and cannot tell how many pages a damaged file should have. Read: gray, palette and
RGB, in strips or tiles, uncompressed or by LZW, deflate, PackBits or JPEG.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from linewatch.contracts.frame import Cause
from linewatch.pictures import jpeg, lzw
from linewatch.pictures.error import PictureError
from linewatch.pictures.lost_block import has_lost_block

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION: Final = 274

_SUBFILE, _WIDTH, _LINES, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
_DESCRIPTION, _STRIPS, _SAMPLES, _STRIP_LINES, _STRIP_BYTES, _PLANAR = 270, 273, 277, 278, 279, 284
_PREDICTOR, _COLOURS, _TILE_WIDTH, _TILE_LINES, _TILES, _TILE_BYTES = 317, 320, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES = 338, 339, 347
_USED: Final = {
    *(ORIENTATION, _SUBFILE, _WIDTH, _LINES, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _DESCRIPTION, _STRIPS),
    *(_SAMPLES, _STRIP_LINES, _STRIP_BYTES, _PLANAR, _PREDICTOR, _COLOURS, _TILE_WIDTH, _TILE_LINES, _TILES),
    *(_TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES),
}
_TYPES: Final = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_SIZES: Final = {6: 1, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 17: 8}  # types that no tag here has
_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_REDUCED_OR_MASK = 0b101
_MOST_PIXELS = 1 << 28
_MOST_PAGES = 1 << 20
_IMAGEJ_PICTURES = re.compile(rb"^ImageJ=.*?^images=(\d+)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Directory:
    """The tags of one page, their numbers decoded."""

    offset: int
    tags: dict[int, tuple[int, ...]]  # those that are used here
    order: str  # "<" or ">"

    def number(self, tag: int, default: int) -> int:
        """Return the tag's first number, or the default."""
        values = self.tags.get(tag)
        return values[0] if values else default


def directories(file: BinaryIO) -> tuple[list[Directory], list[str]]:
    """Return the pages of a TIFF file in order, and for each page that must follow and cannot be found, why.

    Where the list of pages breaks off, one more is known to follow. Reduced copies (thumbnails) and masks are no pages.
    Raises PictureError when not even the first can be found.
    """
    order, big = _byte_order(file)
    size = file.seek(0, 2)
    found: list[Directory] = []
    seen: set[int] = set()
    offset = _next_offset(file, 8 if big else 4, order, big)
    lacking: list[str] = []
    while offset:
        if offset in seen or len(seen) > _MOST_PAGES:
            lacking = ["its list of pages runs in a circle"]
            break
        seen.add(offset)
        try:
            directory, offset = _directory(file, offset, order, big, size)
        except (struct.error, PictureError):
            lacking = [f"its list of pages breaks off behind page {len(found)}"]
            break
        if not directory.number(_SUBFILE, 0) & _REDUCED_OR_MASK or not found:
            found.append(directory)
    if not found:
        raise PictureError("a TIFF that is cut short or damaged: its first page cannot be found")
    imagej = _IMAGEJ_PICTURES.search(bytes(value & 255 for value in found[0].tags.get(_DESCRIPTION, ())))
    declared = min(int(imagej.group(1)), _MOST_PAGES) if imagej is not None else 0
    if len(found) + len(lacking) < declared:
        why = f"it holds {declared} pictures by its description, its list of pages has {len(found)}"
        lacking = [why] * (declared - len(found))
    return found, lacking


def directory_at(file: BinaryIO, offset: int) -> Directory:
    """Return the page whose directory begins at that offset. Raises PictureError."""
    order, big = _byte_order(file)
    try:
        return _directory(file, offset, order, big, file.seek(0, 2))[0]
    except struct.error as error:
        raise PictureError("a damaged TIFF: the page cannot be found") from error


def decoded(file: BinaryIO, page: Directory) -> np.ndarray:
    """Return a page of the file as uint8 or uint16: (lines, width), or (lines, width, 3) in the order B, G, R.

    Raises PictureError when a strip is missing, or does not decode to exactly the lines that it must hold.
    """
    form = _Form.of(page)
    pixels = np.empty((form.lines, form.width, form.samples), form.dtype)
    size = file.seek(0, 2)
    for chunk in form.chunks():
        offset, length = form.places[chunk.number]
        if length == 0 or offset + length > size:
            raise PictureError(
                f"a TIFF that is cut short: lines {chunk.top} to {chunk.top + chunk.lines - 1} are not in it"
            )
        file.seek(offset)
        block = form.block(file.read(length), chunk)
        rows, columns = block.shape[:2]
        target = pixels[chunk.top : chunk.top + rows, chunk.left : chunk.left + columns, chunk.samples]
        target[:] = block[: len(target), : target.shape[1]]
    if form.compression == _NONE:
        _refuse_lost_block(file, form.places, pixels[0].nbytes)
    return form.shown(pixels)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A strip or tile: its number, and the part of the page that it holds."""

    number: int
    top: int
    left: int
    lines: int  # of it that lie in the page
    samples: slice


@dataclass(frozen=True, slots=True)
class _Form:
    """How a page is stored."""

    page: Directory
    width: int
    lines: int
    samples: int
    dtype: np.dtype
    compression: int
    photometric: int
    planes: bool  # each sample apart
    chunk_width: int
    chunk_lines: int
    tiled: bool
    places: list[tuple[int, int]]

    @classmethod
    def of(cls, page: Directory) -> "_Form":
        """Read the form of a page. Raises PictureError when it makes no sense, or is one that is not read."""
        width, lines = page.number(_WIDTH, 0), page.number(_LINES, 0)
        if not (width > 0 and lines > 0 and width * lines <= _MOST_PIXELS):
            raise PictureError(f"a damaged TIFF: a page of {width} x {lines} pixels")
        samples = page.number(_SAMPLES, 1)
        bits = set(page.tags.get(_BITS, (1,)))
        if bits not in ({8}, {16}) or page.number(_SAMPLE_FORMAT, 1) != 1:
            kind = {1: "unsigned", 2: "signed", 3: "floating point"}.get(page.number(_SAMPLE_FORMAT, 1), "unknown")
            raise PictureError(
                f"{' or '.join(map(str, sorted(bits)))} bits a pixel, {kind}; expected 8, unsigned", Cause.DEPTH
            )
        photometric = page.number(_PHOTOMETRIC, _BLACK_IS_ZERO)
        compression = page.number(_COMPRESSION, _NONE)
        _check_kind(page, samples, photometric, compression)
        tiled = _TILES in page.tags
        chunk_width = page.number(_TILE_WIDTH, 0) if tiled else width
        chunk_lines = page.number(_TILE_LINES, 0) if tiled else min(page.number(_STRIP_LINES, lines), lines)
        dtype = np.dtype(f"{page.order}u{bits.pop() // 8}")
        planes = page.number(_PLANAR, 1) == 2 and samples > 1
        if not (0 < chunk_width <= _MOST_PIXELS and 0 < chunk_lines <= _MOST_PIXELS and 0 < samples <= 4):
            raise PictureError("a damaged TIFF: the sizes of its strips make no sense")
        wanted = -(-width // chunk_width) * -(-lines // chunk_lines) * (samples if planes else 1)
        offsets = page.tags.get(_TILES if tiled else _STRIPS, ())
        lengths = page.tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
        if not lengths and len(offsets) == 1 and compression == _NONE:  # old writers left it out
            lengths = (width * lines * samples * dtype.itemsize,)
        if len(offsets) != wanted or len(lengths) != wanted:
            raise PictureError(
                f"a damaged TIFF: found {min(len(offsets), len(lengths))} strips of a page, expected {wanted}"
            )
        return cls(
            page=page,
            width=width,
            lines=lines,
            samples=samples,
            dtype=dtype,
            compression=compression,
            photometric=photometric,
            planes=planes,
            chunk_width=chunk_width,
            chunk_lines=chunk_lines,
            tiled=tiled,
            places=list(zip(offsets, lengths, strict=True)),
        )

    def chunks(self) -> Iterator[_Chunk]:
        number = 0
        for sample in range(self.samples) if self.planes else (None,):
            samples = slice(None) if sample is None else slice(sample, sample + 1)
            for top in range(0, self.lines, self.chunk_lines):
                for left in range(0, self.width, self.chunk_width):
                    yield _Chunk(number, top, left, min(self.chunk_lines, self.lines - top), samples)
                    number += 1

    def block(self, data: bytes, chunk: _Chunk) -> np.ndarray:
        """Return a strip or tile (lines, width, samples). Raises PictureError when it does not hold all its lines."""
        samples = 1 if self.planes else self.samples
        lines = self.chunk_lines if self.tiled else chunk.lines
        if self.compression == _JPEG:
            tables = bytes(self.page.tags.get(_JPEG_TABLES, ()))
            block = jpeg.decoded(tables[:-2] + data[2:] if tables else data)
            block = block.reshape(len(block), -1, 1 if block.ndim == 2 else 3)
            if block.shape[2] == 3:
                block = block[..., ::-1]
            if len(block) < lines or block.shape[1:] != (self.chunk_width, samples):
                raise PictureError("a damaged TIFF: a JPEG strip of another size than its page")
            return block
        line_bytes = self.chunk_width * samples * self.dtype.itemsize
        raw = _unpacked(data, self.compression, lines * line_bytes, self.chunk_lines * line_bytes)
        block = raw[: lines * line_bytes].view(self.dtype).reshape(lines, self.chunk_width, samples)
        if self.page.number(_PREDICTOR, 1) == 2 and self.compression != _NONE:
            block = np.cumsum(block, axis=1, dtype=self.dtype.newbyteorder("="))
        return block

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """Return the page's pixels as gray or B, G, R, in this machine's byte order."""
        if self.photometric == _PALETTE:
            colours = np.array(self.page.tags[_COLOURS], np.uint16).reshape(3, -1)
            pixels = (colours[::-1].T >> 8).astype(np.uint8)[pixels[..., 0]]
        elif self.photometric in {_RGB, _YCBCR}:
            pixels = pixels[..., 2::-1]
        else:
            pixels = pixels[..., 0]
        if self.photometric == _WHITE_IS_ZERO:
            pixels = ~pixels
        return np.ascontiguousarray(pixels, self.dtype.newbyteorder("=") if pixels.dtype != np.uint8 else None)


def _refuse_lost_block(file: BinaryIO, places: Sequence[tuple[int, int]], line_bytes: int) -> None:
    """Look at the strips as they lie in the file, since a lost block may lie over several of them."""
    begin, end = min(offset for offset, _ in places), max(offset + length for offset, length in places)
    if end - begin <= 2 * sum(length for _, length in places):
        file.seek(begin)
        if has_lost_block(file.read(end - begin), line_bytes, begin):
            raise PictureError("a damaged TIFF: a block of zeros")


def _check_kind(page: Directory, samples: int, photometric: int, compression: int) -> None:
    if compression not in {_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS}:
        raise PictureError(
            f"a TIFF of compression {compression}; expected none, LZW, deflate, PackBits or JPEG; save it again"
        )
    if page.number(_PREDICTOR, 1) not in {1, 2} or page.number(_FILL_ORDER, 1) != 1:
        raise PictureError("a TIFF with a floating-point predictor or reversed bits, which is not read; save it again")
    alpha = len(page.tags.get(_EXTRA_SAMPLES, ()))
    wanted = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3}.get(photometric)
    if wanted is None or samples - alpha != wanted or alpha > 1:
        raise PictureError(
            f"a TIFF of {samples} samples a pixel, photometric interpretation {photometric}; expected gray",
            Cause.COLOUR,
        )
    of_jpeg = compression == _JPEG
    if (photometric == _YCBCR) != (of_jpeg and samples == 3):
        raise PictureError("a TIFF in YCbCr or JPEG-compressed RGB; expected gray", Cause.COLOUR)
    if photometric == _PALETTE and len(page.tags.get(_COLOURS, ())) != 3 * 256:
        raise PictureError("a damaged TIFF: a palette of another size than its pixels")


def _unpacked(data: bytes, compression: int, size: int, full_size: int) -> np.ndarray:
    """Return the bytes of a strip of `size`; some writers fill the last one up to `full_size`. Raises PictureError."""
    if compression == _NONE:
        raw = np.frombuffer(data, np.uint8)
        if len(raw) < size:
            raise PictureError(f"a damaged TIFF: found {len(raw)} bytes in a strip, expected {size}")
        return raw
    if compression == _LZW:
        raw = lzw.decoded(data, size, full_size)
    elif compression == _PACKBITS:
        raw = np.frombuffer(_packbits(data), np.uint8)
    else:
        inflater = zlib.decompressobj()
        try:
            raw = np.frombuffer(inflater.decompress(data, full_size + 1), np.uint8)
        except zlib.error as error:
            raise PictureError(f"a damaged TIFF: deflate {error}") from error
        if not inflater.eof:
            raise PictureError("a damaged TIFF: a deflated strip has no end")
    if len(raw) not in {size, full_size}:
        raise PictureError(f"a damaged TIFF: a strip holds {len(raw)} bytes, expected {size}")
    return raw


def _packbits(data: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        count = data[at]
        if count < 128:
            if at + 2 + count > len(data):
                raise PictureError("a damaged TIFF: PackBits data that is cut short")
            out += data[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            if count > 128:
                out += data[at + 1 : at + 2] * (257 - count)
            at += 2 if count > 128 else 1
    return bytes(out)


def _byte_order(file: BinaryIO) -> tuple[str, bool]:
    file.seek(0)
    signature = file.read(4)
    if signature not in SIGNATURES:
        raise PictureError("no TIFF")
    return "<" if signature.startswith(b"I") else ">", b"+" in signature


def _next_offset(file: BinaryIO, at: int, order: str, big: bool) -> int:
    file.seek(at)
    try:
        (offset,) = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))
    except struct.error as error:
        raise PictureError("a TIFF that is cut short") from error
    return int(offset)


def _directory(file: BinaryIO, offset: int, order: str, big: bool, size: int) -> tuple[Directory, int]:
    """Return a directory and the offset of the next one. Raises PictureError or struct.error when it is damaged."""
    if offset > size:  # a BigTIFF may name offsets that no file has
        raise PictureError("a damaged TIFF")
    file.seek(offset)
    (entries,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    length = 20 if big else 12
    if offset + entries * length > size:
        raise PictureError("a damaged TIFF")
    table = file.read(entries * length)
    (behind,) = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))
    tags = {}
    inline = 8 if big else 4
    for entry in range(entries):
        row = table[entry * length : (entry + 1) * length]
        tag, kind, count = struct.unpack(order + ("HHQ" if big else "HHI"), row[:-inline])
        letter = _TYPES.get(kind)
        if letter is None:
            if kind not in _SIZES:
                raise PictureError("a damaged TIFF")
            continue
        if tag not in _USED:
            continue
        wanted = struct.calcsize(order + letter) * count
        value = row[-inline:][:wanted]
        if wanted > inline:
            (place,) = struct.unpack(order + ("Q" if big else "I"), row[-inline:])
            if place + wanted > size:
                raise PictureError("a damaged TIFF")
            file.seek(place)
            value = file.read(wanted)
        tags[tag] = struct.unpack(f"{order}{count}{letter}", value)
    return Directory(offset, tags, order), int(behind)
