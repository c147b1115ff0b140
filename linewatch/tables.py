"""Short tables for people at a terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from linewatch.daemon.replay import ReplaySummary
from linewatch.history.comparison import Comparison, Side
from linewatch.history.judge import Judgement
from linewatch.inference.engines import EngineReport
from linewatch.inference.tensorrt.plans import Plan
from linewatch.wire.schema import EngineBeside, EngineStatus


def _pairs(title: str, rows: Sequence[tuple[str, str]]) -> None:
    table = Table(title=title, show_header=False, title_justify="left", box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)


def _summary_rows(summary: ReplaySummary, pace: str = "") -> list[tuple[str, str]]:
    counted = ", ".join(f"{name} {count}" for name, count in summary.defects_by_class.items()) or "none"
    missed = ", ".join(f"{cause} {lines} lines" for cause, lines in summary.lines_missed_by_cause.items())
    return [
        ("coil", summary.coil),
        ("length", f"{summary.metres:.1f} m in {summary.frames} frames"),
        ("coverage", f"{summary.coverage:.2%}" + (f"  (not inspected: {missed})" if missed else "")),
        ("defects by class", counted),
        ("alarms raised", str(summary.alarms)),
        ("tiles", f"{summary.tiles} on the strip, {summary.tiles_passed} passed the screen"),
        ("speed", f"{summary.frames_per_s:.1f} frames/s{pace}"),
        (
            "latency",
            f"p50 {summary.latency_p50_ms:.0f} ms, p99 {summary.latency_p99_ms:.0f} ms, last line to publication",
        ),
    ]


def summary_table(summary: ReplaySummary) -> None:
    """What came of a replay."""
    _pairs("replay", _summary_rows(summary))


def demo_table(summary: ReplaySummary, judgement: Judgement, out: Path) -> None:
    """What came of the demo, against the rendered truth, and where everything lies."""
    by_class = ", ".join(f"{name} {hit}/{true}" for name, (hit, true) in judgement.hit_by_class.items())
    _pairs(
        "linewatch demo",
        [
            *_summary_rows(summary, ", the line's own pace: threading, running, tailing out"),
            (
                "instance recall",
                f"{judgement.recall:.1%}  ({judgement.hit} of {judgement.true} rendered defects: {by_class})",
            ),
            (
                "instance precision",
                f"{judgement.precision:.1%}  ({judgement.right} of {judgement.found} found are right)",
            ),
            ("verdicts", str(out / "verdicts.jsonl")),
            ("picture", f"{out / 'coil.png'}  (white: rendered truth, coloured: found)"),
            ("recording, truth", f"{out / 'coil.avi'}, {out / 'truth.json'}"),
        ],
    )


def lineup_table(engines: Sequence[EngineStatus], beside: EngineBeside | None) -> None:
    """The engines of a running service, and the one that is tried beside them."""
    rows = [(engine.role, engine.identity) for engine in engines]
    if beside is not None:
        rows.append(("beside them", f"{beside.name}: {beside.text or beside.identity or ''} ({beside.state})"))
    if beside is not None and beside.tiles:
        rows.append(
            (
                "compared",
                f"{beside.agreed} of {beside.tiles} tiles alike ({beside.agreed / beside.tiles:.1%}); called by the "
                f"running engine alone {beside.running_only}, by {beside.name} alone {beside.shadow_only}",
            )
        )
    _pairs("engines", rows)


def engines_table(reports: Sequence[EngineReport]) -> None:
    """Every engine of a folder, and whether it can be trusted."""
    table = Table(title="engines", title_justify="left")
    for column in ("name", "task", "input", "precision", "MB", "threshold", "verified"):
        table.add_column(column)
    for report in reports:
        manifest = report.manifest
        if manifest is None:
            table.add_row(report.name, *["?"] * 5, report.fault or "")
            continue
        table.add_row(
            report.name,
            manifest.task,
            f"{manifest.input.lines} x {manifest.input.width}",
            manifest.precision,
            f"{report.model_bytes / 1e6:.1f}",
            ", ".join(f"{name} {value:.2f}" for name, value in list(manifest.thresholds.items())[:3])
            + (" ..." if len(manifest.thresholds) > 3 else ""),
            report.fault or f"sha256 {manifest.model.sha256[:12]}",
        )
    Console().print(table)


def plan_table(plan: Plan) -> None:
    """A TensorRT plan: where it lies, for what, and in which precision its layers compute."""
    key, precisions = plan.record.key, plan.record.precisions
    gpu = f"{key.gpu}, compute capability {key.compute_capability}, driver {key.driver}"
    _pairs(
        f"plan of {key.engine}",
        [
            ("path", str(plan.path)),
            ("size", f"{len(plan.data) / 1e6:.1f} MB"),
            ("built", f"in {plan.record.built_in_s:.1f} s" + (", before; it is up to date" if plan.was_ready else "")),
            ("precision", f"{key.precision}, {key.rows} rows a run"),
            ("convolutions, products", _counted(precisions.products)),
            ("other layers", _counted(precisions.others)),
            ("TensorRT", f"{key.library} {key.library_version}"),
            ("GPU", gpu if key.gpu else "none: this shows that it builds; a GPU host builds its own when it starts"),
        ],
    )


def comparison_table(
    comparison: Comparison, judgements: tuple[Judgement, Judgement] | None, paths: tuple[Path, Path]
) -> None:
    """What both looked at and by what, what was compared, the account by class, and the truth where it is known."""
    rows = [
        row
        for name, side, path in zip("AB", (comparison.a, comparison.b), paths, strict=True)
        for row in _side_rows(name, side, path)
    ]
    rows.append(("compared", f"{comparison.compared_mm / 1000:.1f} m that both inspected"))
    if comparison.only_a_mm or comparison.only_b_mm or comparison.a.left_out or comparison.b.left_out:
        rows.append(
            (
                "left out",
                f"{comparison.only_a_mm / 1000:.1f} m that only A inspected, {comparison.only_b_mm / 1000:.1f} m that "
                f"only B did; {comparison.a.left_out} defects of A, {comparison.b.left_out} of B lie mostly elsewhere",
            )
        )
    total = comparison.total
    rows.append(
        (
            "matched",
            f"{comparison.matched} defects; {comparison.split} of them in more pieces in B, "
            f"{comparison.merged} in fewer",
        )
    )
    rows.append(
        (
            "of A's",
            f"lost {comparison.share(total.lost):.2%}, reclassified {comparison.share(total.to_other):.2%}; "
            f"new {comparison.share(total.new):.2%}",
        )
    )
    _pairs("linewatch compare", rows)
    table = Table(title_justify="left")
    table.add_column("class")
    for column in ("A", "B", "lost", "new", "to other", "from other", "resized"):
        table.add_column(column, justify="right")
    lines = [*comparison.by_class.items(), ("all", total)]
    for number, (name, of) in enumerate(lines, start=1):
        figures = (of.in_a, of.in_b, of.lost, of.new, of.to_other, of.from_other, of.resized)
        table.add_row(name, *(str(figure) for figure in figures), end_section=number == len(lines) - 1)
    Console().print(table)
    if judgements is not None:
        _pairs(
            "against the truth, on the strip compared",
            [
                (
                    name,
                    f"recall {of.recall:.1%} ({of.hit} of {of.true}), precision {of.precision:.1%} "
                    f"({of.right} of {of.found}), {of.false_calls_on_pseudo} false calls on pseudo-defects",
                )
                for name, of in zip("AB", judgements, strict=True)
            ],
        )


def _side_rows(name: str, side: Side, path: Path) -> list[tuple[str, str]]:
    strips = side.strips[0] if len(side.strips) == 1 else f"{len(side.strips)} strips"
    passed_mm = side.inspected_mm + side.degraded_mm + side.missed_mm
    looked = f"{side.inspected_mm / max(passed_mm, 1e-9):.2%} of {passed_mm / 1000:.1f} m inspected"
    if side.degraded_mm or side.missed_mm:
        looked += f", {side.degraded_mm / 1000:.1f} m degraded, {side.missed_mm / 1000:.1f} m missed"
    rows = [(name, str(path)), ("", f"{strips}: {side.defects} defects, {looked}")]
    for task, served in side.engines.items():
        if task in side.mixed:
            parts = ", ".join(f"{identity} on {mm / 1000:.1f} m" for identity, mm in sorted(served.items()))
            rows.append(("", f"{task}: A MIX of {len(served)} engines: {parts}"))
        else:
            rows.extend(("", identity) for identity in served)
    return rows


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
