"""`linewatch report`, `regrade`, `picture` and the comparison of verdicts."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.config.history import DATABASE_URL, DATABASE_URLS, HistorySettings
from linewatch.config.load import load
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.files import descriptor_of
from linewatch.logs import configure_logs
from linewatch.service_settings import ServiceSettings, settings_or_defaults, with_source
from linewatch.terminal import coil_named, extra, grade_rows, print_pairs

if TYPE_CHECKING:
    from linewatch.capture.calibrated import FindCalibration
    from linewatch.contracts.ports import Camera
    from linewatch.review.coil_sources import CoilSource
    from linewatch.review.regrade import Regraded

BEYOND_LIMITS = 9
"""Exit code of `compare` where the verdicts differ by more than a --fail limit."""

VERDICTS = "a verdict file, history:COIL or history:#PASSAGE."

Source = Annotated[str, Parameter(help="Recording or folder that was replayed.")]
Passage = Annotated[int | None, Parameter(help="Passage of the history, as numbered by `linewatch coils`.")]
OneCoil = Annotated[str | None, Parameter(help="ID of one coil, where a verdict file holds several.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """Where the history keeps its coils."""

    history: Annotated[Path, Parameter(help="Configuration of `linewatch history`.")] = Path("configs/history.toml")
    database: Annotated[str | None, Parameter(help="URL of its database, instead of the configuration.")] = None

    def database_url(self) -> str:
        """Return the URL of the database. Raises ConfigError."""
        if self.database is None:
            return load(self.history, HistorySettings).database
        if not re.match(DATABASE_URL, self.database):
            raise ConfigError(f"--database {self.database}: expected {DATABASE_URLS}")
        return self.database

    def image_folder(self) -> Path | None:
        """Return the folder of the stored images; None where none are kept, or only the database is named."""
        images = load(self.history, HistorySettings).images if self.database is None else None
        return None if images is None else images.dir

    def coil_source(self, verdicts: str | None, coil: str | None = None, passage: int | None = None) -> "CoilSource":
        """Return where coils are read from: what `verdicts` names, or the coil or passage of the history."""
        from linewatch.review.coil_sources import source_of

        coil = None if coil is None else coil_named(coil)
        with extra("history"):
            if verdicts is None:
                from linewatch.review.from_history import HistorySource

                if coil is None and passage is None:
                    raise ConfigError("no coil is named; give its id or --passage, for the history, or a verdict file")
                return HistorySource(self.database_url(), coil, passage)
            if passage is not None:
                raise ConfigError(f"--passage {passage} is of the history, {verdicts} is not; leave one of them out")
            return source_of(verdicts, self.database_url, coil)


def report(
    coil: Annotated[
        str | None, Parameter(help="ID of a coil of the history, or of one in --verdicts that holds several.")
    ] = None,
    /,
    *,
    passage: Passage = None,
    verdicts: Annotated[Path | None, Parameter(help="Verdict file of `replay --out`, instead of the history.")] = None,
    source: Annotated[
        str | None, Parameter(help="Recording or folder that was replayed; the images are cut from it.")
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="Its taxonomy rates the classes, and its [line] reads the source.")
    ] = None,
    html: Annotated[Path | None, Parameter(help="The page.")] = None,
    pdf: Annotated[Path | None, Parameter(help="Printed by the installed Chromium, Chrome or Edge.")] = None,
    csv: Annotated[Path | None, Parameter(help="Folder for defects.csv, spans.csv and alarms.csv.")] = None,
    history: HistoryOptions = HistoryOptions(),
) -> None:
    with extra("history"):
        from linewatch.review.report.steel import SteelFromArchive, SteelFromRecording, SteelImages
        from linewatch.review.report.write import ReportFiles, listed_masks, write_report
    from linewatch.review.severities import ClassSeverities

    wanted = [path for path in (html, pdf, csv) if path is not None]
    if not wanted:
        raise ConfigError("nothing to write; give at least one of --html FILE, --pdf FILE, --csv DIR")
    settings = settings_or_defaults(config)
    taxonomy = settings.taxonomy or (TAXONOMY if TAXONOMY.is_file() else None)
    severities = ClassSeverities() if taxonomy is None else ClassSeverities.read(taxonomy)
    where = history.coil_source(None if verdicts is None else str(verdicts), coil, passage)
    record = where.record(listed_masks(severities))
    steel: SteelImages | None = None
    if source is not None:
        settings, camera, _ = _camera(source, config)
        steel = SteelFromRecording(camera, settings.line)
    elif record.passage is not None and (folder := history.image_folder()) is not None:
        steel = SteelFromArchive(history.database_url(), folder)
    write_report(record, severities, ReportFiles(html, pdf, csv), steel)
    for path in wanted:
        if descriptor_of(path) is None:  # else the page went where this line would go
            print(path)


def regrade(
    verdicts: Annotated[str | None, Parameter(help=f"Coils: {VERDICTS} Default: --coil or --passage.")] = None,
    /,
    *,
    coil: OneCoil = None,
    passage: Passage = None,
    rules: Annotated[Path, Parameter(help="File of grading rules.")],
    taxonomy: Path = TAXONOMY,
    as_json: Annotated[bool, Parameter(name="--json", help="Print one JSON object per coil.")] = False,
    history: HistoryOptions = HistoryOptions(),
) -> None:
    from linewatch.config.grading_file import load_grading
    from linewatch.decision.grading.severity import GradingRules
    from linewatch.review.regrade import regrade

    classes = Taxonomy.read(taxonomy)
    grading = GradingRules.of(load_grading(rules, classes), classes)
    for record in history.coil_source(verdicts, coil, passage).records():
        found = regrade(record, grading)
        if as_json:
            more = {"changed": found.changed, "added": found.added, "dropped": found.dropped}
            print(json.dumps({**asdict(found), **more}))
        else:
            _print_regraded(found)


def picture(
    verdicts: Annotated[str, Parameter(help=f"The coil: {VERDICTS}")],
    /,
    *,
    source: Source,
    truth: Annotated[Path | None, Parameter(help="Draw the rendered or labelled defects of this file as well.")] = None,
    config: Annotated[Path | None, Parameter(help="Its [line] reads the source.")] = None,
    coil: OneCoil = None,
    end: Annotated[
        Literal["head", "tail"], Parameter(name="--from", help="End of the coil that is at position 0.")
    ] = "head",
    raw: Annotated[
        bool, Parameter(help="Draw the camera's own pixels, not as its calibration corrects them for the engines.")
    ] = False,
    out: Annotated[Path, Parameter(help="The picture, a .png file.")],
    history: HistoryOptions = HistoryOptions(),
) -> None:
    from linewatch.capture.calibrated import no_calibration
    from linewatch.review.coil_picture import draw_coil
    from linewatch.simulation.truth import CoilTruth

    configure_logs("warning")
    settings, camera, find = _camera(source, config)
    true_defects = CoilTruth.read(truth).defects if truth else ()
    record = history.coil_source(verdicts, coil).record()
    boxes = [defect.box for defect in true_defects]
    draw_coil(camera, settings.line, record, boxes, out, tail_first=end == "tail", find=no_calibration if raw else find)
    print(out)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """How two records of one recording are compared. The shares count from 0, the default of a limit is none."""

    source: Annotated[str | None, Parameter(help="Recording or folder that both were made of.")] = None
    config: Annotated[Path | None, Parameter(help="Its [line] reads a source without a sidecar.")] = None
    truth: Annotated[Path | None, Parameter(help="File of true defects; adds recall and precision of both.")] = None
    tolerance_mm: Annotated[float | None, Parameter(help="Outlines that lie this near are one defect. Default: 5.")] = (
        None
    )
    size_tolerance: Annotated[
        float | None, Parameter(help="Share by which areas may differ before they are reported. Default: 0.5.")
    ] = None
    fail_lost: Annotated[float | None, Parameter(help="Exit code 9 if a larger share of A's defects is lost.")] = None
    fail_new: Annotated[float | None, Parameter(help="Exit code 9 if a larger share is new.")] = None
    fail_reclassified: Annotated[float | None, Parameter(help="Exit code 9 if a larger share is reclassified.")] = None

    def bounded(self, name: str, most: float) -> float | None:
        """Return an option by its name. Raises ConfigError where it is not within 0 to `most`."""
        value: float | None = getattr(self, name)
        if value is not None and not 0 <= value <= most:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}, expected 0 to {most:g}")
        return value


def compare_verdicts(
    paths: Sequence[str], out: Path | None, options: ComparisonOptions, history: HistoryOptions, *, as_json: bool
) -> int:
    """Print what B lost, found anew, classified or sized differently from A. Returns the exit code."""
    from linewatch.review.against_truth import TOLERANCE_MM
    from linewatch.review.coil_record import all_masks
    from linewatch.review.coil_sources import VerdictFileSource
    from linewatch.review.comparison import SIZE_TOLERANCE, Limits, compare, score_both
    from linewatch.review.comparison import as_json as facts_of
    from linewatch.review.comparison_table import print_comparison
    from linewatch.review.differences import SideStrips, draw_differences
    from linewatch.review.strips import same_verdicts, strips_of
    from linewatch.simulation.truth import CoilTruth

    if len(paths) != 2:
        raise ConfigError(f"{len(paths)} verdict file or coil, expected two: A, which is the measure, and B")
    if (out is None) != (options.source is None):
        raise ConfigError("pictures need --source, the recording, and --out, the folder that they go to; give both")
    tolerance_mm = options.bounded("tolerance_mm", 100.0)
    size_tolerance = options.bounded("size_tolerance", 100.0)
    limits = Limits(*(options.bounded(f"fail_{kind}", 1.0) for kind in ("lost", "new", "reclassified")))
    one, other = (history.coil_source(path) for path in paths)
    identical = (
        isinstance(one, VerdictFileSource)
        and isinstance(other, VerdictFileSource)
        and same_verdicts(one.path, other.path)
    )
    if identical and not as_json:
        print("A and B are the same verdicts, byte for byte but for the timing", flush=True)
    a = strips_of(one.records(all_masks))
    b = a if identical else strips_of(other.records(all_masks))
    comparison = compare(
        a,
        b,
        tolerance_mm=TOLERANCE_MM if tolerance_mm is None else tolerance_mm,
        size_tolerance=SIZE_TOLERANCE if size_tolerance is None else size_tolerance,
    )
    scores = score_both(comparison, CoilTruth.read(options.truth)) if options.truth else None
    broken = limits.broken(comparison)
    pictures: Sequence[Path] = ()
    if out is not None and options.source is not None:
        settings, camera, _ = _camera(options.source, options.config)
        sides = SideStrips(paths[0], a), SideStrips(paths[1], b)
        pictures = draw_differences(comparison, *sides, camera, settings.line, out)
    if as_json:
        facts = {"identical": identical, **facts_of(comparison, scores), "beyond_limits": broken}
        print(json.dumps({**facts, "pictures": [str(path) for path in pictures]}))
    else:
        print_comparison(comparison, scores, (str(one), str(other)))
        for path in pictures:
            print(path)
    for limit in broken:
        print(f"linewatch: {limit}", file=sys.stderr)
    return BEYOND_LIMITS if broken else 0


def _camera(source: str, config: Path | None) -> "tuple[ServiceSettings, Camera, FindCalibration]":
    """Return the settings by which a recording is read, a camera over it, not yet entered, and what finds its
    calibration.
    """
    from linewatch.capture.cameras.registry import open_camera
    from linewatch.capture.clock import MonotonicClock
    from linewatch.capture.find_calibration import calibrations
    from linewatch.config.calibrated import calibrated_line

    settings = with_source(settings_or_defaults(config), source, own_line=config is None)
    assert settings.source is not None
    camera = open_camera(settings.source, settings.line, MonotonicClock(), live=False)
    find = calibrations(settings.calibration, settings.line, settings.source)
    line = calibrated_line(settings.line, find(camera.serial))
    return settings.model_copy(update={"line": line}), camera, find


def _print_regraded(found: "Regraded") -> None:
    """Print the new grade of a coil beside the stored one."""
    before = f"{found.before.text} (by {found.before.rules})" if found.before else "none"
    changes = [f"now also {', '.join(found.added)}"] if found.added else []
    changes += [f"no longer {', '.join(found.dropped)}"] if found.dropped else []
    changes += [f"{found.changed_severities} defects have another severity"] if found.changed_severities else []
    print_pairs(
        f"{found.coil}, {found.side}, {found.camera}" + ("" if found.ended else ": its end is not known"),
        [
            ("stored grade", before),
            *grade_rows(found.now),
            ("changed", "; ".join(["the grade" if found.changed else "not the grade", *changes])),
        ],
    )
