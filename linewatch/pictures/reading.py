"""`pages` lists what a picture file holds, `PicturePage.read` decodes one: whole, or not at all.

Decoders conceal damage: they fill what they cannot decode with invented pixels and only warn. Every kind that is read
here tells: JPEG by its decoder's warnings, PNG by its checksums, TIFF by the length of each strip, BMP by its size.
WebP, JPEG 2000 and GIF are not read, since damage to them cannot be seen.
"""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np

from linewatch.contracts.frame import Cause
from linewatch.pictures import bmp, jpeg, png, tiff
from linewatch.pictures.error import PictureError
from linewatch.pictures.orientation import UPRIGHT, orientation_of, upright

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
OTHER_SUFFIXES: Final = (
    *(".webp", ".jp2", ".j2k", ".jxl", ".gif", ".heic", ".avif", ".pgm", ".ppm", ".pnm", ".exr", ".dng"),
    *(".dib", ".jpe", ".jfif", ".apng"),
)
"""Suffixes of pictures that are not read: whoever finds one must not take it for something else than a picture."""


@dataclass(frozen=True, slots=True)
class PicturePage:
    """One picture of a file. `number`: from 1, of `of` pages; only a TIFF has more than one."""

    path: Path
    number: int = 1
    of: int = 1
    directory: int | None = None  # of a TIFF's page: where it begins in the file
    lacking: str | None = None  # why the page cannot be there

    @property
    def name(self) -> str:
        """The file's name, with the page where it has several."""
        return self.path.name if self.of == 1 else f"{self.path.name} page {self.number}"

    def read(self) -> np.ndarray:
        """Return the picture as it is stored, uint8 or uint16, (lines, width) or (lines, width, channels) in the order
        B, G, R, turned as its orientation tag says.

        Raises PictureError, which names the file and the page, when it is damaged, cut short or not read.
        """
        try:
            if self.lacking is not None:
                raise PictureError(self.lacking)
            return _decoded(self.path, self.directory)
        except OSError as error:
            raise PictureError(f"{self.path}: cannot be read: {error.strerror}") from error
        except PictureError as error:
            place = f" page {self.number}" if self.of > 1 else ""
            raise PictureError(f"{self.path}{place}: {error}", error.cause) from error


def pages(path: Path) -> tuple[PicturePage, ...]:
    """Return the pictures in a file, in order, without decoding any: one, or the pages of a TIFF.

    A file that cannot be read is one page, which says why when it is read; so does each page that a TIFF must have and
    that cannot be found.
    """
    try:
        with _opened(path) as file:
            if file.read(4) not in tiff.SIGNATURES:
                return (PicturePage(path),)
            found, lacking = tiff.directories(file)
    except (OSError, PictureError):
        return (PicturePage(path),)
    of = len(found) + len(lacking)
    listed = [PicturePage(path, number, of, directory.offset) for number, directory in enumerate(found, start=1)]
    return (
        *listed,
        *(PicturePage(path, number, of, lacking=why) for number, why in enumerate(lacking, start=len(found) + 1)),
    )


def read_picture(path: Path) -> np.ndarray:
    """Return the one picture of a file as `PicturePage.read` does. Raises PictureError, also for several pages."""
    first, *others = pages(path)
    if others:
        raise PictureError(f"{path}: holds {first.of} pages, expected one picture; save each page to a file of its own")
    return first.read()


def read_gray(path: Path) -> np.ndarray:
    """Return the one picture of a file as uint8 (lines, width), colour by its luma (ITU-R BT.601).

    Raises PictureError as `read_picture` does, and for a picture of more than 8 bits.
    """
    picture = read_picture(path)
    if picture.dtype != np.uint8:
        raise PictureError(
            f"{path}: {8 * picture.itemsize} bits a pixel, values up to {picture.max(initial=0)}; expected 8; save all "
            "pictures in 8 bits, with one window for all",
            Cause.DEPTH,
        )
    return picture if picture.ndim == 2 else luma_of(picture)


def luma_of(picture: np.ndarray) -> np.ndarray:
    """Return the luma (ITU-R BT.601) of a uint8 picture (lines, width, 3 or 4) in the order B, G, R; alpha is not used.

    Equal channels give back their value.
    """
    luma: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_BGRA2GRAY if picture.shape[2] == 4 else cv2.COLOR_BGR2GRAY)
    return luma


def _opened(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
        raise PictureError("no regular file, expected a picture")
    return path.open("rb")


def _decoded(path: Path, directory: int | None) -> np.ndarray:
    with _opened(path) as file:
        head = file.read(8)
        if head[:4] in tiff.SIGNATURES:
            page = tiff.directories(file)[0][0] if directory is None else tiff.directory_at(file, directory)
            return upright(tiff.decoded(file, page), page.number(tiff.ORIENTATION, UPRIGHT))
        data = head + file.read()
    if not data:
        raise PictureError("an empty file, expected a picture")
    if data.startswith(jpeg.SIGNATURE):
        return upright(jpeg.decoded(data), orientation_of(jpeg.exif(data)))
    if data.startswith(png.SIGNATURE):
        return upright(png.decoded(data), orientation_of(png.exif(data)))
    if data.startswith(bmp.SIGNATURE):
        return bmp.decoded(data)
    found = f"begins with {data[:4]!r}" if data.strip(b"\0") else "is all zeros"
    raise PictureError(f"no picture: it {found}; expected JPEG, PNG, BMP or TIFF")
