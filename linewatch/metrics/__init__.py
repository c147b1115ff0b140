"""Metrics of networks: pure functions of scores and truth, with confidence intervals, tables and plots.

Start with `result.EvaluationResult`, which every `evaluate` function of this room returns: `labels` (one label per
image), `multi_label`, `counts`, `masks` and `windows` (a screen). `curves` holds the one AUC and the one search for a
threshold, `intervals` the one bootstrap and the exact intervals, `tiles` the tiles of a strip frame, `plots` the plots.

A metric that is undefined (a class that never occurs, no call at all, no clean image) is None, never nan. Nothing here
reads image files or runs networks, and nothing but `plots` needs more than NumPy (exact intervals import SciPy).
"""
