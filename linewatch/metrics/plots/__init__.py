"""Plots of training runs and evaluations, as PNG of 800 to 1,200 px in one style and colour-blind-safe colours."""

from linewatch.metrics.plots.comparisons import TradeoffPoint, box_plots, confusion, paired_histogram, tradeoff
from linewatch.metrics.plots.curves import convergence, learning_curves, pr_and_roc, threshold_curves
from linewatch.metrics.plots.drawing import NothingToDraw
from linewatch.metrics.plots.images import CalledImage, FeatureMaps, feature_maps, gallery, heat
from linewatch.metrics.plots.operating import pass_rate_curves
from linewatch.metrics.plots.reliability import probability_plots

__all__ = [
    "CalledImage",
    "FeatureMaps",
    "NothingToDraw",
    "TradeoffPoint",
    "box_plots",
    "confusion",
    "convergence",
    "feature_maps",
    "gallery",
    "heat",
    "learning_curves",
    "paired_histogram",
    "pass_rate_curves",
    "pr_and_roc",
    "probability_plots",
    "threshold_curves",
    "tradeoff",
]
