"""Evaluations here draw few resamples for their intervals."""

from few_draws import few_draws

__all__ = ["few_draws"]
