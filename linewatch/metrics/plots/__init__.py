"""What runs and judgements look like, as PNG of 800 to 1,200 px: one style, colours that the colour-blind can tell."""

from linewatch.metrics.plots.comparisons import Candidate, box_plots, confusion, paired_histogram, tradeoff
from linewatch.metrics.plots.curves import convergence, learning_curves, pr_and_roc, threshold_curves
from linewatch.metrics.plots.drawing import NothingToDraw
from linewatch.metrics.plots.operating import OperatingCurve, operating_curves
from linewatch.metrics.plots.pictures import Called, Stage, feature_maps, gallery, heat

__all__ = [
    "Called",
    "Candidate",
    "NothingToDraw",
    "OperatingCurve",
    "Stage",
    "box_plots",
    "confusion",
    "convergence",
    "feature_maps",
    "gallery",
    "heat",
    "learning_curves",
    "operating_curves",
    "paired_histogram",
    "pr_and_roc",
    "threshold_curves",
    "tradeoff",
]
