"""The result of evaluating a network on a set, every metric under a fixed name, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from pydantic import Field, model_validator
from rich.table import Table

from linewatch.contracts.closed import ClosedModel

Interval = tuple[float, float]
"""Low and high end of a 95 % interval."""


class ClassMetrics(ClosedModel):
    """Metrics of one class against the rest.

    `threshold` is the lowest score that calls the class; None where the class of the highest score is called.
    """

    support: int = Field(ge=0, description="samples that truly are (or hold) the class")
    accuracy: float | None = Field(default=None, description="share of samples where called and true agree")
    precision: float | None = Field(default=None, description="None where the class is never called")
    recall: float | None = Field(default=None, description="None without support")
    f1: float | None = Field(default=None, description="None where the class is neither called nor true")
    auc: float | None = Field(default=None, description="None unless there are samples with and without the class")
    threshold: float | None = None


class EvaluationResult(ClosedModel):
    """The metrics of one network on one set. A metric of another task, or one undefined on the set, is None.

    A metric has a dotted name: `top1`, `per_class.scratches.recall`, `recall_at_pass_rate.0.10`. `intervals` (95 %,
    bootstrap over groups) and `paper` (the paper's claims) are keyed by such names.
    """

    count: int = Field(ge=0, description="samples evaluated")
    task: str
    classes: tuple[str, ...]
    top1: float | None = None
    precision: float | None = Field(default=None, description="macro: mean over the classes where it is defined")
    recall: float | None = Field(default=None, description="macro")
    f1: float | None = Field(default=None, description="macro")
    auc: float | None = Field(
        default=None, description="macro, each class against the rest; of defective against clean windows"
    )
    per_class: Mapping[str, ClassMetrics] = {}
    confusion: tuple[tuple[int, ...], ...] | None = Field(default=None, description="rows true, columns called")
    confusion_classes: tuple[str, ...] | None = None
    mla: float | None = Field(
        default=None, description="share of correct labels among all labels (multi-label accuracy)"
    )
    exact: float | None = Field(default=None, description="share of samples with every label correct")
    defect_free: ClassMetrics | None = Field(
        default=None, description="samples without any label, as a class of their own"
    )
    count_exact: float | None = Field(default=None, description="share of count vectors with every entry correct")
    count_accuracy: float | None = Field(default=None, description="share of correct entries of the count vectors")
    count_mse: float | None = Field(default=None, description="mean squared error of the entries, before rounding")
    dice: float | None = Field(default=None, description="mean over the images with a defect")
    dice_pooled: float | None = Field(default=None, description="of all pixels of all images together")
    iou: float | None = Field(default=None, description="mean over the images with a defect")
    dice_per_class: Mapping[str, float | None] = {}
    kaggle_dice: float | None = Field(
        default=None, description="mean over image x class; an empty answer to nothing scores 1"
    )
    recall_at_pass_rate: Mapping[str, float | None] = {}
    false_instances_per_1000_m2: float | None = None
    intervals: Mapping[str, Interval] = {}
    paper: Mapping[str, float] = {}

    @model_validator(mode="after")
    def _names_are_known(self) -> EvaluationResult:
        for name in (*self.intervals, *self.paper):
            self.metric(name)
        return self

    def metric(self, name: str) -> float | None:
        """Return the metric of that dotted name; `ValueError` for a name that no metric can have."""
        head, _, rest = name.partition(".")
        if head == "per_class":
            of, _, head = rest.rpartition(".")
            if of in self.per_class and head in ClassMetrics.model_fields:
                return getattr(self.per_class[of], head)
        elif head == "defect_free" and rest in ClassMetrics.model_fields:
            return getattr(self.defect_free, rest, None)
        elif head in ("dice_per_class", "recall_at_pass_rate"):
            known: Mapping[str, float | None] = getattr(self, head)
            if rest in known:
                return known[rest]
        elif head in SCALARS and not rest:
            return getattr(self, head)
        raise ValueError(f"no metric {name!r}: expected one of {', '.join(SCALARS)}, or a dotted name of this set")

    def metrics(self) -> dict[str, float]:
        """Return every metric that is defined, by its dotted name."""
        names = [
            *SCALARS,
            *(f"recall_at_pass_rate.{rate}" for rate in self.recall_at_pass_rate),
            *(f"defect_free.{rate}" for rate in _RATES if self.defect_free),
            *(f"dice_per_class.{of}" for of in self.dice_per_class),
            *(f"per_class.{of}.{rate}" for of in self.per_class for rate in _RATES),
        ]
        found = {name: self.metric(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


_RATES = ("accuracy", "precision", "recall", "f1", "auc")
SCALARS: Mapping[str, str] = {
    "top1": "top-1 accuracy",
    "precision": "precision, macro",
    "recall": "recall, macro",
    "f1": "F1, macro",
    "auc": "AUC",
    "mla": "multi-label accuracy",
    "exact": "all labels right",
    "count_exact": "count vectors exactly right",
    "count_accuracy": "counts right",
    "count_mse": "mean squared error of counts",
    "dice": "Dice, mean of defective images",
    "dice_pooled": "Dice, all pixels",
    "iou": "IoU, mean of defective images",
    "kaggle_dice": "Dice, Kaggle's",
    "false_instances_per_1000_m2": "false instances per 1,000 m²",
}
"""The title of every metric without a class or a rate, in the order of the tables."""


def fold_spread(folds: Sequence[EvaluationResult]) -> dict[str, tuple[float, float]]:
    """Return mean and sample standard deviation, over at least two folds, of each metric that every fold defines.

    K-fold as in Apostolopoulos & Tzani: "the mean of the metrics recorded during each phase".
    """
    each = [fold.metrics() for fold in folds]
    shared = [name for name in each[0] if all(name in one for one in each)]
    return {name: (fmean(one[name] for one in each), stdev(one[name] for one in each)) for name in shared}


def side_by_side(result: EvaluationResult) -> Table:
    """Return a table of each metric, its value here with the interval, and the paper's claim.

    It has metrics of single classes only where the paper has them; `class_table` shows them all. Classes of which the
    samples show nothing are named: a high top-1 says nothing of them.
    """
    table = Table(title=f"{result.task}, {result.count} samples", title_justify="left", caption_justify="left")
    absent = [name for name, of in result.per_class.items() if not of.support]
    table.caption = f"no sample of {', '.join(absent)}: the figures say nothing of that" if absent else None
    table.add_column("figure")
    table.add_column("here (95 % interval)", justify="right")
    table.add_column("paper", justify="right")
    found = result.metrics()
    wanted = [name for name in found if not name.startswith("per_class.") or name in result.paper]
    for name in [*wanted, *(name for name in result.paper if name not in wanted)]:
        low_high = result.intervals.get(name)
        here = _number(found.get(name))
        interval = f" ({_number(low_high[0])}-{_number(low_high[1])})" if low_high else ""
        table.add_row(_title(name), here + interval, _number(result.paper.get(name)))
    return table


def class_table(result: EvaluationResult) -> Table:
    """Return a table with one row per class, and one for defect-free where it was evaluated."""
    table = Table(title="classes", title_justify="left")
    table.add_column("class")
    for name in ("support", *_RATES, "threshold"):
        table.add_column(name, justify="right")
    rows = dict(result.per_class)
    if result.defect_free:
        rows["defect-free"] = result.defect_free
    for name, of in rows.items():
        rates = [_number(getattr(of, rate)) for rate in _RATES]
        table.add_row(name, str(of.support), *rates, _number(of.threshold))
    return table


def _title(name: str) -> str:
    head, _, rest = name.partition(".")
    if head == "recall_at_pass_rate":
        return f"recall at {float(rest):.0%} of clean passed"
    if head == "dice_per_class":
        return f"{rest}: Dice"
    if head == "defect_free":
        return f"defect-free: {rest}"
    if head == "per_class":
        return ": ".join(rest.rsplit(".", 1))
    return SCALARS[name]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if abs(value) >= 10 else f"{value:.4f}"
