"""Commands about coils that have passed: the history, reports, grading again, comparing."""

import argparse
import getpass
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linewatch.cli.arguments import adder, extra, settings_of, wide_console
from linewatch.config.history import DATABASE_URL, DATABASE_URLS, HistorySettings
from linewatch.config.load import load
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.daemon.logs import configure_logs

if TYPE_CHECKING:
    from linewatch.cli.arguments import Commands

BEYOND_LIMITS = 9  # exit code of `compare`
_WHERE = "a verdict file, or history:COIL or history:#PASSAGE"
_VERDICTS_ONLY = (
    *("source", "config", "truth", "tolerance_mm", "size_tolerance", "database"),
    *("fail_lost", "fail_new", "fail_reclassified"),
)


def add(commands: "Commands") -> None:  # noqa: PLR0915 - a list of commands
    """The commands of this kind."""
    command = adder(commands)

    history = command("history", _history, "Store what running services say in a database, until SIGTERM comes.")
    history.add_argument("config", type=Path)

    coils = _queried(command("coils", _coils, "List the coils of the history, the newest first."))
    coils.add_argument("--coil", metavar="ID", help="only this one")
    coils.add_argument("--limit", type=int, default=100)
    coils.add_argument("--after", type=int, metavar="PASSAGE", help="the page behind this one")

    defects = _queried(command("defects", _defects, "List the defects of a coil in the history, along it."))
    which = defects.add_mutually_exclusive_group(required=True)
    which.add_argument("--coil", metavar="ID", help="its newest passage under each camera")
    which.add_argument("--passage", type=int, metavar="NUMBER", help="one passage, as `linewatch coils` numbers them")
    defects.add_argument("--class", dest="defect_class", metavar="CLASS")
    defects.add_argument("--limit", type=int, default=100)
    defects.add_argument("--after", type=int, metavar="DEFECT", help="the page behind this one")
    defects.add_argument(
        "--images", action="store_true", help="the file of each one's picture, where [images] kept one"
    )

    label = _queried(command("label", _label, "Say that a defect of the history is of another class, or none."))
    label.add_argument("defect", help="its number, or its id on the wire")
    label.add_argument("verdict", choices=("wrong-class", "not-a-defect"))
    label.add_argument("--class", dest="right_class", metavar="CLASS", help="the right one")
    label.add_argument("--who", help="says so; default: the user of this shell")

    labels = _queried(command("labels", _labels, "Write what people said of defects to a file, for retraining."))
    labels.add_argument("action", choices=("export",))
    labels.add_argument("--out", type=Path, required=True, metavar="FILE.csv|FILE.jsonl")

    report = _stored(command("report", _report, "Write a coil's report: a page that prints well, a PDF, tables."))
    report.add_argument("coil", nargs="?", metavar="COIL", help="of the history, or where --verdicts holds several")
    report.add_argument("--passage", type=int, metavar="NUMBER", help="as `linewatch coils` numbers them")
    report.add_argument("--verdicts", type=Path, metavar="FILE", help="what `replay --out` wrote, not the history")
    report.add_argument("--source", help="the recording or folder that was replayed: pictures are cut from it")
    report.add_argument("--config", type=Path, help="its taxonomy rates the classes, its [line] reads the source")
    report.add_argument("--html", type=Path, metavar="FILE")
    report.add_argument("--pdf", type=Path, metavar="FILE", help="printed by the installed Chromium, Chrome or Edge")
    report.add_argument("--csv", type=Path, metavar="DIR", help="defects.csv, spans.csv, alarms.csv")

    regrade = _stored(command("regrade", _regrade, "Grade stored coils again by other rules, without pixels."))
    regrade.add_argument("verdicts", nargs="?", help=f"{_WHERE}; none: the history's --coil or --passage")
    regrade.add_argument("--coil", metavar="ID", help="of a verdict file: this one only")
    regrade.add_argument("--passage", type=int, metavar="NUMBER", help="as `linewatch coils` numbers them")
    regrade.add_argument("--rules", type=Path, required=True, metavar="FILE.toml")
    regrade.add_argument("--taxonomy", type=Path, default=TAXONOMY, metavar="FILE.toml")
    regrade.add_argument("--json", action="store_true", help="a coil a line")

    picture = _stored(command("picture", _picture, "Draw a coil with its found defects."))
    picture.add_argument("verdicts", help=_WHERE)
    picture.add_argument("--source", required=True, help="the recording or folder that was replayed")
    picture.add_argument("--truth", type=Path)
    picture.add_argument("--config", type=Path)
    picture.add_argument("--coil", metavar="ID", help="where a verdict file holds several")
    picture.add_argument(
        "--from", dest="end", choices=("head", "tail"), default="head", help="which end of the coil is at 0"
    )
    picture.add_argument("--out", type=Path, required=True, metavar="FILE.png")

    compare = _stored(
        command(
            "compare",
            _compare,
            "Two records of one recording: what B lost, found anew, calls or sizes otherwise than A. Or run folders "
            "of tlu_net, picture by picture. The first is the measure. Exit code 9: beyond a --fail limit.",
        )
    )
    compare.add_argument("paths", nargs="+", metavar="A B", help=f"{_WHERE}; or two run folders or more")
    compare.add_argument("--out", type=Path, metavar="DIR", help="pictures; verdict files need --source for them")
    compare.add_argument("--source", help="the recording or folder that both were made of")
    compare.add_argument("--config", type=Path, help="its [line] is the source's, where no sidecar tells")
    compare.add_argument("--truth", type=Path, help="adds recall and precision of both")
    compare.add_argument("--tolerance-mm", type=float, help="outlines so near still are one defect; default: 5")
    compare.add_argument(
        "--size-tolerance", type=float, metavar="SHARE", help="areas that differ by more are told; default: 0.5"
    )
    for kind in ("lost", "new", "reclassified"):
        compare.add_argument(
            f"--fail-{kind}", type=float, metavar="SHARE", help=f"exit code 9 when more of A's defects are {kind}"
        )
    compare.add_argument("--json", action="store_true")


