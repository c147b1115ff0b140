"""The figures of a judgement as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from linewatch.evaluation.judging.figures import BANDS, PASS_RATES, PRECISIONS, Figures


def tables_of(figures: Figures) -> Iterator[Table]:
    """Yield the tables: all frames, by class, by size."""
    yield _overall(figures)
    counts = figures.counts
    classes = sorted({name.split(".")[2] for name in counts if ".by_class." in name})
    yield _divided(figures, "by_class", "class", {name: name.replace("_", " ") for name in classes})
    yield _divided(figures, "by_size", "size", {band: f"{band.replace('_', ' ')} mm²" for band in BANDS})


def _overall(figures: Figures) -> Table:
    counts, told = figures.counts, figures.told
    table = Table(
        title=f"{counts['frames']:.0f} frames in {counts['groups']:.0f} groups, {counts['clean_frames']:.0f} of them "
        f"clean; {counts['pieces']:.0f} true pieces",
        title_justify="left",
    )
    table.add_column("figure (95 % interval over groups)")
    table.add_column("told", justify="right")
    table.add_column("called", justify="right")

    def row(title: str, name: str, digits: int = 3) -> None:
        table.add_row(title, told(f"told.{name}", digits), told(f"called.{name}", digits))

    def both(title: str, text: str) -> None:
        table.add_row(title, text, "")

    table.add_row("instances", *_each(counts, "instances"))
    table.add_row("of them on a true piece", *_each(counts, "right"))
    row("recall of true pieces", "recall")
    row("precision of instances", "precision")
    row("pieces hit: an instance of their class on them", "right_class")
    row("Dice, mean of defective frames", "dice")
    row("IoU, mean of defective frames", "iou")
    table.add_row("instances on clean frames", *_each(counts, "false_on_clean"))
    row("the same, a clean frame", "false_per_clean_frame", 2)
    row("the same, per 1,000 m²", "false_per_1000_m2", 0)
    row("clean frames with any", "clean_frames_touched")
    table.add_section()
    for least in PRECISIONS:
        both(f"best recall at a precision of {least}", told(f"recall_at_precision.{least}", 3))
    both("calibration error of the probability", told("probability.calibration_error", 3))
    both("Brier score of the probability", told("probability.brier", 3))
    for rate in PASS_RATES:
        title = f"screen: recall of defective tiles, {float(rate):.0%} of clean ones passed"
        both(title, told(f"screen.recall_at_pass_rate.{rate}", 3))
    table.add_section()
    both("share of the strip that was inspected", told("coverage.inspected_share", 3))
    for name, m2 in counts.items():
        if name.startswith("uninspected_m2."):
            both(
                f"  not inspected: {name.partition('.')[2].replace('_', ' ')}",
                f"{m2:.2f} of {counts['strip_m2']:.2f} m²",
            )
    return table


def _divided(figures: Figures, by: str, title: str, names: dict[str, str]) -> Table:
    shown = {"recall": "recall", "precision": "precision"} | ({"dice": "Dice"} if by == "by_class" else {})
    table = Table(title=f"by {title}: pieces by their own, instances by theirs", title_justify="left")
    table.add_column(title)
    for head in ("true pieces", "", "instances", *shown.values()):
        table.add_column(head, justify="right", no_wrap=True)
    for name, label in names.items():
        pieces = f"{figures.counts.get(f'pieces.{by}.{name}', 0):.0f}"
        for point in ("told", "called"):
            instances = f"{figures.counts.get(f'{point}.{by}.{name}', 0):.0f}"
            cells = [figures.told(f"{point}.{by}.{name}.{figure}") for figure in shown]
            table.add_row(*((label, pieces) if point == "told" else ("", "")), point, instances, *cells)
    return table


def _each(counts: dict[str, float], name: str) -> list[str]:
    return [f"{counts[f'{point}.{name}']:.0f}" for point in ("told", "called")]
