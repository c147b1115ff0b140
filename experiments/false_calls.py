"""False calls of the cascade on clean strip against its recall, over folds.

``python -m experiments.false_calls inspect --data "$LINEWATCH_DATA"`` runs the cascades of `fold_engines` and the
shipped one on strip that is new to them and writes their findings; ``evaluate`` chooses operating points on findings
outside the evaluated fold (`experiments.operating_point`) and prints the metrics at each, with exact intervals;
``evaluate --ship`` writes `quiet` into the classifiers' manifests. A cascade that finds nothing has no false calls:
read a fold's false calls beside its recall.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from experiments.findings import Findings, FindingsCollector, clean_frames, hosts_of
from experiments.fold_engines import TRAINED_FOLDS, fold_folder
from experiments.inspector import Inspector
from experiments.operating_point import CascadeMetrics, Limits, choose
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import CASCADE, MANIFEST, EngineManifest, Task
from linewatch.datasets import read_set
from linewatch.datasets.splits import HELD_OUT_FOLD
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.engines import EngineSet, load_engine, load_engines
from linewatch.metrics.plots import OperatingCurve, operating_curves
from linewatch.service_settings import ServiceSettings

OUT = Path("out/false_calls")
CHOOSING_SEEDS, JUDGING_SEEDS = range(20_000, 20_032), range(30_000, 30_128)
"""Seeds of rendered strip that no training has used."""
SIMULATED_FRAMES, DEFECT_SEEDS, DEFECTS_PER_M = 40, 16, 1.5
CHOOSING_FOLDS = (2, 3)
"""Operating points are chosen on these folds, for each of them without it; the other folds only evaluate."""
COMPOSED_FRAMES = 1000
PARTS = 16
"""The rendered strip is inspected in this many parts."""
BUDGETS = (math.inf, 3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 1.0)
"""False instances per 1,000 m2 and class for which operating points are chosen; first `full`, last `quiet`."""
CLEAN, DEFECTIVE = ("severstal", "composed", "simulated"), ("severstal", "patches", "simulated defects")
FINDINGS = TypeAdapter(list[Findings])


def inspect_fold(data: Path, folds: Path, composed: int, fold: int) -> list[Findings]:
    """Inspect real strip, patches and composed strip of a fold by engines that have not seen it."""
    collector = _collector(_engines(folds, fold), fold)
    strip = [one for one in read_set("severstal", data) if one.fold == fold]
    patches = [one for name in ("neu", "xsdd") for one in read_set(name, data) if one.fold == fold]
    clean = clean_frames(strip)
    return [
        collector.strip(strip),
        collector.patches(patches, hosts_of(clean)),
        collector.composed(clean, composed, seed=7),
    ]


def inspect_simulated(part: int) -> list[Findings]:
    """Inspect a part of the rendered strip, with defects and without, by the shipped engines as a service runs them."""
    found = []
    for seeds in (CHOOSING_SEEDS, JUDGING_SEEDS):
        collector = _collector(load_engines(ServiceSettings().inference, OnnxRuntimeBackend().siblings), None)
        clean, defective = list(seeds)[part::PARTS], list(seeds)[:DEFECT_SEEDS][part::PARTS]
        found.append(collector.simulated(clean, SIMULATED_FRAMES, 0.0))
        found.append(collector.simulated(defective, SIMULATED_FRAMES, DEFECTS_PER_M))
    return found


def _collector(engines: EngineSet, fold: int | None) -> FindingsCollector:
    """Return a collector at the operating point `full`; all others keep a part of its findings."""
    settings = ServiceSettings()
    settings = settings.model_copy(
        update={"decision": settings.decision.model_copy(update={"operating_point": "full"})}
    )
    inspector = Inspector(engines, settings, OnnxRuntimeBackend())
    return FindingsCollector(inspector, settings.line, Taxonomy.read(), fold)


def _engines(folds: Path, fold: int) -> EngineSet:
    if fold == HELD_OUT_FOLD:
        return load_engines(ServiceSettings().inference.model_copy(update={"precision": "fp32"}))
    return EngineSet(*(load_engine(fold_folder(folds, fold), task.value, task) for task in CASCADE))


def inspect(data: Path, folds: Path, out: Path, composed: int, processes: int) -> None:
    """Write the findings into `out/findings/`, a file for each fold and each part of the rendered strip.

    Existing files are kept. A fold without engines in `folds` is left out.
    """
    unseen = [fold for fold in TRAINED_FOLDS if fold_folder(folds, fold).is_dir()]
    jobs = {f"fold-{fold}": partial(inspect_fold, data, folds, composed, fold) for fold in (*unseen, HELD_OUT_FOLD)}
    jobs |= {f"simulated-{part:02d}": partial(inspect_simulated, part) for part in range(PARTS)}
    folder = out / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(job): name for name, job in jobs.items() if not (folder / f"{name}.json").is_file()}
        for done in as_completed(waiting):
            (folder / f"{waiting[done]}.json").write_bytes(FINDINGS.dump_json(done.result()))
            print(waiting[done], flush=True)


def read_findings(out: Path) -> list[Findings]:
    """Return the findings that `inspect` wrote; `ConfigError` if there are none."""
    files = sorted((out / "findings").glob("*.json"))
    if not files:
        raise ConfigError(f"{out}: holds no findings; run `python -m experiments.false_calls inspect` first")
    return [one for file in files for one in FINDINGS.validate_json(file.read_bytes())]


def for_choosing(findings: Sequence[Findings], *, without: int | None = None) -> list[Findings]:
    """Return the findings that an operating point may be chosen on, without those of one fold."""
    seeds = {str(seed) for seed in CHOOSING_SEEDS}
    return [
        one
        for one in findings
        if (one.fold in CHOOSING_FOLDS and one.fold != without) or (one.fold is None and set(one.frames) <= seeds)
    ]


def evaluated(findings: Sequence[Findings], classes: Sequence[str], budget: float, mm2_per_px: float) -> CascadeMetrics:
    """Return the metrics of every fold at limits that were chosen without it."""
    shipped = choose(for_choosing(findings), classes, budget, mm2_per_px)
    limits_of: dict[int | None, Limits] = {
        fold: choose(for_choosing(findings, without=fold), classes, budget, mm2_per_px) for fold in CHOOSING_FOLDS
    }
    chosen_on = {id(one) for one in for_choosing(findings) if one.fold is None}
    parts = [(one, limits_of.get(one.fold, shipped)) for one in findings if id(one) not in chosen_on]
    return CascadeMetrics(parts, mm2_per_px)


def ship(limits: Limits, engines: Path) -> list[str]:
    """Write the limits into the manifests of the shipped classifier and its INT8 engines; return their names."""
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
    """Print the metrics of every operating point, and write them to `out/false_calls.json`."""
    findings, line = read_findings(out), ServiceSettings().line
    classes = load_engine(engines, Task.CLASSIFY.value, Task.CLASSIFY).manifest.classes
    mm2_per_px = line.mm_per_px * line.mm_per_line
    points = [evaluated(findings, classes, budget, mm2_per_px) for budget in BUDGETS]
    say = Console(width=150).print
    say(_points_table(points))
    full, quiet = points[0], points[-1]
    say(_folds_table(full, quiet))
    for source in CLEAN:
        say(_rates_table(source, full, quiet))
    for source in DEFECTIVE:
        say(_recall_table(source, full, quiet))
    limits = choose(for_choosing(findings), classes, BUDGETS[-1], mm2_per_px)
    say(_limits_table(limits))
    (out / "false_calls.json").write_text(json.dumps([_metrics(*pair) for pair in zip(BUDGETS, points, strict=True)]))
    if picture:
        _draw(points, picture)
    if shipping:
        say("call_limits written for", ", ".join(ship(limits, engines)))


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _points_table(points: Sequence[CascadeMetrics]) -> Table:
    return _table(
        "false instances per 1,000 m2 of clean strip, and true pieces found",
        ("chosen for, a class", *CLEAN, *(f"found: {source}" for source in DEFECTIVE)),
        (
            (
                f"{budget:g}",
                *(point.false_calls(source)["all"] for source in CLEAN),
                *(point.recall(source)["all"] for source in DEFECTIVE),
            )
            for budget, point in zip(BUDGETS, points, strict=True)
        ),
    )


def _folds_table(full: CascadeMetrics, quiet: CascadeMetrics) -> Table:
    rows = []
    for fold in sorted({one.fold for one, _ in quiet.parts if one.fold is not None}):
        for name, point in (("full", full), ("quiet", quiet)):
            part = replace(point, parts=[pair for pair in point.parts if pair[0].fold == fold])
            rates = (
                part.false_calls("severstal"),
                part.false_calls("severstal", mislabelled=False),
                part.false_calls("composed"),
            )
            rows.append((fold, name, *(rate["all"] for rate in rates), part.recall("severstal")["all"]))
    heads = ("fold", "point", "clean frames", "those with a right label", "composed", "found: severstal")
    return _table("by fold: false instances per 1,000 m2, and true pieces found", heads, rows)


def _rates_table(source: str, full: CascadeMetrics, quiet: CascadeMetrics) -> Table:
    narrow, right = quiet.false_calls(source), quiet.false_calls(source, mislabelled=False)
    return _table(
        f"false instances per 1,000 m2, {source}",
        ("class", "full", "quiet", "quiet, without the frame whose label is wrong"),
        (
            (name, rate, *(of.get(name, replace(of["all"], count=0)) for of in (narrow, right)))
            for name, rate in full.false_calls(source).items()
        ),
    )


def _recall_table(source: str, full: CascadeMetrics, quiet: CascadeMetrics) -> Table:
    narrow = quiet.recall(source)
    rows = ((name, share, narrow[name]) for name, share in full.recall(source).items())
    return _table(f"true pieces found, {source}", ("class", "full", "quiet"), rows)


def _limits_table(limits: Limits) -> Table:
    rows = ((name, f"{one.confidence:g}", f"{one.peak:g}", one.area_px) for name, one in limits.items())
    return _table("quiet: what a defect must reach", ("class", "confidence", "peak", "area, px"), rows)


def _metrics(budget: float, point: CascadeMetrics) -> dict[str, object]:
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


def _draw(points: Sequence[CascadeMetrics], picture: Path) -> None:
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
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parts = parser.add_subparsers(required=True, dest="part")
    inspecting = parts.add_parser("inspect", help="run the engines; half an hour of one core")
    inspecting.add_argument("--data", type=Path, required=True)
    inspecting.add_argument(
        "--folds", type=Path, default=Path("runs/folds/engines"), help="the engines that fold_engines wrote"
    )
    inspecting.add_argument("--composed", type=int, default=COMPOSED_FRAMES, help="frames of each fold")
    inspecting.add_argument("--processes", type=int, default=1)
    evaluating = parts.add_parser("evaluate", help="choose and evaluate operating points, draw the curve")
    evaluating.add_argument("--engines", type=Path, default=Path("engines"))
    evaluating.add_argument("--picture", type=Path, metavar="FILE.png")
    evaluating.add_argument("--ship", action="store_true", help="write `quiet` into the classifiers' manifests")
    options = parser.parse_args()
    if options.part == "inspect":
        inspect(options.data, options.folds, options.out, options.composed, options.processes)
    else:
        report(options.out, options.engines, options.picture, shipping=options.ship)


if __name__ == "__main__":
    main()