def _history(options: argparse.Namespace) -> None:
    settings = load(options.config, HistorySettings)
    configure_logs(settings.log.level)
    with extra("history"):
        from linewatch.history.run import run_history

    run_history(settings)


def _coils(options: argparse.Namespace) -> None:
    with extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.listing import coils_json, coils_table
        from linewatch.history.queries import coils, gaps

    with reading(load(options.config, HistorySettings).database) as connection:
        rows = coils(connection, options.coil, after=options.after, limit=_page(options.limit))
        lost = gaps(connection)
    if options.json:
        print(coils_json(rows, lost))
    else:
        wide_console().print(coils_table(rows, lost))


def _defects(options: argparse.Namespace) -> None:
    with extra("history"):
        from linewatch.history.archived_images import archived_images
        from linewatch.history.database import reading
        from linewatch.history.listing import defects_json, defects_table
        from linewatch.history.queries import defects, passage, passages_of

    limit, settings = _page(options.limit), load(options.config, HistorySettings)
    if options.images and settings.images is None:
        raise ConfigError(f"{options.config} keeps no pictures; they need its [images], and [crops] of the service")
    with reading(settings.database) as connection:
        if options.coil is None:
            passages, older = [passage(connection, options.passage)], 0
        else:
            passages, older = passages_of(connection, options.coil)
        numbers = [row.passage for row in passages]
        rows = defects(connection, numbers, options.defect_class, after=options.after, limit=limit)
        shown = None
        if options.images and settings.images is not None:
            shown = dict[int, Path]()
            for number in numbers:
                named = {row.defect.id: row.number for row in rows if row.passage == number}
                found = archived_images(connection, settings.images.dir, number, named)
                shown |= {named[name]: picture.path for name, picture in found.items()}
    if options.json:
        print(defects_json(passages, older, rows, limit, shown))
    else:
        table = defects_table(passages, older, rows, limit, shown)
        wide_console().print(table)


def _label(options: argparse.Namespace) -> None:
    with extra("history"):
        from linewatch.history.database import explained, writing
        from linewatch.history.labels import LabelVerdict, label

    url = load(options.config, HistorySettings).database
    with writing(url) as database, explained(url), database.begin() as connection:
        who = options.who or getpass.getuser()
        said = label(connection, options.defect, LabelVerdict(options.verdict), options.right_class, who)
    if options.json:
        print(json.dumps(asdict(said)))
    else:
        print(f"{said.name}: {said.found_class} is {said.right_class or 'not a defect'}, says {said.who}")


def _labels(options: argparse.Namespace) -> None:
    with extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.labels import export_labels

    settings = load(options.config, HistorySettings)
    with reading(settings.database) as connection:
        count = export_labels(connection, options.out, settings.images.dir if settings.images else None)
    print(json.dumps({"path": str(options.out), "labels": count}) if options.json else f"{options.out}: {count} labels")


def _page(limit: int) -> int:
    if not 1 <= limit <= 10_000:
        raise ConfigError(f"--limit is {limit}, expected 1 to 10000; --after gives what is behind a page")
    return limit


