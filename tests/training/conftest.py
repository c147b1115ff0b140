"""Evaluations here draw few resamples for their intervals; what is around a network is tested with a small one."""

from few_draws import few_draws
from small_network import small_cnn

__all__ = ["few_draws", "small_cnn"]
