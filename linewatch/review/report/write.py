"""Writes the report of a coil as HTML, PDF and CSV."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from linewatch.contracts.errors import ConfigError
from linewatch.files import write_output
from linewatch.review.coil_record import CoilRecord, MaskSelection
from linewatch.review.defect_table import Defects
from linewatch.review.report.page import render
from linewatch.review.report.pdf import print_pdf
from linewatch.review.report.sheets import write_sheets
from linewatch.review.report.steel import SteelImages
from linewatch.review.report.thumbnail import thumbnails
from linewatch.review.severities import ClassSeverities, RatedDefects

LISTED = 40
"""How many of the worst defects the page lists, each with a thumbnail."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files to write; None: not wanted."""

    html: Path | None = None
    pdf: Path | None = None
    csv: Path | None = None


def listed_masks(severities: ClassSeverities) -> MaskSelection:
    """Select the masks that the report draws."""

    def of(defects: Defects) -> Collection[str]:
        listed: list[str] = RatedDefects.of(defects, severities).defects["id"][:LISTED].tolist()
        return listed

    return of


def write_report(
    record: CoilRecord, severities: ClassSeverities, files: ReportFiles, steel: SteelImages | None = None
) -> None:
    """Write the files, each of which replaces a regular file as a whole. The record needs at least `listed_masks`.

    Raises ConfigError when a file cannot be written or no browser prints the PDF, and what `steel` raises.
    """
    rated = RatedDefects.of(record.defects, severities)
    if files.html is not None or files.pdf is not None:
        page = _page(record, rated, steel).encode()
        if files.html is not None:
            write_output(files.html, page)
        if files.pdf is not None:
            with TemporaryDirectory(prefix="linewatch-report-") as folder:
                printed = Path(folder) / "report.html"
                printed.write_bytes(page)
                write_output(files.pdf, print_pdf(printed))
    if files.csv is not None:
        try:
            write_sheets(record, rated, files.csv)
        except OSError as error:
            raise ConfigError(f"cannot write tables to {files.csv}: {error.strerror}; name another folder") from error


def _page(record: CoilRecord, rated: RatedDefects, steel: SteelImages | None) -> str:
    shown = list(rated.defects.take(slice(LISTED)))
    images = steel.of(record, shown) if steel is not None else ()
    return render(record, rated, thumbnails(record, shown, images), datetime.now(UTC))