def _report(options: argparse.Namespace) -> None:
    with extra("history"):
        from linewatch.review.report.steel import SteelFromArchive, SteelFromRecording, SteelImages
        from linewatch.review.report.write import ReportFiles, listed_masks, write_report
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.review.severities import ClassSeverities

    files = ReportFiles(options.html, options.pdf, options.csv)
    wanted = [path for path in (files.html, files.pdf, files.csv) if path is not None]
    if not wanted:
        raise ConfigError("nothing to write; give at least one of --html FILE, --pdf FILE, --csv DIR")
    settings = settings_of(options.config)
    taxonomy = settings.taxonomy or (TAXONOMY if TAXONOMY.is_file() else None)
    severities = ClassSeverities() if taxonomy is None else ClassSeverities.read(taxonomy)
    verdicts = None if options.verdicts is None else str(options.verdicts)
    record = _source(options, verdicts, options.coil, options.passage).record(listed_masks(severities))
    steel: SteelImages | None = None
    if options.source is not None:
        settings = with_source(settings, options.source, own_line=options.config is None)
        assert settings.source is not None
        camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
        steel = SteelFromRecording(camera, settings.line)
    elif record.passage is not None and (kept := _kept_pictures(options)) is not None:
        steel = SteelFromArchive(_database(options), kept)
    write_report(record, severities, files, steel)
    for path in wanted:
        print(path)


def _regrade(options: argparse.Namespace) -> None:
    from linewatch.config.grading_load import load_grading
    from linewatch.decision.grading.severity import GradingRules
    from linewatch.review.regrade import regrade
    from linewatch.tables import regraded_table

    taxonomy = Taxonomy.read(options.taxonomy)
    rules = GradingRules.of(load_grading(options.rules, taxonomy), taxonomy)
    for coil in _source(options, options.verdicts, options.coil, options.passage).records():
        found = regrade(coil, rules)
        if options.json:
            extra = {"changed": found.changed, "added": found.added, "dropped": found.dropped}
            print(json.dumps({**asdict(found), **extra}))
        else:
            regraded_table(found)


def _picture(options: argparse.Namespace) -> None:
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.review.coil_picture import draw_coil
    from linewatch.simulation.truth import CoilTruth

    settings = with_source(settings_of(options.config), options.source, own_line=options.config is None)
    assert settings.source is not None
    configure_logs("warning")
    truth = CoilTruth.read(options.truth) if options.truth else None
    boxes = [defect.box for defect in truth.defects] if truth else []
    record = _source(options, options.verdicts, options.coil).record()
    camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
    draw_coil(camera, settings.line, record, boxes, options.out, tail_first=options.end == "tail")
    print(options.out)


def _compare(options: argparse.Namespace) -> int | None:
    """Verdict files are files, runs are folders."""
    from linewatch.review.coil_sources import PREFIX

    paths = [Path(text) for text in options.paths if not text.startswith(PREFIX)]
    for path in paths:
        if not path.exists():
            raise ConfigError(
                f"{path}: no such file or folder; compare two verdict files or coils of the history "
                f"({PREFIX}COIL), or run folders"
            )
    folders = [path for path in paths if path.is_dir()]
    if len(folders) == len(options.paths):
        options.paths = folders
        _compare_runs(options)
        return None
    if folders:
        held = sorted(folders[0].glob("*.jsonl"))
        remedy = f"name the file in it, {held[0]}" if held else "compare two of a kind"
        raise ConfigError(f"{folders[0]} is a folder, the others are verdicts; {remedy}")
    return _compare_verdicts(options)


def _compare_runs(options: argparse.Namespace) -> None:
    if alien := [name for name in _VERDICTS_ONLY if getattr(options, name) is not None]:
        named = f"--{alien[0].replace('_', '-')}"
        raise ConfigError(f"{named} is for verdict files, {options.paths[0]} is a folder; leave it out, or name files")
    if options.out is None:
        raise ConfigError("runs are compared in pictures; give --out DIR for them")
    with extra("train"):
        from linewatch.evaluation.run_comparison import compare

        found = compare(options.paths, options.out)
        if options.json:
            print(json.dumps({name: asdict(of) for name, of in found.items()}))
            return
        for name, of in found.items():
            low, high = of.interval or (float("nan"), float("nan"))
            print(f"{name}: Dice {of.difference:+.3f} ({low:+.3f} to {high:+.3f}), better on {of.improved:.0%} of them")
        print(options.out)


