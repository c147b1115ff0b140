"""A folder of images as a camera."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

import numpy as np
import structlog
from pydantic import Field, model_validator

from linewatch.capture.cameras.folder_files import FolderFiles, picture_files
from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.capture.gray import gray_of
from linewatch.capture.position.names import NameOrder, by_time, order_of, times_of
from linewatch.capture.position.timestamps import LongestGap, TimestampedCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import coil_name
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab, PositionSource
from linewatch.contracts.ports import Camera, Clock
from linewatch.pictures.error import PictureError
from linewatch.pictures.reading import PicturePage, pages

_MOST_TOLD = 100
_REMEDIES = {
    Cause.WRONG_SIZE: "set [line] width_px and frame_lines as in the pictures",
    Cause.DEPTH: "save them in 8 bits, with one window for all",
    Cause.COLOUR: "save them in gray",
    Cause.CORRUPT: "restore them",
}

log = structlog.get_logger()


class FolderSource(SourceSettings):
    """A folder of PNG, JPEG, BMP or TIFF frames in natural order; a TIFF may hold several."""

    type: Literal["folder"]
    path: Annotated[Path, Field(strict=False)]
    coil: CoilName | None = Field(default=None, description="default: the folder's name")
    times: Literal["name", "mtime"] | None = Field(
        default=None,
        description="place images by the times in their names or of their files, and line_rate_hz; left out: "
        "one lies directly behind the other, but for what `counter` tells",
    )
    longest_gap_s: LongestGap = Field(
        default=10.0,
        description="with times, also those that `counter` takes from names: no strip passes between two images that "
        "are farther apart, in seconds",
    )
    counter: bool | None = Field(
        default=None,
        description="without times: whether numbers or steady times in the names tell which images are missing; these "
        "are lost strip. true: they must; false: names give the order alone; left out: where they count steadily",
    )
    pattern: str | None = Field(
        default=None, min_length=1, description="take only images whose names match, such as cam1_*.png"
    )
    subfolders: bool | None = Field(
        default=None,
        description="true: read images in sub-folders, too; false: leave them out; left out: read them where there are "
        "no others, and refuse a folder with both",
    )

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if self.times is not None and self.counter:
            raise ValueError(f"times = '{self.times}' and counter = true both place images; leave one of them out")
        return self

    @property
    def position_source(self) -> PositionSource:
        return PositionSource.LINE_RATE if self.times is None else PositionSource.TIMESTAMPS

    def told(self) -> tuple[str, ...]:
        files, order = self._listed()
        lines = [f"folder {self.path}: {order.told}"]
        lines += [f"{event}: {len(paths)}, the first is {paths[0]}" for event, paths in files.left_out.items()]
        return tuple(line.encode(errors="backslashreplace").decode() for line in lines)  # names that are no UTF-8

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        files, order = self._listed()
        for event, paths in files.left_out.items():
            log.warning(event, folder=str(self.path), files=len(paths), first=str(paths[0]))
        ordered = [files.pictures[index] for index in order.order]
        log.info("folder_listed", folder=str(self.path), first=str(ordered[0]), last=str(ordered[-1]), told=order.told)
        if lost := sum(order.missing):
            behind = next(ordered[at - 1] for at, missing in enumerate(order.missing) if missing)
            log.warning("pictures_missing", folder=str(self.path), pictures=lost, first_behind=str(behind))
        camera = FolderCamera(self, line, ordered, order.missing)
        camera.refuse_unfit()
        if self.times is None:
            return camera
        times = dict(zip(ordered, times_of([self.path / name for name in ordered], self.times), strict=True))
        # The time of a file is that of its first page; the others lie directly behind it.
        of_pages = [times[page.path.relative_to(self.path)] if page.number == 1 else None for page in camera.images]
        return TimestampedCamera(camera, line, of_pages, self.longest_gap_s)

    def _listed(self) -> tuple[FolderFiles, NameOrder]:
        files = picture_files(self.path, self.pattern, self.subfolders)
        if self.times != "name":
            named = order_of(files.pictures, self.longest_gap_s, self.counter)
            if self.times is None:
                return files, named
            order = tuple(range(len(files.pictures)))
        else:
            order = by_time(files.pictures, may_be_mixed=self.counter is False)
        told = f"{len(order)} files, placed by their times ({self.times})"
        return files, NameOrder("time", order, (0,) * len(order), told)


class FolderCamera:
    """Gives the images of a folder in the order of their names, end to end, as one coil; a TIFF's pages in their order.

    Positions follow from the image heights and `mm_per_line`, times from `line_rate_hz`, so grabs are not `encoded`. An
    image that cannot be decoded, or is damaged or cut short, is a grab with fault CORRUPT over the lines of a full
    frame; the log names it and every other that cannot be inspected. Files that the names say are missing leave a gap
    of as many lines as the file before them holds.
    """

    live = False
    serial = ""

    def __init__(
        self, source: FolderSource, line: LineSettings, ordered: Sequence[PurePath], missing: Sequence[int]
    ) -> None:
        """ordered: the picture files, below the folder; missing: how many are missing before each."""
        self._source = source
        self._line = line
        self._coil = source.coil or coil_name(source.path.resolve().name)
        self._pages = [page for name in ordered for page in pages(source.path / name)]
        self._listed = frozenset(ordered)
        self._missing = iter(missing)
        self.grabs: int | None = len(self._pages)
        self._next = 0
        self._sequence = 0
        self._first_line = 0
        self._file_lines = 0  # of the file whose pages are being read
        self._unfit = 0
        self._stopped = threading.Event()

    @property
    def images(self) -> tuple[PicturePage, ...]:
        """The pictures, one per grab, in order."""
        return tuple(self._pages)

    def refuse_unfit(self) -> None:
        """Raise SourceError when not one picture can be inspected. Reads up to the first that can."""
        found: dict[Cause, str] = {}
        counts: Counter[Cause] = Counter()
        for page in self._pages:
            _, cause, reason = self._read(page)
            if cause is None:
                return
            counts[cause] += 1
            found.setdefault(cause, f"{page.name}: {reason}")
        most = counts.most_common()
        causes = ", ".join(f"{count} {cause} ({found[cause]})" for cause, count in most)
        raise SourceError(
            f"folder {self._source.path}: none of {len(self._pages)} pictures can be inspected: found {causes}; "
            f"expected 8-bit gray, {self._line.width_px} px wide, at most {self._line.frame_lines} lines; "
            f"{_REMEDIES[most[0][0]]}"
        )

    def read(self) -> Grab | None:
        if self._stopped.is_set():
            return None
        if self._next >= len(self._pages):
            self._tell_the_end()
            return None
        page = self._pages[self._next]
        self._next += 1
        if page.number == 1:
            missing = next(self._missing)
            self._first_line += missing * self._file_lines
            self._sequence += missing
            self._file_lines = 0
        image, cause, reason = self._read(page)
        lines = self._line.frame_lines if image is None else len(image)
        grab = derived_grab(
            image, self._line, coil=self._coil, sequence=self._sequence, first_line=self._first_line, lines=lines
        )
        if cause is not None:
            self._unfit += 1
            if self._unfit <= _MOST_TOLD:
                log.warning(
                    "picture_not_inspected", picture=page.name, cause=str(cause), reason=reason, sequence=self._sequence
                )
            if image is None:
                grab = replace(grab, fault=cause)
        self._first_line += lines
        self._file_lines += lines
        self._sequence += 1
        return grab

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _read(self, page: PicturePage) -> tuple[np.ndarray | None, Cause | None, str]:
        """Return the picture, None where it cannot be read; and why it cannot be inspected, as a cause and in words."""
        try:
            image = page.read()
        except PictureError as error:
            return None, error.cause, str(error)
        gray = gray_of(image, self._line)
        if not isinstance(gray, Cause):
            return gray, None, ""
        if gray is Cause.DEPTH:
            return image, gray, f"{8 * image.itemsize} bits a pixel, values up to {image.max(initial=0)}"
        return image, gray, f"{image.shape[1]} x {len(image)} pixels{', in colour' if gray is Cause.COLOUR else ''}"

    def _tell_the_end(self) -> None:
        if self._unfit > _MOST_TOLD:
            log.warning("more_pictures_not_inspected", pictures=self._unfit - _MOST_TOLD)
        try:
            now = picture_files(self._source.path, self._source.pattern, self._source.subfolders).pictures
        except SourceError:
            return
        if later := [name for name in now if name not in self._listed]:
            log.warning("pictures_came_too_late", folder=str(self._source.path), files=len(later), first=str(later[0]))


def derived_grab(
    image: np.ndarray | None, line: LineSettings, *, coil: str, sequence: int, first_line: int, lines: int
) -> Grab:
    """Return a grab of a source without encoder and clock: both follow from the line settings.

    Without an image its fault is CORRUPT.
    """
    return Grab(
        image=image,
        coil=coil,
        sequence=sequence,
        first_line=first_line,
        lines=lines,
        encoder_count=first_line,
        along_mm=first_line * line.mm_per_line,
        mm_per_line=line.mm_per_line,
        captured_ns=round((first_line + lines) / line.line_rate_hz * 1e9),
        encoded=False,
        fault=Cause.CORRUPT if image is None else None,
    )
