"""How often the cascade calls a defect where none is, against how many it finds.

``python -m experiments.false_calls look --data "$LINEWATCH_DATA"`` lets the cascades of `fold_engines` and the
shipped one look at strip that is new to them and writes what they found; ``judge`` chooses operating points on what
was found outside the judged fold (`linewatch.evaluation.operating_point`) and gives the figures at each, with exact
intervals; ``judge --ship`` writes `quiet` into the classifiers' manifests. What finds nothing calls nothing: read a
fold's false calls beside its recall.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from experiments.fold_engines import TRAINED_FOLDS, fold_folder
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.datasets import read_set
from linewatch.datasets.splits import HELD_OUT_FOLD
from linewatch.evaluation.findings import Looked, Looker, clean_frames, hosts_of
from linewatch.evaluation.inspector import Inspector
from linewatch.evaluation.operating_point import Judged, Limits, choose
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.engines import MANIFEST, EngineSet, load_engine, load_engines
from linewatch.metrics.plots import OperatingCurve, operating_curves
from linewatch.service_settings import ServiceSettings

OUT = Path("out/false_calls")
CHOOSING_SEEDS, JUDGING_SEEDS = range(20_000, 20_032), range(30_000, 30_128)
"""Of rendered strip; no training has seen either."""
SIMULATED_FRAMES, DEFECT_SEEDS, DEFECTS_PER_M = 40, 16, 1.5
CHOOSING_FOLDS = (2, 3)
"""Operating points are chosen on these, on each of them without it; the others judge only."""
COMPOSED_FRAMES = 1000
PARTS = 16
"""The rendered strip is looked at in so many parts."""
BUDGETS = (math.inf, 3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 1.0)
"""False instances per 1,000 m2 and class for which operating points are chosen; first `full`, last `quiet`."""
CLEAN, DEFECTIVE = ("severstal", "composed", "simulated"), ("severstal", "patches", "simulated defects")
LOOKED = TypeAdapter(list[Looked])


def look_at_fold(data: Path, folds: Path, composed: int, fold: int) -> list[Looked]:
    """Real strip, patches and composed strip of a fold, by engines that have not seen it."""
    looker = _looker(_engines(folds, fold), fold)
    strip = [one for one in read_set("severstal", data) if one.fold == fold]
    patches = [one for name in ("neu", "xsdd") for one in read_set(name, data) if one.fold == fold]
    clean = clean_frames(strip)
    return [looker.strip(strip), looker.patches(patches, hosts_of(clean)), looker.composed(clean, composed, seed=7)]


def look_at_simulated(part: int) -> list[Looked]:
    """One of `PARTS` of the rendered strip, with defects and without, by the shipped engines as a service runs them."""
    found = []
    for seeds in (CHOOSING_SEEDS, JUDGING_SEEDS):
        looker = _looker(load_engines(ServiceSettings().inference, OnnxRuntimeBackend().siblings), None)
        clean, defective = list(seeds)[part::PARTS], list(seeds)[:DEFECT_SEEDS][part::PARTS]
        found.append(looker.simulated(clean, SIMULATED_FRAMES, 0.0))
        found.append(looker.simulated(defective, SIMULATED_FRAMES, DEFECTS_PER_M))
    return found


def _looker(engines: EngineSet, fold: int | None) -> Looker:
    """At the operating point `full`, of which every other one keeps a part."""
    settings = ServiceSettings()
    settings = settings.model_copy(
        update={"decision": settings.decision.model_copy(update={"operating_point": "full"})}
    )
    inspector = Inspector(engines, settings, OnnxRuntimeBackend())
    return Looker(inspector, settings.line, Taxonomy.read(), fold)


def _engines(folds: Path, fold: int) -> EngineSet:
    if fold == HELD_OUT_FOLD:
        return load_engines(ServiceSettings().inference.model_copy(update={"precision": "fp32"}))
    return EngineSet(*(load_engine(fold_folder(folds, fold), task.value, task) for task in Task))


def look(data: Path, folds: Path, out: Path, composed: int, processes: int) -> None:
    """Writes what is found into `out/looked/`, a file for each fold and for each part of the rendered strip; those that
    are there are kept. A fold without engines in `folds` is left out.
    """
    unseen = [fold for fold in TRAINED_FOLDS if fold_folder(folds, fold).is_dir()]
    jobs = {f"fold-{fold}": partial(look_at_fold, data, folds, composed, fold) for fold in (*unseen, HELD_OUT_FOLD)}
    jobs |= {f"simulated-{part:02d}": partial(look_at_simulated, part) for part in range(PARTS)}
    folder = out / "looked"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(job): name for name, job in jobs.items() if not (folder / f"{name}.json").is_file()}
        for done in as_completed(waiting):
            (folder / f"{waiting[done]}.json").write_bytes(LOOKED.dump_json(done.result()))
            print(waiting[done], flush=True)  # noqa: T201


def read_looked(out: Path) -> list[Looked]:
    """What `look` wrote. `ConfigError` where nothing was."""
    files = sorted((out / "looked").glob("*.json"))
    if not files:
        raise ConfigError(f"{out}: nothing was looked at; run `python -m experiments.false_calls look` first")
    return [one for file in files for one in LOOKED.validate_json(file.read_bytes())]


def for_choosing(looked: Sequence[Looked], *, without: int | None = None) -> list[Looked]:
    """What an operating point may be chosen on: the folds and the seeds for it, less one fold."""
    seeds = {str(seed) for seed in CHOOSING_SEEDS}
    return [
        one
        for one in looked
        if (one.fold in CHOOSING_FOLDS and one.fold != without) or (one.fold is None and set(one.frames) <= seeds)
    ]


def judged(looked: Sequence[Looked], classes: Sequence[str], budget: float, mm2_per_px: float) -> Judged:
    """Every fold at limits that were chosen without it."""
    shipped = choose(for_choosing(looked), classes, budget, mm2_per_px)
    limits_of: dict[int | None, Limits] = {
        fold: choose(for_choosing(looked, without=fold), classes, budget, mm2_per_px) for fold in CHOOSING_FOLDS
    }
    chosen_on = {id(one) for one in for_choosing(looked) if one.fold is None}
    parts = [(one, limits_of.get(one.fold, shipped)) for one in looked if id(one) not in chosen_on]
    return Judged(parts, mm2_per_px)


def ship(limits: Limits, engines: Path) -> list[str]:
    """Writes the limits into the manifests of the shipped classifier and its INT8 siblings; gives their names."""
    written = []
    for path in sorted(engines.glob(f"*/{MANIFEST}")):
        manifest = EngineManifest.model_validate_json(path.read_bytes())
        source = manifest.quantisation.source if manifest.quantisation else manifest.name
        if source == Task.CLASSIFY.value:
            manifest = manifest.model_copy(update={"call_limits": dict(limits)})
            path.write_text(manifest.model_dump_json(indent=2, exclude_none=True) + "\n")
            written.append(manifest.name)
    return written


def report(out: Path, engines: Path, picture: Path | None, *, shipping: bool) -> None:
    """Prints and writes (`out/false_calls.json`) the figures of every operating point."""
    looked, line = read_looked(out), ServiceSettings().line
    classes = load_engine(engines, Task.CLASSIFY.value, Task.CLASSIFY).manifest.classes
    mm2_per_px = line.mm_per_px * line.mm_per_line
    points = [judged(looked, classes, budget, mm2_per_px) for budget in BUDGETS]
    say = Console(width=150).print
    say(_points_table(points))
    full, quiet = points[0], points[-1]
    say(_folds_table(full, quiet))
    for source in CLEAN:
        say(_rates_table(source, full, quiet))
    for source in DEFECTIVE:
        say(_recall_table(source, full, quiet))
    limits = choose(for_choosing(looked), classes, BUDGETS[-1], mm2_per_px)
    say(_limits_table(limits))
    (out / "false_calls.json").write_text(json.dumps([_figures(*pair) for pair in zip(BUDGETS, points, strict=True)]))
    if picture:
        _draw(points, picture)
    if shipping:
        say("call_limits written for", ", ".join(ship(limits, engines)))


def _points_table(points: Sequence[Judged]) -> Table:
    table = Table(title="false instances per 1,000 m2 of clean strip, and true pieces found", title_justify="left")
    for head in ("chosen for, a class", *CLEAN, *(f"found: {source}" for source in DEFECTIVE)):
        table.add_column(head)
    for budget, point in zip(BUDGETS, points, strict=True):
        rates = [str(point.false_calls(source)["all"]) for source in CLEAN]
        table.add_row(f"{budget:g}", *rates, *(str(point.recall(source)["all"]) for source in DEFECTIVE))
    return table


def _folds_table(full: Judged, quiet: Judged) -> Table:
    table = Table(title="by fold: false instances per 1,000 m2, and true pieces found", title_justify="left")
    for head in ("fold", "point", "clean frames", "those with a right label", "composed", "found: severstal"):
        table.add_column(head)
    for fold in sorted({one.fold for one, _ in quiet.parts if one.fold is not None}):
        for name, point in (("full", full), ("quiet", quiet)):
            part = replace(point, parts=[pair for pair in point.parts if pair[0].fold == fold])
            rates = (
                part.false_calls("severstal"),
                part.false_calls("severstal", mislabelled=False),
                part.false_calls("composed"),
            )
            table.add_row(str(fold), name, *(str(rate["all"]) for rate in rates), str(part.recall("severstal")["all"]))
    return table


def _rates_table(source: str, full: Judged, quiet: Judged) -> Table:
    table = Table(title=f"false instances per 1,000 m2, {source}", title_justify="left")
    for head in ("class", "full", "quiet", "quiet, without the frame whose label is wrong"):
        table.add_column(head)
    wide, narrow, right = (
        full.false_calls(source),
        quiet.false_calls(source),
        quiet.false_calls(source, mislabelled=False),
    )
    for name, rate in wide.items():
        table.add_row(name, str(rate), *(str(of.get(name, replace(of["all"], count=0))) for of in (narrow, right)))
    return table


def _recall_table(source: str, full: Judged, quiet: Judged) -> Table:
    table = Table(title=f"true pieces found, {source}", title_justify="left")
    for head in ("class", "full", "quiet"):
        table.add_column(head)
    narrow = quiet.recall(source)
    for name, share in full.recall(source).items():
        table.add_row(name, str(share), str(narrow[name]))
    return table


def _limits_table(limits: Limits) -> Table:
    table = Table(title="quiet: what a defect must reach", title_justify="left")
    for head in ("class", "confidence", "peak", "area, px"):
        table.add_column(head)
    for name, limit in limits.items():
        table.add_row(name, f"{limit.confidence:g}", f"{limit.peak:g}", str(limit.area_px))
    return table


def _figures(budget: float, point: Judged) -> dict[str, object]:
    return {
        "budget_per_1000_m2": budget if math.isfinite(budget) else None,
        "false": {
            source: {name: (one.count, one.area_m2, one.interval) for name, one in point.false_calls(source).items()}
            for source in CLEAN
        },
        "found": {
            source: {name: (one.hits, one.count, one.interval) for name, one in point.recall(source).items()}
            for source in DEFECTIVE
        },
    }


def _draw(points: Sequence[Judged], picture: Path) -> None:
    def curve(name: str, clean: str, defective: str) -> OperatingCurve:
        rates = [point.false_calls(clean)["all"] for point in points]
        shares = [point.recall(defective)["all"] for point in points]
        return OperatingCurve(
            name, [(rate.per_1000_m2, rate.interval[1], one.value) for rate, one in zip(rates, shares, strict=True)]
        )

    curves = [
        curve("Severstal's defects; clean strip composed of its clean frames (k-fold)", "composed", "severstal"),
        curve("NEU and X-SDD patches on strip; the same clean strip (k-fold)", "composed", "patches"),
        curve("rendered strip", "simulated", "simulated defects"),
    ]
    operating_curves(picture, curves, {"full": 0, "quiet": len(points) - 1}, aim=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parts = parser.add_subparsers(required=True, dest="part")
    looking = parts.add_parser("look", help="let the engines look; half an hour of one core")
    looking.add_argument("--data", type=Path, required=True)
    looking.add_argument("--folds", type=Path, default=Path("runs/folds/engines"), help="what fold_engines wrote")
    looking.add_argument("--composed", type=int, default=COMPOSED_FRAMES, help="frames of each fold")
    looking.add_argument("--processes", type=int, default=1)
    judging = parts.add_parser("judge", help="choose operating points, judge them, draw the curve")
    judging.add_argument("--engines", type=Path, default=Path("engines"))
    judging.add_argument("--picture", type=Path, metavar="FILE.png")
    judging.add_argument("--ship", action="store_true", help="write `quiet` into the classifiers' manifests")
    options = parser.parse_args()
    if options.part == "look":
        look(options.data, options.folds, options.out, options.composed, options.processes)
    else:
        report(options.out, options.engines, options.picture, shipping=options.ship)


if __name__ == "__main__":
    main()
