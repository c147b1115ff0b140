"""The comparison of two records of one recording as tables."""

from rich.table import Table

from linewatch.review.against_truth import TruthScores
from linewatch.review.comparison import ComparedSide, Comparison
from linewatch.terminal import percent, plain_console, print_pairs


def print_comparison(
    comparison: Comparison, scores: tuple[TruthScores, TruthScores] | None, sources: tuple[str, str]
) -> None:
    """Print what A and B inspected and with which engines, the differences by class, and recall and precision where
    the truth is known.
    """
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
    print_pairs("linewatch compare", rows)
    table = Table(title_justify="left")
    table.add_column("class")
    for column in ("A", "B", "lost", "new", "to other", "from other", "resized"):
        table.add_column(column, justify="right")
    lines = [*comparison.by_class.items(), ("all", total)]
    for number, (name, of) in enumerate(lines, start=1):
        figures = (of.in_a, of.in_b, of.lost, of.new, of.to_other, of.from_other, of.resized)
        table.add_row(name, *(str(figure) for figure in figures), end_section=number == len(lines) - 1)
    plain_console().print(table)
    if scores is not None:
        print_pairs(
            "against the truth, on the strip compared",
            [
                (
                    name,
                    f"recall {of.recall:.1%} ({of.hit} of {of.true}), precision {of.precision:.1%} "
                    f"({of.right} of {of.found}), {of.false_calls_on_pseudo} false calls on pseudo-defects",
                )
                for name, of in zip("AB", scores, strict=True)
            ],
        )


def _side_rows(name: str, side: ComparedSide, source: str) -> list[tuple[str, str]]:
    strips = side.strips[0] if len(side.strips) == 1 else f"{len(side.strips)} strips"
    passed_mm = side.inspected_mm + side.degraded_mm + side.missed_mm
    looked = f"{percent(side.inspected_share)} of the area of {passed_mm / 1000:.1f} m inspected"
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
