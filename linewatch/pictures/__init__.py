"""Reads picture files: one way for replay, training, evaluation and the archive, so that damage shows everywhere."""
