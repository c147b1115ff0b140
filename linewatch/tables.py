"""Short tables for people at a terminal."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from linewatch.contracts.alarm import Priority, ShelvingState
from linewatch.contracts.verdict import CoilGrade, GradeReason
from linewatch.daemon.replay import ReplaySummary
from linewatch.inference.backends.tensorrt.plans import Plan
from linewatch.inference.engines import EngineReport
from linewatch.review.against_truth import TruthScores
from linewatch.review.comparison import ComparedSide, Comparison
from linewatch.review.regrade import Regraded
from linewatch.wire.access.allow_list import AllowedKey
from linewatch.wire.schema import AlarmBody, CoilReply, EngineBeside, EngineStatus

_WIDE = 160  # columns of a table that goes to a file


def _pairs(title: str, rows: Sequence[tuple[str, str]]) -> None:
    table = Table(title=title, show_header=False, title_justify="left", box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)


def _grade_rows(grade: CoilGrade | None) -> list[tuple[str, str]]:
    """The grade, and under it why; nothing where there are no rules."""
    if grade is None:
        return []
    reasons = [f"{reason.grade}, {reason.rule}: {reason.text}{_named(reason)}" for reason in grade.reasons]
    return [(f"grade by {grade.rules}", grade.text), *(("", reason) for reason in reasons)]


def _named(reason: GradeReason) -> str:
    ids = reason.defect_ids
    return f" (worst: {ids[0]}{', ...' if len(ids) > 1 else ''})" if ids else ""


def regraded_table(found: Regraded) -> None:
    """A coil's grade now beside the stored one."""
    before = f"{found.before.text} (by {found.before.rules})" if found.before else "none"
    changes = [f"now also {', '.join(found.added)}"] if found.added else []
    changes += [f"no longer {', '.join(found.dropped)}"] if found.dropped else []
    changes += [f"{found.changed_severities} defects have another severity"] if found.changed_severities else []
    _pairs(
        f"{found.coil}, {found.side}, {found.camera}" + ("" if found.ended else ": its end is not known"),
        [
            ("stored grade", before),
            *_grade_rows(found.now),
            ("changed", "; ".join(["the grade" if found.changed else "not the grade", *changes])),
        ],
    )


def _summary_rows(summary: ReplaySummary, pace: str = "") -> list[tuple[str, str]]:
    counted = ", ".join(f"{name} {count}" for name, count in summary.defects_by_class.items()) or "none"
    missed = ", ".join(f"{cause} {lines} lines" for cause, lines in summary.lines_missed_by_cause.items())
    return [
        ("coil", summary.coil),
        ("length", f"{summary.metres:.1f} m in {summary.frames} frames"),
        ("coverage", f"{summary.coverage:.2%}" + (f"  (not inspected: {missed})" if missed else "")),
        ("defects by class", counted),
        ("of these tentative", f"{summary.defects_tentative}: told, but they neither grade nor alarm"),
        ("roll marks", str(summary.roll_marks)),
        *_grade_rows(summary.grade),
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


def demo_table(summary: ReplaySummary, judgement: TruthScores, out: Path) -> None:
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


def keys_table(keys: Sequence[AllowedKey]) -> None:
    """Whose keys may connect, or why not."""
    table = Table(title_justify="left")
    for column in ("name", "role", "public key", "fault"):
        table.add_column(column, overflow="fold")
    for key in keys:
        public = key.public.decode() if key.public else ""
        table.add_row(key.name, None if key.fault else key.role, Text(public), Text(key.fault or ""))
    Console().print(table)


def alarms_table(standing: Sequence[AlarmBody], held_back: Sequence[AlarmBody]) -> None:
    """Alarms that ask for an operator, most urgent first; then what is held back, and why."""
    table = Table(title="alarms", title_justify="left")
    for column in ("priority", "state", "coil", "at m", "what", "id"):
        table.add_column(column, overflow="fold")
    rows = sorted(standing, key=lambda alarm: -list(Priority).index(alarm.priority))
    for alarm in [*rows, *held_back]:
        where = f"{alarm.along_mm / 1000:.2f}" if alarm.coil else ""
        table.add_row(alarm.priority, alarm_state(alarm), alarm.coil, where, alarm.text, alarm.id)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
    else:
        Console().print("no alarms")


def alarm_state(alarm: AlarmBody) -> str:
    """An alarm's state in an operator's words."""
    if alarm.shelving_state is ShelvingState.TIMED_SHELVED and alarm.shelved_until_unix_ns is not None:
        until = datetime.fromtimestamp(alarm.shelved_until_unix_ns / 1e9).astimezone()
        return f"shelved until {until:%H:%M}"
    if alarm.shelving_state is ShelvingState.ONE_SHOT_SHELVED:
        return "shelved until it is over"
    if alarm.suppressed_state:
        return "suppressed"
    if not alarm.active_state:
        return "over"
    return "acknowledged" if alarm.acked_state else "to acknowledge"


def coil_table(reply: CoilReply) -> None:
    """How the coil under the camera is inspected; above it, what was answered of another's data."""
    if reply.token is not None:
        taken = f"recipe {reply.recipe}" if reply.recipe else "the default"
        Console().print(
            "; ".join((f"taken (token {reply.token})", taken, *reply.notes))
            if reply.notes or reply.recipe
            else f"taken (token {reply.token})"
        )
    now = reply.now
    data = now.data.model_dump(exclude_none=True, exclude={"coil"}) if now.data else {}
    between = ", between two coils: alarms are suppressed" if now.between_coils else ""
    rows = [
        ("coil", (now.coil or "none yet") + between),
        ("recipe", now.recipe or "default"),
        ("data", ", ".join(f"{name} {value}" for name, value in data.items()) or "none"),
        *(("note", note) for note in now.notes),
        ("coils known", str(now.known)),
    ]
    _pairs("Under the camera", [*rows, ("trouble", now.trouble)] if now.trouble else rows)


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
    comparison: Comparison, judgements: tuple[TruthScores, TruthScores] | None, sources: tuple[str, str]
) -> None:
    """What both looked at and by what, what was compared, the account by class, and the truth where it is known."""
    rows = [
        row
        for name, side, source in zip("AB", (comparison.a, comparison.b), sources, strict=True)
        for row in _side_rows(name, side, source)
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


def _side_rows(name: str, side: ComparedSide, source: str) -> list[tuple[str, str]]:
    strips = side.strips[0] if len(side.strips) == 1 else f"{len(side.strips)} strips"
    passed_mm = side.inspected_mm + side.degraded_mm + side.missed_mm
    looked = f"{side.inspected_mm / max(passed_mm, 1e-9):.2%} of {passed_mm / 1000:.1f} m inspected"
    if side.degraded_mm or side.missed_mm:
        looked += f", {side.degraded_mm / 1000:.1f} m degraded, {side.missed_mm / 1000:.1f} m missed"
    rows = [(name, source), ("", f"{strips}: {side.defects} defects, {looked}")]
    rows += [("", f"the end of {strip} is not known") for strip in side.unfinished]
    for task, served in side.engines.items():
        if task in side.mixed:
            parts = ", ".join(f"{identity} on {mm / 1000:.1f} m" for identity, mm in sorted(served.items()))
            rows.append(("", f"{task}: A MIX of {len(served)} engines: {parts}"))
        else:
            rows.extend(("", identity) for identity in served)
    return rows


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
