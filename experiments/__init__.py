"""Trials that are no part of the product yet; each has its page in docs/experiments."""
