"""Runs engines over frames: backends, batches and the cascade screen -> classify -> segment."""
