"""A coil's report into the files that were asked for."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.ports import Camera
from linewatch.contracts.verdict import Defect
from linewatch.review.coil_record import CoilRecord, Masked
from linewatch.review.defect_table import Defects
from linewatch.review.report.page import render
from linewatch.review.report.pdf import print_pdf
from linewatch.review.report.sheets import write_sheets
from linewatch.review.report.thumbnail import cut_out, thumbnails, window_of
from linewatch.review.severities import ClassSeverities, RatedDefects

LISTED = 40
"""So many of the worst defects stand in the table with a picture."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where the report goes; None: not wanted."""

    html: Path | None = None
    pdf: Path | None = None
    csv: Path | None = None


class Pictures(Protocol):
    """Where the steel around defects is to be had from."""

    def of(self, record: CoilRecord, defects: Sequence[Defect]) -> Sequence[str | None]:
        """A data URI for each one's window (`thumbnail.window_of`), or None. Raises LinewatchErrors."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What the coil was inspected from: pictures are cut out of it."""

    camera: Camera
    line: LineSettings

    def of(self, record: CoilRecord, defects: Sequence[Defect]) -> Sequence[str | None]:
        return cut_out(self.camera, self.line, record.coil, [window_of(defect.box) for defect in defects])


def listed_masks(severities: ClassSeverities) -> Masked:
    """The masks that the report draws."""

    def of(defects: Defects) -> Collection[str]:
        listed: list[str] = RatedDefects.of(defects, severities).defects["id"][:LISTED].tolist()
        return listed

    return of


def write_report(
    record: CoilRecord, severities: ClassSeverities, files: ReportFiles, pictures: Pictures | None = None
) -> None:
    """Write the files; one that is there is replaced as a whole. The record has at least `listed_masks`.

    Raises ConfigError when a file cannot be written or no browser prints the PDF, what `pictures` raises.
    """
    rated = RatedDefects.of(record.defects, severities)
    if files.html is not None or files.pdf is not None:
        page = _page(record, rated, pictures).encode()
        if files.html is not None:
            _replace(files.html, page)
        if files.pdf is not None:
            with TemporaryDirectory(prefix="linewatch-report-") as folder:
                printed = Path(folder) / "report.html"
                printed.write_bytes(page)
                _replace(files.pdf, print_pdf(printed))
    if files.csv is not None:
        try:
            write_sheets(record, rated, files.csv)
        except OSError as error:
            raise ConfigError(f"cannot write tables to {files.csv}: {error.strerror}; name another folder") from error


def _page(record: CoilRecord, rated: RatedDefects, pictures: Pictures | None) -> str:
    shown = list(rated.defects.take(slice(LISTED)))
    steel = pictures.of(record, shown) if pictures is not None else ()
    return render(record, rated, thumbnails(record, shown, steel), datetime.now(UTC))


def _replace(path: Path, data: bytes) -> None:
    half = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(data)
        half.replace(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}; name another file") from error