def _compare_verdicts(options: argparse.Namespace) -> int:
    from linewatch.review.against_truth import TOLERANCE_MM
    from linewatch.review.coil_record import all_masks
    from linewatch.review.coil_sources import VerdictFileSource
    from linewatch.review.comparison import SIZE_TOLERANCE, Limits, as_json, compare, score_both
    from linewatch.review.strips import same_verdicts, strips_of
    from linewatch.simulation.truth import CoilTruth
    from linewatch.tables import comparison_table

    if len(options.paths) != 2:
        raise ConfigError(f"{len(options.paths)} verdict file or coil, expected two: A, which is the measure, and B")
    if (options.out is None) != (options.source is None):
        raise ConfigError("pictures need --source, the recording, and --out, the folder that they go to; give both")
    tolerance_mm = _bounded(options, "tolerance_mm", TOLERANCE_MM, 100.0)
    size_tolerance = _bounded(options, "size_tolerance", SIZE_TOLERANCE, 100.0)
    limits = Limits(*(_bounded(options, f"fail_{kind}", None, 1.0) for kind in ("lost", "new", "reclassified")))
    one, other = (_source(options, text) for text in options.paths)
    identical = (
        isinstance(one, VerdictFileSource)
        and isinstance(other, VerdictFileSource)
        and same_verdicts(one.path, other.path)
    )
    if identical and not options.json:
        print("A and B are the same verdicts, byte for byte but for the timing", flush=True)
    a = strips_of(one.records(all_masks))
    b = a if identical else strips_of(other.records(all_masks))
    comparison = compare(a, b, tolerance_mm=tolerance_mm, size_tolerance=size_tolerance)
    judgements = score_both(comparison, CoilTruth.read(options.truth)) if options.truth else None
    broken = limits.broken(comparison)
    pictures = _differences(options, comparison, a, b) if options.out else ()
    if options.json:
        facts = as_json(comparison, judgements)
        print(
            json.dumps(
                {"identical": identical, **facts, "beyond_limits": broken, "pictures": [str(path) for path in pictures]}
            )
        )
    else:
        comparison_table(comparison, judgements, (str(one), str(other)))
        for path in pictures:
            print(path)
    for words in broken:
        print(f"linewatch: {words}", file=sys.stderr)
    return BEYOND_LIMITS if broken else 0


def _bounded(options: argparse.Namespace, name: str, default: Any, most: float) -> Any:
    value = getattr(options, name)
    if value is not None and not 0 <= value <= most:
        raise ConfigError(f"--{name.replace('_', '-')} is {value}, expected 0 to {most:g}")
    return default if value is None else value


def _differences(options: argparse.Namespace, comparison: Any, a: Any, b: Any) -> tuple[Path, ...]:
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.review.differences import SideStrips, draw_differences

    settings = with_source(settings_of(options.config), options.source, own_line=options.config is None)
    assert settings.source is not None
    camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
    one, other = options.paths
    return draw_differences(comparison, SideStrips(one, a), SideStrips(other, b), camera, settings.line, options.out)


def _database(options: argparse.Namespace) -> str:
    if options.database is None:
        return load(options.history, HistorySettings).database
    if not re.match(DATABASE_URL, options.database):
        raise ConfigError(f"--database {options.database}: expected {DATABASE_URLS}")
    return str(options.database)


def _kept_pictures(options: argparse.Namespace) -> Path | None:
    """The folder of the history's pictures; None where it keeps none, or is named by its database alone."""
    images = load(options.history, HistorySettings).images if options.database is None else None
    return None if images is None else images.dir


def _source(options: argparse.Namespace, text: str | None, coil: str | None = None, passage: int | None = None) -> Any:
    """Where a coil is read from: what `text` names, or the history's coil or passage."""
    from linewatch.review.coil_sources import source_of

    with extra("history"):
        if text is None:
            from linewatch.review.from_history import HistorySource

            if coil is None and passage is None:
                raise ConfigError("no coil is named; give its id or --passage, for the history, or a verdict file")
            return HistorySource(_database(options), coil, passage)
        if passage is not None:
            raise ConfigError(f"--passage {passage} is of the history, {text} is not; leave one of them out")
        return source_of(text, lambda: _database(options), coil)


def _stored(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sub.add_argument("--history", type=Path, default=Path("configs/history.toml"), help="of `linewatch history`")
    sub.add_argument("--database", metavar="URL", help="of the history, instead")
    return sub


def _queried(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sub.add_argument("--config", type=Path, default=Path("configs/history.toml"), help="of `linewatch history`")
    sub.add_argument("--json", action="store_true")
    return sub
